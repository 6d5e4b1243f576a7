"""Models one after the other, and around a shortcut."""

from typing import Any

import jax

from jaxrnn import checks
from jaxrnn.types import Gradient, Model, Params, Tree, leaf, pytree


@pytree
class Chain(Model):
    """See `chain`."""

    models: tuple[Model, ...] = leaf()

    @property
    def keeps_time(self) -> bool:
        return all(model.keeps_time for model in self.models)

    @property
    def parts(self) -> tuple[Model, ...]:
        return self.models

    @property
    def features(self) -> tuple[int | None, int | None]:
        return self.models[0].features[0], self.models[-1].features[1]

    def init(self, key: jax.Array) -> Params:
        keys = jax.random.split(key, len(self.models))
        return {str(i): model.init(k) for i, (model, k) in enumerate(zip(self.models, keys, strict=True))}

    def initial_carry(self, params: Params, batch_shape: tuple[int, ...] = ()) -> Tree:
        return tuple(model.initial_carry(params[str(i)], batch_shape) for i, model in enumerate(self.models))

    def apply(
        self,
        params: Params,
        xs: Any,
        *,
        carry: Tree = None,
        lengths: Any = None,
        resets: Any = None,
        key: jax.Array | None = None,
        gradient: Gradient | None = None,
    ) -> tuple[Tree, Any]:
        count = len(self.models)
        params = checks.children("params", params, [str(i) for i in range(count)])
        carries = [None] * count if carry is None else checks.items("carry", carry, count)
        keys = [None] * count if key is None else jax.random.split(checks.key("key", key), count)
        final, ys = [], xs
        for i, model in enumerate(self.models):
            options = {"lengths": lengths, "resets": resets, "key": keys[i], "gradient": gradient}
            with checks.within(f"{i}"):
                after, ys = model.apply(params[str(i)], ys, carry=carries[i], **options)
            final.append(after)
            if not model.keeps_time:
                lengths = resets = None
        return tuple(final), ys


@pytree
class Residual(Model):
    """See `residual`."""

    model: Model = leaf()

    @property
    def parts(self) -> tuple[Model, ...]:
        return (self.model,)

    @property
    def features(self) -> tuple[int | None, int | None]:
        return self.model.features

    def init(self, key: jax.Array) -> Params:
        return self.model.init(key)

    def initial_carry(self, params: Params, batch_shape: tuple[int, ...] = ()) -> Tree:
        return self.model.initial_carry(params, batch_shape)

    def apply(self, params: Params, xs: Any, **options: Any) -> tuple[Tree, Any]:
        xs = checks.array("xs", xs)
        carry, ys = self.model.apply(params, xs, **options)
        if ys.shape != xs.shape:
            raise ValueError(f"model: expected outputs of the shape of its inputs, {xs.shape}, got {ys.shape}")
        return carry, xs.astype(ys.dtype) + ys


def chain(*models: Model) -> Chain:
    """Models one after the other: each reads the outputs of the one before.

    Args:
      *models: in the order in which data passes through them.

    Returns:
      A Model with the parameters {"0": those of models[0], ...} and the carry a tuple of the models' carries.

    Raises:
      ValueError, TypeError: there are no models, something is no model, or the features of two of them do not fit.
    """
    checks.sequence("models", models, Model, "put cells into jr.stack([cell, ...]) first")
    checks.fitting("models", models)
    return Chain(models)


def residual(model: Model) -> Residual:
    """A shortcut around a model: y[t] = x[t] + model(x)[t], which lets the gradient past it unchanged.

    Args:
      model: its inputs and outputs have the same shape.

    Returns:
      A Model with the parameters and the carry of `model`.

    Raises:
      ValueError, TypeError: it is no model, or its features differ.

    References:
      He et al. 2016, Deep residual learning for image recognition, arXiv:1512.03385.
    """
    checks.instance("model", model, Model, "put cells into jr.stack([cell, ...]) first")
    D, O = model.features
    if D is not None and O is not None and D != O:
        raise ValueError(f"model: expected as many output features as input features, {D}, got {O}")
    return Residual(model)
