"""The adding problem: gradients over T steps, and the networks that learn it.

Each sequence has T steps of two features: a number from U(0, 1) and a marker that is 1 at two steps, one in each half
of the sequence, else 0. The target, at the last step, is the sum of the two marked numbers. Its variance, 1/6, is the
error of a network that remembers nothing.

References:
  Hochreiter and Schmidhuber 1997, Long short-term memory, Neural Computation 9(8), experiment 4, in the form of Le,
  Jaitly and Hinton 2015, arXiv:1504.00941.
"""

import dataclasses
import functools
import itertools
import pathlib
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from matplotlib.figure import Figure
from tqdm import tqdm

import jaxrnn
from experiments import command, run_folder
from experiments.memory_tasks import adding
from experiments.synthetic import irnn

Network = Literal["elman-tanh", "elman-relu", "residual", "gru", "lstm", "lstm-chrono"]
Training = Literal["clipped", "unclipped", "truncated"]
LEARNING_RATES = {
    "elman-tanh": 1e-3,
    "elman-relu": 1e-3,
    "residual": 1e-3,
    "gru": 1e-2,
    "lstm": 1e-2,
    "lstm-chrono": 1e-2,
}
"""Learning rates: the best of a few tried for at most 2,000 steps on T = 50 or 100, with seed 0."""
FLOOR = 1e-12
"""The value drawn for smaller norms, for which float32 has no digits."""
VARIANCE = 1 / 6
"""The variance of the sum of two numbers from U(0, 1): the mean squared error of the constant answer 1."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Recurrent networks on the adding problem: gradients by lag, and who solves it."""

    lengths: Annotated[tuple[int, ...], tyro.conf.arg(metavar="T ...")] = (50, 100, 200, 400)
    """Lengths of the sequences."""
    networks: Annotated[tuple[Network, ...], tyro.conf.arg(metavar="NAME ...")] = get_args(Network)
    """Networks to train."""
    trainings: Annotated[tuple[Training, ...], tyro.conf.arg(metavar="NAME ...")] = ("clipped",)
    """Gradients: clipped, unclipped, truncated."""
    hidden: int = 64
    """Hidden features."""
    steps: int = 1500
    """Most steps of training."""
    patience: int = 1000
    """Most steps without a lower validation error."""
    block: int = 100
    """Steps from one validation to the next."""
    batch_size: int = 32
    """Sequences in a minibatch."""
    learning_rate: Annotated[float | None, tyro.conf.arg(metavar="X")] = None
    """Adam's learning rate; None: the network's own."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    k: int = 25
    """Steps that truncated gradients reach back."""
    residual_step: float = 0.1
    """Factor a of the residual network."""
    solved: float = 0.01
    """Share of the target's variance below which it is solved."""
    seed: int = 0
    """Seed of parameters and sequences."""
    seeds: command.Seeds = 1
    progress: command.Progress = True
    resume: command.Resume = False
    out: command.Out = pathlib.Path("runs/vanishing")

    def __post_init__(self) -> None:
        command.positive(self, "hidden", "steps", "patience", "block", "batch_size", "k", "seeds")
        for name in ("residual_step", "clip_norm", "solved"):
            command.expect(name, "a number above 0", getattr(self, name) > 0, getattr(self, name))
        if self.learning_rate is not None:
            command.expect("learning_rate", "a number above 0", self.learning_rate > 0, self.learning_rate)
        for name in ("lengths", "networks", "trainings"):
            command.expect(name, "at least one", bool(getattr(self, name)), "none")
        command.expect("lengths", "at least 2 steps each", min(self.lengths) >= 2, self.lengths)
        for name in ("steps", "patience"):
            value = getattr(self, name)
            command.expect(name, f"a multiple of block = {self.block}", value % self.block == 0, value)


def loss(ys: jax.Array, batch: dict[str, Any]) -> jax.Array:
    """Mean squared error of the sum, at the last step."""
    return jaxrnn.losses.mean_squared_error(ys, batch, at="last")


