"""Small right arguments, which wrong ones are made from."""

from typing import Any

import jax
import numpy as np
import optax

import jaxrnn
from tests.helpers import random_like


def drawn(thing: Any) -> Any:
    """Parameters of a cell or model as NumPy arrays: nothing is compiled for them."""
    return random_like(jax.eval_shape(thing.init, jax.random.key(0)), np.random.default_rng(0), np.float32)


def ones(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.ones(shape, dtype)


def without(tree: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: x for key, x in tree.items() if key != name}


T, B, D, H, O = 5, 2, 3, 4, 2
XS, YS, HS, KEY = ones(T, B, D), ones(T, B, O), ones(B, H), jax.random.key(0)
LENGTHS, LONG, MASK = np.array([T, 2]), [1, T + 1], ones(T, B, dtype=bool)
ELMAN, LSTM, GRU, DENSE = jaxrnn.elman(D, H), jaxrnn.lstm(D, H), jaxrnn.gru(D, H), jaxrnn.dense(D, O)
MODEL = jaxrnn.chain(jaxrnn.stack([ELMAN]), jaxrnn.dense(H, O))
LOSS, SGD = jaxrnn.losses.mean_squared_error, optax.sgd(0.1)
