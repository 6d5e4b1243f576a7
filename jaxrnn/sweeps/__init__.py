"""Many training runs in one compiled program."""

from jaxrnn.sweeps.distributions import choice, log_uniform, uniform
from jaxrnn.sweeps.planning import plan
from jaxrnn.sweeps.plots import plot_curves, plot_rungs, plot_sweep
from jaxrnn.sweeps.pruning import halving
from jaxrnn.sweeps.results import Results
from jaxrnn.sweeps.space import random, table, zipped
from jaxrnn.sweeps.task import ModelTask, Task
from jaxrnn.sweeps.watching import SweepBlock

__all__ = [
    "ModelTask",
    "Results",
    "SweepBlock",
    "Task",
    "choice",
    "halving",
    "log_uniform",
    "plan",
    "plot_curves",
    "plot_rungs",
    "plot_sweep",
    "random",
    "table",
    "uniform",
    "zipped",
]


def __dir__() -> list[str]:
    return __all__
