"""Checks of arguments: every message names the argument, what was expected and what came."""

import contextlib
import inspect
import os
import pathlib
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.compiled import is_traced
from jaxrnn.primitives.primitive import Tracer

FOREIGN = ("torch", "tensorflow")
"""Libraries whose arrays users bring along and JAX does not know."""
Shapes = tuple[tuple[int, ...], ...]
ArrayLike = jax.typing.ArrayLike | Sequence[Any]
"""Anything that an array is made of."""
Number = jax.Array | np.ndarray | float
"""A number or an array of numbers, as the checks return it."""
DTypeLike = jax.typing.DTypeLike
PathLike = str | os.PathLike[str]
_F = TypeVar("_F", bound=Callable[..., Any])
_T = TypeVar("_T")


class OutOfRangeError(ValueError):
    """A value of known data is not one of those that are allowed."""


def is_integer(value: Any) -> bool:
    """Tells whether a value is an integer of Python or NumPy, and not a bool."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def positive_int(name: str, value: Any) -> int:
    """A size: an integer of at least 1."""
    if not is_integer(value) or value < 1:
        raise ValueError(f"{name}: expected a positive integer, got {value!r}")
    return int(value)


def not_negative_int(name: str, value: Any) -> int:
    """A count or a symbol: an integer of at least 0."""
    if not is_integer(value) or value < 0:
        raise ValueError(f"{name}: expected an integer of at least 0, got {value!r}")
    return int(value)


def rate(name: str, value: Any, shapes: Shapes = ((),)) -> Number:
    """A probability in [0, 1), or an array of them of one of the `shapes`."""
    return _numbers(name, value, shapes, "in [0, 1)", lambda x: (x >= 0) & (x < 1))


def probabilities(name: str, value: Any) -> Number:
    """A number in [0, 1], or an array of them [T]."""
    shape = _shape(value)
    shapes = ((),) if len(shape) != 1 or not shape[0] else ((), shape)
    return _numbers(name, value, shapes, "in [0, 1]", lambda x: (x >= 0) & (x <= 1))


def levels(name: str, value: Any) -> jax.Array:
    """Numbers in (0, 1), as an array [Q]."""
    shape = _shape(value)
    if len(shape) != 1 or not shape[0]:
        raise ValueError(f"{name}: expected numbers in (0, 1), a sequence of at least one, got {short(value)}")
    return jnp.asarray(_numbers(name, value, (shape,), "in (0, 1)", lambda x: (x > 0) & (x < 1)))


def entry(name: str, value: Any, key: str) -> None:
    """Raises ValueError unless `value` is a dict that has the entry."""
    if not isinstance(value, dict) or key not in value:
        got = _entries(value) if isinstance(value, dict) else short(value)
        raise ValueError(f'{name}: expected a dict with the entry "{key}", got {got}')


def limit(name: str, value: Any) -> Number:
    """A number above 0, infinity included."""
    return _numbers(name, value, ((),), "above 0", lambda x: x > 0)


def above(name: str, value: Any, low: float, shapes: Shapes = ((),)) -> Number:
    """A finite number above `low`, or an array of them of one of the `shapes`."""
    return _numbers(name, value, shapes, f"above {low:g}", lambda x: (x > low) & np.isfinite(x))


def not_negative(name: str, value: Any, shapes: Shapes = ((),)) -> Number:
    """A finite number of at least 0, or an array of them of one of the `shapes`."""
    return _numbers(name, value, shapes, "of at least 0", lambda x: (x >= 0) & np.isfinite(x))


def finite(name: str, value: Any, shapes: Shapes = ((),)) -> Number:
    """A finite number, or an array of them of one of the `shapes`."""
    return _numbers(name, value, shapes, "that is finite", np.isfinite)


def _shape(value: Any) -> tuple[int, ...]:
    """The shape of a sequence or an array; () for anything else."""
    return np.shape(value) if isinstance(value, (list, tuple, np.ndarray, jax.Array)) else ()


def _numbers(name: str, value: Any, shapes: Shapes, which: str, inside: Callable[[np.ndarray], Any]) -> Number:
    """Checks numbers, except the values of traced ones. Python integers become floats, which have a derivative."""
    known = not isinstance(value, Tracer)
    try:
        array: Any = np.asarray(value) if known else value
        number = any(jnp.issubdtype(array.dtype, kind) for kind in (np.floating, np.integer))
    except (TypeError, ValueError):  # ragged, or not numbers
        array, number = np.zeros(0), False
    if not number or array.shape not in shapes or (known and not np.all(inside(array.astype(np.float64)))):
        kind = "a number" if shapes == ((),) else f"a number or an array of shape {shapes[-1]},"
        raise ValueError(f"{name}: expected {kind} {which}, got {short(value)}")
    if known and not jnp.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float32)
    return value if isinstance(value, jax.Array) else array if array.ndim else float(array)


def one_of(name: str, value: _T, options: tuple[Any, ...]) -> _T:
    """One of a few named options."""
    if not any(value is option or (isinstance(value, str) and value == option) for option in options):
        raise ValueError(f"{name}: expected one of {options}, got {value!r}")
    return value


def instance(name: str, value: Any, kind: type[_T] | tuple[type[_T], ...], hint: str = "") -> _T:
    """A value of a type; `hint` says how to make one."""
    if not isinstance(value, kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        expected = " or ".join(k.__name__ for k in kinds)
        article = "an" if expected[0] in "AEIOU" else "a"
        if inspect.isfunction(value) and (value.__module__ or "").startswith("jaxrnn."):
            hint = f"call it: {value.__name__}(...)"
        raise TypeError(f"{name}: expected {article} {expected}, got {short(value)}{hint and '; ' + hint}")
    return value


def flag(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected True or False, got {short(value)}")
    return bool(value)


def mesh(name: str, value: Any) -> jax.sharding.Mesh | None:
    """A mesh of one axis over which XLA may spread arrays as it likes, or None."""
    if value is None:
        return None
    if len(instance(name, value, jax.sharding.Mesh).axis_names) != 1:
        raise ValueError(f"{name}: expected a mesh of one axis, got {value}")
    return jax.sharding.Mesh(value.devices, value.axis_names, axis_types=(jax.sharding.AxisType.Auto,))


def float_dtype(name: str, value: Any) -> np.dtype:
    """A floating-point dtype, by name or type."""
    return dtype(name, value, jnp.floating, "a floating-point dtype such as jnp.bfloat16")


def dtype(name: str, value: Any, kind: Any = np.generic, expected: str = "a dtype such as jnp.float32") -> np.dtype:
    """A dtype, by name or type."""
    try:
        found = jnp.dtype(value) if isinstance(value, (str, type, np.dtype)) else None
    except (TypeError, ValueError):
        found = None
    if found is None or not jnp.issubdtype(found, kind):
        raise TypeError(f"{name}: expected {expected}, got {value!r}")
    return found


def callable_(name: str, value: _F) -> _F:
    """A function."""
    if not callable(value):
        raise TypeError(f"{name}: expected a function, got {short(value)}")
    return value


def function(name: str, value: _F, *arguments: str) -> _F:
    """A function of these arguments, as far as its signature can be read."""
    callable_(name, value)
    try:
        signature = inspect.signature(value)
    except ValueError:  # some built-in functions have no signature
        return value
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise TypeError(f"{name}: expected a function of ({', '.join(arguments)}), got one of {signature}") from error
    return value


def initializer(name: str, value: Any) -> Any:
    """An initialiser of weights."""
    return function(name, value, "key", "shape", "dtype")


def sizes(name: str, value: Any) -> tuple[Any, ...]:
    """The sizes of some axes, symbolic ones of `jax.export` included."""
    given: Any = tuple(instance(name, value, (tuple, list), "such as (8,), or () for one row"))
    if all(type(size) is int and size >= 0 for size in given):
        return given
    try:
        found = jax.eval_shape(lambda: jnp.zeros(given)).shape
    except (TypeError, ValueError):
        found = None
    if found is None or any(isinstance(size, bool) for size in given):
        raise ValueError(f"{name}: expected integers of at least 0, got {short(value)}")
    return found


def path(name: str, value: Any, of: str = "file") -> pathlib.Path:
    """The path of a file, or of what else `of` says."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name}: expected the path of a {of}, got {short(value)}")
    found = pathlib.Path(value)
    if of == "file" and found.is_dir():
        raise ValueError(f"{name}: expected the path of a file, got {found}, a directory")
    return found


