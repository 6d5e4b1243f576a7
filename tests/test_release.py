"""Version, changelog, citation and the page of the package index: one release, said once."""

import pathlib
import re
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]


def test_the_citation_has_the_version():
    assert f"\nversion: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_changelog_keeps_its_form():
    headings = re.findall(r"^##.*", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "## Unreleased"
    form = r"## Unreleased|## \d+\.\d+\.\d+ - \d{4}-\d\d-\d\d|### (Added|Changed|Deprecated|Removed|Fixed|Security)"
    assert [heading for heading in headings if not re.fullmatch(form, heading)] == []


def test_python_versions_are_tested():
    said = {name.split(" :: ")[-1] for name in PROJECT["classifiers"] if " :: 3." in name}
    assert min(said, key=lambda version: int(version[2:])) == PROJECT["requires-python"].removeprefix(">=")
    tests = (ROOT / ".github/workflows/tests.yml").read_text()
    assert said == set(re.findall(r'"(3\.\d+)"', re.search(r"python: (\[.*\])", tests)[1]))


def test_the_oldest_jax_is_tested():
    (oldest,) = (name.removeprefix("jax>=") for name in PROJECT["dependencies"] if name.startswith("jax>="))
    assert f"jax=={oldest}.0 jaxlib=={oldest}.0\n" in (ROOT / ".github/workflows/tests.yml").read_text()


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("a\n\n![b](c.png)\n\n*d\ne*\n\nf\n", "a\n\nf\n"),
        ("[a](b/c.md#d), [e](https://f.g), [h](#i)", "a, [e](https://f.g), [h](#i)"),
        ("x[i](y)", "x[i](y)"),
    ],
)
def test_the_index_page_has_no_files_of_the_repository(text, want):
    for rule in PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    assert text == want


def test_type_checkers_read_the_types():
    assert (ROOT / "jaxrnn" / "py.typed").exists()
