"""The simple recurrent network."""

from collections.abc import Callable, Mapping
from typing import Unpack

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.cells.gated import GatedCell, Gates, checked_cell
from jaxrnn.cells.gates import Activation
from jaxrnn.cells.options import GatedOptions, checked
from jaxrnn.types import Params, Tree, pytree


@pytree
class Elman(GatedCell):
    """See `elman`.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> @jaxrnn.extend.pytree
      ... class Leaky(jaxrnn.cells.Elman):  # h[t] = (h[t-1] + activation(z)) / 2
      ...     def update(self, params, carry, gates, noise):
      ...         return (carry + gates[0]) / 2
      >>> cell, params = Leaky(1, 1), {"w_x": jnp.zeros((1, 1)), "w_h": jnp.zeros((1, 1)), "b": jnp.zeros(1)}
      >>> carry, ys = jaxrnn.unroll(cell, params, jnp.ones((3, 1)), jnp.ones(1))
      >>> ys[:, 0].tolist()
      [0.5, 0.25, 0.125]
    """

    activation: Callable[[jax.Array], jax.Array] = jnp.tanh

    @property
    def gates(self) -> Mapping[str, Activation]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return {"h": self.activation}

    def update(self, params: Params, carry: jax.Array, gates: Gates, noise: Tree) -> jax.Array:
        (h,) = gates
        return h


def elman(
    D: int, H: int, *, activation: Callable[[jax.Array], jax.Array] = jnp.tanh, **options: Unpack[GatedOptions]
) -> Elman:
    """The simple recurrent network.

    h[t] = activation(x[t] @ w_x + b + h[t-1] @ w_h)

    Args:
      D: input features.
      H: hidden features.
      activation: element-wise: jnp.tanh, jax.nn.relu, jax.nn.sigmoid, any function.
      **options: as in `GatedCell`.

    Returns:
      A GatedCell with G = 1 and the carry h [..., H]. PyTorch's RNN, with `hidden_bias`, and Keras's SimpleRNN are
      this cell.

    Raises:
      ValueError, TypeError: an option is out of range or unknown.

    References:
      Elman 1990, Finding structure in time, Cognitive Science 14(2).

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.elman(3, 8, activation=jax.nn.relu)
      >>> params = cell.init(jax.random.key(0))
      >>> carry, ys = jaxrnn.unroll(cell, params, jax.numpy.ones((5, 2, 3)))
      >>> ys.shape
      (5, 2, 8)
    """
    cell = Elman(
        checks.positive_int("D", D),
        checks.positive_int("H", H),
        activation=checks.function("activation", activation, "z"),
        **checked(options),
    )
    return checked_cell(cell)
