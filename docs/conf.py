"""The site: `python -m sphinx -W --keep-going -j auto docs docs/_build/html`."""

import inspect
import re

import jaxrnn

project, author, copyright = "jaxrnn", "the jaxrnn authors", "the jaxrnn authors"
version = release = jaxrnn.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx-mathjax-offline",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "jaxrnn"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    mode: {"code-font-size": "75%"}  # 97 characters beside the navigation
    for mode in ("light_css_variables", "dark_css_variables")
}
html_show_sphinx = False

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True

default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say shapes, which says more
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_attr_annotations = False  # as above
napoleon_custom_sections = [("Example", "Example")]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def public_names(module=jaxrnn):
    """Full names of all that users may rely on."""
    for name in module.__all__:
        value = getattr(module, name)
        yield from public_names(value) if inspect.ismodule(value) else [f"{module.__name__}.{name}"]


def escape_markup(app, what, name, obj, options, lines):
    """Docstrings are plain text: [T, *batch_shape, D] and h_ mean just that."""
    del app, what, name, obj, options
    literal = False  # within an indented block after a line that ends with ::
    for i, line in enumerate(lines):
        literal = line.endswith("::") or (literal and line[:1] in ("", " "))
        if not literal and not line.lstrip().startswith((">>>", "...")):
            parts = re.split(r"(``.*?``|`[^`]*`)", line)
            lines[i] = "".join(part if j % 2 else re.sub(r"([*|])", r"\\\1", part) for j, part in enumerate(parts))


def join_names(app, what, name, obj, options, lines):
    """Several attributes in one line, `a, b: text`, are names; Sphinx would take the first for the type."""
    del app, what, name, obj, options
    for i, line in enumerate(lines):
        if line.startswith(":ivar "):
            head, colon, text = line.removeprefix(":ivar ").partition(":")
            lines[i] = f":ivar {head.replace(', ', ',')}{colon}{text}"


def check_that_all_is_documented(app, env):
    """Warns of public names that no page of the reference has, so that a build with -W fails."""
    del app
    found = env.get_domain("py").objects
    from sphinx.util import logging

    for name in public_names():
        if name not in found:
            logging.getLogger(__name__).warning("public, but on no page of docs/reference: %s", name)


def without_links_back(app, pagename, templatename, context, doctree):
    """Source pages without links to the reference, which has names at another address than their module's."""
    del app, templatename, doctree
    if pagename.startswith("_modules/"):
        context["body"] = re.sub(r'<a class="viewcode-back".*?</a>', "", context["body"])


def setup(app):
    """Connects the functions above."""
    formulas = app.extensions["sphinx-mathjax-offline"]  # copies files at the end, and does not say that it is safe
    formulas.parallel_read_safe = formulas.parallel_write_safe = True
    app.connect("autodoc-process-docstring", escape_markup, priority=100)
    app.connect("autodoc-process-docstring", join_names, priority=900)
    app.connect("env-check-consistency", check_that_all_is_documented)
    app.connect("html-page-context", without_links_back)
