"""Functions that are compared by their code and the values they read, and that can be pickled.

Cells hold functions: initialisers, activations, equations. To Python, two functions of the same code are different, and
a function made inside another one, such as `jax.nn.initializers.normal(0.1)`, can't be pickled.
"""

import functools
import importlib
import types
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

LIBRARIES = ("jax", "jaxrnn")
"""Packages whose functions are not redefined while a program runs."""
LARGE = 2**20
"""Bytes of the largest array that is copied, so that a change to it is noticed."""


class Function:
    """A function that equals another one of the same code and module whose closure and globals have equal values.

    The values of its closure and globals are noted when it is wrapped. After a helper is redefined, as in a notebook,
    or a setting is changed, the function is another one, though its own code is the same. Some changes go unnoticed, as
    under `jax.jit`: changes in place of arrays above one megabyte, of modules, of lists of a user's class, and of
    values nested more than three deep.
    """

    def __init__(self, function: Callable[..., Any]):
        self.__wrapped__ = function
        self.read: tuple[Any, ...] = _read(function)
        self.__name__: str = getattr(function, "__name__", type(function).__name__)

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.__wrapped__(*args, **options)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Function):
            return False
        return _equal(self.__wrapped__, other.__wrapped__) and _equal(self.read, other.read)

    def __hash__(self) -> int:
        f: Any = self.__wrapped__
        if type(f) is functools.partial:
            return hash(Function(f.func))
        return hash(f.__code__) if isinstance(f, types.FunctionType) else hash(f)

    def __repr__(self) -> str:
        return self.__name__

    def __reduce__(self) -> tuple[Any, ...]:
        return _function, _reduced(self.__wrapped__)


class Number:
    """A number that equals another of the same type and sign: 1, 1.0 and True are three, and so are 0.0 and -0.0."""

    def __init__(self, value: Any):
        self.__wrapped__ = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Number) and _equal(self.__wrapped__, other.__wrapped__)

    def __hash__(self) -> int:
        return hash(self.__wrapped__)

    def __repr__(self) -> str:
        return repr(self.__wrapped__)


def unwrapped(f: Any) -> Any:
    """The function inside a `Function`; any other value as it is, a `jax.tree_util.Partial` with arguments included."""
    if isinstance(f, jax.tree_util.Partial) and not f.args and not f.keywords:
        f = f.func
    return f.__wrapped__ if isinstance(f, Function) else f


def wrapped(value: Any) -> Any:
    """A static option with each function in it as a `Function`, and each number as a `Number`."""
    if type(value) is tuple:
        return tuple(map(wrapped, value))
    if isinstance(value, (bool, int, float, complex)):
        return Number(value)
    is_function = callable(value) and not isinstance(value, (type, Function, jax.tree_util.Partial))
    return Function(value) if is_function else value


def restored(value: Any) -> Any:
    """The inverse of `wrapped`."""
    if type(value) is tuple:
        return tuple(map(restored, value))
    return value.__wrapped__ if isinstance(value, (Function, Number)) else value


def refreshed(value: Any) -> Any:
    """A leaf whose functions are wrapped anew, since the values they read may have changed."""
    if isinstance(value, jax.tree_util.Partial) and isinstance(value.func, Function):
        return jax.tree_util.Partial(Function(value.func.__wrapped__), *value.args, **value.keywords)
    return tuple(map(refreshed, value)) if type(value) is tuple else value


def _read(f: Any, seen: tuple[Any, ...] = ()) -> tuple[Any, ...]:
    """All values of a function's closure and globals, and those that the functions among them read."""
    for _ in range(8):  # partial, method, `jax.jit`, `jax.custom_vjp`, nested
        if isinstance(f, types.FunctionType):
            break
        inner = (getattr(f, name, None) for name in ("func", "__func__", "__wrapped__", "fun"))
        f = next((g for g in inner if callable(g)), None)
    if not reads_module(f) or f in seen:
        return ()
    values = [f.__globals__[name] for name in _names(f.__code__) if name in f.__globals__]
    values += closure(f)
    return (*map(_noted, values), *(_read(value, (*seen, f)) for value in values if callable(value)))


def closure(f: types.FunctionType) -> list[Any]:
    """The values that a function closes over; None for a variable that is not set yet."""
    found: list[Any] = []
    for cell in f.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:
            found.append(None)
    return found


