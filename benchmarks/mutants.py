"""The power of the tests: `python -m benchmarks.mutants --count 100`.

Changes one place of the core at random (a sign, a comparison, a condition, a constant), runs the files of tests that
run it until one test fails, and lists the changes that no test has noticed. Some of these compute the same, or only
cost time.
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

import coverage
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
    traced: pathlib.Path | None = None
    """File of an earlier run that says which test runs which line."""
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
    before: str
    after: str
    source: str
    lines: list[range]
    """The place, and the functions and classes around it, from the inside."""


class _Places(ast.NodeVisitor):
    """The nodes that may be changed: no texts, types, messages, imports or checks of lengths by `zip`."""

    def __init__(self) -> None:
        self.found: list[ast.AST] = []

    def generic_visit(self, node: ast.AST) -> None:
        if isinstance(node, (ast.Raise, ast.Import, ast.ImportFrom, ast.JoinedStr)):
            return
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.keyword) and node.arg == "strict":  # zip(..., strict=True) checks what holds anyway
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
        tree = ast.parse(text)
        visitor.visit(tree)
        node = visitor.found[i]
        part = node.test if isinstance(node, (ast.If, ast.IfExp)) else node
        scopes = [each for each in ast.walk(tree) if isinstance(each, (ast.FunctionDef, ast.ClassDef))]
        lines = [range(each.lineno, (each.end_lineno or each.lineno) + 1) for each in (part, *scopes)]
        lines = sorted((each for each in lines if part.lineno in each), key=len)
        before = ast.get_source_segment(text, part) or ""
        after = ast.unparse(ast.UnaryOp(ast.Not(), part) if part is not node else changed(node))
        start = sum(len(line.encode()) for line in text.splitlines(keepends=True)[: part.lineno - 1]) + part.col_offset
        data = text.encode()
        source = data[:start] + f"({after})".encode() + data[start + len(before.encode()) :]
        found.append(Mutant(str(path.relative_to(ROOT)), before, after, source.decode(), lines))
    return found


def files(mutant: Mutant, traced: coverage.CoverageData) -> list[str]:
    """Files of the tests that run the changed place, or its function where it runs at import; its own tests first."""
    parts = pathlib.Path(mutant.path).with_suffix("").parts[1:]
    name = next((name for name in traced.measured_files() if name.endswith(mutant.path)), mutant.path)
    contexts = traced.contexts_by_lineno(name)
    for lines in mutant.lines:
        tests = {test.partition("::")[0] for line in lines for test in contexts.get(line, ()) if test}
        if tests:
            break
    else:
        tests = {str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py")}
    return sorted(tests, key=lambda name: (-sum(part in name for part in parts), name))


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

        traced = coverage.CoverageData(str(config.traced or f"{root}/coverage"))
        if not config.traced:
            command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", config.marked]
            command += ["--cov=jaxrnn", "--cov-context=test", "--cov-report="]
            env = os.environ | {"PYTHONPATH": str(trees[0]), "COVERAGE_FILE": traced.data_filename()}
            if subprocess.run(command, cwd=trees[0], env=env).returncode:
                sys.exit("the tests fail without a change")
        traced.read()

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
            begun, tests = time.monotonic(), files(mutant, traced)
            try:
                done = subprocess.run(
                    [*command, *tests], cwd=tree, env=env, capture_output=True, text=True,
                    timeout=60.0 * config.minutes,
                )  # fmt: skip
                noticed = done.returncode not in (0, 5)  # 5: there were no tests to run
                by = next((line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))), "")
            except subprocess.TimeoutExpired:
                noticed, by = True, "time"
            path.write_text(right)
            with lock:
                trees.append(tree)
                row = {"number": number, "path": mutant.path, "line": mutant.lines[0].start}
                row |= {"before": mutant.before, "after": mutant.after, "files of tests": len(tests)}
                if not noticed:
                    survived.append(row)
                print(f"{number} {time.monotonic() - begun:.0f} s {'noticed' if noticed else 'SURVIVED'}", end=" ")
                print(f"{mutant.path}:{row['line']}: {mutant.before!r} -> {mutant.after!r} {by[:100]}", flush=True)

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