def key(name: str, value: Any) -> jax.Array:
    """A JAX random key (typed, or the older uint32 pair), not a batch of them."""
    dtype = value.dtype if _is_array(value) else None
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    old = dtype == np.uint32 and value.shape == jax.eval_shape(jax.random.PRNGKey, 0).shape
    if not (old or (typed and value.ndim == 0)):
        raise TypeError(f"{name}: expected a random key such as jax.random.key(0), got {short(value)}")
    return value


def array(name: str, value: Any) -> jax.Array:
    """Anything that JAX takes as an array; a `jax.ShapeDtypeStruct` is returned as it is."""
    if isinstance(value, jax.ShapeDtypeStruct):
        return value  # pyright: ignore[reportReturnType]
    if value is None or isinstance(value, (str, dict)):
        raise TypeError(f"{name}: expected an array, got {short(value)}")
    foreign = type(value).__module__.partition(".")[0]
    if foreign in FOREIGN:
        raise TypeError(f"{name}: expected an array of JAX or NumPy, got one of {foreign}; see numpy.asarray")
    if isinstance(value, (list, tuple)) and any(getattr(x, "ndim", 0) for x in value):
        hint = "; jaxrnn.data.padded makes one of rows of different lengths, numpy.stack of equal ones"
        raise TypeError(f"{name}: expected an array, got {short(value)}{hint if isinstance(value, list) else ''}")
    try:
        if isinstance(value, (list, tuple)) and in_numpy(value):
            value = np.asarray(value)
            if value.dtype.kind not in "biufcV":
                raise TypeError(value.dtype)
        own = value
        if isinstance(value, np.ndarray) and (narrow := jax.dtypes.canonicalize_dtype(value.dtype)) != value.dtype:
            # JAX takes a NumPy array for one of 64 bits if a jitted function with x64 has read that very array before.
            with np.errstate(over="ignore"):
                own = value.astype(narrow)
        found = jnp.asarray(own)
    except OverflowError as error:
        raise ValueError(f"{name}: expected integers of at most 32 bits, got {short(value)}") from error
    except (TypeError, ValueError) as error:
        hint = "; it has them as .params" if hasattr(value, "params") else ""
        if _is_array(value):
            of_text = isinstance(value, np.ndarray) and value.dtype.kind in "US"
            hint = ", which holds no numbers" + "; numpy.unique(..., return_inverse=True) numbers labels" * of_text
        raise TypeError(f"{name}: expected an array, got {short(value)}{hint}") from error
    if isinstance(value, np.ndarray) and value.dtype.kind in "iu" and value.dtype != found.dtype and value.size:
        least, most = jnp.iinfo(found.dtype).min, jnp.iinfo(found.dtype).max
        if value.min() < least or value.max() > most:
            got = f"{value.dtype} values from {value.min()} to {value.max()}"
            raise ValueError(f"{name}: expected integers that fit into {found.dtype}, got {got}")
    return found


