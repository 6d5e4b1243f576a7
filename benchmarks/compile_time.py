"""Seconds from weights and data to the first outputs and gradient: tracing, compiling and one run.

The seconds are listed by the number of steps, on which a loop's compile time must not depend, and of layers.
"""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
import tyro

from benchmarks.case import Case, data
from benchmarks.layer import OURS, PEERS, SCAN, available
from benchmarks.peers.program import NotOfferedError
from benchmarks.timing import machine, seconds

STEPS = [Case("lstm", 8, T, 64, 64) for T in (10, 100, 1000)]
LAYERS = [Case("lstm", 8, 100, 64, 64, layers) for layers in (2, 4, 8)]
OTHERS = [Case("elman", 8, 100, 64, 64), Case("gru", 8, 100, 64, 64), Case("lstm", 8, 100, 64, 64, directions=2)]


@dataclasses.dataclass(frozen=True)
class Config:
    """Seconds to the first result, beside every library."""

    rounds: int = 5
    """Number of times that each is compiled."""
    peers: tuple[str, ...] = tuple(PEERS)
    """Libraries to compare with."""
    own: tuple[str, ...] = (OURS, "jaxrnn, autodiff", SCAN)
    """Ways of jaxrnn to time."""
    out: pathlib.Path = pathlib.Path("benchmarks/results/compile_time.json")
    """File for the figures."""


def measure(case: Case, ways: dict[str, Any], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round; all are compiled once a round, in turn.

    Each round has one more step than the one before, so that no program and no trace is left from it.
    """
    found: dict[str, list[float]] = {}
    for T in range(case.T, case.T + rounds):
        given = case._replace(T=T), data(case._replace(T=T))
        for name, make in ways.items():
            try:
                found.setdefault(name, []).append(seconds(lambda make=make, given=given: make(*given).run()))
            except NotOfferedError:
                found.pop(name)
    return found


def main(config: Config) -> list[dict[str, Any]]:
    """Measures all; prints a table and writes it as JSON."""
    ways = available(config.own, config.peers)
    measure(Case("lstm", 1, 2, 2, 2), ways, 1)  # work that a library does once in a process
    print(f"| case | {' | '.join(ways)} |\n|{'---|' * (len(ways) + 1)}")
    rows = []
    for case in STEPS + LAYERS + OTHERS:
        found = measure(case, ways, config.rounds)
        rows.append({"case": case._asdict(), "seconds": found})
        quartiles = {name: np.quantile(times, [0.5, 0.25, 0.75]) for name, times in found.items()}
        shown = ["{:.2f} ({:.2f} to {:.2f})".format(*quartiles[name]) if name in quartiles else "-" for name in ways]
        print(f"| {case.cell} {case} | {' | '.join(shown)} |", flush=True)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    config.out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    return rows


if __name__ == "__main__":
    main(tyro.cli(Config))
