"""Cells made of a user's own functions."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Unpack

import jax

from jaxrnn import checks
from jaxrnn.cells.gated import GatedCell, Gates, checked_cell
from jaxrnn.cells.gates import Activation, Apart, apart
from jaxrnn.cells.options import GatedOptions, checked
from jaxrnn.functions import Function as ByValue
from jaxrnn.types import Cell, Params, Tree, leaf, pytree

Function = Callable[..., Any]
UPDATE, NOISE = ("params", "carry", "gates", "noise"), ("key", "T", "batch_shape")
"""The arguments of the functions of these names."""


@pytree
class CustomCell(Cell):
    """See `cell`."""

    init_fn: Function = leaf()
    initial_carry_fn: Function = leaf()
    step_fn: Function = leaf()
    noise_fn: Function | None = leaf(default=None)

    def init(self, key: jax.Array) -> Params:
        return self.init_fn(checks.key("key", key))

    def initial_carry(self, params: Params, batch_shape: tuple[int, ...] = ()) -> Tree:
        return self.initial_carry_fn(params, batch_shape)

    def step(self, params: Params, carry: Tree, x: jax.Array, noise: Tree = None) -> tuple[Tree, Tree]:
        return self.step_fn(params, carry, x) if self.noise_fn is None else self.step_fn(params, carry, x, noise)

    def noise(self, key: jax.Array, T: int, batch_shape: tuple[int, ...]) -> Tree:
        return None if self.noise_fn is None else self.noise_fn(key, T, batch_shape)


@pytree
class CustomGatedCell(GatedCell):
    """See `gated_cell`."""

    names: tuple[str, ...]
    activations: tuple[Activation, ...] = leaf()
    update_fn: Function = leaf()
    hidden_fn: Function | None = leaf(default=None)
    zero_carry_fn: Function | None = leaf(default=None)
    own_params_fn: Function | None = leaf(default=None)
    noise_fn: Function | None = leaf(default=None)

    @property
    def gates(self) -> Mapping[str, Activation]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return dict(zip(self.names, self.activations, strict=True))

    def update(self, params: Params, carry: Tree, gates: Gates, noise: Tree) -> Tree:
        return self.update_fn(params, carry, tuple(gates), noise)

    def hidden(self, carry: Tree) -> jax.Array:
        return carry if self.hidden_fn is None else self.hidden_fn(carry)

    def zero_carry(self, batch_shape: tuple[int, ...], dtype: checks.DTypeLike) -> Tree:
        if self.zero_carry_fn is None:
            return GatedCell.zero_carry(self, batch_shape, dtype)
        return jax.tree.map(lambda x: checks.array("zero_carry", x), self.zero_carry_fn(batch_shape, dtype))

    def own_params(self, key: jax.Array) -> Params:
        return {} if self.own_params_fn is None else self.own_params_fn(key)

    def process_noise(self, key: jax.Array, T: int, batch_shape: tuple[int, ...]) -> Tree:
        return None if self.noise_fn is None else self.noise_fn(key, T, batch_shape)


def cell(init: Function, initial_carry: Function, step: Function, *, noise: Function | None = None) -> CustomCell:
    """A Cell of any three functions.

    Args:
      init: (key) -> params, any tree of arrays.
      initial_carry: (params, batch_shape) -> carry, any tree of arrays [*batch_shape, ...]; integers are allowed.
      step: (params, carry, x) -> (carry, y), x [*batch_shape, ...]; a pure function. With `noise` it takes a fourth
        argument: this step's noise, or None in evaluation.
      noise: (key, T, batch_shape) -> a tree of arrays [T, *batch_shape, ...]; None: the cell is deterministic.

    Each function may be a `jax.tree_util.Partial`. The Partial's arguments are numeric options of the cell: they can
    be traced, swept and differentiated. A function must not close over traced values.

    Returns:
      A Cell.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> def step(params, carry, x):
      ...     carry = params["decay"] * carry + x
      ...     return carry, carry
      >>> cell = jaxrnn.cell(
      ...     init=lambda key: {"decay": jnp.asarray(0.5)},
      ...     initial_carry=lambda params, batch_shape: jnp.zeros((*batch_shape, 1)),
      ...     step=step,
      ... )
      >>> carry, ys = jaxrnn.unroll(cell, {"decay": jnp.asarray(0.5)}, jnp.ones((3, 1)))
      >>> ys[:, 0].tolist()
      [1.0, 1.5, 1.75]
    """
    read = ("params", "carry", "x") if noise is None else ("params", "carry", "x", "noise")
    return CustomCell(
        _function("init", init, "key"),
        _function("initial_carry", initial_carry, "params", "batch_shape"),
        _function("step", step, *read),
        None if noise is None else _function("noise", noise, *NOISE),
    )


def gated_cell(
    D: int,
    H: int,
    gates: Mapping[str, Activation],
    update: Function,
    *,
    hidden: Function | None = None,
    zero_carry: Function | None = None,
    own_params: Function | None = None,
    noise: Function | None = None,
    **options: Unpack[GatedOptions],
) -> CustomGatedCell:
    """A GatedCell made of its gates and equations.

    zx = x[t] @ w_x + b;  zh = hidden(carry) @ w_h + b_h;  gate = activation(zx + zh)
    carry = update(params, carry, gates, noise)

    Args:
      D: input features.
      H: hidden features.
      gates: {name: activation}, G of them, in the order of their blocks of H columns in w_x and w_h. An activation is
        an element-wise function of z = zx + zh, such as `jax.nn.sigmoid`; `jaxrnn.identity` passes z itself;
        `jaxrnn.apart(f)` is a gate f(zx, zh, *before) of its two parts and the gates before it, and `jaxrnn.apart`
        alone passes the pair (zx, zh). Where the derivative follows from the output (sigmoid, tanh, relu, exp,
        identity), the output is kept for the backward pass and not computed again.
      update: (params, carry, gates, noise) -> carry, element by element; `gates` is a tuple of G arrays [..., H], the
        activations, `params` holds the parameters of `own_params`, `noise` this step's slice of `noise`'s result, or
        None.
      hidden: carry -> h [..., H], the input of the recurrent product and the output; None: the carry itself.
      zero_carry: (batch_shape, dtype) -> carry; None: zeros [*batch_shape, H].
      own_params: key -> dict of arrays beside the weights and biases; None: no such parameters.
      noise: (key, T, batch_shape) -> a tree of arrays [T, *batch_shape, ...]; None: the cell is deterministic.
      **options: as in `GatedCell`.

    Each function, activations included, may be a `jax.tree_util.Partial`. The Partial's arguments are numeric options
    of the cell: they can be traced, swept and differentiated. A function must not close over traced values.

    Returns:
      A GatedCell.

    Raises:
      ValueError, TypeError: an option is out of range or unknown.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> def update(params, h, gates, noise):
      ...     f, n = gates
      ...     return (1 - f) * h + f * n
      >>> cell = jaxrnn.gated_cell(3, 8, {"f": jax.nn.sigmoid, "n": jnp.tanh}, update)
      >>> carry, ys = jaxrnn.unroll(cell, cell.init(jax.random.key(0)), jnp.ones((5, 2, 3)))
      >>> ys.shape
      (5, 2, 8)
    """
    optional = {
        "hidden": (hidden, "carry"),
        "zero_carry": (zero_carry, "batch_shape", "dtype"),
        "own_params": (own_params, "key"),
        "noise": (noise, *NOISE),
    }
    cell = CustomGatedCell(
        checks.positive_int("D", D),
        checks.positive_int("H", H),
        *_gates(gates),
        _function("update", update, *UPDATE),
        **{f"{name}_fn": None if f is None else _function(name, f, *read) for name, (f, *read) in optional.items()},
        **checked(options),
    )
    return checked_cell(cell)


def _gates(gates: Mapping[str, Activation]) -> tuple[tuple[str, ...], tuple[Activation, ...]]:
    """Names and activations; functions become Partials, which can be leaves."""
    if not isinstance(gates, Mapping) or not gates or not all(isinstance(name, str) for name in gates):
        example = '{"f": jax.nn.sigmoid, "n": jnp.tanh}'
        raise TypeError(f"gates: expected a dict of activations by name such as {example}, got {checks.short(gates)}")
    before: list[str] = []
    found = []
    for name, f in gates.items():
        where = f"gates[{name!r}]"
        if f is apart:
            f = Apart()
        elif isinstance(f, Apart):
            f = dataclasses.replace(f, function=_function(where, f.function, "zx", "zh", *before))
        else:
            f = _function(where, f, "z")
        found.append(f)
        before.append(name)
    return tuple(gates), tuple(found)


def _function(name: str, value: Any, *arguments: str) -> jax.tree_util.Partial:
    checks.function(name, value, *arguments)
    if isinstance(value, jax.tree_util.Partial):
        return jax.tree_util.Partial(ByValue(value.func), *value.args, **value.keywords)
    return jax.tree_util.Partial(ByValue(value))
