"""Imports point one way, and importing does nothing else."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import jaxrnn

ROOT = Path(jaxrnn.__file__).parent
# Each part may import the parts of lower levels, and its own files.
LEVELS = (
    ("functions",),
    ("primitives", "compiled"),
    ("checks",),
    ("validity", "fingerprints", "pictures"),
    ("shapes", "linear", "heads", "initializers"),
    ("types",),
    ("float_leaves", "masks"),
    ("cells",),
    ("bptt", "influences"),
    ("gradients",),
    ("arguments", "states"),
    ("driver", "online"),
    ("models",),
    ("losses", "diagnostics", "decoding"),
    ("extend",),
    ("data",),
    ("training",),
    ("sweeps", "saving"),
    ("interop",),
)
LEVEL = {part: level for level, parts in enumerate(LEVELS) for part in parts}
# The kernels are a leaf: they see the loop that they replace, and two files call them, each within a function.
LEVEL["kernels"] = LEVEL["gradients"]
CALLS_KERNELS = ("gradients/reverse_scan.py", "diagnostics/explanation.py")
FILES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))
# Modules of JAX whose names change from version to version.
INTERNAL = ("jax.extend", "jax.interpreters", "jax.core", "jax.experimental", "jax._src", "jax.custom_derivatives")
TOUCH_JAX = ("primitives", "kernels")


def part_of(file):
    name = ".".join(file.with_suffix("").parts)
    return name if name in LEVEL else file.parts[0].removesuffix(".py")


def names_in(nodes, file="x.py"):
    """The dotted names that import statements among the nodes bring in."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: expected absolute imports, got a relative one on line {node.lineno}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported(source, file="x.py", *, at_once=False):
    """The parts of the library that a file's source imports: anywhere in it, or only as soon as it is imported."""
    tree = ast.parse(source)
    parts = {part_of(f) for f in FILES}
    found = (name.split(".") for name in names_in(tree.body if at_once else ast.walk(tree), file))
    candidates = {
        ".".join(name[1:3]) if ".".join(name[1:3]) in LEVEL else name[1] for name in found if name[0] == "jaxrnn"
    }
    return {name for name in candidates if name in parts or name in LEVEL}


def allowed(importer, imports, file=""):
    if importer == imports or importer == "__init__":
        return True
    if imports == "kernels":
        return file in CALLS_KERNELS
    return LEVEL.get(imports, 99) < LEVEL[importer]


def internals(source):
    """The names of JAX's internals that a file imports or reads as attributes."""
    nodes = list(ast.walk(ast.parse(source)))
    names = [*names_in(nodes), *(ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute))]
    return {name for name in names if any(f"{name}.".startswith(f"{module}.") for module in INTERNAL)}


@pytest.mark.parametrize("file", FILES, ids=str)
def test_imports_point_one_way(file):
    part, source = part_of(file), (ROOT / file).read_text()
    assert part in {*LEVEL, "__init__"}, f"{part}: say in LEVELS where it stands"
    assert not {name for name in imported(source, file) if not allowed(part, name, file.as_posix())}
    assert part in ("kernels", "__init__") or "kernels" not in imported(source, file, at_once=True)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_two_folders_touch_the_internals_of_jax(file):
    assert part_of(file) in TOUCH_JAX or not internals((ROOT / file).read_text())


def test_the_reading_of_imports_finds_what_it_should():
    source = (
        "import jaxrnn.driver\nfrom jaxrnn import checks, lstm\ndef f():\n    from jaxrnn.models.dense import dense\n"
        "    from jaxrnn.online import rtrl_step\n    from jaxrnn.influences import exact"
    )
    assert imported(source) == {"driver", "checks", "models", "online", "influences"}
    assert imported(source, at_once=True) == {"driver", "checks"}
    assert not allowed("gradients", "driver")
    assert allowed("linear", "checks")
    assert allowed("driver", "arguments")
    assert not allowed("checks", "linear")
    assert not allowed("gradients", "arguments")
    assert not allowed("diagnostics", "losses")
    assert not allowed("driver", "diagnostics")
    assert not allowed("training", "interop")
    assert allowed("training", "cells")
    assert not allowed("cells", "bptt")
    assert not allowed("models", "kernels", "models/stack.py")
    assert not allowed("gradients", "kernels", "gradients/autodiff.py")
    assert allowed("gradients", "kernels", "gradients/reverse_scan.py")


def test_the_reading_of_internals_finds_what_it_should():
    """Imports, names from them, and attributes; the public names beside them are none."""
    assert internals("from jax.extend.core import Var") == {"jax.extend.core.Var"}
    assert internals("from jax import core\nimport jax.interpreters.ad as ad") == {"jax.core", "jax.interpreters.ad"}
    assert internals("def f(x):\n    return isinstance(x, jax.core.Tracer)") == {"jax.core", "jax.core.Tracer"}
    assert internals("import jax._src.xla_bridge\njax.custom_derivatives.SymbolicZero")
    assert internals("from jax.experimental import pallas as pl")
    assert not internals("import jax\nimport jax.numpy as jnp\nfrom jax.tree_util import Partial\njax.custom_vjp(f)")
    assert not internals("# jax.core.Tracer\njax.coreference.x")


SCRIPT = """
import json, sys
import jax
before = dict(jax.config.values)
import jaxrnn
from jax._src import xla_bridge
changed = [name for name, value in jax.config.values.items() if before.get(name) != value]
optional = "matplotlib", "orbax", "sklearn", "tyro", "jax.experimental.pallas", "flax", "jaxrnn.interop"
heavy = [name for name in optional if name in sys.modules]
json.dump([changed, heavy, xla_bridge.backends_are_initialized()], sys.stdout)
"""


def test_importing_has_no_side_effects():
    """No setting of JAX changes, no device is started, no optional package is imported."""
    run = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT.parent, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == [[], [], False]
