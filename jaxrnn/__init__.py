"""Recurrent networks in JAX, with compiled backpropagation through time.

Reading order: `types` (what a cell, a model and a gradient are), `gated` (cells declared by their equations), `cells`,
`gradients`, `unroll` (the driver), `models`, `losses`, `training`, `diagnostics`.
"""

from jaxrnn.cells.ctrnn import CTRNN, ctrnn
from jaxrnn.cells.custom import cell, gated_cell
from jaxrnn.cells.elman import Elman, elman
from jaxrnn.cells.gru import GRU, ResetBeforeGRU, gru
from jaxrnn.cells.lstm import LSTM, LSTMCarry, ProjectedLSTM, lstm
from jaxrnn.diagnostics.check_gradients import GradientReport, check_gradients
from jaxrnn.gated import GatedCell
from jaxrnn.gradients.autodiff import autodiff
from jaxrnn.gradients.reverse_scan import reverse_scan
from jaxrnn.initializers import torch_uniform
from jaxrnn.types import Cell, Gradient, Model
from jaxrnn.unroll import unroll

__all__ = [
    "CTRNN",
    "GRU",
    "LSTM",
    "Cell",
    "Elman",
    "GatedCell",
    "Gradient",
    "GradientReport",
    "LSTMCarry",
    "Model",
    "ProjectedLSTM",
    "ResetBeforeGRU",
    "autodiff",
    "cell",
    "check_gradients",
    "ctrnn",
    "elman",
    "gated_cell",
    "gru",
    "lstm",
    "reverse_scan",
    "torch_uniform",
    "unroll",
]
