"""The contribution of each step, and of each lag, to the gradient of the weights."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.arguments import checked_options, checked_params
from jaxrnn.compiled import compiled
from jaxrnn.diagnostics.backward import ByLag, backward, by_lag
from jaxrnn.diagnostics.layer import OutputLoss, in_time, record_cell
from jaxrnn.types import Cell, Params, Tree

if TYPE_CHECKING:
    from jaxtyping import Float


def weight_contributions(
    cell: Cell,
    params: Params,
    xs: Tree,
    loss: OutputLoss,
    *,
    names: Sequence[str] | None = None,
    carry: Tree = None,
    lengths: checks.ArrayLike | None = None,
    resets: checks.ArrayLike | None = None,
    reverse: bool = False,
    key: jax.Array | None = None,
) -> dict[str, Tree]:
    """dL/dW[t]: the gradient of the weights as used by step t alone.

    dL/dW = sum over t of dL/dW[t], exactly. If the loss is a mean over steps, the mean of the parts is T times smaller.
    Memory: T times that of the chosen weights.

    Args:
      cell, params, xs: as for `unroll`.
      loss: (ys) -> scalar.
      names: names of parameters in `params`; None: "w_h" if there is one, else all.
      carry, lengths, resets, reverse, key: as for `unroll`.

    Returns:
      {name: [T, *shape]}; zero where all rows have ended. The part that reaches a parameter through `initial_carry`,
      and not through a step, is not in it.

    Raises:
      ValueError, TypeError: as `unroll` does; the loss is not a function or returns no scalar; a name is unknown.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> cell, xs = jaxrnn.elman(3, 8), jnp.ones((6, 2, 3))
      >>> params = cell.init(jax.random.key(0))
      >>> steps = jaxrnn.diagnostics.weight_contributions(cell, params, xs, jnp.sum)
      >>> whole = jax.grad(lambda params: jaxrnn.unroll(cell, params, xs)[1].sum())(params)
      >>> steps["w_h"].shape, bool(jnp.allclose(steps["w_h"].sum(0), whole["w_h"], rtol=1e-4, atol=1e-5))
      ((6, 8, 8), True)
    """
    checks.function("loss", loss, "ys")
    options = checked_options(cell, xs, carry, lengths, resets, reverse, key)
    return _weight_contributions(cell, params, loss, _chosen(cell, params, names), options)


@compiled
def _weight_contributions(
    cell: Cell, params: Params, loss: OutputLoss, names: tuple[str, ...], options: dict[str, Any]
) -> dict[str, Tree]:
    weights = {name: params[name] for name in names}
    return in_time(backward(record_cell(cell, params, loss, options), weights)[1], options["reverse"])


def lag_contributions(
    cell: Cell,
    params: Params,
    xs: Tree,
    loss: OutputLoss,
    *,
    names: Sequence[str] | None = None,
    max_lag: int | None = None,
    carry: Tree = None,
    lengths: checks.ArrayLike | None = None,
    resets: checks.ArrayLike | None = None,
    reverse: bool = False,
    key: jax.Array | None = None,
) -> dict[str, Tree]:
    """The gradient of the weights by lag: the part from outputs y[s] through the weights as used by step s - k.

    dL/dW = sum over k of G[k];  G[k] = sum over s of (dy[s] / dW[s-k])^T dL/dy[s]

    The norms of G[k] show how far back learning reaches. One pass back through time with the K + 1 lags as a batch.
    Memory: K + 1 times that of the chosen weights.

    Args:
      cell, params, xs: as for `unroll`.
      loss: (ys) -> scalar. It is split by the outputs that it reads: dL/dy[s] counts for step s.
      names: names of parameters in `params`; None: "w_h" if there is one, else all.
      max_lag: K, the longest lag, in steps; None or above T - 1: T - 1, for which the sum is the whole gradient.
      carry, lengths, resets, reverse, key: as for `unroll`. Lags count in the order in which the steps are read.

    Returns:
      {name: [K+1, *shape]}, lag 0 first. The part that reaches a parameter through `initial_carry` is not in it.

    Raises:
      ValueError, TypeError: as `unroll` does; the loss is not a function or returns no scalar; a name is unknown;
        `max_lag` is not a positive integer.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> cell, xs = jaxrnn.elman(3, 8), jnp.ones((6, 2, 3))
      >>> params = cell.init(jax.random.key(0))
      >>> lags = jaxrnn.diagnostics.lag_contributions(cell, params, xs, jnp.sum)
      >>> whole = jax.grad(lambda params: jaxrnn.unroll(cell, params, xs)[1].sum())(params)
      >>> lags["w_h"].shape, bool(jnp.allclose(lags["w_h"].sum(0), whole["w_h"], rtol=1e-4, atol=1e-5))
      ((6, 8, 8), True)
    """
    checks.function("loss", loss, "ys")
    options = checked_options(cell, xs, carry, lengths, resets, reverse, key)
    max_lag = None if max_lag is None else checks.positive_int("max_lag", max_lag)
    return _by_lag(cell, params, loss, _chosen(cell, params, names), max_lag, options).d_weights


def gradient_norm_by_lag(
    cell: Cell,
    params: Params,
    xs: Tree,
    loss: OutputLoss,
    *,
    max_lag: int | None = None,
    carry: Tree = None,
    lengths: checks.ArrayLike | None = None,
    resets: checks.ArrayLike | None = None,
    reverse: bool = False,
    key: jax.Array | None = None,
) -> "Float[jax.Array, 'K']":
    """The norm of the gradient k steps before its output, relative to its norm at the output.

    r[k] = sqrt(sum over s of |v[s, k]|^2 / sum over s of |dL/dy[s]|^2);  v[s, k] = (dy[s] / dh[s-k])^T dL/dy[s]

    A falling curve is a vanishing gradient, a rising one an exploding gradient. Both sums are over rows, too, and only
    over outputs with k steps of their own episode before them.

    Args:
      cell, params, xs: as for `unroll`.
      loss: (ys) -> scalar.
      max_lag: K, the longest lag, in steps; None or above T - 1: T - 1.
      carry, lengths, resets, reverse, key: as for `unroll`. Lags count in the order in which the steps are read.

    Returns:
      r [K+1], lag 0 first: 1 where y is h itself, 0 for a plain cell whose y is not a leaf of its carry. NaN for lags
      that no output has.

    Raises:
      ValueError, TypeError: as `lag_contributions` does.

    References:
      Hochreiter, Bengio, Frasconi and Schmidhuber 2001, Gradient flow in recurrent nets: the difficulty of learning
      long-term dependencies.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> cell = jaxrnn.elman(3, 8)
      >>> xs = jax.random.normal(jax.random.key(0), (30, 4, 3))
      >>> norms = jaxrnn.diagnostics.gradient_norm_by_lag(cell, cell.init(jax.random.key(1)), xs, jnp.sum)
      >>> norms.shape, bool(norms[-1] < norms[0])
      ((30,), True)
    """
    checks.function("loss", loss, "ys")
    options = checked_options(cell, xs, carry, lengths, resets, reverse, key)
    max_lag = None if max_lag is None else checks.positive_int("max_lag", max_lag)
    return _by_lag(cell, params, loss, (), max_lag, options).norms


@compiled
def _by_lag(
    cell: Cell, params: Params, loss: OutputLoss, names: tuple[str, ...], max_lag: int | None, options: dict[str, Any]
) -> ByLag:
    return by_lag(record_cell(cell, params, loss, options), {name: params[name] for name in names}, max_lag)


def _chosen(cell: Cell, params: Params, names: Sequence[str] | None) -> tuple[str, ...]:
    checked_params(checks.instance("cell", cell, Cell), params)
    if not isinstance(params, dict):
        raise TypeError(f"params: expected a dict, whose entries have names, got {checks.short(params)}")
    if names is None:
        names = ("w_h",) if "w_h" in params else tuple(params)
    for i, name in enumerate(checks.sequence("names", names, str)):
        if name not in params:
            raise ValueError(f"names[{i}]: expected one of {tuple(params)}, got {name!r}")
        for x in jax.tree.leaves(params[name]):
            if not jnp.issubdtype(jnp.result_type(x), jnp.floating):
                raise TypeError(f"names[{i}]: expected floating-point parameters, got {name!r} {checks.short(x)}")
    return tuple(names)
