"""Strict settings for all tests, and the fixtures for the two precisions."""

import gc
import os
import resource
import sys

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


MEMORY = 2**30
"""Bytes from which on a worker forgets the programs of each file that it has run."""


@pytest.fixture(scope="module", autouse=True)
def _forgotten_programs():
    yield
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) > MEMORY:
        jax.clear_caches()
        gc.collect()


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
