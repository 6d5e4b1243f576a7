"""What every experiment leaves behind: its configuration, versions, metrics and pictures, in one folder."""

import dataclasses
import importlib.metadata
import json
import pathlib
import platform
from typing import Any

import jax

from jaxrnn import History

PACKAGES = ("jaxrnn", "jax", "jaxlib", "optax", "numpy")


def write(folder: pathlib.Path, config: Any, metrics: dict[str, Any], history: History) -> None:
    """Writes config.json, metrics.json, history.json and curves.png into a folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "config": dataclasses.asdict(config),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
        "device": jax.devices()[0].device_kind,
        "platform": platform.platform(),
    }
    curves = {name: {k: v.tolist() for k, v in getattr(history, name).items()} for name in ("train", "validation")} | {
        "validation_steps": history.validation_steps.tolist()
    }
    for name, content in (("config", about), ("metrics", metrics), ("history", curves)):
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2, default=str) + "\n")
    history.plot(str(folder / "curves.png"))


def table(rows: dict[str, Any]) -> str:
    """Names and values in two columns."""
    shown = {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in rows.items()}
    width = max(map(len, shown))
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in shown.items())
