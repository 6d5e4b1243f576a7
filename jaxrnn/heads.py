"""Hidden units in heads, each of which reads its own units alone: a block-diagonal recurrent matrix.

Of H units in n heads of K = H/n, head i has the units i*K ... (i+1)*K-1; the columns of w[i] [K, G*K] are gate by gate.
"""

import jax
import jax.numpy as jnp


def by_heads(h: jax.Array, w: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
    """h [..., H] times w [n, K, G*K] -> [..., G*H], accumulated in `dtype`."""
    n, K, _ = w.shape
    z = jnp.einsum("...nk,nkj->...nj", h.reshape(*h.shape[:-1], n, K), w, preferred_element_type=dtype)
    return heads_in_gates(z, K)


def by_heads_transposed(z: jax.Array, w: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
    """z [..., G*H] times the transpose of w [n, K, G*K] -> [..., H], accumulated in `dtype`."""
    n, K, _ = w.shape
    h = jnp.einsum("...nj,nkj->...nk", gates_in_heads(z, n, K), w, preferred_element_type=dtype)
    return h.reshape(*h.shape[:-2], n * K)


def heads_in_gates(z: jax.Array, K: int) -> jax.Array:
    """[..., n, G*K] -> [..., G*n*K]."""
    *rows, n, columns = z.shape
    return jnp.swapaxes(z.reshape(*rows, n, columns // K, K), -3, -2).reshape(*rows, n * columns)


def gates_in_heads(z: jax.Array, n: int, K: int) -> jax.Array:
    """[..., G*n*K] -> [..., n, G*K]."""
    *rows, columns = z.shape
    return jnp.swapaxes(z.reshape(*rows, -1, n, K), -3, -2).reshape(*rows, n, columns // n)
