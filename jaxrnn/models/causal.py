"""Models whose output at a step depends on no later step."""

from jaxrnn import checks
from jaxrnn.models.bidirectional import reads_backward
from jaxrnn.types import Model


def checked_causal(name: str, model: Model) -> Model:
    """Returns a model whose output at a step depends on no later step.

    Raises:
      ValueError, TypeError: it is not a Model, reads backward, or has no output at each step.
    """
    checks.instance(name, model, Model, "put cells into jaxrnn.stack([cell, ...])")
    if reads_backward(model):
        raise ValueError(f"{name}: expected one that reads forward, whose end need not be known, got {model!r}")
    if not model.keeps_time:
        raise ValueError(f"{name}: expected one with an output at each step, got {model!r}, which ends in last")
    return model
