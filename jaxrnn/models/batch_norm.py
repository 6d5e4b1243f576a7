"""Batch normalisation."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.linear import FLOAT32, over_rows, state_dtype
from jaxrnn.masks import zero_unless
from jaxrnn.models.moments import moments
from jaxrnn.models.stateless import Stateless
from jaxrnn.types import Call, Cell, Model, Params, Tree, leaf, pytree


@pytree
class BatchNorm(Stateless):
    """See `batch_norm`."""

    D: int
    epsilon: checks.Number = leaf(default=1e-5)
    param_dtype: checks.DTypeLike = FLOAT32

    @property
    def features(self) -> tuple[int, int]:
        return self.D, self.D

    def init(self, key: jax.Array) -> Params:
        dtype = state_dtype(self.param_dtype)
        statistics = {"mean": jnp.zeros(self.D, dtype), "variance": jnp.ones(self.D, dtype)}
        scale, shift = jnp.ones(self.D, self.param_dtype), jnp.zeros(self.D, self.param_dtype)
        return {"scale": scale, "shift": shift, "statistics": statistics}

    def run(self, params: Params, carry: Tree, xs: Tree, call: Call) -> tuple[Tree, jax.Array]:
        xs, valid = self.checked(params, carry, xs, call)
        if call.key is None and call.record is None:
            statistics = jax.lax.stop_gradient(params["statistics"])
        else:
            found = moments(call.burnt_in(xs), valid)
            if call.record is not None:
                call.record(call.path, found)
            statistics = {"mean": found.mean, "variance": found.variance}
        ys = self.at_each_step(params | {"statistics": statistics}, xs, call.key)
        return (), zero_unless(valid, ys)

    def at_each_step(self, params: Params, xs: jax.Array, key: jax.Array | None) -> jax.Array:
        wide = xs.astype(state_dtype(xs.dtype))
        vectors = (params["scale"], params["shift"], params["statistics"]["mean"], params["statistics"]["variance"])
        scale, shift, mean, variance = (over_rows(x.astype(wide.dtype), wide) for x in vectors)
        ys = scale * (wide - mean) * jax.lax.rsqrt(variance + self.epsilon) + shift
        return ys.astype(xs.dtype)


def batch_norm(D: int, *, epsilon: checks.Number = 1e-5, param_dtype: checks.DTypeLike = FLOAT32) -> BatchNorm:
    """Batch normalisation between layers: y = scale * (x - mean) / sqrt(variance + epsilon) + shift.

    The mean and the variance of a feature are taken over all valid steps of all rows at once ("sequence-wise"; Laurent
    et al. 2016 normalise the inputs of recurrent layers so). The recurrence itself is not normalised: that would need
    statistics of each step (Cooijmans et al. 2017).

    In training (a key is given) the statistics are the batch's own, and the gradient goes through them. In evaluation
    (key=None) they are `params["statistics"]`, 0 and 1 until they are computed: `jaxrnn.fit` and `jaxrnn.sweep` do so
    at the end of each block, `jaxrnn.training.calibrate` for a training loop of your own. `params["statistics"]` have a
    gradient of zero, but weight decay shrinks them between two calibrations, unless the optimizer's `mask` excludes
    them. A bias right before this layer has no gradient in training, since the mean removes it.

    Padding does not count, and its output is zero. A batch without any valid step gives zeros, a batch of one value the
    shift. Without a time axis, as after `jaxrnn.last`, the statistics are taken over rows. Under `vmap` over rows each
    row would be a batch of its own: pass the rows as an axis instead.

    Args:
      D: features.
      epsilon: added to the variance.
      param_dtype: dtype of scale and shift; the statistics are in float32 at least.

    Returns:
      A Model with the parameters {"scale": [D], "shift": [D], "statistics": {"mean": [D], "variance": [D]}} and no
      carry.

    Raises:
      ValueError, TypeError: an option is out of range.

    References:
      Ioffe and Szegedy 2015, arXiv:1502.03167. In recurrent networks: Laurent et al. 2016, arXiv:1510.01378;
      Cooijmans et al. 2017, arXiv:1603.09025.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> layer = jaxrnn.batch_norm(3)
      >>> xs = 5.0 + jax.random.normal(jax.random.key(0), (10, 4, 3))
      >>> params = layer.init(jax.random.key(1))
      >>> carry, ys = layer.apply(params, xs, key=jax.random.key(2))  # a key: training
      >>> bool(abs(ys.mean()) < 1e-4)
      True
    """
    epsilon = checks.above("epsilon", epsilon, 0.0)
    return BatchNorm(checks.positive_int("D", D), epsilon, checks.float_dtype("param_dtype", param_dtype))


def batch_norms(model: Model | Cell, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths, in a model's parameters, of the parameters of each `batch_norm` in it."""
    if isinstance(model, BatchNorm):
        yield path
    elif isinstance(model, Model):
        for name, part in zip(model.names, model.parts, strict=True):
            yield from batch_norms(part, path if name is None else (*path, name))
