"""Strict settings for all tests, and the fixtures for the two precisions."""

import gc
import itertools
import os

import jax
import numpy as np
import pytest

from tests.compiling import CHEAP

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


FILES = itertools.count(1)


@pytest.fixture(scope="module", autouse=True)
def _forgotten_programs():
    """Frees what some files compiled: the next ones have little use for it, and a worker would grow to gigabytes."""
    yield
    if next(FILES) % 8 == 0:
        jax.clear_caches()


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
