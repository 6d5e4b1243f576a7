"""Initialisers of weights and biases: `jax.nn.initializers`, and two more for recurrent networks.

They are module constants or cached, so that equal cells hold the same function and compile once.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import checks

__all__ = ["orthogonal", "torch_uniform"]

Initializer = Callable[[jax.Array, tuple[int, ...], Any], jax.Array]
"""(key, shape, dtype) -> array."""

GLOROT = jax.nn.initializers.glorot_uniform()
ZEROS = jax.nn.initializers.zeros


def orthogonal(key: jax.Array, shape: tuple[int, ...], dtype: checks.DTypeLike) -> jax.Array:
    """`jax.nn.initializers.orthogonal()`; under `jax.vmap` the matrices are drawn one after the other.

    On a CPU, QR decompositions of several batches that run at once can deadlock: each holds one of the threads that all
    of their parts need (jaxlib 0.10).

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> w = jaxrnn.initializers.orthogonal(jax.random.key(0), (8, 8), jnp.float32)
      >>> bool(jnp.allclose(w @ w.T, jnp.eye(8), atol=1e-5))
      True
    """
    checks.key("key", key)
    if not isinstance(shape, (tuple, list)) or len(shape) < 2:
        raise ValueError(f"shape: expected at least two sizes, got {checks.short(shape)}")
    shape, dtype = tuple(checks.positive_int("shape", size) for size in shape), checks.float_dtype("dtype", dtype)
    if dtype.itemsize < 4:
        raise TypeError(f"dtype: expected float32 or float64, which have QR decompositions, got {dtype}")
    draw = jax.nn.initializers.orthogonal()
    return jax.custom_batching.sequential_vmap(lambda key: draw(key, shape, dtype))(key)


ORTHOGONAL = orthogonal


def torch_uniform(H: int) -> Initializer:
    """U(-1/sqrt(H), 1/sqrt(H)): the distribution of all weights and biases of PyTorch's recurrent layers.

    PyTorch's LSTM and RNN have two biases, used only as their sum; here there is one. Its LSTM has no unit forget
    bias: `jaxrnn.lstm(D, H, input_init=u, recurrent_init=u, bias_init=u, forget_bias=0.0)` with u = torch_uniform(H).

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> u = jaxrnn.initializers.torch_uniform(16)
      >>> cell = jaxrnn.elman(3, 16, input_init=u, recurrent_init=u, bias_init=u)
      >>> bool(abs(cell.init(jax.random.key(0))["w_x"]).max() <= 0.25)
      True
    """
    return _uniform(checks.positive_int("H", H))


@functools.cache
def _uniform(H: int) -> Initializer:
    def init(key: jax.Array, shape: tuple[int, ...], dtype: checks.DTypeLike) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -(H**-0.5), H**-0.5)

    return init


def chrono(key: jax.Array, H: int, max_time: checks.Number, dtype: checks.DTypeLike) -> jax.Array:
    """Biases log(u), u ~ U(1, max_time - 1), for gates that keep the state: memories of 1 to max_time steps.

    References:
      Tallec and Ollivier 2018, Can recurrent neural networks warp time?, arXiv:1804.11188.
    """
    return jnp.log(jax.random.uniform(key, (H,), dtype, 1.0, max_time - 1.0))


def __dir__() -> list[str]:
    return __all__
