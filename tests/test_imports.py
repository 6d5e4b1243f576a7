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
    ("checks", "pictures", "programs", "shapes"),
    ("product",),
    ("linear", "heads", "initializers"),
    ("types",),
    ("gated",),
    ("cells", "kernels"),
    ("gradients",),
    ("arguments",),
    ("unroll", "rtrl"),
    ("models",),
    ("losses", "ctc_loss", "diagnostics", "decoding"),
    ("training",),
    ("sweeps",),
)
LEVEL = {part: level for level, parts in enumerate(LEVELS) for part in parts}
FILES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))


def part_of(file):
    return file.parts[0].removesuffix(".py")


def imported(source, file="x.py"):
    """The parts of the library that a file's source imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: expected absolute imports, got a relative one on line {node.lineno}"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("jaxrnn.")}
    parts = {part_of(f) for f in FILES}
    return {name for name in found if name in parts or name in LEVEL or name == "interop"}


def allowed(importer, imports):
    if importer == imports or importer == "__init__":
        return imports != "interop" or importer == "interop"
    if importer == "interop":
        return True
    return LEVEL.get(imports, 99) < LEVEL[importer]


@pytest.mark.parametrize("file", FILES, ids=str)
def test_imports_point_one_way(file):
    part = part_of(file)
    assert part in {*LEVEL, "interop", "__init__"}, f"{part}: say in LEVELS where it stands"
    imports = imported((ROOT / file).read_text(), file)
    assert not {name for name in imports if not allowed(part, name)}


def test_the_reading_of_imports_finds_what_it_should():
    source = (
        "import jaxrnn.unroll\nfrom jaxrnn import checks, lstm\ndef f():\n    from jaxrnn.models.dense import dense"
    )
    assert imported(source) == {"unroll", "checks", "models"}
    assert not allowed("gradients", "unroll")
    assert allowed("linear", "checks")
    assert allowed("unroll", "arguments")
    assert not allowed("checks", "linear")
    assert not allowed("gradients", "arguments")
    assert not allowed("diagnostics", "losses")
    assert not allowed("unroll", "diagnostics")
    assert not allowed("__init__", "interop")
    assert allowed("training", "gated")


SCRIPT = """
import json, sys
import jax
before = dict(jax.config.values)
import jaxrnn
from jax._src import xla_bridge
changed = [name for name, value in jax.config.values.items() if before.get(name) != value]
optional = "matplotlib", "orbax", "orbax.checkpoint", "sklearn", "tyro", "jax.experimental.pallas"
heavy = [name for name in optional if name in sys.modules]
json.dump([changed, heavy, xla_bridge.backends_are_initialized()], sys.stdout)
"""


def test_importing_has_no_side_effects():
    """No setting of JAX changes, no device is started, no optional package is imported."""
    run = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT.parent, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == [[], [], False]
