"""Training: its state, one step, loggers, and the results of a run."""

from jaxrnn.training.calibration import calibrate
from jaxrnn.training.fit import FitResult
from jaxrnn.training.history import History
from jaxrnn.training.state import TrainState, train_state
from jaxrnn.training.step import make_train_step
from jaxrnn.training.watching import BlockEnd, CSVLogger, JSONLLogger, Logger, TensorBoardLogger, WandbLogger

__all__ = [
    "BlockEnd",
    "CSVLogger",
    "FitResult",
    "History",
    "JSONLLogger",
    "Logger",
    "TensorBoardLogger",
    "TrainState",
    "WandbLogger",
    "calibrate",
    "make_train_step",
    "train_state",
]


def __dir__() -> list[str]:
    return __all__
