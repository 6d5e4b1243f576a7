"""Backpropagation through time, step by step, with all intermediate derivatives kept.

  dL/dcarry[t-1] = (d step[t] / dcarry[t-1])^T (dL/dcarry[t], dL/dy[t])

Everything is in the order in which the loop ran. Derivatives are lists: one entry for each floating-point leaf.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.arguments import check_rows
from jaxrnn.cells.gated import GatedCell
from jaxrnn.diagnostics.layer import Layer
from jaxrnn.float_leaves import floats, with_floats
from jaxrnn.masks import take_step, zero_unless
from jaxrnn.primitives.jaxprs import repeated_outputs
from jaxrnn.types import Params, Step, Tree

Arrays = list[jax.Array]


class At(NamedTuple):
    """A layer's values at one step; with a leading axis T, at all steps."""

    step: Step
    before: Tree
    after: Tree
    d_y: Arrays


def backward(layer: Layer, weights: Params) -> tuple[Arrays, Params]:
    """Goes back through time once.

    Args:
      layer: a layer with a loss.
      weights: some of its parameters, by name.

    Returns:
      (d_carries, d_weights): dL/dcarry[t], zero on padding, and the part of dL/dweights from step t, each [T, ...].
    """
    pull, direct = _pull(layer, weights), _direct(layer)

    def body(later: Arrays, at: At) -> tuple[Arrays, Tree]:
        d_before, d_weights = pull(at, later, at.d_y)
        d_carry = zero_unless(at.step.valid, jax.tree.map(jnp.add, later, direct(at)))
        return d_before, (d_carry, d_weights)

    zeros = [jnp.zeros_like(x[0]) for x in floats(layer.after)]
    return jax.lax.scan(body, zeros, _all(layer), reverse=True)[1]


class ByLag(NamedTuple):
    """The gradient by lag, the number of steps k before the output that it comes from; each [K+1, ...], k = 0 ... K.

    Attributes:
      d_weights: the gradient of the weights.
      started: the sum of |dL/dy[s]|^2 over those s, of all rows, that are at least k steps from the start.
      arrived: the sum over the same s of |v|^2, v the part of dL/dcarry[s-k] that comes from dL/dy[s].
    """

    d_weights: Params
    started: jax.Array
    arrived: jax.Array

    @property
    def norms(self) -> jax.Array:
        """The gradient's norm after k steps, relative to its norm at the outputs."""
        return jnp.sqrt(self.arrived / self.started.astype(self.arrived.dtype))


def by_lag(layer: Layer, weights: Params, max_lag: int | None) -> ByLag:
    """Goes back through time once, with each lag apart: K + 1 times the work of `backward`.

    Args:
      layer: a layer with a loss.
      weights: some of its parameters, by name.
      max_lag: K, at most T - 1; None: T - 1.
    """
    T = layer.inputs.T
    lags = T if max_lag is None else min(T, max_lag + 1)
    # Relative to the largest derivative, so that squares are neither zero nor infinite for a loss of another scale.
    peak = functools.reduce(jnp.maximum, [jnp.max(jnp.abs(d), initial=0.0) for d in layer.d_ys])
    peak = jnp.where((peak > 0) & jnp.isfinite(peak), peak, jnp.ones_like(peak))
    layer = layer._replace(d_ys=[d / peak.astype(d.dtype) for d in layer.d_ys])
    pull, direct = _pull(layer, weights), _direct(layer)
    check_rows("step: y", jax.tree.map(lambda y: y[0], layer.d_ys), layer.batch_shape)

    def first(tree: Tree) -> Tree:  # lag 0 alone
        return jax.tree.map(lambda x: jnp.zeros((lags, *x.shape), x.dtype).at[0].set(x), tree)

    def shifted(tree: Tree) -> Tree:  # one step back, each lag is longer by one
        return jax.tree.map(lambda x: jnp.roll(x, 1, 0).at[0].set(0), tree)

    def body(state: Tree, at: At) -> tuple[Tree, None]:
        later, from_s, sums = state
        d_y = zero_unless(at.step.valid, at.d_y)
        d_before, d_weights = jax.vmap(lambda later, d_y: pull(at, later, d_y))(later, first(d_y))
        here = jax.tree.map(jnp.add, later, first(direct(at)))
        from_s = from_s + first(_squares(d_y, layer.batch_shape))
        valid, reset = (None if mask is None else mask[None] for mask in (at.step.valid, at.step.reset))
        arrived = jax.vmap(lambda d: _squares(d, ()))(jax.vmap(lambda d: zero_unless(at.step.valid, d))(here))
        started = _mask(valid, from_s).reshape(lags, -1).sum(-1)
        sums = jax.tree.map(jnp.add, sums, ByLag(d_weights, started, arrived))
        from_s = _mask(None if reset is None else ~reset, from_s)
        return (shifted(d_before), shifted(from_s), sums), None

    everything = _all(layer)
    zeros = jax.tree.map(lambda x: jnp.zeros((lags, *x.shape[1:]), x.dtype), floats(layer.after))
    dtype = layer.d_ys[0].dtype
    sums = ByLag(
        jax.tree.map(lambda x: jnp.zeros((lags, *jnp.shape(x)), jnp.result_type(x)), weights),
        jnp.zeros(lags, dtype),
        jnp.zeros(lags, zeros[0].dtype),
    )
    start = (zeros, jnp.zeros((lags, *layer.batch_shape), dtype), sums)
    found = jax.lax.scan(body, start, everything, reverse=True)[0][2]
    return found._replace(d_weights=jax.tree.map(lambda d: d * peak.astype(d.dtype), found.d_weights))


