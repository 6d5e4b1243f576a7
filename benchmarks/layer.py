"""One recurrent layer, or a few: outputs and the gradient of all weights, beside every library that has such a layer.

All get the same weights and data, and their results are compared first: a library whose numbers differ is reported,
not timed. Two rows are references: a bare `lax.scan` of the equations, and the floor, which is the time of the layer's
matrix products at the rate of one large product, measured in the same rounds.
"""

import dataclasses
import functools
import importlib
import itertools
import json
import pathlib
import time
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
import tyro

import jaxrnn
from benchmarks.agreement import error
from benchmarks.case import GATES, Case, Data, data, operations
from benchmarks.peers import bare_scan, jaxrnn_
from benchmarks.peers.program import NotOfferedError, Program
from benchmarks.timing import geometric_mean, interleaved, machine

HASTE = [(B, 50, H, H) for B, H in itertools.product((1, 32, 128), (128, 512))]
LAYERS = [*HASTE, (20, 35, 650, 650), (64, 784, 1, 128), (256, 100, 10, 100), (1, 2000, 32, 64)]
STACKS = [(32, 100, 128, 128, layers) for layers in (2, 4, 8)]
BIDIRECTIONAL = [(32, 100, 64, 128, 1, 2), (32, 50, 100, 200, 1, 2)]
LENGTHS = [(32, 4000, 32, 64, 1, directions, 100) for directions in (1, 2)]
SHAPES = [*LAYERS, *STACKS, *BIDIRECTIONAL, *LENGTHS]
"""B, T, D, H, layers, directions, shortest row: Haste's, PTB, pixels, a neuroscience net, a stream, stacks,
bidirectional layers, rows of different lengths."""

PEERS = {
    "flax nnx": "nnx",
    "flax linen": "linen",
    "equinox": "equinox_",
    "haiku": "haiku_",
    "keras on jax": "keras_",
    "torch": "torch_",
}
PACKAGES = ("flax", "equinox", "dm-haiku", "keras", "torch")
PADDED, BUCKETED = "jaxrnn, padding read", "jaxrnn, 4 buckets"
OURS, VMAPPED, SCAN, FLOOR = "jaxrnn", "jaxrnn, vmap", "bare scan", "floor"
TRUNCATED, FORWARD = "jaxrnn, truncated", "jaxrnn, forward"
LARGEST_INFLUENCE = 10**9
"""The most numbers that `jaxrnn.rtrl` may carry through all steps: more take minutes, or all memory."""


