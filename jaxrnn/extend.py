"""Names for writing a Model, Cell or Gradient of your own: fields that are data, and the options of a call."""

from jaxrnn.driver import run_layer
from jaxrnn.types import Call, Inputs, Step, leaf, pytree

__all__ = [
    "Call",
    "Inputs",
    "Step",
    "leaf",
    "pytree",
    "run_layer",
]


def __dir__() -> list[str]:
    return __all__