def arrays(name: str, tree: Any) -> None:
    """Raises where a leaf is neither an array nor a number."""
    for path, x in jax.tree_util.tree_leaves_with_path(tree):
        if not is_traced(x):
            array(f"{name}{jax.tree_util.keystr(path)}", x)


def integers(name: str, value: Any) -> jax.Array:
    """Integers of any type as int32; traced values beyond the range of int32 are clipped to it."""
    found = array(name, value)
    if not jnp.issubdtype(found.dtype, jnp.integer):
        raise TypeError(f"{name}: expected integers, got {short(found)}")
    ends = jnp.iinfo(jnp.int32)
    if found.dtype.itemsize > 4:
        found = jnp.clip(found, ends.min if jnp.issubdtype(found.dtype, jnp.signedinteger) else 0, ends.max)
    elif found.dtype == jnp.uint32:
        found = jnp.minimum(found, jnp.uint32(ends.max))
    return found if isinstance(found, jax.ShapeDtypeStruct) else found.astype(jnp.int32)


def symbols(name: str, values: Any, count: int) -> None:
    """Raises unless all values, which are known, are symbols from 0 to count - 1."""
    if np.size(values) and (np.min(values) < 0 or np.max(values) >= count):
        got = f"values from {np.min(values)} to {np.max(values)}"
        raise ValueError(f"{name}: expected symbols from 0 to {count - 1}, got {got}")


def steps(name: str, xs: Any, time_major: bool = True, least: int = 2) -> int:
    """The number of steps T of the first array of a tree: [T, ...], or [B, T, ...] without `time_major`.

    Batch-first arrays need at least `least` axes.
    """
    arrays = jax.tree.leaves(xs)
    if not time_major and any(x.ndim < least for x in arrays[:1]):
        axes = "[B, T, ...]" if least < 3 else "[B, T, D]"
        raise ValueError(f"{name}: expected an array {axes} with time_major=False, got {short(arrays[0])}")
    return next((x.shape[not time_major] for x in arrays if x.ndim), 0)


