"""Figures. matplotlib, an optional extra, is imported when the first figure is made."""

import functools
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrnn import checks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new_figure(name: str, size: tuple[float, float], rows: int, columns: int) -> "tuple[Figure, list[Axes]]":
    """A Figure and its axes; `name` is the function that needs matplotlib, for the error without it."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f'{name} needs matplotlib: pip install "jaxrnn[plot]"') from error
    figure: Any = Figure(figsize=size, layout="constrained")
    figure._repr_png_ = functools.partial(_png, figure)  # for notebooks, with or without %matplotlib inline
    return figure, list(np.ravel(figure.subplots(rows, columns)))


def _png(figure: "Figure") -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def saved(figure: "Figure", path: str | None) -> "Figure":
    """The figure, written to a file if there is a path."""
    if path is not None:
        figure.savefig(checks.path("path", path), dpi=120)
    return figure
