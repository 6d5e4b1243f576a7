"""Weights of all frameworks: blocks of gates, and the cells of each framework."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import checks
from jaxrnn.arguments import checked_params
from jaxrnn.cells.elman import Elman
from jaxrnn.cells.gru import GRU, ResetBeforeGRU
from jaxrnn.cells.lstm import LSTM, ProjectedLSTM
from jaxrnn.primitives.primitive import Tracer
from jaxrnn.types import Cell, Model, Params

Kinds = tuple[type[Cell], ...]
NAMES: dict[type[Cell], str] = {Elman: "elman", LSTM: "lstm", ProjectedLSTM: "lstm with proj_size", GRU: "gru"}
NAMES |= {ResetBeforeGRU: "gru with reset_after=False"}
OWN = ("peephole", "coupled", "layer_norm", "recurrent_dropout", "zoneout", "learn_carry", "heads")
"""Options that change a cell's equations or parameters in ways that no framework here supports."""


def columns(w: Any, order: Iterable[int]) -> Any:
    """The gates' blocks of columns of w [..., G*H], in another order."""
    order = list(order)
    return w.reshape(*w.shape[:-1], len(order), -1)[..., order, :].reshape(w.shape)


def blocks(w: Any, count: int) -> list[Any]:
    """The gates' blocks of columns of w [..., G*H], one [..., H] for each."""
    by_gate = w.reshape(*w.shape[:-1], count, -1)
    return [by_gate[..., i, :] for i in range(count)]


def one_bias(params: Params) -> Any:
    """The sum of b and b_h [G*H], for a framework with one bias; None if there is neither."""
    found = [params[name] for name in ("b", "b_h") if name in params]
    return sum(found[1:], found[0]) if found else None


def candidate_bias(params: Params) -> tuple[Any, Any]:
    """The biases of a GRU as (b [3*H], the bias [H] of n inside its product with r); those of r and z are summed."""
    b, b_h = params.get("b"), params.get("b_h")
    if b_h is None:
        return b, None
    H = b_h.shape[-1] // 3
    of_n = b_h[2 * H :]
    if b is None:
        b = jnp.zeros_like(b_h)
    return jnp.concatenate([b[: 2 * H] + b_h[: 2 * H], b[2 * H :]]), of_n


def checked_cell(cell: Any, params: Params, framework: str, kinds: Kinds) -> Cell:
    """A cell that a framework has, with checked parameters; raises an error that names what the framework lacks."""
    checks.instance("cell", cell, Cell, "make one with jaxrnn.lstm, jaxrnn.gru or jaxrnn.elman")
    if type(cell) not in kinds:
        offered = ", ".join(NAMES.get(kind, kind.__name__) for kind in kinds)
        found = NAMES.get(type(cell), checks.short(cell))
        raise TypeError(f"cell: expected one that {framework} has ({offered}), got {found}")
    own = getattr(cell, "inner", cell)
    plain = {"heads": 1, "recurrent_dropout": None, "zoneout": None}
    for name in OWN:
        value = getattr(own, name, plain.get(name, False))
        if value != plain.get(name, False):
            raise ValueError(f"cell: expected one that {framework} has, without {name}, got {name}={value!r}")
    checked_params(cell, params)
    return cell


def is_floating(x: Any) -> bool:
    """Tells whether an array of any library holds floating-point numbers."""
    return re.match(r"b?float", str(x.dtype).rpartition(".")[2]) is not None


def check_shapes(name: str, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Raises unless arrays have the expected names and shapes; reads nothing else."""
    if not isinstance(found, Mapping):
        raise TypeError(f"{name}: expected a dict of arrays, got {checks.short(found)}")
    checks.same_entries(name, dict(found), dict(expected))
    for entry, want in expected.items():
        if not hasattr(found[entry], "shape"):
            raise TypeError(f"{name}[{entry!r}]: expected an array, got {checks.short(found[entry])}")
        if not is_floating(found[entry]):
            raise TypeError(f"{name}[{entry!r}]: expected floating-point numbers, got {found[entry].dtype}")
        if tuple(found[entry].shape) != tuple(want.shape):
            raise ValueError(f"{name}[{entry!r}]: expected shape {tuple(want.shape)}, got {tuple(found[entry].shape)}")


def in_numpy(tree: Any) -> Any:
    """NumPy copies of arrays, which outlive the originals."""
    checked_values(tree)
    return jax.tree.map(np.array, tree)


def checked_values(params: Any) -> None:
    """Raises if values are not known, as in `jax.jit`."""
    if any(isinstance(x, Tracer) for x in jax.tree.leaves(params)):
        raise TypeError("params: expected values, got traced ones; call this outside of jax.jit, jax.grad and the like")


def cells_of(model: Model | Cell) -> list[list[tuple[Cell, tuple[str, ...]]]]:
    """The cells of each layer, one or both directions, and the paths of their parameters.

    The model is a cell, `stack`, `bidirectional`, or a `chain` of these.
    """
    from jaxrnn.models.bidirectional import Bidirectional
    from jaxrnn.models.chain import Chain
    from jaxrnn.models.stack import Stack

    if isinstance(model, Cell):
        return [[(model, ())]]
    if isinstance(model, Stack):
        return [[(cell, (name,))] for name, cell in zip(model.names, model.cells, strict=True)]
    if isinstance(model, Bidirectional):
        if model.merge != "concat":
            raise ValueError(f"model: expected merge='concat' in both directions, got {model.merge!r}")
        return [[(cell, (name,)) for name, cell in zip(model.names, model.parts, strict=True)]]
    if isinstance(model, Chain):
        found = [
            [[(cell, (name, *path)) for cell, path in layer] for layer in cells_of(part)]
            for name, part in zip(model.names, model.parts, strict=True)
        ]
        return [layer for part in found for layer in part]
    raise TypeError(
        "model: expected a cell, jaxrnn.stack, jaxrnn.bidirectional, or a jaxrnn.chain of these, got "
        f"{checks.short(model)}"
    )
