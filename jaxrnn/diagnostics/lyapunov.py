"""Lyapunov exponents of a recurrence."""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import checks
from jaxrnn.compiled import compiled
from jaxrnn.diagnostics.jacobian_products import Running, running

if TYPE_CHECKING:
    from jaxtyping import Float


def lyapunov_spectrum(
    jacobians: checks.ArrayLike,
    *,
    transient: int = 0,
    lengths: checks.ArrayLike | None = None,
    resets: checks.ArrayLike | None = None,
    reverse: bool = False,
) -> "Float[jax.Array, '*B N']":
    """The finite-time Lyapunov exponents: mean growth rates along the state's own path, by QR.

    Q[t] R[t] = J[t] Q[t-1];  exponent i = mean over t of log |R[t][i, i]|

    exp(exponent) is the factor per step. All below zero: a small change of the state dies out, and so does a gradient;
    the largest above zero: the recurrence is chaotic, and gradients explode.

    Args:
      jacobians: [T, *batch_shape, N, N], as `state_jacobians` returns.
      transient: the number of first steps that only turn Q into the right directions and do not count; below T.
      lengths, resets, reverse: as for `state_jacobians`. Padding and episodes' starts do not count.

    Returns:
      [*batch_shape, N] in nats per step, the largest first; NaN for a row in which no step counts.

    Raises:
      ValueError, TypeError: an argument has the wrong shape, type or value.

    References:
      Benettin et al. 1980, Meccanica 15; Vogt et al. 2022, arXiv:2006.14123; Engelken, Wolf and Abbott 2023, Lyapunov
      spectra of chaotic recurrent neural networks, Physical Review Research 5(4).

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.elman(3, 8)
      >>> params, xs = cell.init(jax.random.key(0)), jax.numpy.ones((50, 3))
      >>> jacobians = jaxrnn.diagnostics.state_jacobians(cell, params, xs)
      >>> exponents = jaxrnn.diagnostics.lyapunov_spectrum(jacobians, transient=10)
      >>> exponents.shape, bool(exponents[0] < 0)
      ((8,), True)
    """
    J, counted = running(jacobians, lengths, resets, reverse)
    T = len(J)
    if isinstance(transient, bool) or not isinstance(transient, (int, np.integer)) or not 0 <= transient < T:
        raise ValueError(f"transient: expected an integer from 0 to T - 1 = {T - 1}, got {checks.short(transient)}")
    return exponents(Running(J, counted & (jnp.arange(T) >= transient).reshape(T, *(1,) * (counted.ndim - 1))))


@compiled
def exponents(path: Running) -> jax.Array:
    """Exponents like `lyapunov_spectrum`, of the steps that count."""
    J, counted = path

    def body(q: jax.Array, at_t: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        jacobian, counts = at_t
        q, r = jnp.linalg.qr(jacobian @ q)
        growth = jnp.log(jnp.abs(jnp.diagonal(r, axis1=-2, axis2=-1)))
        return q, jnp.where(counts[..., None], growth, jnp.zeros_like(growth))

    q = jnp.broadcast_to(jnp.eye(J.shape[-1], dtype=J.dtype), J.shape[1:])
    _, growth = jax.lax.scan(body, q, (J, counted))
    mean = growth.sum(0) / counted.sum(0)[..., None].astype(J.dtype)
    return jnp.flip(jnp.sort(mean, -1), -1)


def mean_over_rows(spectra: jax.Array) -> jax.Array:
    """The mean over rows, [*batch_shape, N] -> [N], without rows in which no step counts."""
    return jnp.nanmean(spectra.reshape(-1, spectra.shape[-1]), axis=0)
