"""Conventions that Flax's two interfaces, nnx and linen, share: the equations of their cells, and the call of an RNN.

Kernels stand on the right of x and h, as here. In linen's GRU n alone has a hidden bias; nnx's GRU has none::

  SimpleCell           h' = f(W_i x + b + W_h h)                                       as `jaxrnn.elman`
  LSTMCell, Optimized  z = W_i x + W_h h + b, gates i, f, g, o, carry (c, h)           as `jaxrnn.lstm`
  GRUCell              n = tanh(W_in x + b_in + r * (W_hn h + b_hn)), gates r, z, n    as `jaxrnn.gru`
"""

import contextlib
import re
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.cells.gated import GatedCell
from jaxrnn.cells.gru import GRU
from jaxrnn.cells.lstm import LSTM, LSTMCarry
from jaxrnn.driver import unroll
from jaxrnn.fingerprints import digest
from jaxrnn.masks import zero_unless
from jaxrnn.primitives.primitive import Tracer
from jaxrnn.types import Cell, Gradient, Params, Tree
from jaxrnn.validity import valid_steps

Init = Callable[[jax.Array], Params]


class View(NamedTuple):
    """A Flax cell as one of jaxrnn's, and its parameters."""

    cell: Cell
    params: Params


def standard(cell: Any) -> bool:
    """Tells whether a Flax cell computes in one dtype of 32 or 64 bits, with the usual sigmoid and tanh."""
    dtype = jnp.dtype(cell.param_dtype)
    if dtype not in (jnp.float32, jnp.float64) or cell.dtype not in (None, dtype):
        return False
    if hasattr(cell, "gate_fn"):
        return cell.gate_fn is jax.nn.sigmoid and cell.activation_fn is jnp.tanh
    return not getattr(cell, "residual", True)


class Shapes(NamedTuple):
    """The `init` of a cell that runs only with given parameters: it makes arrays of their shapes."""

    structure: Any
    leaves: tuple[tuple[tuple[int, ...], Any], ...]

    @classmethod
    def of(cls, params: Params) -> "Shapes":
        """The shapes of parameters."""
        leaves, structure = jax.tree.flatten(params)
        return cls(structure, tuple((x.shape, x.dtype) for x in leaves))

    def __call__(self, key: jax.Array) -> Params:
        def some(shape: tuple[int, ...], dtype: Any) -> jax.Array:
            of_keys = jnp.issubdtype(dtype, jax.dtypes.prng_key)
            return jnp.broadcast_to(jax.random.key(0), shape) if of_keys else jnp.zeros(shape, dtype)

        return jax.tree.unflatten(self.structure, [some(*leaf) for leaf in self.leaves])


class Held:
    """The `init` of a cell that was made from given parameters: it returns these."""

    def __init__(self, params: Params) -> None:
        self.params: Params = jax.tree.map(jax.device_get, params)
        self._digest = digest(self.params)

    def __call__(self, key: jax.Array) -> Params:
        return jax.tree.map(jnp.asarray, self.params)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __repr__(self) -> str:
        return "as given"


def held_or_shapes(params: Params) -> Init:
    """An `init` that returns the parameters, or, if they are traced, arrays of their shapes."""
    traced = any(isinstance(x, Tracer) for x in jax.tree.leaves(params))
    return Shapes.of(params) if traced else Held(params)


def as_wide_as(params: Params, carry: Tree) -> Tree:
    """An initial carry in the precision of the parameters, since a cell returns its carry in that precision."""
    found = [x.dtype for x in jax.tree.leaves(params) if jnp.issubdtype(x.dtype, jnp.floating)]
    dtype = jnp.result_type(*found) if found else jnp.dtype("float32")
    is_narrow = lambda x: jnp.issubdtype(x.dtype, jnp.floating) and x.dtype.itemsize < dtype.itemsize  # noqa: E731
    return jax.tree.map(lambda x: x.astype(dtype) if is_narrow(x) else x, carry)


def carry_from_flax(cell: Cell, carry: Any) -> Tree:
    """Turns an LSTM's (c, h) into LSTMCarry(h, c); any other carry stays."""
    return LSTMCarry(h=carry[1], c=carry[0]) if isinstance(cell, LSTM) and type(carry) is tuple else carry


def carry_to_flax(cell: Cell, carry: Any) -> Any:
    """Turns LSTMCarry(h, c) into Flax's (c, h); any other carry stays."""
    return (carry.c, carry.h) if isinstance(cell, LSTM) else carry


def batch_shape(inputs: jax.Array, time_major: bool, feature_axes: int) -> tuple[int, ...]:
    """The axes of a sequence that are neither time nor features."""
    lead = inputs.shape[: inputs.ndim - feature_axes]
    return lead[1:] if time_major else lead[:-1]