def _noted(value: Any, depth: int = 3) -> Any:
    """A copy of a value that can be changed in place."""
    if isinstance(value, np.ndarray):
        return value.copy() if value.nbytes <= LARGE else value
    if depth == 0 or callable(value) or isinstance(value, (types.ModuleType, jax.Array)):
        return value
    if isinstance(value, dict):
        return {key: _noted(x, depth - 1) for key, x in value.items()}
    if type(value) is list or isinstance(value, tuple):
        return type(value), [_noted(x, depth - 1) for x in value]
    return (type(value), _noted(vars(value), depth - 1)) if hasattr(value, "__dict__") else value


def reads_module(f: Any) -> bool:
    """Tells whether a function is the user's: globals of its module may change."""
    return isinstance(f, types.FunctionType) and str(f.__module__).partition(".")[0] not in LIBRARIES


@functools.cache
def _names(code: types.CodeType) -> tuple[str, ...]:
    """The names that a function and the functions inside it read."""
    return tuple(sorted({*code.co_names, *(name for inner in _made_by(code) for name in _names(inner))}))


def _equal(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if isinstance(a, types.FunctionType) and isinstance(b, types.FunctionType):
        same = a.__code__ == b.__code__ and a.__module__ == b.__module__
        return same and all(map(_equal, _held(a), _held(b)))
    if type(a) is not type(b):
        return False
    if type(a) is functools.partial:
        return all(map(_equal, (a.func, a.args, a.keywords), (b.func, b.args, b.keywords)))
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, (np.ndarray, jax.Array)):
        return a.dtype == b.dtype and a.shape == b.shape and _same_bytes(a, b)
    return repr(a) == repr(b) if isinstance(a, (float, complex)) else bool(a == b)


def _same_bytes(a: Any, b: Any) -> bool:
    try:
        return np.asarray(a).tobytes() == np.asarray(b).tobytes()
    except (TypeError, jax.errors.TracerArrayConversionError):  # random keys; traced arrays
        return False


def _held(f: types.FunctionType) -> list[Any]:
    """The values that belong to a function beside its code: defaults and closure."""
    return [f.__defaults__, f.__kwdefaults__, *closure(f)]


def _reduced(f: Any) -> tuple[Any, ...]:
    """The address of a function: (module, path), or those of the function around it, the code's index and closure."""
    if type(f) is functools.partial:
        return functools.partial, Function(f.func), f.args, f.keywords
    module, path = getattr(f, "__module__", None), getattr(f, "__qualname__", "")
    if module is None:
        return (f,)
    names = [path, *(name for name, x in vars(importlib.import_module(module)).items() if x is f)]
    for name in names:
        if "<" not in name and _found(module, name) is f:
            return module, name
    if isinstance(f, types.FunctionType) and ".<locals>." in path:
        outer, _, _ = path.rpartition(".<locals>.")
        codes = _codes(module, outer)
        if f.__code__ in codes:
            held = [wrapped(x) if callable(x) else x for x in _held(f)]
            return module, outer, codes.index(f.__code__), f.__name__, *held
    return (f,)  # `cloudpickle` can pickle it; `pickle` raises


def _function(module: Any, path: Any = "", index: Any = None, name: Any = "", *held: Any) -> Function:
    if module is functools.partial:
        return Function(functools.partial(path.__wrapped__, *index, **name))
    if not isinstance(module, str):
        return Function(module)
    if index is None:
        return Function(_found(module, path))
    defaults, keywords, *closure = held
    code = _codes(module, path)[index]
    cells = tuple(types.CellType(restored(x)) for x in closure)
    f = types.FunctionType(code, vars(importlib.import_module(module)), name, defaults, cells)
    f.__kwdefaults__, f.__qualname__ = keywords, f"{path}.<locals>.{name}"
    return Function(f)


def _found(module: str, path: str) -> Any:
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name, None)
    return found


def _codes(module: str, path: str) -> list[types.CodeType]:
    """The codes of all functions that are defined inside a function."""
    outermost, *inner = path.split(".<locals>.")
    f = _found(module, outermost)
    while hasattr(f, "__wrapped__"):
        f = f.__wrapped__
    code = getattr(f, "__code__", None)
    for name in inner:
        code = next((c for c in _made_by(code) if c.co_name == name), None)
    return _made_by(code)


def _made_by(code: Any) -> list[types.CodeType]:
    return [c for c in getattr(code, "co_consts", ()) if isinstance(c, types.CodeType)]
