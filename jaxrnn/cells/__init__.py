"""Cells as classes, for code that writes or inspects one."""

from jaxrnn.cells.ctrnn import CTRNN
from jaxrnn.cells.elman import Elman
from jaxrnn.cells.gru import GRU, ResetBeforeGRU
from jaxrnn.cells.lstm import LSTM, LSTMCarry, ProjectedLSTM

__all__ = [
    "CTRNN",
    "GRU",
    "LSTM",
    "Elman",
    "LSTMCarry",
    "ProjectedLSTM",
    "ResetBeforeGRU",
]


def __dir__() -> list[str]:
    return __all__