def run(
    view: View,
    inputs: jax.Array,
    *,
    carry: Tree,
    lengths: Any,
    resets: Any,
    time_major: bool,
    reverse: bool,
    keep_order: bool,
    gradient: Gradient | None,
    key: jax.Array | None,
    return_carry: bool,
    feature_axes: int = 1,
) -> tuple[Tree, jax.Array]:
    """Unrolls a cell by the conventions of Flax's RNN, including its `flip_sequences`: (carry, outputs).

    Args:
      view: the cell and its parameters.
      inputs: [*batch, T, ...], or [T, *batch, ...] if `time_major`.
      carry: the state before the first step; None: the initial one.
      lengths: [*batch].
      resets: bool [*batch, T], or [T, *batch] if `time_major`.
      time_major, reverse, keep_order: as for Flax's RNN.
      gradient, key: as for `unroll`.
      return_carry: whether the carry is used.
      feature_axes: the number of axes after time and batch.
    """
    from flax.nnx.nn.recurrent import flip_sequences

    inputs = checks.array("inputs", inputs)
    flags = {"time_major": time_major, "reverse": reverse, "keep_order": keep_order, "return_carry": return_carry}
    for name, flag in flags.items():
        checks.flag(name, flag)
    axis = 0 if time_major else inputs.ndim - feature_axes - 1
    if axis < 0 or inputs.ndim < feature_axes + 1:
        raise ValueError(f"inputs: expected axes of time and of {feature_axes} features, got {checks.short(inputs)}")
    xs, rows = jnp.moveaxis(inputs, axis, 0), batch_shape(inputs, time_major, feature_axes)
    if isinstance(view.cell, GatedCell) and not jnp.issubdtype(xs.dtype, jnp.inexact):
        xs = xs.astype(jnp.result_type(*jax.tree.leaves(view.params)))
    flipped = None if lengths is None else checks.array("seq_lengths", lengths)
    if flipped is not None and flipped.shape != rows:
        raise ValueError(f"seq_lengths: expected shape {rows}, one a row, got {checks.short(flipped)}")
    if flipped is not None and feature_axes > 1:  # a jaxrnn cell takes axes of space for rows
        lengths = jnp.broadcast_to(flipped.reshape(*rows, *(1,) * (feature_axes - 1)), xs.shape[1:-1])
    if resets is not None:
        shape = inputs.shape[: inputs.ndim - feature_axes]
        if checks.array("resets", resets).shape != shape:
            raise ValueError(f"resets: expected shape {shape}, that of time and batch, got {checks.short(resets)}")
        resets = jnp.moveaxis(checks.array("resets", resets), axis, 0)
        resets = jnp.broadcast_to(resets.reshape(*resets.shape, *(1,) * (feature_axes - 1)), xs.shape[:-1])
    valid = None
    if flipped is not None and not (return_carry or reverse) and isinstance(view.cell, (LSTM, GRU)):
        # No carry has to be held: outputs of bounded cells on zero padding are set to zero, and have no gradient.
        with _named_as_in_flax():
            valid, lengths = valid_steps(lengths, xs.shape[0], rows), None
        xs = zero_unless(valid, xs)
    with _named_as_in_flax():
        carry, ys = unroll(view.cell, view.params, xs, carry, lengths, resets, reverse, key, gradient)
    ys = zero_unless(valid, ys)
    if reverse and not keep_order:
        ys = jax.tree.map(lambda y: flip_sequences(y, flipped, len(rows), True), ys)
    return carry, jax.tree.map(lambda y: jnp.moveaxis(y, 0, axis), ys)


def both_ways(
    layer: Any, inputs: jax.Array, *, initial_carry: Any, return_carry: bool | None, time_major: bool | None,
    key: jax.Array | None, each: Sequence[dict[str, Any]] = ({}, {}), **options: Any,
) -> Any:  # fmt: skip
    """Calls the two layers of a Flax Bidirectional and merges their outputs, as Flax does.

    Args:
      layer: the Bidirectional.
      inputs, initial_carry, return_carry, time_major, key: as for its call.
      each: options of only one of the two layers.
      **options: options of both; None is left out, since a layer of another kind may not know the option.
    """
    carries, outputs = [], []
    return_carry = checks.flag("return_carry", layer.return_carry if return_carry is None else return_carry)
    starts = (None, None) if initial_carry is None else initial_carry
    if not isinstance(starts, (tuple, list)) or len(starts) != 2:
        raise ValueError(f"initial_carry: expected a pair, forward and backward, got {checks.short(starts)}")
    keys = (None, None) if key is None else jax.random.split(checks.key("key", key))
    for i, rnn in enumerate((layer.forward_rnn, layer.backward_rnn)):
        more = options | each[i] | {"key": keys[i]}
        final, ys = rnn(
            inputs,
            initial_carry=starts[i],
            return_carry=True,
            reverse=i == 1,
            keep_order=True if i == 1 else None,
            time_major=layer.time_major if time_major is None else time_major,
            **{name: value for name, value in more.items() if value is not None},
        )
        carries.append(final)
        outputs.append(ys)
    merged = jax.tree.map(layer.merge_fn, *outputs)
    return (tuple(carries), merged) if return_carry else merged


@contextlib.contextmanager
def _named_as_in_flax() -> Generator[None]:
    """A context in which errors use the argument names of Flax's RNN: `unroll` has other names for three of them."""
    try:
        yield
    except (TypeError, ValueError) as error:
        found = re.match(r"(xs|carry|lengths)\b", str(error))
        if found is None or type(error) not in (TypeError, ValueError):
            raise
        name = {"xs": "inputs", "carry": "initial_carry", "lengths": "seq_lengths"}[found[0]]
        raise type(error)(name + str(error)[found.end() :]) from error
