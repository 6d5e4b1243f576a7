"""Right calls, one wrong value of each kind of argument, and the wrong calls that are made of both."""

import functools
import inspect
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import jaxrnn
from jaxrnn import checks
from jaxrnn.checks import OutOfRangeError
from tests.bad_input.values import ELMAN, LONG, B, D, T, ones

PLACES = [jaxrnn, *(place for name in dir(jaxrnn) if inspect.ismodule(place := getattr(jaxrnn, name)))]
PUBLIC = {name: f for place in PLACES for name in place.__all__ if inspect.isfunction(f := getattr(place, name))}

# fmt: off
# A wrong value, its error, and what is expected of it. Where None is right, a value as false as None is wrong. The
# checks, each of which refuses more values, are tested in tests/test_checks.py.
KINDS: dict[str, tuple[Any, type[Exception], str]] = {
    "size": (0, ValueError, "a positive integer"), "symbol": (-1, ValueError, "an integer of at least 0"),
    "rate": (1.0, ValueError, "in [0, 1)"), "finite": (np.inf, ValueError, "that is finite"),
    "above_0": (0.0, ValueError, "above 0"), "above_2": (2.0, ValueError, "above 2"),
    "not_negative": (-0.1, ValueError, "of at least 0"), "option": ("other", ValueError, "one of ("),
    "flag": (1, TypeError, "True or False"), "function": (0, TypeError, "a function"),
    "initializer": (len, TypeError, "a function of (key, shape, dtype), got one of (obj, /)"),
    "activation": (lambda: 0.0, TypeError, "a function of (z), got one of ()"), "path": (3, TypeError, "the path of a"),
    "dtype": ("int8", TypeError, "a floating-point dtype"), "key": (0, TypeError, "a random key"),
    "gradient": (0, TypeError, "a Gradient"), "cell": ("lstm", TypeError, "Cell"),
    "model": (ELMAN, TypeError, "a Model"), "optimizer": ("adam", TypeError, "a GradientTransformation"),
    "metrics": ([], TypeError, "a dict of functions"), "dict": ([], TypeError, "a dict"),
    "mesh": (0, TypeError, "a Mesh"), "array": ("xs", TypeError, "an array"),
    "leaf": (b"x", TypeError, "an array"), "params": ({}, ValueError, "a dict with the entries [', got a dict with []"),
    "features": (ones(T, B, D + 1), ValueError, f"{D} features"), "steps": (ones(T, B), TypeError, "booleans"),
    "lengths": (LONG, ValueError, f"values from 0 to T = {T}, got 1 to {T + 1}"),
    "rows": ([1, 1, 1], ValueError, f"shape ({B},), got int32[3]"),
}
# fmt: on


class Right(NamedTuple):
    """A call that is right; `kinds` are (argument, which of KINDS it is), each of them a wrong call."""

    name: str
    call: Callable[..., Any]
    arguments: dict[str, Any]
    kinds: list[tuple[str, str]]


class Wrong(NamedTuple):
    """A wrong call: what it changes in the right one before it, and fragments of "argument: expected, got got".

    Where the fragments leave them out, the argument is the first that changes, and what came is the text of its value.
    """

    error: type[Exception]
    message: str
    changes: dict[str, Any]


class Entries(dict[str, Any]):
    """Entries that change in an argument that is a dict."""


def right(name: str, arguments: dict[str, Any], shared: Any = None, /, call: Any = None, **kinds: str) -> Right:
    """A right call of the public function `name`, or of `call`; kinds, own and shared, are {kind: arguments}."""
    named = [(argument, kind) for some in (shared or {}, kinds) for kind in some for argument in some[kind].split()]
    return Right(name, call or PUBLIC[name.split()[0]], arguments, named)


def bad_value(message: str, /, **changes: Any) -> Wrong:
    return Wrong(ValueError, message, changes)


def bad_type(message: str, /, **changes: Any) -> Wrong:
    return Wrong(TypeError, message, changes)


def refused(call: Callable[[], Any], error: type, argument: str, expected: str, got: tuple[str, ...]) -> None:
    """Checks that a call raises an error "{argument}: expected {expected}, got {got}", by fragments, one of `got`."""
    with pytest.raises(error) as info:
        call()
    name, _, rest = str(info.value).partition(": expected ")
    wanted, _, came = rest.rpartition("got ")
    assert type(info.value) in (error, OutOfRangeError)
    assert name.startswith(argument), str(info.value)
    assert expected in wanted, str(info.value)
    assert any(text in came for text in got), str(info.value)


class Case(NamedTuple):
    """The check of a wrong call, and its name in the test's."""

    name: str
    check: Callable[[], None]


def cases(table: Iterable[Right | Wrong]) -> Iterator[Case]:
    """The wrong calls of a table, in which those of a function stand behind its right one."""
    numbers = defaultdict(itertools.count)
    for row in table:
        wrong = [row]
        if isinstance(row, Right):
            right = row
            wrong = [Wrong(*KINDS[kind][1:], {argument: KINDS[kind][0]}) for argument, kind in row.kinds]
        for error, message, changes in wrong:
            said, *got = message.rsplit(", got ", 1)
            path, _, expected = said.rpartition(": ")
            first = next(iter(changes), "")
            value = changes.get(path or first, changes.get(first))
            wrongs = {k: right.arguments[k] | v if isinstance(v, Entries) else v for k, v in changes.items()}
            name, call = "-".join((right.name, *changes)), functools.partial(right.call, **right.arguments | wrongs)
            texts = tuple(got) or (checks.short(value), repr(value))
            check = functools.partial(refused, call, error, path or first, expected, texts)
            yield Case(f"{name}-{next(numbers[name])}", check)
