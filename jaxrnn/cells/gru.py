"""The gated recurrent unit."""

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

import jax
import jax.numpy as jnp

from jaxrnn import checks, initializers
from jaxrnn.cells.gated import GatedCell, Gates, Noise, checked_cell
from jaxrnn.cells.gates import Activation, apart
from jaxrnn.cells.options import GatedOptions, checked
from jaxrnn.linear import affine
from jaxrnn.types import Cell, Params, Tree, leaf, pytree


def _candidate(zx: jax.Array, zh: jax.Array, r: jax.Array, z: jax.Array) -> jax.Array:
    del z
    return jnp.tanh(zx + r * zh)


@pytree
class GRU(GatedCell):
    """See `gru`.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.gru(3, 8)
      >>> isinstance(cell, jaxrnn.cells.GRU), list(cell.gates)
      (True, ['r', 'z', 'n'])
      >>> params = cell.init(jax.random.key(0))
      >>> params["b"] = params["b"].at[8:16].set(100.0)  # z = 1: the state never changes
      >>> carry, ys = jaxrnn.unroll(cell, params, jax.numpy.ones((5, 3)), jax.numpy.ones(8))
      >>> carry.tolist()
      [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """

    hidden_bias: bool = True
    chrono: checks.Number | None = leaf(default=None)

    gates: ClassVar[Mapping[str, Activation]] = {
        "r": jax.nn.sigmoid,
        "z": jax.nn.sigmoid,
        "n": apart(_candidate, (-1.0, 1.0)),
    }

    def initial_bias(self, key: jax.Array, bias: jax.Array) -> jax.Array:
        if self.chrono is None:
            return bias
        return bias.at[1].add(initializers.chrono(key, self.H, self.chrono, bias.dtype))

    def update(self, params: Params, carry: jax.Array, gates: Gates, noise: Tree) -> jax.Array:
        _, z, n = gates
        return (1.0 - z) * n + z * carry


@pytree
class ResetBeforeGRU(Cell):
    """See `gru`, option `reset_after=False`: r multiplies h before the product, so n needs two products in sequence.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.gru(3, 8, reset_after=False)
      >>> isinstance(cell, jaxrnn.cells.ResetBeforeGRU), isinstance(cell, jaxrnn.GatedCell)
      (True, False)
      >>> sorted(cell.init(jax.random.key(0)))
      ['b', 'w_h', 'w_x']
    """

    inner: GRU = leaf()

    @property
    def features(self) -> tuple[int, int]:
        return self.inner.features

    def init(self, key: jax.Array) -> Params:
        return self.inner.init(key)

    def initial_carry(self, params: Params, batch_shape: tuple[int, ...] = ()) -> jax.Array:
        return self.inner.initial_carry(params, batch_shape)

    def noise(self, key: jax.Array, T: int, batch_shape: tuple[int, ...]) -> Noise | None:
        return self.inner.noise(key, T, batch_shape)

    def step(
        self, params: Params, carry: jax.Array, x: jax.Array, noise: Noise | None = None
    ) -> tuple[jax.Array, jax.Array]:
        cell, h = self.inner, self.inner.read(carry, noise)
        x_r, x_z, x_n = jnp.split(cell.input_product(params, x), 3, axis=-1)
        w_rz, w_n = jnp.split(params["w_h"], [2 * cell.H], axis=1)
        h_r, h_z = jnp.split(affine(h, w_rz, dtype=cell.dtype), 2, axis=-1)
        r, z = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
        n = jnp.tanh(x_n + affine(r * h, w_n, dtype=cell.dtype))
        carry = cell.zone_out(carry, (1.0 - z) * n + z * carry, noise)
        return carry, carry


def gru(
    D: int,
    H: int,
    *,
    reset_after: bool = True,
    chrono: jax.typing.ArrayLike | None = None,
    **options: Unpack[GatedOptions],
) -> GRU | ResetBeforeGRU:
    """The gated recurrent unit.

    r, z = sigmoid(zx_r + zh_r), sigmoid(zx_z + zh_z);  zx = x[t] @ w_x + b;  zh = h[t-1] @ w_h + b_h
    n = tanh(zx_n + r * zh_n);  h[t] = (1 - z) * n + z * h[t-1]

    Args:
      D: input features.
      H: hidden features.
      reset_after: True: the form above, PyTorch's and Keras's, with a hidden bias "b_h" [3*H] of its own, unless
        `hidden_bias=False`. False: the original form, n = tanh(zx_n + (r * h[t-1]) @ w_n), without "b_h". Without
        `bias` there is neither "b" nor "b_h".
      chrono: the longest dependency expected, in steps: b_z = log(u), u ~ U(1, chrono - 1) (Tallec and Ollivier 2018).
      **options: as in `GatedCell`.

    Returns:
      A GatedCell with gates r, z, n and the carry h [..., H]; a plain Cell if not `reset_after`. To use PyTorch's
      weights, transpose its matrices [3*H, D]; to use Keras's, swap the first two blocks of columns, z and r.
      `jaxrnn.interop` does both.

    Raises:
      ValueError, TypeError: an option is out of range or unknown.

    References:
      Cho et al. 2014, arXiv:1406.1078; Tallec and Ollivier 2018, arXiv:1804.11188.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.gru(3, 8)
      >>> params = cell.init(jax.random.key(0))
      >>> carry, ys = jaxrnn.unroll(cell, params, jax.numpy.ones((5, 2, 3)))
      >>> ys.shape, params["b_h"].shape
      ((5, 2, 8), (24,))
    """
    biased = checks.flag("bias", options.get("bias", True))
    if chrono is not None and not biased:
        raise ValueError(f"chrono: expected None without a bias to put it in, got {chrono!r}")
    given: dict[str, Any] = {"hidden_bias": checks.flag("reset_after", reset_after) and biased} | checked(options)
    cell = GRU(
        checks.positive_int("D", D),
        checks.positive_int("H", H),
        chrono=None if chrono is None else checks.above("chrono", chrono, 2.0),
        **given,
    )
    cell = checked_cell(cell)
    for name, only in (("heads", 1), ("hidden_bias", False)):
        if not reset_after and getattr(cell, name) != only:
            raise ValueError(f"{name}: expected {only} with reset_after=False, got {getattr(cell, name)}")
    return cell if reset_after else ResetBeforeGRU(cell)
