"""The effect of a recurrence's Jacobians on a gradient: at one step, and over many."""

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.compiled import compiled
from jaxrnn.validity import checked_resets, valid_steps

if TYPE_CHECKING:
    from jaxtyping import Float


def singular_values(matrices: checks.ArrayLike) -> "Float[jax.Array, '*B N']":
    """Singular values, the largest first: the factors by which a matrix stretches a gradient, in its N directions.

    Args:
      matrices: [..., N, N], such as `state_jacobians` returns, or params["w_h"] of a cell with one gate.

    Returns:
      [..., N].

    Raises:
      ValueError, TypeError: `matrices` are not square matrices.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> jaxrnn.diagnostics.singular_values(jnp.diag(jnp.array([1.0, 3.0, 2.0]))).tolist()
      [3.0, 2.0, 1.0]
    """
    return jnp.linalg.svd(_square(matrices), compute_uv=False)


def spectral_radius(matrices: checks.ArrayLike) -> "Float[jax.Array, '*B']":
    """The largest magnitude of an eigenvalue: the growth per step, in the long run, under repeated multiplication.

    Args:
      matrices: [..., N, N], such as `state_jacobians` returns, or params["w_h"] of a cell with one gate.

    Returns:
      [...].

    Raises:
      ValueError, TypeError: `matrices` are not square matrices.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> float(jaxrnn.diagnostics.spectral_radius(jnp.array([[0.5, 10.0], [0.0, 0.25]])))
      0.5
    """
    return jnp.abs(jnp.linalg.eigvals(_square(matrices))).max(-1)


def product_norms(
    jacobians: checks.ArrayLike,
    *,
    max_lag: int | None = None,
    lengths: checks.ArrayLike | None = None,
    resets: checks.ArrayLike | None = None,
    reverse: bool = False,
) -> "Float[jax.Array, 'K *B']":
    """The norm of dh[t]/dh[t-k] by lag k: the most that a gradient can grow on its way back over k steps.

    dh[t]/dh[t-k] = J[t] J[t-1] ... J[t-k+1];  the norm is its largest singular value, the mean is over t

    For h[t] = tanh(... + h[t-1] @ w_h) it is at most s^k, s the largest singular value of w_h: for s < 1 the gradient
    must vanish, and it can explode only if s > 1. Work: T times K products and decompositions of N x N.

    Args:
      jacobians: [T, *batch_shape, N, N], as `state_jacobians` returns.
      max_lag: K, the longest lag, in steps; None or more than T: T.
      lengths, resets, reverse: as for `state_jacobians`. Products over padding or an episode's start are left out.

    Returns:
      [K+1, *batch_shape], lag 0 (which is 1) first; NaN for lags longer than a row.

    Raises:
      ValueError, TypeError: an argument has the wrong shape, type or value.

    References:
      Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.elman(3, 8)
      >>> params, xs = cell.init(jax.random.key(0)), jax.numpy.ones((10, 3))
      >>> norms = jaxrnn.diagnostics.product_norms(jaxrnn.diagnostics.state_jacobians(cell, params, xs))
      >>> norms.shape, round(float(norms[0]), 3)
      ((11,), 1.0)
    """
    max_lag = None if max_lag is None else checks.positive_int("max_lag", max_lag)
    return _product_norms(running(jacobians, lengths, resets, reverse), max_lag)


@compiled
def _product_norms(path: "Running", max_lag: int | None) -> jax.Array:
    J, counted = path
    T = len(J)

    def body(state: tuple[jax.Array, jax.Array], _: None) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        products, whole = state  # products of the k steps up to t; whether all count
        norms = jnp.linalg.svd(products, compute_uv=False)[..., 0]
        mean = jnp.where(whole, norms, jnp.zeros_like(norms)).sum(0) / whole.sum(0).astype(norms.dtype)
        before = jnp.roll(products, 1, 0), jnp.roll(whole, 1, 0).at[0].set(False)
        return (J @ before[0], counted & before[1]), mean

    _, means = jax.lax.scan(body, (J, counted), length=T if max_lag is None else min(T, max_lag))
    return jnp.concatenate([jnp.ones_like(means[:1]), means])


class Running(NamedTuple):
    """Jacobians in the order in which the loop ran.

    Attributes:
      jacobians: [T, *batch_shape, N, N], the identity at steps that do not count.
      counted: bool [T, *batch_shape]: neither padding nor an episode's start.
    """

    jacobians: jax.Array
    counted: jax.Array


def running(
    jacobians: checks.ArrayLike, lengths: checks.ArrayLike | None, resets: checks.ArrayLike | None, reverse: bool
) -> Running:
    """Checks the arguments of functions of Jacobians over time, and puts the Jacobians in order."""
    J = _square(jacobians, "jacobians")
    if J.ndim < 3 or J.shape[0] < 1:
        raise ValueError(f"jacobians: expected at least one step, [T, ..., N, N], got {checks.short(J)}")
    checks.flag("reverse", reverse)
    T, rows = J.shape[0], J.shape[1:-2]
    counted = jnp.ones((T, *rows), bool) if lengths is None else valid_steps(lengths, T, rows)
    if resets is not None:
        starts = checked_resets(resets, T, rows) & counted  # padding starts no episode
        if reverse:
            starts = jnp.concatenate([starts[1:], jnp.zeros_like(starts[:1])])
        counted = counted & ~starts
    if reverse:
        J, counted = jnp.flip(J, 0), jnp.flip(counted, 0)
    return masked(J, counted)


def masked(J: jax.Array, counted: jax.Array) -> Running:
    """Puts the identity at steps that do not count."""
    eye = jnp.broadcast_to(jnp.eye(J.shape[-1], dtype=J.dtype), J.shape)
    return Running(jnp.where(counted[..., None, None], J, eye), counted)


def _square(value: checks.ArrayLike, name: str = "matrices") -> jax.Array:
    x = checks.array(name, value)
    if x.ndim < 2 or x.shape[-1] != x.shape[-2] or 0 in x.shape:
        raise ValueError(f"{name}: expected square matrices [..., N, N], got {checks.short(x)}")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"{name}: expected floating-point numbers, got {checks.short(x)}")
    return x