def _all(layer: Layer) -> At:
    return At(layer.inputs.steps, layer.before, layer.after, layer.d_ys)


def _mask(mask: jax.Array | None, x: jax.Array) -> jax.Array:
    return x if mask is None else jnp.where(mask, x, jnp.zeros_like(x))


def _squares(arrays: Arrays, batch_shape: tuple[int, ...]) -> jax.Array:
    """The sum of squares over all but the batch axes."""
    sums = [jnp.square(jnp.abs(x)).reshape(*batch_shape, -1).sum(-1) for x in arrays]
    return sum(sums[1:], sums[0])


def _pull(layer: Layer, weights: Params) -> Callable[[At, Arrays, Arrays], tuple[Arrays, Params]]:
    """The map (at, dL/dcarry[t] by later steps, dL/dy[t]) -> (dL/dcarry[t-1], this step's dL/dweights)."""

    def pull(at: At, later: Arrays, d_y: Arrays) -> tuple[Arrays, Params]:
        def step(before: Arrays, weights: Params) -> tuple[Arrays, Arrays]:
            carry, params = with_floats(at.before, before), {**layer.params, **weights} if weights else layer.params
            after, y = take_step(layer.cell, params, carry, at.step, layer.inputs.initial)
            return floats(after), floats(y)

        return jax.vjp(step, floats(at.before), weights)[1]((later, d_y))

    return pull


def _direct(layer: Layer) -> Callable[[At], Arrays]:
    """The direct part of y[t] in dL/dcarry[t], for an output that is a function of the carry after the step.

    This function is `hidden` for a gated cell. For other cells it is known only if the output is a leaf of the carry:
    according to the step's program, or else to their values, which are equal at all steps.
    """
    if isinstance(layer.cell, GatedCell):

        def direct(at: At) -> Arrays:
            _, pull = jax.vjp(lambda after: floats(layer.cell.hidden(with_floats(at.after, after))), floats(at.after))
            return pull(zero_unless(at.step.valid, at.d_y))[0]

        return direct

    def step(at: At) -> tuple[Arrays, Arrays]:
        after, y = layer.cell.step(layer.params, at.before, at.step.x, at.step.noise)
        return floats(after), floats(y)

    one = jax.tree.map(lambda x: x[0], _all(layer))
    size = len(floats(layer.after))
    places = repeated_outputs(jax.make_jaxpr(step)(one), size)
    leaves, valid = floats(layer.after), layer.inputs.steps.valid

    def shares(place: int | None, y: jax.Array) -> list[jax.Array | bool]:
        """Tells for each leaf whether it is the same as y."""
        if place is not None:
            return [i == place for i in range(size)]
        found = []
        for leaf in leaves:
            fits = leaf.shape == y.shape and leaf.dtype == y.dtype
            equal = (zero_unless(valid, leaf) == y).all() if fits else False
            found.append(equal & ~jnp.any(jnp.array(found, bool)))  # the first of several equal leaves
        return found

    of_leaf = [shares(place, y) for place, y in zip(places, floats(layer.ys), strict=True)]

    def to_leaves(at: At) -> Arrays:
        found = [jnp.zeros_like(x) for x in floats(at.after)]
        for whether, d in zip(of_leaf, zero_unless(at.step.valid, at.d_y), strict=True):
            for i, share in enumerate(whether):
                if share is not False and found[i].shape == d.shape:
                    found[i] = found[i] + jnp.where(share, d, jnp.zeros_like(d)).astype(found[i].dtype)
        return found

    return to_leaves
