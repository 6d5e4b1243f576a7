"""The leaky, continuous-time recurrent network of neuroscience."""

from collections.abc import Callable, Mapping
from typing import ClassVar, Unpack

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import checks
from jaxrnn.cells.gated import GatedCell, Gates, Named, checked_cell
from jaxrnn.cells.gates import Activation, identity, known
from jaxrnn.cells.options import GatedOptions, checked
from jaxrnn.linear import over_rows
from jaxrnn.primitives.primitive import Tracer
from jaxrnn.types import Params, leaf, pytree


@pytree
class CTRNN(GatedCell):
    """See `ctrnn`.

    Example:
      >>> import dataclasses
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.ctrnn(3, 8, dt=1.0, tau=10.0)
      >>> isinstance(cell, jaxrnn.cells.CTRNN), jax.tree.leaves(cell)
      (True, [1.0, 10.0])
      >>> dataclasses.replace(cell, tau=20.0)
      CTRNN(D=3, H=8, tau=20.0)
    """

    dt: checks.Number = leaf(default=1.0)
    tau: checks.Number = leaf(default=10.0)
    sigma: checks.Number | None = leaf(default=None)
    activation: Callable[[jax.Array], jax.Array] = jax.nn.relu

    gates: ClassVar[Mapping[str, Activation]] = {"v": identity}

    def hidden(self, carry: jax.Array) -> jax.Array:
        return self.activation(carry)

    def process_noise(self, key: jax.Array, T: int, batch_shape: tuple[int, ...]) -> jax.Array | None:
        return None if self.sigma is None else jax.random.normal(key, (T, *batch_shape, self.H))

    def gate_values(self, params: Params, carry: jax.Array, gates: Gates, noise: jax.Array | None) -> Named:
        return {"r": (self.hidden(self.update(params, carry, gates, noise)), known(self.activation).bounds)}

    def update(self, params: Params, carry: jax.Array, gates: Gates, noise: jax.Array | None) -> jax.Array:
        (drive,) = gates
        alpha = over_rows(jnp.asarray(self.dt / self.tau), carry)
        if noise is not None:
            sigma = over_rows(jnp.asarray(self.sigma), drive)
            drive = drive + jnp.sqrt(2.0 / alpha) * sigma * noise.astype(drive.dtype)
        return (1.0 - alpha) * carry + alpha * drive


def ctrnn(
    D: int,
    H: int,
    dt: jax.typing.ArrayLike,
    tau: checks.ArrayLike,
    *,
    sigma: checks.ArrayLike | None = None,
    activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
    **options: Unpack[GatedOptions],
) -> CTRNN:
    """A leaky network in continuous time, by Euler's method.

    tau dv/dt = -v + x @ w_x + b + r @ w_h + sqrt(2 tau sigma^2) xi;  r = activation(v)
    v[t] = (1 - a) v[t-1] + a (x[t] @ w_x + b + r[t-1] @ w_h + sqrt(2 / a) sigma N(0, 1));  a = dt / tau

    Args:
      D: input features.
      H: hidden units.
      dt: time step, in the unit of `tau`.
      tau: time constant; a number, or [H] for one per unit. At least dt, or Euler's method oscillates.
      sigma: standard deviation of the process noise, in units of v; drawn only where a `key` is given. None: no noise.
      activation: the rate as a function of the potential v.
      **options: as in `GatedCell`.

    Returns:
      A GatedCell with G = 1, the carry v [..., H] and the outputs r [..., H]. dt, tau and sigma are leaves: they can be
      swept and differentiated.

    Raises:
      ValueError, TypeError: an option is out of range or unknown.

    References:
      Song, Yang and Wang 2016, Training excitatory-inhibitory recurrent neural networks for cognitive tasks, PLOS
      Computational Biology 12(2).

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> cell = jaxrnn.ctrnn(3, 8, dt=1.0, tau=10.0, sigma=0.1)
      >>> params = cell.init(jax.random.key(0))
      >>> carry, rates = jaxrnn.unroll(cell, params, jax.numpy.ones((5, 2, 3)), key=jax.random.key(1))
      >>> rates.shape
      (5, 2, 8)
    """
    D, H = checks.positive_int("D", D), checks.positive_int("H", H)
    dt, tau = checks.above("dt", dt, 0.0), checks.above("tau", tau, 0.0, ((), (H,)))
    traced = any(isinstance(x, Tracer) for x in (dt, tau))
    if not traced and not np.all(np.asarray(dt) <= np.asarray(tau)):
        raise ValueError(f"dt: expected at most tau = {tau}, got {dt}")
    cell = CTRNN(
        D,
        H,
        dt=dt,
        tau=tau,
        sigma=None if sigma is None else checks.not_negative("sigma", sigma, ((), (H,))),
        activation=checks.function("activation", activation, "z"),
        **checked(options),
    )
    return checked_cell(cell)
