"""Recurrent networks in JAX, with compiled backpropagation through time.

The everyday names are here; the rest is in the modules `cells`, `data`, `decoding`, `diagnostics`, `extend`,
`initializers`, `interop`, `losses`, `models`, `online`, `sweeps` and `training`.

To read the source: `types` (cell, model and gradient), `cells` (`gates` and `gated` first), `driver` (`unroll`),
`gradients`, `bptt`, `online`, `primitives`, `models`, `losses`, `decoding`, `data`, `training`, `sweeps`,
`diagnostics`.
"""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

from jaxrnn import cells, data, extend, initializers, losses, models, online, training
from jaxrnn.cells.ctrnn import ctrnn
from jaxrnn.cells.custom import cell, gated_cell
from jaxrnn.cells.elman import elman
from jaxrnn.cells.gated import GatedCell
from jaxrnn.cells.gates import apart, identity
from jaxrnn.cells.gru import gru
from jaxrnn.cells.lstm import lstm
from jaxrnn.driver import unroll
from jaxrnn.gradients.autodiff import autodiff
from jaxrnn.gradients.checkpointed import checkpointed
from jaxrnn.gradients.reverse_scan import reverse_scan
from jaxrnn.gradients.rtrl import rtrl
from jaxrnn.gradients.truncated import truncated
from jaxrnn.models.attention import additive_attention, dot_attention
from jaxrnn.models.attention_decoder import attach, attention_decoder
from jaxrnn.models.batch_norm import batch_norm
from jaxrnn.models.bidirectional import bidirectional
from jaxrnn.models.chain import chain, residual
from jaxrnn.models.dense import dense
from jaxrnn.models.dropout import dropout
from jaxrnn.models.embed import embed
from jaxrnn.models.encoder_decoder import encoder_decoder
from jaxrnn.models.last import last
from jaxrnn.models.layer_norm import layer_norm
from jaxrnn.models.mean_over_time import mean_over_time
from jaxrnn.models.repeat import repeat
from jaxrnn.models.stack import stack
from jaxrnn.models.tied import tied
from jaxrnn.saving import load, save
from jaxrnn.training.evaluate import evaluate
from jaxrnn.training.fit import fit
from jaxrnn.types import Cell, Gradient, Model

if TYPE_CHECKING:
    from jaxrnn import decoding, diagnostics, interop, sweeps
    from jaxrnn.diagnostics.gradient_check import check_gradients
    from jaxrnn.diagnostics.report import gradient_report
    from jaxrnn.diagnostics.sizes import summary
    from jaxrnn.sweeps.hyper import Hyper
    from jaxrnn.sweeps.space import grid
    from jaxrnn.sweeps.sweep import sweep
    from jaxrnn.sweeps.task import task

_LATE = {
    "Hyper": "jaxrnn.sweeps.hyper",
    "check_gradients": "jaxrnn.diagnostics.gradient_check",
    "gradient_report": "jaxrnn.diagnostics.report",
    "grid": "jaxrnn.sweeps.space",
    "summary": "jaxrnn.diagnostics.sizes",
    "sweep": "jaxrnn.sweeps.sweep",
    "task": "jaxrnn.sweeps.task",
}
"""Names that are imported at their first use, together with their modules: `import jaxrnn` stays quick."""

__all__ = [
    "Cell",
    "GatedCell",
    "Gradient",
    "Hyper",
    "Model",
    "additive_attention",
    "apart",
    "attach",
    "attention_decoder",
    "autodiff",
    "batch_norm",
    "bidirectional",
    "cell",
    "cells",
    "chain",
    "check_gradients",
    "checkpointed",
    "ctrnn",
    "data",
    "decoding",
    "dense",
    "diagnostics",
    "dot_attention",
    "dropout",
    "elman",
    "embed",
    "encoder_decoder",
    "evaluate",
    "extend",
    "fit",
    "gated_cell",
    "gradient_report",
    "grid",
    "gru",
    "identity",
    "initializers",
    "interop",
    "last",
    "layer_norm",
    "load",
    "losses",
    "lstm",
    "mean_over_time",
    "models",
    "online",
    "repeat",
    "residual",
    "reverse_scan",
    "rtrl",
    "save",
    "stack",
    "summary",
    "sweep",
    "sweeps",
    "task",
    "tied",
    "training",
    "truncated",
    "unroll",
]


def __getattr__(name: str) -> Any:
    if name in _LATE:
        value = getattr(importlib.import_module(_LATE[name]), name)
    elif name == "__version__":
        value = importlib.metadata.version("jaxrnn")
    elif name in __all__:
        value = importlib.import_module(f"jaxrnn.{name}")
    else:
        raise AttributeError(f"module 'jaxrnn' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
