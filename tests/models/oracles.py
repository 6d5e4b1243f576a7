"""Plain NumPy versions of the models, and random arguments for them."""

import jax
import numpy as np

from tests import reference
from tests.helpers import random_like

T, B, D, H, O = 5, 4, 3, 4, 2
LENGTHS = np.array([3, 0, T, 1], np.int32)


def drawn(model, seed=0, dtype=np.float64):
    """Random parameters, so that no zero or one from `init` hides an error; no variance is below zero."""
    params = random_like(jax.eval_shape(model.init, jax.random.key(0)), np.random.default_rng(seed), dtype, 0.7)
    is_variance = lambda path: "'variance'" in jax.tree_util.keystr(path)  # noqa: E731
    return jax.tree_util.tree_map_with_path(lambda path, x: np.abs(x) if is_variance(path) else x, params)


def sequence(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


def with_nan(xs, lengths=LENGTHS):
    """NaN in place of the padding."""
    xs = xs.copy()
    for b, length in enumerate(lengths):
        xs[length:, b] = np.nan
    return xs


def dense(p, xs):
    return np.einsum("...d,do->...o", xs, p["w"]) + p.get("b", 0.0)


def layer_norm(p, xs, epsilon=1e-5):
    mean = xs.mean(-1, keepdims=True)
    variance = ((xs - mean) ** 2).mean(-1, keepdims=True)
    return p["scale"] * (xs - mean) / np.sqrt(variance + epsilon) + p["shift"]


def batch_norm(p, xs, lengths=None, epsilon=1e-5):
    """As in training; zeros for padding."""
    valid = np.ones(xs.shape[:-1], bool) if lengths is None else np.arange(len(xs))[:, None] < lengths
    mean, variance = xs[valid].mean(0), xs[valid].var(0)
    ys = np.zeros(xs.shape)
    ys[valid] = p["scale"] * (xs[valid] - mean) / np.sqrt(variance + epsilon) + p["shift"]
    return ys


def last(xs, lengths):
    return np.stack([xs[n - 1, b] if n else np.zeros(xs.shape[2:]) for b, n in enumerate(lengths)])


def mean_over_time(xs, lengths):
    return np.stack([xs[:n, b].mean(0) if n else np.zeros(xs.shape[2:]) for b, n in enumerate(lengths)])


def zeros(initial, batch_shape):
    return jax.tree.map(lambda a: np.zeros((*batch_shape, *a.shape)), initial)


def stack(layers, params, xs, lengths=None, resets=None):
    """`layers` are (NumPy step, initial carry of a row) of each cell; all start from zeros."""
    carries = []
    for i, (step, initial) in enumerate(layers):
        carry = zeros(initial, xs.shape[1:-1])
        carry, xs = reference.unroll(step, params[str(i)], xs, carry, initial, lengths, resets)
        carries.append(carry)
    return tuple(carries), xs


def bidirectional(layers, params, xs, lengths=None, resets=None):
    """The two final carries and the two sequences of outputs."""
    results = []
    for (step, initial), name in zip(layers, ("forward", "backward"), strict=True):
        carry = zeros(initial, xs.shape[1:-1])
        backward = name == "backward"
        results.append(reference.unroll(step, params[name], xs, carry, initial, lengths, resets, reverse=backward))
    carries, outputs = zip(*results, strict=True)
    return carries, outputs