def _truncated(case: Case, given: Data) -> Program:
    fifth = -(-case.T // 5)
    return jaxrnn_.program(case, given, jaxrnn.truncated(fifth, fifth))


def _ragged(case: Case, given: Data, **options: Any) -> Program:
    if given.lengths is None:
        raise NotOfferedError("all rows have the same length")
    return jaxrnn_.program(case, given, jaxrnn.reverse_scan(), **options)


def _forward(case: Case, given: Data) -> Program:
    if case.layers > 1:
        raise NotOfferedError("no gradient of a layer's inputs, which a stack needs")
    weights = sum(w.size for w in jax.tree.leaves(given.weights))
    numbers = case.T * case.B * case.H * weights
    if numbers > LARGEST_INFLUENCE:
        raise NotOfferedError(f"{numbers:.1e} numbers to carry forward")
    return jaxrnn_.program(case, given, jaxrnn.rtrl())


OWN: dict[str, Callable[[Case, Data], Program]] = {
    OURS: functools.partial(jaxrnn_.program, gradient=jaxrnn.reverse_scan()),
    VMAPPED: functools.partial(jaxrnn_.program, gradient=jaxrnn.reverse_scan(), vmapped=True),
    "jaxrnn, autodiff": functools.partial(jaxrnn_.program, gradient=jaxrnn.autodiff()),
    "jaxrnn, checkpointed": functools.partial(jaxrnn_.program, gradient=jaxrnn.checkpointed()),
    TRUNCATED: _truncated,
    FORWARD: _forward,
    PADDED: functools.partial(_ragged, padded=True),
    BUCKETED: functools.partial(_ragged, buckets=4),
    SCAN: bare_scan.program,
}
TOLERANCE = 1e-3
"""Tolerance on the relative error of outputs and gradients, which are sums over up to 2,000 steps in float32."""
LARGE = 1536
"""Rows and columns of the large product."""


@dataclasses.dataclass(frozen=True)
class Config:
    """One recurrent layer beside every library that has one."""

    rounds: int = 7
    """Least number of timed rounds; short programs get more."""
    cells: tuple[str, ...] = tuple(GATES)
    """Names of the cells."""
    shapes: tuple[int, ...] = ()
    """Shapes, by their place in SHAPES; none given: all."""
    peers: tuple[str, ...] = tuple(PEERS)
    """Libraries to compare with."""
    own: tuple[str, ...] = tuple(OWN)
    """Ways of jaxrnn to time."""
    out: pathlib.Path = pathlib.Path("benchmarks/results/layer.json")
    """File for the figures; the picture goes beside it."""


def available(own: Iterable[str], peers: Iterable[str]) -> dict[str, Callable[[Case, Data], Program]]:
    """All programs to compare, by name."""
    found = {name: OWN[name] for name in own}
    for name in peers:
        try:
            found[name] = importlib.import_module(f"benchmarks.peers.{PEERS[name]}").program
        except ImportError as missing:
            print(f"{name}: left out, {missing}")
    return found


def measure(case: Case, ways: dict[str, Callable[[Case, Data], Program]], rounds: int) -> dict[str, Any]:
    """Checks that all compute the same, then times all, in turn."""
    given, ready, left_out = data(case), {}, {}
    reference = jaxrnn_.program(case, given, jaxrnn.autodiff())
    expected = reference.read(reference.run())
    temporaries, first = {"jaxrnn, autodiff": reference.temporary_bytes}, {}
    for name, make in ways.items():
        start = time.perf_counter()
        try:
            program = make(case, given)
        except NotOfferedError as why:
            left_out[name] = str(why)
            continue
        found = jax.block_until_ready(program.run())
        first[name] = time.perf_counter() - start
        compared = 1 if name == TRUNCATED else 2  # (ys, gradient); truncation's gradient is another one
        difference = error(program.read(found)[:compared], expected[:compared])
        if not difference < TOLERANCE:
            left_out[name] = f"its numbers differ by {difference:.1e}"
            continue
        ready[name], temporaries[name] = program.run, program.temporary_bytes
    square = jax.random.normal(jax.random.key(0), (LARGE, LARGE))
    large = jax.jit(lambda a: a @ a)
    slow = {name: ready.pop(name) for name in (FORWARD,) if name in ready}
    timings = interleaved({**ready, "large product": lambda: large(square)}, rounds)
    if slow:  # slower by a factor of a thousand: the others would get few rounds
        timings |= interleaved(slow, 3, at_least=0.0)
    rate = 2 * LARGE**3 / timings.pop("large product").median
    return {
        "case": case._asdict(),
        "timings": {name: t._asdict() | {"first": first[name]} for name, t in timings.items()},
        "temporary_bytes": temporaries,
        "left_out": left_out,
        "gflops": rate / 1e9,
        FLOOR: operations(case) / rate,
    }


def fastest(row: dict[str, Any], names: Iterable[str]) -> float | None:
    """The least median of some of the ways; None if none of them was timed."""
    found = [row["timings"][name]["median"] for name in names if name in row["timings"]]
    return min(found) if found else None


def ratios(row: dict[str, Any]) -> dict[str, float]:
    """The factors by which jaxrnn is faster; for vmapped rows: the time relative to native batching."""
    ours = row["timings"][OURS]["median"]
    others = {"fastest JAX peer": [name for name in PEERS if name != "torch"], "torch": ["torch"]}
    others |= {name: [name] for name in (SCAN, PADDED, BUCKETED)}
    found = {name: fastest(row, names) for name, names in others.items()}
    result = {name: time / ours for name, time in found.items() if time is not None} | {FLOOR: row[FLOOR] / ours}
    if VMAPPED in row["timings"]:
        result[VMAPPED] = row["timings"][VMAPPED]["median"] / ours
    return result


def table(rows: list[dict[str, Any]], names: list[str]) -> str:
    """Median milliseconds (quartiles) of each way, as Markdown."""
    lines = [f"| cell | B, T, D, H | {' | '.join(names)} | floor |", "|---" * (len(names) + 3) + "|"]
    for row in rows:
        times = []
        for name in names:
            t = row["timings"].get(name)
            times.append("-" if t is None else " ".join([_ms(t["median"]), f"({_ms(t['low'])} to {_ms(t['high'])})"]))
        case = Case(**row["case"])
        lines.append(f"| {case.cell} | {case} | {' | '.join(times)} | {_ms(row[FLOOR])} |")
    return "\n".join(lines)


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g}"


