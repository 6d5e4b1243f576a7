"""The derivative of each state with respect to the one before."""

import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import checks
from jaxrnn.arguments import check_rows, checked_options
from jaxrnn.compiled import compiled
from jaxrnn.diagnostics.layer import Layer, in_time, run_cell
from jaxrnn.float_leaves import floats, with_floats
from jaxrnn.masks import take_step
from jaxrnn.types import Cell, Params, Step, Tree

if TYPE_CHECKING:
    from jaxtyping import Float


def state_jacobians(
    cell: Cell,
    params: Params,
    xs: Tree,
    *,
    carry: Tree = None,
    lengths: checks.ArrayLike | None = None,
    resets: checks.ArrayLike | None = None,
    reverse: bool = False,
    key: jax.Array | None = None,
) -> "Float[jax.Array, 'T *B N N']":
    """dh[t]/dh[t-1] for all t and rows, where h is the whole carry: h and c for an LSTM.

    J[t][i, j] = d carry[t]_i / d carry[t-1]_j

    `singular_values`, `spectral_radius`, `product_norms` and `lyapunov_spectrum` measure the effect of the Jacobians on
    a gradient. Rows are assumed to be independent of each other, as in all cells of this library. Memory: T times rows
    times N^2, so choose a few rows.

    Args:
      cell, params, xs: as for `unroll`.
      carry, lengths, resets, reverse, key: as for `unroll`.

    Returns:
      [T, *batch_shape, N, N]: N floating-point numbers in the carry of one row, its leaves one after the other.
      J[t] is the identity on padding and zero where an episode starts anew. Under `reverse` the state before x[t] is
      the state of x[t+1]: J[t] = dh[t]/dh[t+1].

    Raises:
      ValueError, TypeError: as `unroll` does.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.lstm(3, 8)
      >>> params, xs = cell.init(jax.random.key(0)), jax.numpy.ones((10, 2, 3))
      >>> jaxrnn.diagnostics.state_jacobians(cell, params, xs).shape  # N = 16: h and c
      (10, 2, 16, 16)
    """
    return _state_jacobians(cell, params, checked_options(cell, xs, carry, lengths, resets, reverse, key))


@compiled
def _state_jacobians(cell: Cell, params: Params, options: dict[str, Any]) -> jax.Array:
    return in_time(jacobians(run_cell(cell, params, options)), options["reverse"])


def jacobians(layer: Layer) -> jax.Array:
    """Jacobians like `state_jacobians`, in the order in which the loop ran."""
    rows, like = layer.batch_shape, floats(jax.tree.map(lambda x: x[0], layer.before))
    check_rows("carry", like, rows)
    dtype = max((x.dtype for x in like), key=lambda dtype: dtype.itemsize)
    sizes = [math.prod(x.shape[len(rows) :]) for x in like]

    def flat(leaves: list[jax.Array]) -> jax.Array:
        columns = [x.astype(dtype).reshape(*rows, n) for x, n in zip(leaves, sizes, strict=True)]
        return jnp.concatenate(columns, -1)

    def for_all_rows(vector: jax.Array) -> list[jax.Array]:
        vectors = jnp.broadcast_to(vector.reshape(*(1,) * len(rows), -1), (*rows, len(vector)))
        parts = jnp.split(vectors, np.cumsum(sizes)[:-1], axis=-1)
        return [part.reshape(x.shape).astype(x.dtype) for part, x in zip(parts, like, strict=True)]

    def jacobian(at_t: tuple[Step, Tree]) -> jax.Array:
        step, before = at_t

        def after(values: list[jax.Array]) -> list[jax.Array]:
            carry = with_floats(before, values)
            return floats(take_step(layer.cell, layer.params, carry, step, layer.inputs.initial)[0])

        _, pull = jax.vjp(after, floats(before))  # in reverse mode: a user's own rule may have no other
        return jax.vmap(lambda e: flat(pull(for_all_rows(e))[0]), out_axes=-2)(jnp.eye(sum(sizes), dtype=dtype))

    return jax.lax.map(jacobian, (layer.inputs.steps, layer.before))
