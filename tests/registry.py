"""Every cell configuration, once: what builds it, and the NumPy step that it must equal."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

import jaxrnn
from tests import reference

D, H, P = 3, 4, 2


class Pair(NamedTuple):
    """A carry of two parts."""

    fast: Any
    slow: Any


class Counted(NamedTuple):
    """A carry with an integer in it."""

    h: Any
    count: Any


class Entry(NamedTuple):
    """One configuration.

    Attributes:
      name: as it appears in the tests' names.
      builder: the public function that makes it.
      build: () -> Cell; gated cells also with another number of input features.
      step: the NumPy step.
      gated: whether it is a GatedCell.
      noisy: whether a key changes what it computes.
      learned: whether its initial carry is a parameter.
    """

    name: str
    builder: Callable[..., jaxrnn.Cell]
    build: Callable[..., jaxrnn.Cell]
    step: Callable[..., Any]
    gated: bool = True
    noisy: bool = False
    learned: bool = False


def _gated(name, builder, step, *args, noisy=False, gated=True, **options):
    learned = options.get("learn_carry", False)
    return Entry(name, builder, lambda D=D: builder(D, H, *args, **options), step, gated, noisy, learned)


def custom_gated(D: int = D) -> jaxrnn.GatedCell:
    """Two gates, one made of zx and zh apart, so that their derivatives differ; a carry of two parts; noise."""
    return jaxrnn.gated_cell(
        D,
        H,
        {"keep": jax.nn.sigmoid, "drive": jaxrnn.apart(_drive)},
        Partial(_pair_update, rate=0.7),
        hidden=_pair_hidden,
        zero_carry=_pair_zeros,
        own_params=_pair_params,
        noise=Partial(_normal, sigma=0.3),
        hidden_bias=True,
    )


def _drive(zx, zh, keep):
    return (1.0 - keep) * jnp.sin(zx) * zh


def _pair_update(params, carry, gates, noise, *, rate):
    keep, drive = gates
    fast = keep * carry.fast + drive * jnp.broadcast_to(params["gain"], keep.shape)
    if noise is not None:
        fast = fast + noise
    return Pair(fast, rate * carry.slow + (1.0 - rate) * fast)


def _pair_hidden(carry):
    return jnp.tanh(carry.slow) + carry.fast


def _pair_zeros(batch_shape, dtype):
    return Pair(jnp.zeros((*batch_shape, H), dtype), jnp.zeros((*batch_shape, H), dtype))


def _pair_params(key):
    return {"gain": jnp.ones(H)}


def _normal(key, T, batch_shape, *, sigma):
    return sigma * jax.random.normal(key, (T, *batch_shape, H))


def custom_plain() -> jaxrnn.Cell:
    """A cell of three functions that counts its steps."""
    return jaxrnn.cell(
        _counted_init, _counted_carry, Partial(_counted_step, rate=0.4), noise=Partial(_normal, sigma=0.2)
    )


def _counted_init(key):
    return {"w": jax.random.normal(key, (D, H)), "u": jnp.ones(H)}


def _counted_carry(params, batch_shape):
    return Counted(jnp.zeros((*batch_shape, H), params["w"].dtype), jnp.zeros(batch_shape, jnp.int32))


def _counted_step(params, carry, x, noise, *, rate):
    count = carry.count[..., None].astype(x.dtype)
    h = x @ params["w"] + jnp.broadcast_to(params["u"], carry.h.shape) * carry.h
    h = jnp.tanh(h + rate * jnp.cos(count))
    if noise is not None:
        h = h + noise
    return Counted(h, carry.count + 1), h * (1.0 + count)


_RATES = jaxrnn.cells.LSTMCarry(h=0.15, c=0.4)
_TAUS = np.array([2.0, 3.0, 5.0, 9.0], np.float32)  # NumPy: a leaf that no session's default dtype has touched

ENTRIES = (
    _gated("elman", jaxrnn.elman, reference.elman()),
    _gated("elman_relu", jaxrnn.elman, reference.elman(reference.relu), activation=jax.nn.relu),
    _gated("elman_sigmoid", jaxrnn.elman, reference.elman(reference.sigmoid), activation=jax.nn.sigmoid, bias=False),
    _gated("elman_dropout", jaxrnn.elman, reference.elman(dropout=0.3), recurrent_dropout=0.3, noisy=True),
    _gated("lstm", jaxrnn.lstm, reference.lstm()),
    _gated("lstm_peephole", jaxrnn.lstm, reference.lstm(peephole=True), peephole=True),
    _gated("lstm_coupled", jaxrnn.lstm, reference.lstm(coupled=True), coupled=True),
    _gated(
        "lstm_coupled_peephole", jaxrnn.lstm, reference.lstm(coupled=True, peephole=True), coupled=True, peephole=True
    ),
    _gated("lstm_layer_norm", jaxrnn.lstm, reference.lstm(layer_norm=True), layer_norm=True),
    _gated(
        "lstm_layer_norm_peephole",
        jaxrnn.lstm,
        reference.lstm(layer_norm=True, peephole=True),
        layer_norm=True,
        peephole=True,
    ),
    _gated(
        "lstm_dropout_zoneout",
        jaxrnn.lstm,
        reference.lstm(dropout=0.25, zoneout=_RATES),
        recurrent_dropout=0.25,
        zoneout=_RATES,
        noisy=True,
    ),
    _gated("lstm_learned", jaxrnn.lstm, reference.lstm(), learn_carry=True),
    _gated("lstm_projection", jaxrnn.lstm, reference.lstm(projection=True), proj_size=P, gated=False),
    _gated(
        "lstm_projection_peephole_learned",
        jaxrnn.lstm,
        reference.lstm(projection=True, peephole=True),
        proj_size=P,
        peephole=True,
        learn_carry=True,
        gated=False,
    ),
    _gated("gru", jaxrnn.gru, reference.gru()),
    _gated("gru_zoneout", jaxrnn.gru, reference.heads(reference.gru(zoneout=0.3)), zoneout=0.3, heads=2, noisy=True),
    _gated("gru_before", jaxrnn.gru, reference.gru(reset_after=False), reset_after=False, gated=False),
    _gated(
        "gru_before_noisy",
        jaxrnn.gru,
        reference.gru(reset_after=False, dropout=0.3, zoneout=0.2),
        reset_after=False,
        recurrent_dropout=0.3,
        zoneout=0.2,
        gated=False,
        noisy=True,
    ),
    _gated("ctrnn", jaxrnn.ctrnn, reference.ctrnn(2.0, 5.0), 2.0, 5.0),
    _gated(
        "ctrnn_taus_noise",
        jaxrnn.ctrnn,
        reference.ctrnn(1.0, _TAUS.astype(np.float64), 0.4, np.tanh),
        1.0,
        _TAUS,
        sigma=0.4,
        activation=jnp.tanh,
        noisy=True,
    ),
    Entry("custom_gated", jaxrnn.gated_cell, custom_gated, reference.custom_gated(0.7, 1.0), noisy=True),
    Entry("custom_plain", jaxrnn.cell, custom_plain, reference.custom_plain(0.4, 1.0), gated=False, noisy=True),
)
QUICK = ("elman", "lstm_dropout_zoneout", "gru_zoneout", "ctrnn_taus_noise", "custom_gated", "custom_plain")
"""One of each kind."""
BY_NAME = {entry.name: entry for entry in ENTRIES}


def initial_row(entry: Entry, cell: jaxrnn.Cell, params: Any) -> Any:
    """The initial carry of one row, in NumPy: zeros, or what `learn_carry` learned."""
    if entry.learned:
        return params["initial_carry"]["h"], params["initial_carry"]["c"]
    shapes = jax.eval_shape(lambda: cell.initial_carry(cell.init(jax.random.key(0))))
    zeros = [np.zeros(s.shape, s.dtype) for s in jax.tree.leaves(shapes)]
    return zeros[0] if len(zeros) == 1 else tuple(zeros)
