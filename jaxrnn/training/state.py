"""The state that training carries from step to step."""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxrnn import checks
from jaxrnn.arguments import checked_params
from jaxrnn.types import Cell, Model, Params, Tree

Optimizer = optax.GradientTransformation
"""An `optax.GradientTransformation`, or an object that has one, such as `optax.MultiSteps`."""


def checked_optimizer(optimizer: Optimizer) -> optax.GradientTransformation:
    """An optimizer as an optax transformation."""
    made = getattr(optimizer, "gradient_transformation", None)
    if made is not None and not isinstance(optimizer, type):
        optimizer = made()  # for `optax.MultiSteps`
    return checks.instance("optimizer", optimizer, optax.GradientTransformation, "such as optax.adam(1e-3)")


def check_precision(model: Model, params: Params) -> None:
    """Raises for float16: its gradients underflow without loss scaling, which the library does not do."""
    found = [f"parameters {x.dtype}{list(x.shape)}" for x in jax.tree.leaves(params) if x.dtype == jnp.float16]
    found += [f"{type(part).__name__} with dtype float16" for part in _parts(model) if _is_half(part)]
    if found:
        raise TypeError(
            "model: expected float32 or bfloat16, whose range is that of float32, for training, got float16, whose "
            f"gradients underflow without loss scaling: {found[0]}; dtype=jnp.bfloat16 needs none"
        )


def _is_half(part: Model | Cell) -> bool:
    dtype = getattr(part, "dtype", None)
    return dtype is not None and jnp.dtype(dtype) == jnp.float16


def _parts(model: Model | Cell) -> Iterator[Model | Cell]:
    """All models and cells inside a model, itself included."""
    yield model
    for field in dataclasses.fields(model) if dataclasses.is_dataclass(model) else ():
        value = getattr(model, field.name)
        for part in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(part, (Model, Cell)):
                yield from _parts(part)


class TrainState(NamedTuple):
    """State of a training run.

    Attributes:
      step: int32 scalar, the number of steps taken.
      params: the model's parameters.
      opt_state: the optimizer's state.
      key: the random key from which all randomness of the run is derived; it does not change.
      carry: the model's carry after the last step, for training on streams; None: each batch starts anew.

    Example:
      >>> import jax, optax
      >>> import jaxrnn
      >>> model = jaxrnn.chain(jaxrnn.gru(1, 4), jaxrnn.dense(4, 1))
      >>> state = jaxrnn.training.train_state(model, optax.adam(1e-2), key=jax.random.key(0), streams=2)
      >>> int(state.step), state.params["1"]["w"].shape, [x.shape for x in jax.tree.leaves(state.carry)]
      (0, (4, 1), [(2, 4)])
      >>> bool(state.step_key == jax.random.fold_in(state.key, 0))
      True
    """

    step: jax.Array
    params: Params
    opt_state: Tree
    key: jax.Array
    carry: Tree = None

    @property
    def step_key(self) -> jax.Array:
        """The key of the noise in the next step."""
        return jax.random.fold_in(self.key, self.step)


def train_state(
    model: Model,
    optimizer: Optimizer,
    *,
    key: jax.Array | None,
    params: Params = None,
    streams: int | None = None,
) -> TrainState:
    """The state before the first step.

    Args:
      model: the model.
      optimizer: any optax transformation.
      key: one half draws the parameters, the other goes into the state.
      params: parameters to start from, instead of drawn ones; they are copied.
      streams: the number of streams to train on at once, for a state with a carry; None: independent sequences.

    Returns:
      A TrainState that shares no buffer with another array, so it can be donated.

    Raises:
      ValueError, TypeError: an argument does not fit; the message names it.

    Example:
      >>> import jax, optax
      >>> import jaxrnn
      >>> model = jaxrnn.chain(jaxrnn.gru(1, 8), jaxrnn.dense(8, 1))
      >>> state = jaxrnn.training.train_state(model, optax.adam(1e-2), key=jax.random.key(0))
      >>> int(state.step), sorted(state.params)
      (0, ['0', '1'])
    """
    checks.instance("model", model, Model, "put cells into jaxrnn.stack([cell, ...])")
    optimizer = checked_optimizer(optimizer)
    init_key, run_key = jax.random.split(checks.key("key", key))
    if params is None:
        params = model.init(init_key)
    else:
        checked_params(model, params)
    check_precision(model, params)
    carry = None
    if streams is not None:
        carry = model.initial_carry(params, (checks.positive_int("streams", streams),))
    state = TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params), run_key, carry)
    return jax.tree.map(lambda x: jnp.array(x, copy=True), state)
