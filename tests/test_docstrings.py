"""The examples in docstrings run and print what they say, and each public function and class has one."""

import doctest
import importlib
import operator
import os
import pathlib
import pkgutil
import runpy

import jax
import pytest

import jaxrnn

os.environ.setdefault("KERAS_BACKEND", "jax")
OPTIONAL = ("equinox", "haiku", "keras")  # libraries that the extra "test" does not install
MODULES = [info.name for info in pkgutil.walk_packages(jaxrnn.__path__, "jaxrnn.")]
EXAMPLES = [
    pytest.param(test, id=test.name)
    for name in MODULES
    for test in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))
    if test.examples
]
PUBLIC = [*runpy.run_path(str(pathlib.Path(__file__).parents[1] / "docs/conf.py"))["public_names"]()]


@pytest.mark.parametrize("test", EXAMPLES)
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning")  # Keras's own
def test_example(test):
    for library in OPTIONAL:
        if any(library in example.source for example in test.examples):
            pytest.importorskip(library)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        assert runner.run(test).failed == 0


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_function_and_class_has_an_example(name):
    thing = operator.attrgetter(name.removeprefix("jaxrnn."))(jaxrnn)
    assert callable(thing)  # there are no public constants, type aliases or exceptions, which may do without
    assert f"{thing.__module__}.{thing.__qualname__}" in [example.id for example in EXAMPLES]
