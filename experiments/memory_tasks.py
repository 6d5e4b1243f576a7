"""Sequences for tasks that are nothing but memory: adding, copying, delayed XOR and parity.

Each task is a jitted function (key, T, B) -> batch.

References:
  Hochreiter and Schmidhuber 1997, Long short-term memory, Neural Computation 9(8) (adding, experiment 4);
  Le, Jaitly and Hinton 2015, arXiv:1504.00941 (adding in this form); Arjovsky, Shah and Bengio 2016, arXiv:1511.06464
  (copying in this form).
"""

import functools
import math

import jax
import jax.numpy as jnp

Batch = dict[str, jax.Array]
SYMBOLS, REMEMBERED = 8, 10
"""For copying: the number of different symbols, and the number of symbols to remember."""

jitted = functools.partial(jax.jit, static_argnums=(1, 2))


@jitted
def adding(key: jax.Array, T: int, B: int) -> Batch:
    """Numbers from U(0, 1) and a marker, 1 at one step of each half, else 0; the target is the sum of the marked two.

    Returns:
      {"xs": [T, B, 2], "targets": [B, 1]}.
    """
    values, first, second = jax.random.split(key, 3)
    numbers, markers = jax.random.uniform(values, (T, B)), _one_in_each_half(first, second, T, B)
    return {"xs": jnp.stack([numbers, markers], -1), "targets": (numbers * markers).sum(0)[:, None]}


@jitted
def delayed_xor(key: jax.Array, T: int, B: int) -> Batch:
    """Two bits, each with a marker, one in either half, and zeros elsewhere; the target is whether they differ.

    Returns:
      {"xs": [T, B, 2], "targets": [B, 1]}.
    """
    values, first, second = jax.random.split(key, 3)
    markers = _one_in_each_half(first, second, T, B)
    bits = markers * jax.random.bernoulli(values, shape=(T, B)).astype(markers.dtype)
    return {"xs": jnp.stack([bits, markers], -1), "targets": (bits.sum(0) % 2)[:, None]}


@jitted
def parity(key: jax.Array, T: int, B: int) -> Batch:
    """Bits; the target of each step is whether the number of ones so far is odd.

    Returns:
      {"xs": [T, B, 1], "targets": [T, B, 1]}.
    """
    bits = jax.random.bernoulli(key, shape=(T, B, 1)).astype(jnp.result_type(float))
    return {"xs": bits, "targets": jnp.cumsum(bits, 0) % 2}


@jitted
def copying(key: jax.Array, T: int, B: int) -> Batch:
    """Ten symbols, T blanks the last of which is a marker, ten blanks; the targets are T + 10 blanks, then the symbols.

    Returns:
      {"xs": [T + 20, B, 10], "targets": int [T + 20, B]}: one-hot blank (0), symbols (1 to 8) and marker (9); classes
      blank (0) and symbols.
    """
    symbols = jax.random.randint(key, (REMEMBERED, B), 1, SYMBOLS + 1)
    blanks = jnp.zeros((T + REMEMBERED, B), symbols.dtype)
    read = jnp.concatenate([symbols, blanks.at[T - 1].set(SYMBOLS + 1)])
    return {"xs": jax.nn.one_hot(read, SYMBOLS + 2), "targets": jnp.concatenate([blanks, symbols])}


def _one_in_each_half(first: jax.Array, second: jax.Array, T: int, B: int) -> jax.Array:
    """[T, B]: 1 at one step of each half, else 0."""
    at = jnp.stack([jax.random.randint(first, (B,), 0, T // 2), jax.random.randint(second, (B,), T // 2, T)])
    return jax.nn.one_hot(at, T, axis=0).sum(1)


def copying_chance(T: int) -> float:
    """The loss of answers without memory: blanks in their places, then each symbol with probability 1/8."""
    return REMEMBERED * math.log(SYMBOLS) / (T + 2 * REMEMBERED)
