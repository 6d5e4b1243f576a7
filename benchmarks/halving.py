"""Successive halving beside the whole sweep: the quality of its best configuration, and its share of the work.

Learning rates and clip norms of a GRU with 32 units, on the digits and on the adding problem, five times with other
keys. Both sweeps have the same members. Compared are the best members of both, by validation loss: their accuracy on
the validation set, and on rows that no sweep has seen.
"""

import dataclasses
import json
import pathlib
import time
from typing import Any

import numpy as np
import tyro

import experiments.sweep as sweep  # first, since it sets up JAX's devices

# isort: split
import jax

import experiments.digits as digits
import experiments.memory_tasks as memory_tasks
import experiments.vanishing as vanishing
import jaxrnn
from benchmarks.timing import machine

STEPS = {"digits": 1000, "adding": 1500}


@dataclasses.dataclass(frozen=True)
class Config:
    """Halving beside the whole sweep."""

    repetitions: int = 5
    """Number of repetitions, with other keys."""
    rates: int = 16
    """Learning rates from 1e-4 to 1e-1."""
    clips: int = 2
    """Clip norms from 0.1 to 10."""
    share: float = 1 / 9
    """Steps of the first rung, as a share of all."""
    length: int = 20
    """Steps of the adding problem."""
    out: pathlib.Path = pathlib.Path("benchmarks/results/halving.json")
    """File for the figures."""


def unseen(task: str, length: int) -> dict[str, Any]:
    """Rows that no sweep has seen."""
    if task == "digits":
        return digits.load(digits.Config())["test"]
    return memory_tasks.adding(jax.random.key(3), length, 1000)


def measure(task: str, repetition: int, config: Config) -> list[dict[str, Any]]:
    """The whole sweep, then halving."""
    options = sweep.Config(task=task, length=config.length, steps=STEPS[task], key=repetition)  # pyright: ignore
    what, mesh = sweep.task(options), jax.sharding.Mesh(np.array(jax.devices()), ("members",))
    space = jaxrnn.grid(
        cell=["gru"],
        hidden=[32],
        dropout=[0.0],
        lr=np.geomspace(1e-4, 1e-1, config.rates).tolist(),
        clip=np.geomspace(0.1, 10.0, config.clips).tolist(),
        seed=[0],
    )
    accuracy = digits.accuracy if task == "digits" else vanishing.accuracy
    rows = []
    for pruning in (None, jaxrnn.sweeps.halving(first=round(config.share * STEPS[task]))):
        start = time.perf_counter()
        found = jaxrnn.sweep(
            what,
            space,
            key=jax.random.key(repetition),
            steps=STEPS[task],
            strategy="map",
            memory=2**30,
            mesh=mesh,
            pruning=pruning,
            progress=False,
        )
        seconds = time.perf_counter() - start
        best, at = found.best, int(found.columns["best_step"][found.best])
        model, loss, _ = what.build(jaxrnn.Hyper(found.members[best]))
        data = unseen(task, config.length)
        rows.append(
            {
                "lr": found.members[best]["lr"],
                "clip": found.members[best]["clip"],
                "loss": float(found.columns["score"][best]),
                "validation": float(found.validation["accuracy"][best][found.validation_steps.tolist().index(at)]),
                "test": jaxrnn.evaluate(model, found.params(best), loss, data, metrics={"accuracy": accuracy})[
                    "accuracy"
                ],
                "steps": int(found.columns["steps"].sum()),
                "seconds": seconds,
            }
        )
    return rows


def main(config: Config) -> None:
    """Prints a table and writes it as JSON."""
    print(
        "| task | key | best of all: lr, clip, validation, test | of halving | work | time |\n|---|---|---|---|---|---|"
    )
    found: dict[str, Any] = {}
    for task in STEPS:
        for repetition in range(config.repetitions):
            whole, halved = rows = measure(task, repetition, config)
            found.setdefault(task, []).append(rows)
            each = [
                f"{r['lr']:.2g}, {r['clip']:.2g}, {100 * r['validation']:.1f} %, {100 * r['test']:.1f} %" for r in rows
            ]
            shares = (
                f"{100 * halved['steps'] / whole['steps']:.0f} % | {100 * halved['seconds'] / whole['seconds']:.0f} %"
            )
            print(f"| {task} | {repetition} | {each[0]} | {each[1]} | {shares} |", flush=True)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    config.out.write_text(json.dumps({"machine": machine(), "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Config))
