"""Numbers that tell values apart: data by their bytes, functions by what they compute."""

import dataclasses
import functools
import hashlib
import types
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import checks
from jaxrnn.functions import reads_module, unwrapped


def digest(tree: Any) -> str:
    """A number that two trees of arrays share if all their names, shapes, types and bytes are equal."""
    found = hashlib.sha1(usedforsecurity=False)
    for path, x in jax.tree_util.tree_leaves_with_path(tree):
        found.update(f"{jax.tree_util.keystr(path)} {checks.short(x)}".encode())
        found.update(np.ascontiguousarray(x).tobytes())
    return found.hexdigest()


def fingerprint(value: Any) -> str:
    """A number that tells functions by their code and constants, what they close over and read of their module.

    What comes from a library is known by its name and options. Not told: what an object of C keeps to itself.
    """
    return _Fingerprints().of(value).hex()[:12]


Piece = str | bytes


class _Fingerprints:
    """Fingerprints of values in values, each computed once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, bytes]] = {}

    def of(self, value: Any) -> bytes:
        value = unwrapped(value)
        if id(value) in self._known:
            return self._known[id(value)][1]
        kind, found = type(value), hashlib.sha1(usedforsecurity=False)
        self._known[id(value)] = value, b"above"  # what holds itself
        for piece in (f"{kind.__module__}.{kind.__qualname__}", *self._pieces(value)):
            found.update(piece if isinstance(piece, bytes) else piece.encode())
            found.update(b"|")
        self._known[id(value)] = value, found.digest()
        return found.digest()

    def _pieces(self, value: Any) -> Iterator[Piece]:
        inside = getattr(value, "__wrapped__", getattr(value, "fun", None))  # of jax.jit, jax.custom_vjp
        if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
            yield repr(value)
        elif isinstance(value, (np.ndarray, np.generic, jax.Array)):
            if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
                value = jax.random.key_data(value)
            x = np.asarray(value)
            yield f"{x.dtype} {x.shape}"
            yield x.tobytes() if x.dtype != object else repr(x)
        elif isinstance(value, (functools.partial, jax.tree_util.Partial)):
            yield from map(self.of, (value.func, value.args, value.keywords))
        elif isinstance(value, types.FunctionType):
            yield from self._of_function(value)
        elif isinstance(value, types.MethodType):
            yield from map(self.of, (value.__func__, value.__self__))
        elif isinstance(value, types.CodeType):
            yield value.co_code
            yield repr(value.co_names)
            yield from map(self.of, value.co_consts)
        elif isinstance(value, (set, frozenset)):
            yield repr(sorted(map(repr, value)))
        elif isinstance(value, dict):
            for key in sorted(value, key=repr):
                yield repr(key)
                yield self.of(value[key])
        elif isinstance(value, (list, tuple)):
            yield from map(self.of, value)
        elif isinstance(value, (type, types.ModuleType, types.BuiltinFunctionType)):
            yield getattr(value, "__qualname__", value.__name__)
        elif isinstance(inside, types.FunctionType):
            yield self.of(inside)
        else:
            yield from self._of_object(value)

    def _of_function(self, f: types.FunctionType) -> Iterator[Piece]:
        yield from map(self.of, (f.__defaults__, f.__kwdefaults__, list(_closed_over(f))))
        if not reads_module(f) or f.__module__.partition(".")[0] in ("optax", "flax", "numpy"):
            yield f"{f.__module__}.{f.__qualname__}"
            return
        yield self.of(f.__code__)
        for name in sorted(_names(f.__code__) & set(f.__globals__)):
            yield name
            yield self.of(f.__globals__[name])

    def _of_object(self, value: Any) -> Iterator[Piece]:
        """An object by its fields, and by the code of its class, if that is a user's."""
        names = sorted(getattr(value, "__dict__", {}))
        if dataclasses.is_dataclass(value):
            names = [f.name for f in dataclasses.fields(value)]
        for name in names:
            yield name
            yield self.of(getattr(value, name, None))
        for cls in type(value).__mro__:
            for name, method in sorted(vars(cls).items()):
                if reads_module(method) and not name.startswith("__"):
                    yield self.of(method)


def _closed_over(f: types.FunctionType) -> Iterable[Any]:
    for cell in f.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # none yet
            yield None


def _names(code: types.CodeType) -> set[str]:
    """The names that a function, or one inside it, reads."""
    return set(code.co_names).union(*(_names(x) for x in code.co_consts if isinstance(x, types.CodeType)))
