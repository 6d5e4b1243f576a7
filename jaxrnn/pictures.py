"""Figures. matplotlib, an optional extra, is imported when the first figure is made."""

from typing import Any

import numpy as np


def new_figure(name: str, size: tuple[float, float], rows: int, columns: int) -> tuple[Any, list[Any]]:
    """A Figure and its axes; `name` is the function that needs matplotlib, for the error without it."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f'{name} needs matplotlib: pip install "jaxrnn[plot]"') from error
    figure = Figure(figsize=size, layout="constrained")
    return figure, list(np.ravel(figure.subplots(rows, columns)))


def saved(figure: Any, path: str | None) -> Any:
    """The figure, written to a file if there is a path."""
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure
