"""Numbers that tell values apart: data by their bytes, functions by their code and the values that they read."""

import dataclasses
import dis
import functools
import hashlib
import operator
import random
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import checks
from jaxrnn.functions import closure, unwrapped


def digest(tree: Any) -> str:
    """A number that two trees of arrays share if all their names, shapes, types and bytes are equal."""
    found = hashlib.sha1(usedforsecurity=False)
    for path, x in jax.tree_util.tree_leaves_with_path(tree):
        found.update(f"{jax.tree_util.keystr(path)} {checks.short(x)}".encode())
        found.update(np.ascontiguousarray(x).tobytes())
    return found.hexdigest()


SHORT = 100
"""Longer strings and lists are not told as settings; a fingerprint is of all."""


def described(f: Any) -> dict[str, str]:
    """The settings, the name and the fingerprint of a function, or of a tuple of functions."""
    return settings(f) | {"name": getattr(f, "__qualname__", type(f).__name__), "fingerprint": fingerprint(f)}


def settings(f: Any) -> dict[str, str]:
    """The numbers and short strings that a function closes over or has as defaults, by their names in its code."""
    found: dict[str, str] = {}
    seen: dict[int, Any] = {}  # by id, which another value may get once they are gone

    def visit(name: str, value: Any) -> None:
        value = unwrapped(value)
        if isinstance(value, (bool, int, float, complex)) or (isinstance(value, str) and len(value) <= SHORT):
            same = sum(label.partition(" ")[0] == name for label in found)
            found[f"{name} ({same + 1})" if same else name] = repr(value)
        elif id(value) in seen or (isinstance(value, (dict, list, tuple)) and len(value) > SHORT):
            return
        seen[id(value)] = value
        if isinstance(value, types.FunctionType):
            code = value.__code__
            defaults = value.__defaults__ or ()
            visit(name, dict(zip(code.co_freevars, closure(value), strict=True)))
            visit(name, dict(zip(code.co_varnames[code.co_argcount - len(defaults) :], defaults, strict=False)))
            visit(name, value.__kwdefaults__)
        elif isinstance(value, (functools.partial, jax.tree_util.Partial)):
            visit(name, (value.func, value.args, value.keywords))
        elif isinstance(value, dict):
            for key, x in value.items():
                visit(str(key), x)
        elif isinstance(value, (list, tuple)):
            for x in value:
                visit(name, x)

    visit("value", f)
    return found


def fingerprint(value: Any) -> str:
    """The fingerprint of a function: of its code, its constants, its closure and the names that it reads of its module.

    Functions of a library count by their names and options. The inner state of C objects does not count.
    """
    return _Fingerprints().of(value).hex()[:12]


Piece = str | bytes


class _Fingerprints:
    """Fingerprints of nested values, each computed once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, bytes]] = {}

    def of(self, value: Any) -> bytes:
        value = unwrapped(value)
        if id(value) in self._known:
            return self._known[id(value)][1]
        kind, found = type(value), hashlib.sha1(usedforsecurity=False)
        self._known[id(value)] = value, b"above"  # stands for a value that contains itself
        try:
            module = kind.__module__ if _is_library(kind.__module__) else ""  # a script is __main__, or has a name
            for piece in (f"{module}.{kind.__qualname__}", *self._pieces(value)):
                found.update(piece if isinstance(piece, bytes) else piece.encode())
                found.update(b"|")
        except RecursionError:  # nested too deeply
            found.update(b"deep")
        self._known[id(value)] = value, found.digest()
        return found.digest()

    def _pieces(self, value: Any) -> Iterator[Piece]:
        inside = getattr(value, "__wrapped__", getattr(value, "fun", None))  # inside jax.jit, jax.custom_vjp
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
            yield from sorted(map(self.of, value))
        elif isinstance(value, Mapping):
            for key, x in sorted(((self.of(key), x) for key, x in value.items()), key=operator.itemgetter(0)):
                yield key
                yield self.of(x)
        elif isinstance(value, (list, tuple)):
            yield from map(self.of, value)
        elif isinstance(value, (type, types.ModuleType, types.BuiltinFunctionType)):
            yield getattr(value, "__qualname__", value.__name__)
            if isinstance(value, type):
                yield from self._of_class(value)
        elif isinstance(inside, types.FunctionType):
            yield self.of(inside)
            for rule in ("fwd", "bwd", "jvp"):  # of jax.custom_vjp, jax.custom_jvp
                yield self.of(getattr(value, rule, None))
        else:
            yield from self._of_object(value)

    def _of_function(self, f: types.FunctionType) -> Iterator[Piece]:
        yield from map(self.of, (f.__defaults__, f.__kwdefaults__, closure(f)))
        if _is_library(f.__module__):
            yield f"{f.__module__}.{f.__qualname__}"
            return
        yield self.of(_without_docstring(f))
        loaded, imported, attributes = _names(f.__code__)
        for name in sorted(loaded & set(f.__globals__)):
            yield name
            yield self.of(f.__globals__[name])
            yield from self._of_module(f.__globals__[name], attributes)
        for name in sorted(imported & set(sys.modules)):
            yield from self._of_module(sys.modules[name], attributes)

    def _of_module(self, module: Any, attributes: set[str]) -> Iterator[Piece]:
        """These attributes of a user's module, and of its modules."""
        if isinstance(module, types.ModuleType) and not _is_library(module.__name__):
            for name in sorted(attributes & set(vars(module))):
                yield name
                yield self.of(getattr(module, name))
                yield from self._of_module(getattr(module, name), attributes - {name})

    def _of_object(self, value: Any) -> Iterator[Piece]:
        """An object's fields, and the class of a user's object; of Python's own, the parts that `pickle` would save."""
        if dataclasses.is_dataclass(value):
            names = [f.name for f in dataclasses.fields(value)]
        elif type(value).__module__.partition(".")[0] in sys.stdlib_module_names - {"__main__"}:
            yield from map(self.of, _reduced(value))
            names = []
        else:
            names = sorted(getattr(value, "__dict__", {}))
        for name in names:
            yield name
            yield self.of(getattr(value, name, None))
        yield from self._of_class(type(value))

    def _of_class(self, cls: type) -> Iterator[Piece]:
        """The code and the attributes of a user's class."""
        for kind in (*cls.__mro__, type(cls)):
            for name, value in sorted(vars(kind).items()) if not _is_library(kind.__module__) else ():
                inner = getattr(value, "__func__", getattr(value, "fget", value))
                inner = inner.func if isinstance(inner, functools.cached_property) else inner
                if isinstance(inner, types.FunctionType):
                    counts = not _is_library(inner.__module__)
                else:
                    counts = not name.startswith("__") and name not in OF_CLASSES
                if counts:
                    yield name
                    yield self.of(inner)


OF_CLASSES = {"_abc_impl"}
"""Attributes of classes that say nothing of what their objects do."""


def _reduced(value: Any) -> list[Any]:
    """The class and the parts of an object that `pickle` would save; nothing if it can't be, or changes when read."""
    if isinstance(value, (Iterator, random.Random)):
        return []
    try:
        made, *parts = value.__reduce_ex__(4)
    except Exception:  # a lock, a file, a generator
        return []
    return [made, *(list(part) if isinstance(part, Iterator) else part for part in parts)]


def _without_docstring(f: types.FunctionType) -> types.CodeType:
    consts = f.__code__.co_consts
    has_one = f.__doc__ is not None and consts[:1] == (f.__doc__,)
    return f.__code__.replace(co_consts=("", *consts[1:])) if has_one else f.__code__


KNOWN_BY_NAME = {"jax", "jaxlib", "jaxrnn", "optax", "flax", "numpy"}


def _is_library(module: str | None) -> bool:
    """Tells whether a module counts by its name: an installed one, or one of Python's own."""
    top = str(module).partition(".")[0]
    if top in KNOWN_BY_NAME or (top in sys.stdlib_module_names and top != "__main__"):
        return True
    file = getattr(sys.modules.get(top), "__file__", None) or ""
    return "site-packages" in file or "dist-packages" in file


def _names(code: types.CodeType) -> tuple[set[str], set[str], set[str]]:
    """The names (of globals, of modules, of attributes) that a function and the functions inside it read."""
    loaded, imported, attributes = set[str](), set[str](), set(code.co_names)
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            loaded.add(instruction.argval)
        elif instruction.opname == "IMPORT_NAME":
            imported.add(instruction.argval)
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            more = _names(inner)
            loaded, imported, attributes = loaded | more[0], imported | more[1], attributes | more[2]
    return loaded, imported, attributes