def steps_of(name: str, xs: Any, time_major: bool = True) -> int:
    """The number of steps T of an array [T, ...] or [B, T, ...], or of the first array of a tree."""
    first: Any = array(name, xs) if isinstance(xs, list) else next(iter(jax.tree.leaves(xs)), None)
    if np.ndim(first) < 2 - time_major:
        raise ValueError(f"{name}: expected an array {'[T, ...]' if time_major else '[B, T, ...]'}, got {short(xs)}")
    return np.shape(first)[not time_major]


def burn_in(value: Any, T: int) -> int:
    """A number of steps to read without a gradient, smaller than T."""
    if not is_integer(value) or value < 0 or (value and value >= T):
        raise ValueError(f"burn_in: expected an integer from 0 to T - 1 = {T - 1}, got {value!r}")
    return int(value)


def in_numpy(*values: Any) -> bool:
    """Tells whether all values are of NumPy or Python, and so known while tracing."""
    return not any(isinstance(x, jax.Array) for x in jax.tree.leaves(values))


def lengths(value: Any, T: int, *, name: str = "lengths", size: str = "T") -> jax.Array:
    """Lengths as an array of int32; NumPy and Python values, which are known while tracing, are from 0 to T."""
    lengths_ = integers(name, value)
    if in_numpy(value) and lengths_.size and (np.min(value) < 0 or np.max(value) > T):
        got = f"{np.min(value)} to {np.max(value)}"
        raise ValueError(f"{name}: expected values from 0 to {size} = {T}, got {got}")
    return lengths_


def scalar(name: str, value: Any) -> jax.Array:
    """The value that the user's function `name` returned, checked to be a floating-point scalar."""
    value = array(name, value)
    if value.shape or not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(f"{name}: expected a function that returns a floating-point scalar, got {short(value)}")
    return value


def array_tree(name: str, value: Any, expected: _T) -> _T:
    """A tree of arrays with the structure, shapes and dtypes of `expected`."""
    same_tree(name, value, expected)
    same_dtypes(name, value, expected)
    return jax.tree.map(lambda x: array(name, x), value)


def same_dtypes(name: str, value: Any, expected: Any) -> None:
    """Raises unless two trees of arrays of the same structure have the same dtypes."""
    for (path, x), want in zip(jax.tree_util.tree_leaves_with_path(value), jax.tree.leaves(expected), strict=True):
        got = array(name, x)
        if got.dtype != want.dtype:
            raise TypeError(f"{name}{jax.tree_util.keystr(path)}: expected {short(want)}, got {short(got)}")


def same_entries(name: str, value: Any, expected: dict[str, Any]) -> None:
    """Raises unless `value` is a dict with the entries of `expected`."""
    if not isinstance(value, dict) or set(value) != set(expected):
        got = _entries(value) if isinstance(value, dict) else short(value)
        got += "; it has them as .params" if hasattr(value, "params") else ""
        raise ValueError(f"{name}: expected a dict with the entries {sorted(expected)}, got {got}")


def same_tree(name: str, value: Any, expected: Any, *, rows: bool = False) -> None:
    """A tree of arrays with the structure and shapes of `expected`; with `rows`, any batch axes may stand before."""
    if isinstance(expected, dict):
        same_entries(name, value, expected)
        for key in expected:
            same_tree(f"{name}[{key!r}]", value[key], expected[key], rows=rows)
    elif isinstance(expected, tuple):
        if type(value) is not type(expected) or len(value) != len(expected):
            kind = "tuple" if type(expected) is tuple else type(expected).__name__
            raise ValueError(f"{name}: expected a {kind} of {len(expected)}, got {short(value)}")
        fields = getattr(expected, "_fields", None)
        for i, part in enumerate(expected):
            same_tree(f"{name}.{fields[i]}" if fields else f"{name}[{i}]", value[i], part, rows=rows)
    elif expected is None:
        if value is not None:
            raise ValueError(f"{name}: expected None, got {short(value)}")
    elif not hasattr(expected, "shape"):
        if jax.tree.structure(value) != jax.tree.structure(expected):
            raise ValueError(f"{name}: expected {jax.tree.structure(expected)}, got {jax.tree.structure(value)}")
        for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(value), jax.tree.leaves(expected), strict=True):
            same_tree(f"{name}{jax.tree_util.keystr(path)}", x, y, rows=rows)
    elif isinstance(value, (list, tuple)):
        raise ValueError(f"{name}: expected an array of shape {np.shape(expected)}, got {short(value)}")
    else:
        shape, want = array(name, value).shape, np.shape(expected)
        if (shape[max(len(shape) - len(want), 0) :] if rows else shape) != want:
            before = "any batch axes and " if rows else ""
            raise ValueError(f"{name}: expected {before}shape {want}, got {short(value)}")


