"""Models one after the other, and around a shortcut."""

from collections.abc import Sequence

from jaxrnn import checks
from jaxrnn.masks import zero_unless
from jaxrnn.models.composite import Composite
from jaxrnn.models.stack import stack
from jaxrnn.models.wrapper import Wrapper
from jaxrnn.types import Batch, Call, Cell, Model, Params, Tree, leaf, pytree


@pytree
class Chain(Composite):
    """See `chain`."""

    models: tuple[Model, ...] = leaf()

    @property
    def keeps_time(self) -> bool:
        return all(model.keeps_time for model in self.models)

    @property
    def needs_time(self) -> bool:
        return any(model.needs_time for model in self.models)

    @property
    def features(self) -> tuple[int | None, int | None]:
        found = [model.features for model in self.models if not model.keeps_features]
        return (found[0][0], found[-1][1]) if found else (None, None)

    @property
    def keeps_features(self) -> bool:
        return all(model.keeps_features for model in self.models)

    @property
    def parts(self) -> tuple[Model, ...]:
        return self.models

    @property
    def input_symbols(self) -> int | None:
        return self.models[0].input_symbols

    def reads(self, batch: Batch) -> Tree:
        return self.models[0].reads(batch)

    def run(self, params: Params, carry: Tree, xs: Tree, call: Call) -> tuple[Tree, Tree]:
        final, ys = [], xs
        for name, model, p, c, key in self.shares(params, carry, call):
            with checks.within(name):
                after, ys = model.run(p, c, ys, call.of(name, key))
            final.append(after)
            if not model.keeps_time:
                call = call.without_time
        return tuple(final), ys


@pytree
class Residual(Wrapper):
    """See `residual`."""

    def run(self, params: Params, carry: Tree, xs: Tree, call: Call) -> tuple[Tree, Tree]:
        xs = checks.array("xs", xs)
        carry, ys = self.model.run(params, carry, xs, call)
        ys = checks.array("model: outputs", ys)
        if ys.shape != xs.shape:
            raise ValueError(f"model: expected outputs of the shape of its inputs, {xs.shape}, got {ys.shape}")
        valid = call.valid(xs.shape[0], xs.shape[1:-1]) if xs.ndim > 1 else None
        return carry, zero_unless(valid, xs.astype(ys.dtype)) + ys


def chain(*models: Model | Cell | Sequence[Model | Cell]) -> Chain:
    """Models one after the other: each reads the outputs of the one before.

    Args:
      *models: in the order in which data passes through them: each an argument, or all in one list. A cell stands for
        `stack(cell)`.

    Returns:
      A Model with the parameters {"0": parameters of models[0], ...} and the carry a tuple of the models' carries.

    Raises:
      ValueError, TypeError: there are no models, an argument is not a Model, or the features of two of them do not fit.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> model = jaxrnn.chain(jaxrnn.gru(3, 8), jaxrnn.last(), jaxrnn.dense(8, 2))
      >>> carry, ys = model.apply(model.init(jax.random.key(0)), jax.numpy.ones((5, 4, 3)))
      >>> ys.shape
      (4, 2)
    """
    given = checks.sequence("models", checks.in_one_list(models), (Model, Cell))
    layers: tuple[Model, ...] = tuple(stack(part) if isinstance(part, Cell) else part for part in given)
    checks.fitting("models", layers)
    for i, model in enumerate(layers):
        if model.needs_time and not all(before.keeps_time for before in layers[:i]):
            raise ValueError(
                f"models[{i}]: expected a model that needs no time axis behind last or mean_over_time, got "
                f"{checks.short(model)}"
            )
    return Chain(layers)


def residual(model: Model) -> Residual:
    """A shortcut around a model: y[t] = x[t] + model(x)[t], which lets the gradient past it unchanged.

    Args:
      model: its inputs and outputs have the same shape.

    Returns:
      A Model with the parameters and the carry of `model`.

    Raises:
      ValueError, TypeError: `model` is not a Model, or its features differ.

    References:
      He et al. 2016, Deep residual learning for image recognition, arXiv:1512.03385.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> model = jaxrnn.residual(jaxrnn.stack(jaxrnn.gru(8, 8)))
      >>> carry, ys = model.apply(model.init(jax.random.key(0)), jax.numpy.ones((5, 2, 8)))
      >>> ys.shape
      (5, 2, 8)
    """
    checks.instance("model", model, Model, "put cells into jaxrnn.stack([cell, ...]) first")
    D, O = model.features
    if D is not None and O is not None and D != O:
        raise ValueError(f"model: expected as many output features as input features, {D}, got {O}")
    return Residual(model)
