"""Models around another model, with its parameters and its carry."""

import jax

from jaxrnn.types import Batch, Model, Params, Tree, leaf, pytree


@pytree
class Wrapper(Model):
    """A model that changes only the `run` of another one."""

    model: Model = leaf()

    @property
    def keeps_time(self) -> bool:
        return self.model.keeps_time

    @property
    def needs_time(self) -> bool:
        return self.model.needs_time

    @property
    def parts(self) -> tuple[Model, ...]:
        return (self.model,)

    @property
    def features(self) -> tuple[int | None, int | None]:
        return self.model.features

    @property
    def input_symbols(self) -> int | None:
        return self.model.input_symbols

    def init(self, key: jax.Array) -> Params:
        return self.model.init(key)

    def initial_carry(self, params: Params, batch_shape: tuple[int, ...] = ()) -> Tree:
        return self.model.initial_carry(params, batch_shape)

    def reads(self, batch: Batch) -> Tree:
        return self.model.reads(batch)