def sequence(name: str, value: Any, kind: type[_T] | tuple[type[_T], ...], hint: str = "") -> tuple[_T, ...]:
    """A list or tuple of at least one value of a type, as a tuple."""
    if not isinstance(value, (list, tuple)) or not value:
        kinds = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise TypeError(f"{name}: expected at least one {kinds} in a list, got {short(value)}")
    for i, item in enumerate(value):
        instance(f"{name}[{i}]", item, kind, hint)
    return tuple(value)


def in_one_list(values: tuple[Any, ...]) -> Sequence[Any]:
    """The arguments of f(a, b) or of f([a, b]) as one sequence."""
    return values[0] if len(values) == 1 and isinstance(values[0], (list, tuple)) else values


def fitting(name: str, layers: tuple[Any, ...]) -> None:
    """Raises unless each layer takes the features that the one before puts out, as far as both are known."""
    known = None
    for i, layer in enumerate(layers):
        D, out = layer.features
        if D is not None and known is not None and known != D:
            raise ValueError(f"{name}[{i}]: expected {known} input features, the outputs of the one before, got {D}")
        known = known if getattr(layer, "keeps_features", False) else out


def metrics(value: Any) -> dict[str, Callable[..., jax.Array]]:
    """A dict of functions, or None for an empty one; rows have a step, member, loss and gradient norm anyway."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"metrics: expected a dict of functions, got {short(value)}")
    for name, metric in value.items():
        if name in ("loss", "gradient_norm", "step", "member"):
            raise ValueError(f"metrics: expected other names than those written anyway, got {name!r}")
        function(f"metrics[{name!r}]", metric, "ys", "batch")
    return dict(value)


@contextlib.contextmanager
def within(part: str) -> Generator[None]:
    """Adds the name of a model's part to an error that comes up in it."""
    try:
        yield
    except (TypeError, ValueError) as error:
        notes: list[str] = getattr(error, "__notes__", [])
        inner = re.fullmatch("in part (.+) of the model", notes[-1]) if notes else None
        if inner:
            notes[-1] = f"in part {part}/{inner[1]} of the model"
        else:
            error.add_note(f"in part {part} of the model")
        raise


@contextlib.contextmanager
def prefix(text: str) -> Generator[None]:
    """Puts a name before the message of an error about a value."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if type(error) in (TypeError, ValueError) and not str(error).startswith(text):
            raise type(error)(f"{text}: {error}") from error
        raise


@contextlib.contextmanager
def forward_mode(gradient: Any) -> Generator[None]:
    """Lets JAX's error about a rule without forward mode name the gradient, and the gradient to use instead."""
    try:
        yield
    except TypeError as error:
        if "forward-mode" not in str(error) or "custom_vjp" not in str(error):
            raise
        raise TypeError(
            f"gradient: expected autodiff() under forward-mode differentiation (jax.jvp, jax.jacfwd, jax.linearize), "
            f"got {gradient}, which has a reverse-mode rule only"
        ) from error


def short(value: Any) -> str:
    """A value in an error message: arrays by dtype and shape, all else by type and a short repr."""
    if _is_array(value):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, dict) and any(map(_is_array, value.values())):
        return _entries(value)
    of_arrays = isinstance(value, list) and any(isinstance(x, dict) or _is_array(x) for x in value)
    if of_arrays or (isinstance(value, tuple) and value):
        return f"{type(value).__name__} of {len(value)}: ({', '.join(map(short, value))})"[:120]
    text, kind = repr(value), type(value).__name__
    text = text if text.startswith(kind) else f"{kind} {text}"
    return text if len(text) <= 90 else text[:87] + "..."


def _is_array(value: Any) -> bool:
    return hasattr(value, "dtype") and hasattr(value, "shape") and not isinstance(value, type)


def _entries(value: dict[str, Any]) -> str:
    return f"a dict with {sorted(map(str, value))}"
