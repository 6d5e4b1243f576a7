"""The registry lists every cell that the library has."""

import importlib
import inspect
import pkgutil

import jax

import jaxrnn
import jaxrnn.cells
from tests.registry import ENTRIES


def cell_modules():
    names = [m.name for m in pkgutil.iter_modules(jaxrnn.cells.__path__) if m.name != "gates"]
    assert {"elman", "lstm", "gru", "ctrnn", "custom"} <= set(names)
    return [importlib.import_module(f"jaxrnn.cells.{name}") for name in names]


def test_every_cell_class_is_built_by_some_entry():
    classes = {
        value
        for module in cell_modules()
        for value in vars(module).values()
        if inspect.isclass(value)
        and value.__module__ == module.__name__
        and issubclass(value, jaxrnn.Cell)
        and not inspect.isabstract(value)
    }
    assert classes == {type(entry.build()) for entry in ENTRIES}


def test_every_builder_appears():
    """A builder is a public function of jaxrnn/cells that the package exports."""
    builders = {
        value
        for module in cell_modules()
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and getattr(jaxrnn, name, None) is value
    }
    assert builders == {entry.builder for entry in ENTRIES}


def test_what_the_registry_says_of_its_cells_is_true():
    for entry in ENTRIES:
        cell = entry.build()
        assert isinstance(cell, jaxrnn.GatedCell) == entry.gated, entry.name
        assert (cell.noise(jax.random.key(0), 2, ()) is not None) == entry.noisy, entry.name
    assert len({entry.name for entry in ENTRIES}) == len(ENTRIES)
