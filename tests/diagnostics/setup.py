"""Cells, data and losses that the tests of the diagnostics share, and a plain loop that they are held against."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from tests.helpers import example
from tests.registry import BY_NAME

CELLS = ("elman", "lstm_peephole", "gru_zoneout", "ctrnn_taus_noise", "custom_gated", "lstm_projection", "custom_plain")
"""Gated and plain, with noise, with two parts in the carry, with an integer in it."""
RUNS = [(name, False) for name in CELLS] + [("lstm_peephole", True), ("custom_plain", True)]
"""Cells, and whether they read in reverse."""
KEY = jax.random.key(3)


def case(name, *, T=5, batch=(3,), seed=0):
    """An Example in float64, and the options of `unroll` that matter to all diagnostics."""
    entry = BY_NAME[name]
    e = example(entry, np.float64, T=T, batch=batch, seed=seed)
    e = e._replace(params=jax.tree.map(jnp.asarray, e.params), carry=jax.tree.map(jnp.asarray, e.carry))
    return e, {"carry": e.carry, "lengths": e.lengths, "resets": e.resets, "key": KEY if entry.noisy else None}


def quadratic(ys):
    """A loss that reads every output, each with another weight."""
    y = jnp.sin(ys) + 0.5 * jnp.square(ys)
    return jnp.vdot(jnp.arange(1.0, y.size + 1.0, dtype=y.dtype), y.reshape(-1)) / y.size


def jitted(f, e, *arguments, **options):
    """A diagnostic under `jax.jit`, with everything traced that can be."""
    flags = {name: options.pop(name) for name in ("reverse", "names", "max_lag") if name in options}

    @jax.jit
    def call(params, xs, options):
        return f(e.cell, params, xs, *arguments, **options, **flags)

    return call(e.params, jnp.asarray(e.xs), options)


def loop_from(cell, params, xs, carry, initial, *, start, valid, resets, noise):
    """y[t] for t >= start, and the last carry, from the carry before step `start`: a plain Python loop over rows."""
    ys = []
    for t in range(start, len(xs)):
        carry = select(resets[t], initial, carry)
        after, y = cell.step(params, carry, xs[t], jax.tree.map(lambda n, t=t: n[t], noise))
        carry = select(valid[t], after, carry)
        ys.append(jnp.where(valid[t][:, None], y, 0.0))
    return jnp.stack(ys) if ys else jnp.zeros((0,)), carry


def select(rows, a, b):
    return jax.tree.map(lambda a, b: jnp.where(rows.reshape(-1, *(1,) * (jnp.ndim(a) - 1)), a, b), a, b)


def in_running_order(e, options, reverse):
    """What a plain loop needs: inputs without padding, masks, noise and the carries, in the order of the loop."""
    T, B = e.xs.shape[:2]
    valid = np.arange(T)[:, None] < e.lengths[None]
    resets = e.resets & valid
    xs = np.where(valid[..., None], e.xs, 0.0)
    if reverse:
        resets = np.concatenate([resets[1:], np.zeros((1, B), bool)])
        xs, valid, resets = (np.flip(x, 0) for x in (xs, valid, resets))
    noise = None if options["key"] is None else e.cell.noise(options["key"], T, (B,))
    initial = e.cell.initial_carry(e.params, (B,))
    return jnp.asarray(xs), jnp.asarray(valid), jnp.asarray(resets), noise, initial


@functools.cache
def linear(H, seed=0, dtype=np.float64):
    """h[t] = x[t] + h[t-1] @ w_h, with the parameters of `unroll`: cell, params."""
    cell = jaxrnn.elman(H, H, activation=identity, bias=False, param_dtype=dtype)
    w_h = np.random.default_rng(seed).standard_normal((H, H)).astype(dtype) / np.sqrt(H)
    return cell, {"w_x": np.eye(H, dtype=dtype), "w_h": w_h}


def identity(x):
    return x
