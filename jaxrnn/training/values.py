"""Checks of the values of data before training: symbols, targets, and numbers that are not finite."""

import inspect
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import checks
from jaxrnn.models.encoder_decoder import EncoderDecoder
from jaxrnn.shapes import once_by_shapes
from jaxrnn.training.step import Metrics, measuring, outputs
from jaxrnn.types import Batch, Loss, Model, Params, Tree
from jaxrnn.validity import reading

SAY_WHICH = ("targets", "lengths", "targets_lengths", "mask")
"""The entries whose values tell a loss which targets are in range."""


def check_values(
    name: str, arrays: Batch, model: Model, params: Params, loss: Loss, metrics: Metrics | None = None
) -> None:
    """Raises if a symbol or a target is out of range: the model's output or the loss would be NaN.

    Targets are checked by the losses themselves, which get them in NumPy and the outputs as shapes. So a loss of the
    library finds them inside a user's loss, too.

    Args:
      arrays: a data set or a batch, time first.
      params: the model's parameters, or their shapes.
    """
    if not all(x.is_fully_addressable or x.is_fully_replicated for x in arrays.values()):
        return  # of several processes, each has a share
    check_symbols(name, arrays, model)
    shapes = {entry: jax.ShapeDtypeStruct(x.shape, x.dtype) for entry, x in arrays.items()}
    known = {entry: np.asarray(arrays[entry]) for entry in SAY_WHICH if entry in arrays}
    read: set[str] = set()

    def measured(ys: Tree, batch: Batch) -> dict[str, jax.Array]:
        batch = _Recorded({**batch, **known}, read)
        model.reads(batch)
        reading(batch)
        return measuring(model, loss, metrics)(ys, batch)

    try:
        comparable = not jax.tree_util.all_leaves([model])
        ys = (_outputs if comparable else inspect.unwrap(_outputs))(model, params, shapes)
        jax.eval_shape(measured, ys, shapes)
    except checks.OutOfRangeError as error:
        raise ValueError(str(error).replace("batch[", f"{name}[")) from None
    except Exception:  # any error of the user's code, which comes again where it is traced with its real batches
        return
    if unread := sorted(set(arrays) - read - {"xs"}):
        warnings.warn(
            f"{name}: nothing reads {', '.join(map(repr, unread))}, neither the model nor the loss", stacklevel=3
        )


@once_by_shapes
def _outputs(model: Model, params: Params, batch: Batch) -> Tree:
    return jax.eval_shape(lambda params, batch: outputs(model, params, batch)[1], params, batch)


class _Recorded(dict[str, Any]):
    """A batch that records which of its entries are read."""

    def __init__(self, batch: Batch, read: set[str]) -> None:
        super().__init__(batch)
        self._read = read

    def __getitem__(self, entry: str) -> Any:
        self._read.add(entry)
        return super().__getitem__(entry)

    def get(self, entry: str, default: Any = None) -> Any:
        self._read.add(entry)
        return super().get(entry, default)

    def _whole(self) -> Batch:
        self._read.update(super().__iter__())
        return {entry: super(_Recorded, self).__getitem__(entry) for entry in super().__iter__()}

    def __iter__(self) -> Any:
        return iter(self._whole())

    def keys(self) -> Any:
        return self._whole().keys()

    def values(self) -> Any:
        return self._whole().values()

    def items(self) -> Any:
        return self._whole().items()

    def copy(self) -> Batch:
        return self._whole()

    def __or__(self, other: Any) -> Batch:
        return self._whole() | other


def what_is_wrong(
    name: str, arrays: Batch, model: Model, params: Params, loss: Loss, metrics: Metrics | None = None
) -> str:
    """Says which value of the data makes a loss that is not finite, "; ...", as far as it can be told; else empty."""
    found = not_finite(name, arrays)
    if not found:
        try:
            with warnings.catch_warnings(action="ignore"):
                check_values(name, arrays, model, params, loss, metrics)
        except ValueError as error:
            found = str(error)
    return found and f"; {found}"


def check_symbols(name: str, arrays: Batch, model: Model | None) -> None:
    """Raises if a symbol that counts is not one that the model reads."""
    if isinstance(model, EncoderDecoder):
        known = {"xs": model.source_symbols, "previous": model.decoder.input_symbols}
    else:
        known = {"xs": getattr(model, "input_symbols", None)}
    for entry, symbols in known.items():
        if symbols is not None and entry in arrays:
            checks.symbols(f"{name}[{entry!r}]", np.asarray(arrays[entry])[_counted(entry, arrays)], symbols)


def not_finite(name: str, arrays: Batch) -> str:
    """Says where numbers that count are NaN or infinite; empty if there are none."""
    for entry, x in arrays.items():
        if jnp.issubdtype(x.dtype, jnp.floating):
            bad = ~np.isfinite(np.asarray(x).astype(np.float32))
            N = arrays["xs"].shape[1]
            if x.ndim > 1 and x.shape[1] == N:
                bad = bad.reshape(*x.shape[:2], -1).any(-1) & _counted(entry, arrays)
                if bad.any():
                    t, row = np.argwhere(bad)[0].tolist()
                    return f"{name}[{entry!r}] has a number that is not finite in row {row} at step {t}"
            elif x.ndim and bad.any():
                return f"{name}[{entry!r}] has a number that is not finite in row {np.argwhere(bad)[0].tolist()[0]}"
    return ""


def _counted(entry: str, arrays: Batch) -> np.ndarray:
    """The steps of a sequence that are not padding, bool [L, N]."""
    own = {"previous": "targets_lengths", "targets": "targets_lengths"}.get(entry, "")
    lengths, mask = arrays.get(own, arrays.get("lengths")), arrays.get("xs_mask" if entry == "xs" else "mask")
    counted = np.ones(arrays[entry].shape[:2], bool)
    if lengths is not None:
        counted &= np.arange(len(counted))[:, None] < np.asarray(lengths)
    if mask is not None and mask.shape == counted.shape and entry in ("xs", "targets"):
        counted &= np.asarray(mask)
    return counted