def summary(rows: list[dict[str, Any]]) -> str:
    """Geometric means (and minima) over shapes of the factors by which jaxrnn is faster, as Markdown."""
    groups: dict[str, Callable[[Case], bool]] = {
        "one layer": lambda c: c.layers * c.directions == 1 and not c.shortest,
        "stack": lambda c: c.layers > 1,
        "bidirectional": lambda c: c.directions > 1 and not c.shortest,
        "rows of different lengths": lambda c: c.shortest > 0,
    }
    names = ["fastest JAX peer", "torch", SCAN, PADDED, BUCKETED, FLOOR, VMAPPED]
    lines = ["| cell | network | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for cell, (group, chosen) in itertools.product(GATES, groups.items()):
        found = [ratios(row) for row in rows if row["case"]["cell"] == cell and chosen(Case(**row["case"]))]
        if not found:
            continue
        shown = []
        for name in names:
            values = [r[name] for r in found if name in r]
            worst = max if name == VMAPPED else min
            shown.append(f"{geometric_mean(values):.2f} ({worst(values):.2f})" if values else "-")
        lines.append(f"| {cell} | {group} | {' | '.join(shown)} |")
    return "\n".join(lines)


def main(config: Config) -> list[dict[str, Any]]:
    """Measures all cells and shapes; prints tables, writes JSON and a picture."""
    ways = available(config.own, config.peers)
    rows = []
    for cell, shape in itertools.product(config.cells, [SHAPES[i] for i in config.shapes] or SHAPES):
        case = Case(cell, *shape)
        row = measure(case, ways, config.rounds)
        rows.append(row)
        for name, why in row["left_out"].items():
            if name not in (PADDED, BUCKETED) or case.shortest:
                print(f"{name}: left out, {why}")
        shown = ", ".join(f"{name} {_ms(t['median'])}" for name, t in row["timings"].items())
        times = ", ".join(f"{x:.2f} of {name}" for name, x in ratios(row).items())
        print(f"{cell} {case}: {shown} ms; {times}", flush=True)
        config.out.parent.mkdir(parents=True, exist_ok=True)
        config.out.write_text(json.dumps({"machine": machine(*PACKAGES), "rows": rows}, indent=1) + "\n")
    print(f"\n{table(rows, list(ways))}\n\n{summary(rows)}")
    plot(rows, config.out.with_suffix(".png"))
    return rows


def plot(rows: list[dict[str, Any]], path: pathlib.Path) -> None:
    """Each library's speed relative to the fastest other one, by shape."""
    from matplotlib.figure import Figure

    cells = list(dict.fromkeys(row["case"]["cell"] for row in rows))
    figure = Figure(figsize=(5.2 * len(cells), 6.5), layout="constrained")
    for axes, cell in zip(np.ravel(figure.subplots(1, len(cells))), cells, strict=True):
        shown = [row for row in rows if row["case"]["cell"] == cell]
        for i, name in enumerate([*PEERS, OURS]):
            style = {"marker": "D", "color": "k"} if name == OURS else {"marker": "o", "color": f"C{i}"}
            points = []
            for y, row in enumerate(shown):
                others = fastest(row, PEERS)
                if name in row["timings"] and others is not None:
                    points.append((others / row["timings"][name]["median"], y))
            if points:
                axes.plot(*np.array(points).T, linestyle="none", label=name, **style)
        axes.axvline(1.0, color="0.5", linewidth=0.8)
        axes.set_yticks(range(len(shown)), [str(Case(**row["case"])) for row in shown])
        axes.invert_yaxis()
        axes.set(title=cell, xlabel="speed, relative to the fastest of the others")
        axes.grid(alpha=0.3)
    shown = {label: line for axes in figure.axes for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=7, frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main(tyro.cli(Config))