def accuracy(ys: jax.Array, batch: dict[str, Any]) -> jax.Array:
    """The share of sums that are right within 0.04, Hochreiter and Schmidhuber's measure."""
    return jnp.mean(jnp.abs(ys - batch["targets"]) < 0.04)


def residual(params: Any, h: jax.Array, gates: Any, noise: Any, *, a: float) -> jax.Array:
    """h[t] = h[t-1] + a tanh(x[t] @ w_x + b + h[t-1] @ w_h): a cell of one's own."""
    del params, noise
    return h + a * gates[0]


def build(config: Config, network: Network, training: Training, T: int) -> jaxrnn.Model:
    """One layer of a network, then the output at the last step."""
    D, H = 2, config.hidden
    cells: dict[str, Callable[[], jaxrnn.Cell]] = {
        "elman-tanh": lambda: jaxrnn.elman(D, H),
        "elman-relu": lambda: irnn(D, H),
        "residual": lambda: jaxrnn.gated_cell(
            D, H, {"n": jnp.tanh}, functools.partial(residual, a=config.residual_step)
        ),
        "gru": lambda: jaxrnn.gru(D, H),
        "lstm": lambda: jaxrnn.lstm(D, H),
        "lstm-chrono": lambda: jaxrnn.lstm(D, H, chrono=T),
    }
    gradient = jaxrnn.truncated(config.k) if training == "truncated" else jaxrnn.reverse_scan()
    return jaxrnn.chain(jaxrnn.stack([cells[network]()], gradient=gradient), jaxrnn.last(), jaxrnn.dense(H, 1))


