"""The examples in docstrings run and print what they say."""

import doctest
import importlib
import pkgutil

import jax
import pytest

import jaxrnn

MODULES = [info.name for info in pkgutil.walk_packages(jaxrnn.__path__, "jaxrnn.")]
EXAMPLES = [
    pytest.param(test, id=test.name)
    for name in MODULES
    for test in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))
    if test.examples
]


@pytest.mark.parametrize("test", EXAMPLES)
def test_example(test):
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        assert runner.run(test).failed == 0
