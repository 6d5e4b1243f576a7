"""An LSTM layer of other libraries, on the default device: forward, and with the gradient of all weights."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Run = Callable[[], Any]


class Way(NamedTuple):
    """One way to run a layer.

    Attributes:
      forward: () -> ys [T, B, H].
      both: () -> (ys, gradient).
    """

    forward: Run
    both: Run


def differentiated(
    outputs: Callable[[Any, jax.Array], jax.Array], params: Any, xs: jax.Array, d_ys: jax.Array, options: Any = None
) -> Way:
    """Both functions of (params, xs) -> ys, compiled with these options."""

    def gradient(params: Any, xs: jax.Array, d_ys: jax.Array) -> Any:
        ys, pull = jax.vjp(lambda params: outputs(params, xs), params)
        return ys, pull(d_ys)[0]

    forward, both = (jax.jit(f, compiler_options=options) for f in (outputs, gradient))
    return Way(lambda: forward(params, xs), lambda: both(params, xs, d_ys))


def nnx(params: Any, xs: jax.Array, d_ys: jax.Array, dtype: str) -> Way:
    """`nnx.RNN` of `nnx.OptimizedLSTMCell`."""
    from flax import nnx

    cell = nnx.OptimizedLSTMCell(xs.shape[-1], d_ys.shape[-1], dtype=jnp.dtype(dtype), rngs=nnx.Rngs(0))
    graph, like, rest = nnx.split(nnx.RNN(cell, time_major=True, rngs=nnx.Rngs(0)), nnx.Param, ...)
    zeros = jnp.zeros(d_ys.shape[1:])
    values = {"cell": {"dense_i": {"kernel": params["w_x"]}, "dense_h": {"kernel": params["w_h"], "bias": params["b"]}}}

    def outputs(values: Any, xs: jax.Array) -> jax.Array:
        state = jax.tree.map(lambda x: x, like)
        nnx.replace_by_pure_dict(state, values)
        ys: Any = nnx.merge(graph, state, rest)(xs, initial_carry=(zeros, zeros))
        return ys.astype(jnp.float32)

    return differentiated(outputs, values, xs, d_ys)


def keras(params: Any, xs: jax.Array, d_ys: jax.Array, dtype: str) -> Way:
    """`keras.layers.LSTM` on JAX, which uses cuDNN's where it can."""
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    layer = keras.layers.LSTM(d_ys.shape[-1], return_sequences=True, dtype="mixed_" * (dtype != "float32") + dtype)
    layer.build((xs.shape[1], xs.shape[0], xs.shape[2]))

    def outputs(values: Any, xs: jax.Array) -> jax.Array:
        found: Any = layer.stateless_call(values, layer.non_trainable_variables, jnp.swapaxes(xs, 0, 1))
        return jnp.swapaxes(found[0], 0, 1).astype(jnp.float32)

    return differentiated(outputs, [params[name] for name in ("w_x", "w_h", "b")], xs, d_ys)


def packed(params: Any) -> jax.Array:
    """The weights in cuDNN's layout: W_ih, W_hh, b_ih, b_hh, each transposed, one after the other."""
    arrays = params["w_x"].T, params["w_h"].T, params["b"], jnp.zeros_like(params["b"])
    return jnp.concatenate([x.reshape(-1) for x in arrays])


def cudnn(params: Any, xs: jax.Array, d_ys: jax.Array) -> Way:
    """`jax.experimental.rnn`, in full float32."""
    from jax.experimental import rnn

    T, B, D = xs.shape
    H = d_ys.shape[-1]
    zeros, lengths = jnp.zeros((1, B, H)), jnp.full(B, T, jnp.int32)

    def outputs(weights: jax.Array, xs: jax.Array) -> jax.Array:
        xs = jnp.swapaxes(xs, 0, 1)
        found: Any = rnn.lstm(xs, zeros, zeros, weights, lengths, D, H, 1, 0.0, False, jax.lax.Precision.HIGHEST)
        return jnp.swapaxes(found[0], 0, 1)

    return differentiated(outputs, packed(params), xs, d_ys)


def torch(params: Any, xs: jax.Array, d_ys: jax.Array, dtype: str) -> Way:
    """`torch.nn.LSTM`, by cuDNN on a GPU, without tf32."""
    import torch

    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    device = "cuda" if torch.cuda.is_available() else "cpu"
    place = {"device": device, "dtype": getattr(torch, dtype)}
    layer = torch.nn.LSTM(xs.shape[-1], d_ys.shape[-1]).to(**place)
    values = params["w_x"].T, params["w_h"].T, params["b"], jnp.zeros_like(params["b"])
    with torch.no_grad():
        for weight, value in zip(layer.parameters(), values, strict=True):
            weight.copy_(torch.tensor(np.asarray(value), **place))
    inputs, cotangents = (torch.tensor(np.asarray(x), **place) for x in (xs, d_ys))
    weights = list(layer.parameters())

    def done(ys: Any) -> np.ndarray | None:
        if device == "cuda":
            torch.cuda.synchronize()
        return ys

    def forward() -> Any:
        with torch.no_grad():
            return done(layer(inputs)[0])

    def both() -> Any:
        ys = layer(inputs)[0]
        return done(ys.detach()), torch.autograd.grad(ys, weights, cotangents)

    return Way(forward, lambda: done(both()))


def outputs_of(found: Any) -> np.ndarray:
    """The outputs ys from the result of `both`, in NumPy."""
    ys = found[0]
    return np.asarray(ys) if isinstance(ys, jax.Array) else ys.float().cpu().numpy()
