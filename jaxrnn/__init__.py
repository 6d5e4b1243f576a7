"""Recurrent networks in JAX, with compiled backpropagation through time.

Reading order: `types` (what a cell, a model and a gradient are), `cells` (`gates` and `gated` first), `driver`
(`unroll`), `gradients`, `bptt`, `online`, `primitives`, `models`, `losses`, `ctc_loss`, `decoding`, `training`,
`sweeps`, `diagnostics`.
"""

from jaxrnn.cells.ctrnn import CTRNN, ctrnn
from jaxrnn.cells.custom import cell, gated_cell
from jaxrnn.cells.elman import Elman, elman
from jaxrnn.cells.gated import GatedCell
from jaxrnn.cells.gates import apart, identity
from jaxrnn.cells.gru import GRU, ResetBeforeGRU, gru
from jaxrnn.cells.lstm import LSTM, LSTMCarry, ProjectedLSTM, lstm
from jaxrnn.ctc_loss import ctc_loss
from jaxrnn.decoding.beam_search import Beams, beam_search
from jaxrnn.decoding.ctc_beam import CTCBeam, ctc_beam
from jaxrnn.decoding.ctc_greedy import ctc_greedy
from jaxrnn.decoding.edit_distance import edit_distance
from jaxrnn.decoding.generate import generate
from jaxrnn.decoding.rollout import rollout
from jaxrnn.decoding.scheduled_sampling import scheduled_sampling
from jaxrnn.diagnostics.check_gradients import GradientReport, check_gradients
from jaxrnn.diagnostics.explain import Explanation, explain
from jaxrnn.diagnostics.first_non_finite import FirstNonFinite, first_non_finite
from jaxrnn.diagnostics.gate_statistics import GateStatistics, gate_statistics
from jaxrnn.diagnostics.gradient_report import GradientFlow, LayerReport, gradient_report
from jaxrnn.diagnostics.gradient_statistics import GradientStatistics, LayerStatistics, gradient_statistics
from jaxrnn.diagnostics.hidden_gradients import hidden_gradients
from jaxrnn.diagnostics.jacobian_products import product_norms, singular_values, spectral_radius
from jaxrnn.diagnostics.lyapunov_spectrum import lyapunov_spectrum
from jaxrnn.diagnostics.plots import (
    plot_gate_statistics,
    plot_gradient_norm_by_lag,
    plot_hidden_gradients,
    plot_lag_contributions,
    plot_state_jacobians,
    plot_weight_contributions,
)
from jaxrnn.diagnostics.state_jacobians import state_jacobians
from jaxrnn.diagnostics.weight_contributions import gradient_norm_by_lag, lag_contributions, weight_contributions
from jaxrnn.driver import unroll
from jaxrnn.gradients.autodiff import autodiff
from jaxrnn.gradients.checkpointed import checkpointed
from jaxrnn.gradients.reverse_scan import reverse_scan
from jaxrnn.gradients.rtrl import forward
from jaxrnn.gradients.truncated import truncated
from jaxrnn.initializers import torch_uniform
from jaxrnn.kernels.target import LoopChoice
from jaxrnn.losses import accuracy, binary_cross_entropy, cross_entropy, mean_squared_error, quantile_loss
from jaxrnn.models.attention import additive_attention, dot_attention
from jaxrnn.models.attention_decoder import attach, attention_decoder
from jaxrnn.models.batch_norm import batch_norm
from jaxrnn.models.bidirectional import BidirectionalCarry, bidirectional
from jaxrnn.models.chain import chain, residual
from jaxrnn.models.dense import dense
from jaxrnn.models.dropout import dropout
from jaxrnn.models.embed import embed
from jaxrnn.models.encoder_decoder import EncoderDecoder, attention_weights, encoder_decoder
from jaxrnn.models.last import last
from jaxrnn.models.layer_norm import layer_norm
from jaxrnn.models.mean_over_time import mean_over_time
from jaxrnn.models.repeat import repeat
from jaxrnn.models.stack import stack
from jaxrnn.models.tied import tied
from jaxrnn.online.one_step import rtrl_start, rtrl_step
from jaxrnn.sweeps.distributions import choice, log_uniform, uniform
from jaxrnn.sweeps.hyper import Hyper
from jaxrnn.sweeps.plan import plan
from jaxrnn.sweeps.plots import plot_curves, plot_rungs, plot_sweep
from jaxrnn.sweeps.pruning import halving
from jaxrnn.sweeps.results import Results
from jaxrnn.sweeps.space import grid, random, table, zipped
from jaxrnn.sweeps.sweep import sweep
from jaxrnn.sweeps.task import ModelTask, Task, task
from jaxrnn.training.buckets import Bucketed, bucketed
from jaxrnn.training.calibrate import calibrate
from jaxrnn.training.evaluate import evaluate
from jaxrnn.training.fit import FitResult, fit
from jaxrnn.training.history import History
from jaxrnn.training.padding import padded
from jaxrnn.training.prefetch import prefetch
from jaxrnn.training.state import TrainState, train_state
from jaxrnn.training.step import make_train_step
from jaxrnn.types import Cell, Gradient, Model

