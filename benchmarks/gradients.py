"""The cost of a gradient through time, relative to autodiff: value and gradient of one layer, all weights.

Each shape is run batched, xs [T, B, D], and as `grad(vmap(unroll))` over unbatched rows with shared weights.
"""

import dataclasses
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import tyro

import jaxrnn
from benchmarks.agreement import error
from benchmarks.timing import interleaved, machine

CELLS = {"elman": jaxrnn.elman, "lstm": jaxrnn.lstm, "gru": jaxrnn.gru}
SHAPES = [(20, 35, 650, 650), (20, 20, 650, 650), (32, 128, 96, 512), (32, 100, 64, 128), (128, 50, 128, 256)]
SHAPES += [(256, 100, 32, 128), (1, 1000, 32, 64)]


@dataclasses.dataclass(frozen=True)
class Config:
    """reverse_scan beside autodiff."""

    rounds: int = 15
    """Least number of timed rounds; short programs get more."""
    cells: tuple[str, ...] = tuple(CELLS)
    """Names of the cells."""
    out: pathlib.Path = pathlib.Path("benchmarks/results/gradients.json")
    """File for the figures."""


def program(cell: jaxrnn.Cell, gradient: jaxrnn.Gradient, vmapped: bool) -> Any:
    """(params, xs [T, B, D]) -> the sum of squared outputs and its gradient, jitted."""

    def run(params: Any, xs: jax.Array) -> jax.Array:
        return jaxrnn.unroll(cell, params, xs, gradient=gradient)[1]

    def loss(params: Any, xs: jax.Array) -> jax.Array:
        outputs = jax.vmap(run, (None, 1), 1)(params, xs) if vmapped else run(params, xs)
        return jnp.sum(outputs**2)

    return jax.jit(jax.value_and_grad(loss))


def main(config: Config) -> list[dict[str, Any]]:
    """Times all cells and shapes; prints a row for each and writes them as JSON."""
    rows = []
    for name in config.cells:
        for shape in SHAPES:
            for vmapped in (False, True):
                found = measure(name, shape, vmapped, config.rounds)
                rows.append({"cell": name, "shape": shape, "vmapped": vmapped} | found)
                print(line(rows[-1]), flush=True)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    config.out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    return rows


def line(row: dict[str, Any]) -> str:
    """A row of the Markdown table: cell, shape, way, milliseconds of both (quartiles), their ratio, memory of both."""
    both = row["autodiff"], row["reverse_scan"]
    times = [f"{1e3 * x['median']:.1f} ({1e3 * x['low']:.1f} to {1e3 * x['high']:.1f})" for x in both]
    memory = [f"{x['temporary_bytes'] / 1e6:.1f}" for x in both]
    ratio = f"{both[1]['median'] / both[0]['median']:.2f}"
    how = "vmap" if row["vmapped"] else "batched"
    return f"| {' | '.join([row['cell'], ', '.join(map(str, row['shape'])), how, *times, ratio, *memory])} |"


def measure(name: str, shape: tuple[int, int, int, int], vmapped: bool, rounds: int) -> dict[str, dict[str, float]]:
    """Checks that both gradients agree, then times both."""
    B, T, D, H = shape
    cell = CELLS[name](D, H)
    params = cell.init(jax.random.key(0))
    xs = jax.random.normal(jax.random.key(1), (T, B, D))
    gradients = {"autodiff": jaxrnn.autodiff(), "reverse_scan": jaxrnn.reverse_scan()}
    programs = {k: program(cell, g, vmapped) for k, g in gradients.items()}
    found = {k: f(params, xs)[1] for k, f in programs.items()}
    difference = error(found["reverse_scan"], found["autodiff"])
    assert difference < 1e-4, f"{name} {shape}: the gradients differ by {difference}"
    timings = interleaved({k: lambda f=f: f(params, xs) for k, f in programs.items()}, rounds)
    memory = {k: f.lower(params, xs).compile().memory_analysis().temp_size_in_bytes for k, f in programs.items()}
    return {k: timings[k]._asdict() | {"temporary_bytes": memory[k]} for k in programs}


if __name__ == "__main__":
    main(tyro.cli(Config))