def train(config: Config, network: Network, training: Training, T: int, seed: int) -> dict[str, Any]:
    """One run, on sequences that are drawn during training."""
    model = build(config, network, training, T)
    adam = optax.adam(config.learning_rate or LEARNING_RATES[network])
    optimizer = adam if training == "unclipped" else optax.chain(optax.clip_by_global_norm(config.clip_norm), adam)
    step = jaxrnn.training.make_train_step(model, loss, optimizer)
    initial, data, validation, test = jax.random.split(jax.random.key(seed), 4)
    held_out, unseen = adding(validation, T, 1000), adding(test, T, 1000)

    @jax.jit
    def block(state: jaxrnn.training.TrainState, i: int) -> tuple[jaxrnn.training.TrainState, jax.Array]:
        keys = jax.random.split(jax.random.fold_in(data, i), config.block)
        state, measured = jax.lax.scan(lambda s, key: step(s, adding(key, T, config.batch_size)), state, keys)
        return state, measured["gradient_norm"].max()

    start = time.perf_counter()
    state = jaxrnn.training.train_state(model, optimizer, key=initial)
    drawn, errors, largest, ended = state.params, [], 0.0, "steps"
    for i in range(config.steps // config.block):
        state, norm = block(state, i)
        errors.append(jaxrnn.evaluate(model, state.params, loss, held_out)["loss"] / VARIANCE)
        largest = np.maximum(largest, norm)  # NaN stays NaN
        if not (np.isfinite(errors[-1]) and np.isfinite(norm)):
            ended = "diverged"
        elif errors[-1] < config.solved:
            ended = "solved"
        elif i - int(np.argmin(errors)) >= config.patience // config.block:
            ended = "patience"
        if ended != "steps":
            break
    found = {
        "network": network,
        "training": training,
        "T": T,
        "seed": seed,
        "ended": ended,
        "steps": len(errors) * config.block,
        "validation": errors,
        "error": jaxrnn.evaluate(model, state.params, loss, unseen)["loss"] / VARIANCE,
        "largest gradient norm": float(largest),
        "seconds": time.perf_counter() - start,
    }
    if drawn_in_picture(config, found):
        found["by lag"] = {
            when: by_lag(model, params, unseen) for when, params in (("initial", drawn), ("trained", state.params))
        }
    return found


def drawn_in_picture(config: Config, run: dict[str, Any]) -> bool:
    """Tells whether the picture shows a run: those at the longest T, of the first training and seed."""
    return (run["T"], run["training"], run["seed"]) == (max(config.lengths), config.trainings[0], config.seed)


def by_lag(model: jaxrnn.Model, params: Any, batch: dict[str, Any]) -> list[float]:
    """The norm of the whole gradient k steps before the last, relative to the last, for k = 0 ... T - 1."""
    flow = jaxrnn.gradient_report(model, params, batch, loss, rows=16, max_lag=len(batch["xs"]), jacobians=False)
    return flow.layers[0].statistics.norm_by_lag.tolist()


def main(config: Config) -> dict[str, Any]:
    """Trains all runs of the configuration, and reports; returns the figures of each network, training and T."""
    kinds = list(itertools.product(config.lengths, config.networks, config.trainings))
    runs = run_folder.earlier(config.out, config) or []
    known = {(run["T"], run["network"], run["training"], run["seed"]) for run in runs}
    with tqdm(total=len(kinds) * config.seeds, unit="run", disable=not config.progress) as bar:
        for (T, network, training), i in itertools.product(kinds, range(config.seeds)):
            if (T, network, training, config.seed + i) in known:
                bar.update()
                continue
            bar.set_description(f"T = {T}, {network}, {training}")
            runs.append(train(config, network, training, T, config.seed + i))
            tqdm.write(f"T = {T}, {network}, {training}: {_result(runs[-1:], network, training, T)}")
            bar.update()
            run_folder.write(config.out, config, runs)
    plot(config, runs, config.out / "vanishing.png")
    print(f"\n{table(config, runs)}")
    found = command.by_kind(runs, lambda run: f"{run['network']}, {run['training']}, T = {run['T']}")
    command.write_summary(config.out, found)
    return found


def table(config: Config, runs: list[dict[str, Any]]) -> str:
    """The runs that solve the task: a row for each network and training, a column for each T, as Markdown."""
    lines = [
        "| network | gradient | " + " | ".join(f"T = {T}" for T in config.lengths) + " |",
        "|---|---|" + "---|" * len(config.lengths),
    ]
    for network, training in itertools.product(config.networks, config.trainings):
        cells = [_result(runs, network, training, T) for T in config.lengths]
        lines.append(f"| {network} | {training} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _result(runs: list[dict[str, Any]], network: str, training: str, T: int) -> str:
    """The steps until the task was solved, or the final error, for each seed."""
    shown = []
    for run in runs:
        if (run["network"], run["training"], run["T"]) == (network, training, T):
            shown.append(f"**{run['steps']} steps**" if run["ended"] == "solved" else f"no, {_error(run)}")
    return ", ".join(shown)


def _error(run: dict[str, Any]) -> str:
    return "diverged" if run["ended"] == "diverged" else f"{run['error']:.2f}"


def plot(config: Config, runs: list[dict[str, Any]], path: pathlib.Path) -> None:
    """The gradient's norm by lag, at initialisation and after training, at the longest T."""
    T, training = max(config.lengths), config.trainings[0]
    figure = Figure(figsize=(11.0, 4.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    shown = [run for run in runs if drawn_in_picture(config, run)]
    for axes, (when, title) in zip(
        panels, (("initial", "at initialisation"), ("trained", "after training")), strict=True
    ):
        for i, run in enumerate(shown):
            solved = run["ended"] == "solved"
            norms = np.maximum(run["by lag"][when], FLOOR)
            axes.plot(
                norms,
                "-" if solved else "--",
                color=f"C{i}",
                label=f"{run['network']}{'' if solved else ' (not solved)'}",
            )
        axes.axhline(1.0, color="0.5", linewidth=0.8)
        axes.set_yscale("log")
        axes.set(xlabel="lag k (steps back from the output)", title=title, xlim=(0, T - 1))
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("norm of the gradient, relative to lag 0")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    figure.suptitle(f"How much of the gradient is left k steps back (T = {T}, {training})")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    command.start(main, Config)