__all__ = [
    "CTRNN",
    "GRU",
    "LSTM",
    "Beams",
    "BidirectionalCarry",
    "Bucketed",
    "CTCBeam",
    "Cell",
    "Elman",
    "EncoderDecoder",
    "Explanation",
    "FirstNonFinite",
    "FitResult",
    "GateStatistics",
    "GatedCell",
    "Gradient",
    "GradientFlow",
    "GradientReport",
    "GradientStatistics",
    "History",
    "Hyper",
    "LSTMCarry",
    "LayerReport",
    "LayerStatistics",
    "LoopChoice",
    "Model",
    "ModelTask",
    "ProjectedLSTM",
    "ResetBeforeGRU",
    "Results",
    "Task",
    "TrainState",
    "accuracy",
    "additive_attention",
    "apart",
    "attach",
    "attention_decoder",
    "attention_weights",
    "autodiff",
    "batch_norm",
    "beam_search",
    "bidirectional",
    "binary_cross_entropy",
    "bucketed",
    "calibrate",
    "cell",
    "chain",
    "check_gradients",
    "checkpointed",
    "choice",
    "cross_entropy",
    "ctc_beam",
    "ctc_greedy",
    "ctc_loss",
    "ctrnn",
    "dense",
    "dot_attention",
    "dropout",
    "edit_distance",
    "elman",
    "embed",
    "encoder_decoder",
    "evaluate",
    "explain",
    "first_non_finite",
    "fit",
    "forward",
    "gate_statistics",
    "gated_cell",
    "generate",
    "gradient_norm_by_lag",
    "gradient_report",
    "gradient_statistics",
    "grid",
    "gru",
    "halving",
    "hidden_gradients",
    "identity",
    "lag_contributions",
    "last",
    "layer_norm",
    "log_uniform",
    "lstm",
    "lyapunov_spectrum",
    "make_train_step",
    "mean_over_time",
    "mean_squared_error",
    "padded",
    "plan",
    "plot_curves",
    "plot_gate_statistics",
    "plot_gradient_norm_by_lag",
    "plot_hidden_gradients",
    "plot_lag_contributions",
    "plot_rungs",
    "plot_state_jacobians",
    "plot_sweep",
    "plot_weight_contributions",
    "prefetch",
    "product_norms",
    "quantile_loss",
    "random",
    "repeat",
    "residual",
    "reverse_scan",
    "rollout",
    "rtrl_start",
    "rtrl_step",
    "scheduled_sampling",
    "singular_values",
    "spectral_radius",
    "stack",
    "state_jacobians",
    "sweep",
    "table",
    "task",
    "tied",
    "torch_uniform",
    "train_state",
    "truncated",
    "uniform",
    "unroll",
    "weight_contributions",
    "zipped",
]
