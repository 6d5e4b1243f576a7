"""Training runs: samples per second of `jaxrnn.fit`, Keras' `fit` and a PyTorch loop.

All start from the same parameters and take the same minibatches in the same order, so that their losses can be compared
step by step before their times are.
"""

import dataclasses
import functools
import itertools
import json
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

import jaxrnn
from benchmarks.case import Case
from benchmarks.peers.jaxrnn_ import CELLS
from benchmarks.timing import machine
from jaxrnn.data.rows import shuffled_rows
from jaxrnn.training.block import ORDER

CLASSES = 10
RATE, EPSILON, CLIP = 1e-3, 1e-7, 1.0
"""Adam's learning rate, and the limit of the gradient's norm."""
TASKS = {"small": (Case("gru", 64, 8, 8, 128), 1440, 2000), "medium": (Case("lstm", 64, 100, 32, 256, 2), 1024, 32)}
"""A network and its minibatch, rows of data, steps of a run."""
TOLERANCE = 1e-3
"""Tolerance on the difference of the losses of the first steps."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Training runs beside Keras and PyTorch."""

    rounds: int = 5
    """Number of runs of each."""
    tasks: tuple[str, ...] = tuple(TASKS)
    """Networks to train."""
    out: pathlib.Path = pathlib.Path("benchmarks/results/training.json")
    """File for the figures."""


class Job(NamedTuple):
    """A training job: the network, its initial parameters, the data, and the rows of each step's minibatch."""

    case: Case
    model: jaxrnn.Model
    params: Any
    data: dict[str, jax.Array]
    key: jax.Array
    rows: np.ndarray


def job(case: Case, rows: int, steps: int) -> Job:
    """Random sequences; the class is the feature whose mean over time is largest."""
    D, H = case.D, case.H
    key, draw = jax.random.split(jax.random.key(0))
    xs = jax.random.normal(draw, (case.T, rows, D))
    data = {"xs": xs, "targets": jnp.argmax(xs.mean(0) @ jnp.eye(D, CLASSES), -1).astype(jnp.int32)}
    cells = [CELLS[case.cell](width, H) for width in case.inputs]
    model = jaxrnn.chain(jaxrnn.stack(cells), jaxrnn.last(), jaxrnn.dense(H, CLASSES))
    order = jax.random.fold_in(jaxrnn.training.train_state(model, optax.sgd(1.0), key=key).key, ORDER)
    order = shuffled_rows(order, jnp.zeros((), jnp.int32), steps, rows, case.B)
    return Job(case, model, model.init(jax.random.key(1)), data, key, np.asarray(order))


Runner = Callable[[], tuple[list[float], float]]
"""One run from the initial parameters: the loss of each step, and the seconds of compiling in it."""


def of_jaxrnn(job: Job) -> Runner:
    """`jaxrnn.fit`, with data in memory."""
    optimizer = optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(RATE, eps=EPSILON))
    loss = functools.partial(jaxrnn.losses.cross_entropy, at="last")

    def run() -> tuple[list[float], float]:
        result = jaxrnn.fit(
            job.model,
            loss,
            optimizer,
            job.data,
            key=job.key,
            params=job.params,
            steps=len(job.rows),
            batch_size=job.case.B,
            progress=False,
        )
        return result.history.train["loss"].tolist(), result.history.compile_seconds

    return run


