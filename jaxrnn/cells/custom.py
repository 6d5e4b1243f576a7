"""Cells made of a user's own functions."""

from collections.abc import Callable
from typing import Any, Unpack

import jax

from jaxrnn import checks
from jaxrnn.cells.options import GatedOptions, checked, checked_cell
from jaxrnn.gated import GatedCell, Gates
from jaxrnn.types import Cell, Params, Tree, leaf, pytree

Function = Callable[..., Any]
UPDATE, NOISE = ("params", "carry", "zx", "zh", "noise"), ("key", "T", "batch_shape")
"""What functions of those names are called with."""


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

    def step(self, params: Params, carry: Tree, x: jax.Array, noise: Tree = None) -> tuple[Tree, Any]:
        return self.step_fn(params, carry, x) if self.noise_fn is None else self.step_fn(params, carry, x, noise)

    def noise(self, key: jax.Array, T: int, batch_shape: tuple[int, ...]) -> Tree:
        return None if self.noise_fn is None else self.noise_fn(key, T, batch_shape)


@jax.tree_util.register_pytree_node_class
class OneByOne(tuple[jax.Array, ...]):
    """The arrays of all gates, which can't be added to others all at once: `+` would put tuples one after the other."""

    def __add__(self, other: Any) -> Any:
        raise TypeError(
            "update: expected sums gate by gate, such as zx[0] + zh[0], got a sum with the tuple of all gates"
        )

    def tree_flatten(self) -> tuple[tuple[jax.Array, ...], None]:
        return tuple(self), None

    @classmethod
    def tree_unflatten(cls, _: None, gates: tuple[jax.Array, ...]) -> "OneByOne":
        return cls(gates)


@pytree
class CustomGatedCell(GatedCell):
    """See `gated_cell`."""

    gates: int
    update_fn: Function = leaf()
    hidden_fn: Function | None = leaf(default=None)
    zero_carry_fn: Function | None = leaf(default=None)
    own_params_fn: Function | None = leaf(default=None)
    noise_fn: Function | None = leaf(default=None)
    gate_values_fn: Function | None = leaf(default=None)

    @property
    def G(self) -> int:
        return self.gates

    def update(self, params: Params, carry: Tree, zx: Gates, zh: Gates, noise: Tree) -> Tree:
        return self.update_fn(params, carry, OneByOne(zx), OneByOne(zh), noise)

    def hidden(self, carry: Tree) -> jax.Array:
        return carry if self.hidden_fn is None else self.hidden_fn(carry)

    def zero_carry(self, batch_shape: tuple[int, ...], dtype: Any) -> Tree:
        if self.zero_carry_fn is None:
            return GatedCell.zero_carry(self, batch_shape, dtype)
        return jax.tree.map(lambda x: checks.array("zero_carry", x), self.zero_carry_fn(batch_shape, dtype))

    def gate_values(self, params: Params, carry: Tree, zx: Gates, zh: Gates, noise: Tree) -> dict[str, jax.Array]:
        if self.gate_values_fn is None:
            return {}
        return self.gate_values_fn(params, carry, OneByOne(zx), OneByOne(zh), noise)

    def own_params(self, key: jax.Array) -> dict[str, Any]:
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

    Each function may be a `jax.tree_util.Partial`, whose arguments then are numeric options of the cell: they can be
    traced, swept and differentiated. A function must not close over traced values.

    Returns:
      A Cell.
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
    gates: int,
    update: Function,
    *,
    hidden: Function | None = None,
    zero_carry: Function | None = None,
    own_params: Function | None = None,
    noise: Function | None = None,
    gate_values: Function | None = None,
    hidden_bias: bool = False,
    **options: Unpack[GatedOptions],
) -> CustomGatedCell:
    """A GatedCell of its equations.

    zx = x[t] @ w_x + b;  zh = hidden(carry) @ w_h + b_h;  carry = update(params, carry, zx, zh, noise)

    Args:
      D: input features.
      H: hidden features.
      gates: G, how many blocks of H columns w_x and w_h have.
      update: (params, carry, zx, zh, noise) -> carry, element-wise; zx and zh are tuples of G arrays [..., H], `params`
        holds what `own_params` made, `noise` this step's slice of what `noise` drew, or None.
      hidden: carry -> h [..., H], what the recurrent product reads and what comes out; None: the carry itself.
      zero_carry: (batch_shape, dtype) -> carry; None: zeros [*batch_shape, H].
      own_params: key -> dict of arrays beside the weights and biases; None: there are none.
      noise: (key, T, batch_shape) -> a tree of arrays [T, *batch_shape, ...]; None: there is none.
      gate_values: takes what `update` does -> {name: [..., H]}, activations in (0, 1), for `gate_statistics`; `update`
        may call it, so that the equations stand once. None: the cell names no gates.
      hidden_bias: whether there is a "b_h" [G*H] beside "b".
      **options: as in `GatedCell`.

    Each function may be a `jax.tree_util.Partial`, whose arguments then are numeric options of the cell: they can be
    traced, swept and differentiated. A function must not close over traced values.

    Returns:
      A GatedCell.

    Raises:
      ValueError, TypeError: an option is out of range or unknown.
    """
    optional = {
        "hidden": (hidden, "carry"),
        "zero_carry": (zero_carry, "batch_shape", "dtype"),
        "own_params": (own_params, "key"),
        "noise": (noise, *NOISE),
        "gate_values": (gate_values, *UPDATE),
    }
    cell = CustomGatedCell(
        checks.positive_int("D", D),
        checks.positive_int("H", H),
        checks.positive_int("gates", gates),
        _function("update", update, *UPDATE),
        **{f"{name}_fn": None if f is None else _function(name, f, *read) for name, (f, *read) in optional.items()},
        hidden_bias=checks.flag("hidden_bias", hidden_bias),
        **checked(options),
    )
    return checked_cell(cell)


def _function(name: str, value: Any, *arguments: str) -> jax.tree_util.Partial:
    checks.function(name, value, *arguments)
    return value if isinstance(value, jax.tree_util.Partial) else jax.tree_util.Partial(value)
