"""Runs to disturb, one for each kind of data, and a sweep: `python -m benchmarks.survival.runs KIND FOLDER`."""

import itertools
import os
import pathlib
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import optax

import jaxrnn
from jaxrnn.sweeps import record
from jaxrnn.training import checkpoint, run

KINDS = ("dict", "slow", "stream", "bucketed", "prefetch", "sweep")
STEPS, BLOCK = 120, 5
TOTAL = {kind: STEPS if kind != "sweep" else 16 * STEPS for kind in KINDS}
"""The steps that a whole run logs; for a sweep, of its four members together."""
DONE, LOG = "done.npz", "steps.log"


def main(kind: str, folder: pathlib.Path, often: bool, hidden: int = 8, pause: float = 0.01) -> None:
    """Trains from the folder's last save on, and writes the result into it; saves often, or at the end."""
    run.SAVE_SECONDS = record.SAVE_SECONDS = 0.0 if often else 1e9
    found = result(kind, folder, hidden, pause)
    partial = folder / f".{DONE}"
    with partial.open("wb") as file:
        np.savez(file, *map(np.asarray, jax.tree.leaves(found)))  # pyright: ignore[reportArgumentType]
    partial.replace(folder / DONE)


def result(kind: str, folder: pathlib.Path | None, hidden: int = 8, pause: float = 0.0, steps: int = STEPS) -> Any:
    """Parameters, optimizer state and history of a run, or all of a sweep, as a tree of arrays."""
    key, rng = jax.random.key(0), np.random.default_rng(0)
    xs = rng.standard_normal((12, 20, 3)).astype(np.float32)
    data = {"xs": xs, "targets": np.cumsum(xs, 0)}
    run_dir = None if folder is None else folder / "run"

    def watch(end: Any) -> None:
        time.sleep(pause)
        if folder is not None:
            with (folder / LOG).open("a") as file:
                file.write(f"{os.getpid()} {end.step}\n")

    def model(size: int) -> Any:
        return jaxrnn.chain(jaxrnn.lstm(3, size), jaxrnn.dropout(0.1), jaxrnn.dense(size, 3))

    if kind == "sweep":
        task = jaxrnn.task(
            lambda hyper: (model(hyper.hidden), jaxrnn.losses.mean_squared_error, optax.adam(hyper.lr)),
            data, batch_size=4, validation=data,
        )  # fmt: skip
        extend = record.Record.extend

        def noted(self: Any, group: int, part: Any) -> None:
            extend(self, group, part)
            time.sleep(pause)
            if folder is not None:
                with (folder / LOG).open("a") as file:
                    file.write(f"{os.getpid()} {int(self.taken.sum())}\n")

        record.Record.extend = noted  # pyright: ignore[reportAttributeAccessIssue]
        space = jaxrnn.grid(lr=[0.01, 0.1], hidden=[hidden, hidden + 1])
        found = jaxrnn.sweep(
            task, space, key=key, steps=4 * steps, block=BLOCK, strategy="vmap", run_dir=run_dir, progress=False
        )
        return [found.columns, found.train, found.validation, [found.params(i) for i in range(len(found))]]
    options: dict[str, Any] = {"batch_size": 4}
    if kind == "stream":
        options = {"stream": 3}
    elif kind != "dict":
        options, rows = {}, {"xs": [x[: 5 + i % 8] for i, x in enumerate(xs.swapaxes(0, 1))]}
        batches = jaxrnn.data.bucketed(
            rows | {"targets": [np.cumsum(x, 0) for x in rows["xs"]]}, batch_size=4, buckets=2, key=key
        )
        data = {"bucketed": batches, "prefetch": jaxrnn.data.prefetch(batches, 8), "slow": Slow(batches, pause)}[kind]
    found = jaxrnn.fit(
        model(hidden), jaxrnn.losses.mean_squared_error, optax.adam(0.01), data, key=key, steps=steps, block=BLOCK,
        run_dir=run_dir, callback=watch, progress=False, **options,
    )  # fmt: skip
    history = found.history
    state = found.state._replace(key=jax.random.key_data(found.state.key))
    return [found.params, state, history.train, history.validation, history.validation_steps]


def saves_of(kind: str, folder: pathlib.Path) -> pathlib.Path:
    """The folder of the saves that a run of this kind, or a sweep, leaves in a folder."""
    return folder / "run" / (record.SAVES if kind == "sweep" else checkpoint.SAVES)


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    """Compares arrays bit by bit."""
    return len(a) == len(b) and all(
        x.tobytes() == y.tobytes() and x.shape == y.shape for x, y in zip(a, b, strict=True)
    )


class Slow:
    """Batches with a pause before each."""

    def __init__(self, batches: Any, pause: float) -> None:
        self.batches, self.pause = batches, pause
        self.identity = batches.identity

    def __iter__(self) -> Iterator[Any]:
        for number, batch in zip(itertools.count(), self.batches, strict=False):
            time.sleep(self.pause if number % 3 == 0 else 0.0)
            yield batch


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started this in the background
    main(sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3] == "often")