def of_keras(job: Job) -> Runner:
    """`Model.fit`, compiled by XLA."""
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    from benchmarks.peers.keras_ import LAYERS, of_cell

    case = job.case
    layers = [LAYERS[case.cell](case.H, return_sequences=i + 1 < case.layers) for i in range(case.layers)]
    model = keras.Sequential([keras.Input((case.T, case.D)), *layers, keras.layers.Dense(CLASSES)])
    recurrent, dense = job.params["0"], job.params["2"]
    initial = [x for i in range(case.layers) for x in of_cell(case.cell, recurrent[str(i)])]
    initial = [np.asarray(x) for x in (*initial, dense["w"], dense["b"])]
    model.compile(
        optimizer=keras.optimizers.Adam(RATE, epsilon=EPSILON, global_clipnorm=CLIP),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=True,  # pyright: ignore[reportArgumentType]
    )
    order = job.rows.reshape(-1)
    xs, targets = np.asarray(job.data["xs"]).swapaxes(0, 1)[order], np.asarray(job.data["targets"])[order]

    class Losses(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.means: list[float] = []

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.means.append(logs["loss"])

    def run() -> tuple[list[float], float]:
        model.set_weights(initial)
        for variable in model.optimizer.variables:
            if variable is not model.optimizer.learning_rate:
                variable.assign(np.zeros(variable.shape, variable.dtype))
        losses = Losses()
        model.fit(xs, targets, batch_size=case.B, shuffle=False, verbose=0, callbacks=[losses])  # pyright: ignore
        sums = np.array([0.0, *losses.means]) * np.arange(len(losses.means) + 1)  # Keras shows running means
        return np.diff(sums).tolist(), 0.0

    return run


def of_torch(job: Job) -> Runner:
    """The usual training loop in PyTorch."""
    import torch

    from benchmarks.peers.torch_ import LAYERS, of_cell

    case = job.case

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = LAYERS[case.cell](case.D, case.H, num_layers=case.layers)
            self.dense = torch.nn.Linear(case.H, CLASSES)

        def forward(self, xs: Any) -> Any:
            return self.dense(self.recurrent(xs)[0][-1])

    recurrent, dense = job.params["0"], job.params["2"]
    initial = [x for i in range(case.layers) for x in of_cell(recurrent[str(i)])]
    initial = [torch.tensor(np.asarray(x)) for x in (*initial, dense["w"].T, dense["b"])]
    xs, targets = torch.tensor(np.asarray(job.data["xs"])), torch.tensor(np.asarray(job.data["targets"])).long()
    batches = torch.tensor(job.rows)

    def run() -> tuple[list[float], float]:
        network, losses = Network(), []
        with torch.no_grad():
            for parameter, value in zip(network.parameters(), initial, strict=True):
                parameter.copy_(value)
        for name, parameter in network.named_parameters():  # the other libraries' LSTMs have one bias
            parameter.requires_grad_(case.cell == "gru" or "bias_hh" not in name)
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(trained, lr=RATE, eps=EPSILON)
        for rows in batches:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(xs[:, rows]), targets[rows])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, CLIP)
            optimizer.step()
            losses.append(loss.detach())
        return [float(loss) for loss in losses], 0.0

    return run


TRAINERS: dict[str, Callable[[Job], Runner]] = {"jaxrnn": of_jaxrnn, "keras on jax": of_keras, "torch": of_torch}


def main(config: Config) -> list[dict[str, Any]]:
    """Trains all, in turn; prints a table and writes it as JSON."""
    rows = []
    print("| network | library | samples/s (quartiles) | jaxrnn is faster by | first run, s | final loss |")
    print("|---|---|---|---|---|---|")
    for name in config.tasks:
        this = job(*TASKS[name])
        runners: dict[str, Runner] = {}
        for library, make in TRAINERS.items():
            try:
                runners[library] = make(this)
            except ImportError as missing:
                print(f"{library}: left out, {missing}")
        found = measure(runners, config.rounds)
        reference = found["jaxrnn"]["losses"]
        for library, measured in found.items():
            difference = np.max(np.abs(np.array(measured["losses"][:10]) - reference[:10]))
            assert difference < TOLERANCE, f"{library}: the losses of the first steps differ by {difference}"
        samples = this.rows.size
        base = np.median(found["jaxrnn"]["seconds"])
        for library, measured in found.items():
            rate = [samples / s for s in np.quantile(measured["seconds"], [0.5, 0.75, 0.25])]
            shown = f"{rate[0]:.0f} ({rate[1]:.0f} to {rate[2]:.0f}) | {np.median(measured['seconds']) / base:.2f}"
            first, last = measured["first"], measured["losses"][-1]
            print(f"| {name} | {library} | {shown} | {first:.2f} | {last:.4f} |", flush=True)
            rows.append({"task": name, "library": library, "samples": samples} | measured)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    config.out.write_text(json.dumps({"machine": machine("keras", "torch", "optax"), "rows": rows}, indent=1) + "\n")
    return rows


def measure(runners: dict[str, Runner], rounds: int) -> dict[str, dict[str, Any]]:
    """Seconds of each run, without compiling; the first run, which compiles, is separate."""
    found: dict[str, dict[str, Any]] = {name: {"seconds": []} for name in runners}
    for i, (name, run) in itertools.product(range(rounds + 1), runners.items()):
        start = time.perf_counter()
        losses, compiling = run()
        took = time.perf_counter() - start
        if i == 0:
            found[name] |= {"first": took, "losses": losses}
        else:
            found[name]["seconds"].append(took - compiling)
    return found


if __name__ == "__main__":
    main(tyro.cli(Config))
