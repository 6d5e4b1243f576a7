"""One wrong call, and the small right arguments that wrong ones are made from."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from tests.helpers import random_like

T, B, D, H, O = 5, 2, 3, 4, 2


class Case(NamedTuple):
    """A call and its error, whose message is "{argument}: expected {expected}, got {got}", by fragments.

    Attributes:
      name: as it appears in the test's name.
      call: the wrong call.
      error: the exception's type.
      argument: what the message begins with.
      expected, got: parts of what it says was expected and came.
    """

    name: str
    call: Callable[[], Any]
    error: type[Exception]
    argument: str
    expected: str
    got: str


def drawn(thing: Any) -> Any:
    """Parameters of a cell or model as NumPy arrays: nothing is compiled for them."""
    return random_like(jax.eval_shape(thing.init, jax.random.key(0)), np.random.default_rng(0), np.float32)


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def changed(params: dict[str, Any], **entries: Any) -> dict[str, Any]:
    """A dict with some entries replaced, or taken out if None."""
    return {name: x for name, x in (params | entries).items() if x is not None}


NOT_SIZES = ((0, "0"), (-1, "-1"), (2.0, "2.0"), (True, "True"), ("3", "'3'"), (None, "None"))


def sizes(function: str, argument: str, call: Callable[[Any], Any]) -> list[Case]:
    """Everything that is no size, for one argument."""
    return [
        Case(f"{function}-{argument}={value!r}", lambda value=value: call(value), ValueError, argument, "integer", got)
        for value, got in NOT_SIZES
    ]


def each(
    function: str, argument: str, call: Callable[[Any], Any], error: type[Exception], expected: str, *values: Any
) -> list[Case]:
    """Several wrong values of one argument, each of which the message shows."""
    return [
        Case(f"{function}-{argument}={value!r}", lambda value=value: call(value), error, argument, expected, str(value))
        for value in values
    ]


XS, ROWS = ones(T, B, D), ones(T, D)
KEYS = jax.random.split(jax.random.key(0), 2)


def not_keys(function: str, call: Callable[[Any], Any]) -> list[Case]:
    """Everything that is no random key."""
    values = {"integer": (0, "int 0"), "batch": (KEYS, "key<fry>[2]"), "floats": (ones(2), "float32[2]")}
    values["long"] = np.ones(5, np.uint32), "uint32[5]"
    return [
        Case(f"{function}-key-{what}", lambda value=value: call(value), TypeError, "key", "random key", got)
        for what, (value, got) in values.items()
    ]
