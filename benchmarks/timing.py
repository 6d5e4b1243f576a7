"""Interleaved timing of functions in one process, and the machine that it was done on."""

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np


class Timing(NamedTuple):
    """Seconds: the first call (compiling included), then the median and the quartiles of the others."""

    first: float
    median: float
    low: float
    high: float


def interleaved(functions: dict[str, Callable[[], Any]], rounds: int, at_least: float = 2.0) -> dict[str, Timing]:
    """Times each function once a round, so that a change of the machine's speed meets all of them.

    The order differs in each round, so that a function does not always run after the same one, which leaves its data in
    the caches or its threads waiting.

    Args:
      functions: the functions to time, by name.
      rounds: the least number of rounds.
      at_least: the least number of seconds: a short program needs more rounds for the same spread.
    """
    first = {name: seconds(f) for name, f in functions.items()}
    times: dict[str, list[float]] = {name: [] for name in functions}
    names, order, start = list(functions), np.random.default_rng(0), time.perf_counter()
    while len(next(iter(times.values()))) < rounds or time.perf_counter() - start < at_least:
        for i in order.permutation(len(names)):
            times[names[i]].append(seconds(functions[names[i]]))
    quartiles = {name: np.quantile(t, [0.5, 0.25, 0.75]).tolist() for name, t in times.items()}
    return {name: Timing(first[name], *quartiles[name]) for name in functions}


def seconds(f: Callable[[], Any]) -> float:
    """The seconds that a call takes, until its results are ready."""
    start = time.perf_counter()
    jax.block_until_ready(f())
    return time.perf_counter() - start


def geometric_mean(values: list[float]) -> float:
    """exp of the mean of logarithms."""
    return float(np.exp(np.mean(np.log(values))))


def machine(*packages: str) -> dict[str, Any]:
    """The device and versions, including those of further packages that are installed."""
    installed = {name: _version(name) for name in ("jax", "jaxlib", *packages)}
    return {
        "device": jax.devices()[0].device_kind,
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        **{name: version for name, version in installed.items() if version is not None},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
