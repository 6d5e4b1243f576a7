"""The power of the tests: `python -m benchmarks.mutants --count 100`.

Changes one place of the core at random (a sign, a comparison, a condition, a constant), runs the tests until one fails,
and lists the changes that no test has noticed. Some of these compute the same, or only cost time.
"""

import ast
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import tyro

ROOT = pathlib.Path(__file__).parents[1]
CORE = (
    "bptt", "cells", "data", "decoding", "diagnostics", "gradients", "influences", "losses", "models", "primitives",
    "sweeps", "training", ".",
)  # fmt: skip
COPIED = (
    "jaxrnn", "tests", "experiments", "benchmarks", "docs", ".github", ".ci", "README.md", "CONTRIBUTING.md",
    "CHANGELOG.md", "CITATION.cff", "LICENSE", "pyproject.toml",
)  # fmt: skip
SWAPPED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Add: ast.Sub, ast.Sub: ast.Add,
    ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Config:
    """Counts the changes of the core that the tests do not notice."""

    count: int = 100
    """Number of changes."""
    seed: int = 0
    """Seed of the places."""
    marked: str = "not slow"
    """Tests to run, as for pytest's -m; "" for all."""
    only: tuple[int, ...] = ()
    """Numbers of the changes to try; none: all."""
    workers: int = 2
    """Processes at once."""
    minutes: float = 20.0
    """Time after which a change counts as noticed: a test hangs."""
    out: pathlib.Path = ROOT / "benchmarks" / "results" / "mutants.json"
    """File for the figures."""


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A changed file."""

    path: str
    line: int
    before: str
    after: str
    source: str


class _Places(ast.NodeVisitor):
    """The nodes that may be changed: no texts, types, messages or imports."""

    def __init__(self) -> None:
        self.found: list[ast.AST] = []

    def generic_visit(self, node: ast.AST) -> None:
        if isinstance(node, (ast.Raise, ast.Import, ast.ImportFrom, ast.JoinedStr)):
            return
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        swapped = isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in SWAPPED
        compared = isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPPED
        number = isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float))
        signed = isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub))
        if swapped or compared or number or signed or isinstance(node, (ast.If, ast.IfExp)):
            self.found.append(node)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "type_params"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    self.visit(child)


def changed(node: ast.AST) -> ast.AST:
    """The node with one property changed."""
    if isinstance(node, (ast.BinOp, ast.BoolOp)):
        node.op = SWAPPED[type(node.op)]()
    elif isinstance(node, ast.Compare):
        node.ops[0] = SWAPPED[type(node.ops[0])]()
    elif isinstance(node, ast.Constant):
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1  # pyright: ignore
    elif isinstance(node, ast.UnaryOp):
        return node.operand
    elif isinstance(node, (ast.If, ast.IfExp)):
        node.test = ast.UnaryOp(ast.Not(), node.test)
    return node


def draw(config: Config) -> list[Mutant]:
    """Draws places evenly over all of the core."""
    places = []
    for folder in CORE:
        for path in sorted((ROOT / "jaxrnn" / folder).glob("*.py")):
            visitor = _Places()
            visitor.visit(ast.parse(path.read_text()))
            places += [(path, i) for i in range(len(visitor.found))]
    found = []
    for path, i in random.Random(config.seed).sample(places, config.count):
        text, visitor = path.read_text(), _Places()
        visitor.visit(ast.parse(text))
        node = visitor.found[i]
        part = node.test if isinstance(node, (ast.If, ast.IfExp)) else node
        before = ast.get_source_segment(text, part) or ""
        after = ast.unparse(ast.UnaryOp(ast.Not(), part) if part is not node else changed(node))
        lines = text.splitlines(keepends=True)
        start = sum(map(len, (line.encode() for line in lines[: part.lineno - 1]))) + part.col_offset
        data = text.encode()
        source = data[:start] + f"({after})".encode() + data[start + len(before.encode()) :]
        found.append(Mutant(str(path.relative_to(ROOT)), part.lineno, before, after, source.decode()))
    return found


def files(mutant: Mutant) -> list[str]:
    """All test files, with those that mirror the changed one first."""
    parts = pathlib.Path(mutant.path).with_suffix("").parts[1:]

    def distance(path: pathlib.Path) -> tuple[int, int, str]:
        name = str(path.relative_to(ROOT))
        order = ("gradients", "models", "cells", "losses", "data", "training", "test_")
        place = next((i for i, each in enumerate(order) if f"tests/{each}" in name), len(order))
        return -sum(part in name for part in parts), place, name

    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if path.parent.name not in ("experiments", "interop")]
    return [str(path.relative_to(ROOT)) for path in sorted(tests, key=distance)]


def main(config: Config) -> None:
    """Tries all changes, and prints those that no test has noticed."""
    mutants, start, lock, survived = draw(config), time.monotonic(), threading.Lock(), []
    numbers = config.only or range(config.count)
    with tempfile.TemporaryDirectory() as root:
        trees = [pathlib.Path(root) / str(i) for i in range(config.workers)]
        for tree in trees:
            tree.mkdir()
            for name in COPIED:
                copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
                copy(ROOT / name, tree / name)

        right = subprocess.run([sys.executable, "-m", "pytest", "-q", "-x", "-m", config.marked], cwd=trees[0])
        if right.returncode:
            sys.exit("the tests fail without a change")

        def attempt(number: int) -> None:
            mutant = mutants[number]
            with lock:
                tree = trees.pop()
            path = tree / mutant.path
            right = path.read_text()
            path.write_text(mutant.source)
            env = os.environ | {"JAX_COMPILATION_CACHE_DIR": f"{root}/programs", "PYTHONPATH": str(tree)}
            env |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1", "PYTHONDONTWRITEBYTECODE": "1"}
            command = [sys.executable, "-m", "pytest", "-x", "-q", "-n0", "-p", "no:cacheprovider", "-m", config.marked]
            begun = time.monotonic()
            try:
                done = subprocess.run(
                    [*command, *files(mutant)], cwd=tree, env=env, capture_output=True, text=True,
                    timeout=60.0 * config.minutes,
                )  # fmt: skip
                noticed = done.returncode != 0
                by = next((line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))), "")
            except subprocess.TimeoutExpired:
                noticed, by = True, "time"
            path.write_text(right)
            with lock:
                trees.append(tree)
                row = dataclasses.asdict(mutant) | {"number": number, "by": by[:120]}
                row.pop("source")
                if not noticed:
                    survived.append(row)
                print(f"{number} {time.monotonic() - begun:.0f} s {'noticed' if noticed else 'SURVIVED'}", end=" ")
                print(f"{mutant.path}:{mutant.line}: {mutant.before!r} -> {mutant.after!r} {by[:100]}", flush=True)

        with concurrent.futures.ThreadPoolExecutor(config.workers) as pool:
            for _ in pool.map(attempt, numbers):
                pass
    survived.sort(key=lambda row: row["number"])
    print(f"{len(numbers)} changes, {len(survived)} not noticed, {time.monotonic() - start:.0f} s")
    config.out.parent.mkdir(parents=True, exist_ok=True)
    config.out.write_text(
        json.dumps({"changes": len(numbers), "tests": config.marked, "survived": survived}, indent=2) + "\n"
    )


if __name__ == "__main__":
    main(tyro.cli(Config))
