"""Recurrent networks in JAX, with compiled backpropagation through time.

Reading order: `types` (what a cell, a model and a gradient are), `gated` (cells declared by their equations), `cells`,
`gradients`, `arguments`, `unroll` (the driver), `models`, `losses`, `training`, `diagnostics`.
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
from jaxrnn.losses import accuracy, binary_cross_entropy, cross_entropy, mean_squared_error
from jaxrnn.models.bidirectional import BidirectionalCarry, bidirectional
from jaxrnn.models.chain import chain, residual
from jaxrnn.models.dense import dense
from jaxrnn.models.dropout import dropout
from jaxrnn.models.embed import embed
from jaxrnn.models.last import last
from jaxrnn.models.layer_norm import layer_norm
from jaxrnn.models.stack import stack
from jaxrnn.training.evaluate import evaluate
from jaxrnn.training.fit import FitResult, fit
from jaxrnn.training.history import History
from jaxrnn.training.state import TrainState, train_state
from jaxrnn.training.step import make_train_step
from jaxrnn.types import Cell, Gradient, Model
from jaxrnn.unroll import unroll

__all__ = [
    "CTRNN",
    "GRU",
    "LSTM",
    "BidirectionalCarry",
    "Cell",
    "Elman",
    "FitResult",
    "GatedCell",
    "Gradient",
    "GradientReport",
    "History",
    "LSTMCarry",
    "Model",
    "ProjectedLSTM",
    "ResetBeforeGRU",
    "TrainState",
    "accuracy",
    "autodiff",
    "bidirectional",
    "binary_cross_entropy",
    "cell",
    "chain",
    "check_gradients",
    "cross_entropy",
    "ctrnn",
    "dense",
    "dropout",
    "elman",
    "embed",
    "evaluate",
    "fit",
    "gated_cell",
    "gru",
    "last",
    "layer_norm",
    "lstm",
    "make_train_step",
    "mean_squared_error",
    "residual",
    "reverse_scan",
    "stack",
    "torch_uniform",
    "train_state",
    "unroll",
]
