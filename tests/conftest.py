"""Strict settings for all tests, and the fixtures for the two precisions."""

import collections
import ctypes
import gc
import json
import os
import pathlib
import signal
import sys

import jax
import numpy as np
import psutil
import pytest

from tests.compiling import CHEAP

signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it in what runs in the background
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
if not os.environ.get("JAXRNN_TESTS_OPTIMISED"):  # programs run once: they are compiled in a hurry
    jax.config.update("jax_disable_most_optimizations", True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", f"{os.environ.get('XLA_FLAGS', '')} {CHEAP['XLA_FLAGS']}".strip())
        jax.devices()  # reads them, once


def pytest_collection_finish():
    """Collections of garbage, with a callback of JAX's in each, take a tenth of the time otherwise."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


MEASURED = pathlib.Path(__file__).with_name("seconds.json")
"""Seconds of each test that takes long, as `python -m pytest -m "" --record` measured them."""
LONG, ONE = 0.4, 1.0
"""Tests that take LONG seconds are marked slow, except the quickest case of a function if it takes less than ONE."""


def pytest_addoption(parser):
    parser.addoption("--record", action="store_true", help=f"write the seconds of each test to {MEASURED.name}")
    parser.addoption("--share", default="0/1", help="K/N: every N-th test only, in the order of their seconds")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    measured = json.loads(MEASURED.read_text())
    seconds, functions = {item: measured.get(item.nodeid, 0.0) for item in items}, collections.defaultdict(list)
    for item in items:
        functions[item.nodeid.partition("[")[0]].append(item)
    for cases in functions.values():
        quickest = min(cases, key=seconds.get)
        for item in cases:
            kept = item is quickest and seconds[item] < ONE
            kept |= any(all(part in item.name for part in mark.args) for mark in item.iter_markers("always"))
            if seconds[item] >= LONG and not kept:
                item.add_marker(pytest.mark.slow)
    number, count = map(int, config.getoption("share").split("/"))
    slow = sorted((item for item in items if item.get_closest_marker("slow")), key=lambda item: -seconds[item])
    others = {item for i, item in enumerate(slow) if i % count != number % count}
    config.hook.pytest_deselected(items=[*others])
    items[:] = [item for item in items if item not in others]


class _Record:
    """Writes the seconds of all tests that were run; those of others stay."""

    def __init__(self):
        self.seconds = collections.Counter()

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self):
        found = json.loads(MEASURED.read_text()) | {name: round(took, 2) for name, took in self.seconds.items()}
        long = {name: took for name, took in sorted(found.items()) if took >= LONG}
        MEASURED.write_text(json.dumps(long, indent=0) + "\n")


def pytest_configure(config):
    if config.getoption("record") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Record())


PEAKS = {}
"""The largest memory of each worker, in MB."""


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    PEAKS[node.gateway.id] = getattr(node, "workeroutput", {}).get("peak")


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput") and sys.platform == "linux":
        import resource

        session.config.workeroutput["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def pytest_terminal_summary(terminalreporter):
    for worker, peak in sorted(PEAKS.items()):
        if peak is not None:
            terminalreporter.write_line(f"{worker}: at most {peak:,.0f} MB of memory")


MEMORY = 3 * 2**29
"""Bytes from which on a worker forgets the programs that it has compiled."""


@pytest.fixture(autouse=True)
def _forgotten_programs():
    yield
    if psutil.Process().memory_info().rss > MEMORY:
        jax.clear_caches()
        gc.collect()
        if sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture
def x64():
    """float64 for the length of a test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=["float64", "float32"])
def precision(request):
    """Each dtype in turn, with the tolerance that exact equations meet in it."""
    with jax.enable_x64(request.param == "float64"):
        yield np.dtype(request.param), {"float64": 1e-10, "float32": 1e-5}[request.param]
