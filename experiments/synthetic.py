"""Adding, copying, delayed XOR and parity: cells that learn to remember.

Each task is a jitted function (key, T, B) -> batch. Training draws every sequence afresh and sees it once, so the loss
of a training step is measured on unseen data.

References:
  Hochreiter and Schmidhuber 1997, Long short-term memory, Neural Computation 9(8) (adding, experiment 4);
  Le, Jaitly and Hinton 2015, arXiv:1504.00941 (adding in this form, IRNN); Arjovsky, Shah and Bengio 2016,
  arXiv:1511.06464 (copying in this form); Tallec and Ollivier 2018, arXiv:1804.11188 (chrono).
"""

import dataclasses
import functools
import math
import os
import pathlib
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import jaxrnn
from experiments import command, run_folder
from experiments.memory_tasks import (
    REMEMBERED,
    SYMBOLS,
    Batch,
    adding,
    copying,
    copying_chance,
    delayed_xor,
    parity,
)


class Task(NamedTuple):
    """A task to learn.

    Attributes:
      generate: (key, T, B) -> batch.
      D, O: features of xs, and of the model's outputs.
      more: the number of steps of an input beyond T.
      at_last: whether only the last step's output counts.
      loss: (ys, batch) -> scalar.
      chance: T -> the loss of the best answers without memory.
      hidden, steps: hidden features, and steps of training, unless the command says others.
    """

    generate: Callable[[jax.Array, int, int], Batch]
    D: int
    O: int
    more: int
    at_last: bool
    loss: Callable[..., jax.Array]
    chance: Callable[[int], float]
    hidden: int
    steps: int


LAST = {
    name: functools.partial(getattr(jaxrnn.losses, name), at="last")
    for name in ("mean_squared_error", "binary_cross_entropy")
}
TASKS = {
    "adding": Task(adding, 2, 1, 0, True, LAST["mean_squared_error"], lambda _: 1 / 6, 64, 1500),
    "copying": Task(
        copying, SYMBOLS + 2, SYMBOLS + 1, 2 * REMEMBERED, False, jaxrnn.losses.cross_entropy, copying_chance, 128, 1500
    ),
    "delayed_xor": Task(delayed_xor, 2, 1, 0, True, LAST["binary_cross_entropy"], lambda _: math.log(2), 64, 1000),
    "parity": Task(parity, 1, 1, 0, False, jaxrnn.losses.binary_cross_entropy, lambda _: math.log(2), 64, 1000),
}


def identity(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """The identity matrix, as an initialiser."""
    del key
    return jnp.eye(*shape, dtype=dtype)


def irnn(D: int, H: int) -> jaxrnn.cells.Elman:
    """relu, the identity as recurrent weights at first, and small input weights (Le et al. 2015)."""
    small = jax.nn.initializers.normal(0.001)
    return jaxrnn.elman(D, H, activation=jax.nn.relu, recurrent_init=identity, input_init=small)


Network = Literal["elman", "irnn", "gru", "gru-chrono", "lstm", "lstm-chrono"]
CELLS = {"elman": jaxrnn.elman, "irnn": irnn, "gru": jaxrnn.gru, "lstm": jaxrnn.lstm}
"""All except irnn start with orthogonal recurrent weights, jaxrnn's default; chrono adds biases for long memories."""
LEARNING_RATES: dict[str, dict[str, float]] = {
    "adding": {"elman": 1e-3, "irnn": 1e-3, "gru": 1e-2, "gru-chrono": 1e-2, "lstm": 2e-2, "lstm-chrono": 1e-2},
    "copying": {"elman": 1e-3, "irnn": 1e-3, "gru": 2e-2, "gru-chrono": 2e-2, "lstm": 2e-2, "lstm-chrono": 2e-2},
    "delayed_xor": {"elman": 3e-3, "irnn": 3e-3, "gru": 3e-3, "gru-chrono": 3e-3, "lstm": 3e-3, "lstm-chrono": 3e-3},
    "parity": {"elman": 1e-2, "irnn": 1e-3, "gru": 1e-2, "gru-chrono": 1e-2, "lstm": 1e-2, "lstm-chrono": 1e-2},
}
"""Most of them chosen on seed 100, see docs/experiments/synthetic.md; the table's seeds are others."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Recurrent networks on tasks that are nothing but memory."""

    adding: Annotated[tuple[int, ...], tyro.conf.arg(metavar="T ...")] = (200,)
    """Lengths of adding; none: leave it out."""
    copying: Annotated[tuple[int, ...], tyro.conf.arg(metavar="T ...")] = (50,)
    """Delays of copying."""
    delayed_xor: Annotated[tuple[int, ...], tyro.conf.arg(metavar="T ...")] = (50,)
    """Lengths of delayed XOR."""
    parity: Annotated[tuple[int, ...], tyro.conf.arg(metavar="T ...")] = (50,)
    """Lengths of parity."""
    networks: Annotated[tuple[Network, ...], tyro.conf.arg(metavar="NAME ...")] = get_args(Network)
    """Networks to train."""
    learning_rates: Annotated[tuple[float, ...], tyro.conf.arg(metavar="X")] = ()
    """Adam's learning rates; none: each network's own."""
    b2: float = 0.9
    """Adam's decay of squared gradients."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    hidden: int = 0
    """Hidden features; 0: the task's own."""
    steps: int = 0
    """Steps of training; 0: the task's own."""
    block: int = 100
    """Steps that a loss is averaged over."""
    batch_size: int = 64
    """Sequences in a minibatch."""
    solved: float = 0.06
    """Share of the chance loss below which a task is solved."""
    seed: int = 0
    """Seed of parameters and sequences."""
    seeds: command.Seeds = 4
    check: command.Check = False
    progress: command.Progress = True
    resume: command.Resume = False
    out: command.Out = pathlib.Path("runs/synthetic")

    def __post_init__(self) -> None:
        command.positive(self, "block", "batch_size", "seeds")
        for name in ("steps", "hidden"):
            own = "a positive integer, or 0 for each task's own"
            command.expect(name, own, getattr(self, name) >= 0, getattr(self, name))
        command.expect("steps", f"a multiple of block = {self.block}", self.steps % self.block == 0, self.steps)
        lengths = {name: getattr(self, name) for name in ("adding", "copying", "delayed_xor", "parity")}
        command.expect("adding", "a length, or one of another task", any(lengths.values()), "none")
        for name, values in lengths.items():
            command.expect(name, "at least 2 steps each", all(T >= 2 for T in values), values)
        command.expect("networks", "at least one", bool(self.networks), "none")


SMOKE = Config(
    adding=(6,), copying=(), delayed_xor=(), parity=(), networks=("gru",), hidden=4, steps=10, block=5, seeds=2,
    check=True,
)  # fmt: skip


def build(config: Config, name: str, network: str, T: int) -> jaxrnn.Model:
    """One layer of a network, then the output: at the last step or at each."""
    task = TASKS[name]
    H = config.hidden or task.hidden
    options = {"chrono": T + task.more} if network.endswith("-chrono") else {}
    cell = CELLS[network.removesuffix("-chrono")](task.D, H, **options)
    last = [jaxrnn.last()] if task.at_last else []
    return jaxrnn.chain(jaxrnn.stack([cell]), *last, jaxrnn.dense(H, task.O))


def optimizer(config: Config, lr: Any) -> optax.GradientTransformation:
    """Adam, after the gradient's norm is clipped."""
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), optax.adam(lr, b2=config.b2))


def train(config: Config, name: str, T: int) -> list[dict[str, Any]]:
    """All runs of one task and length, in one sweep: a program for each network; a dict for each run."""
    task, run_dir = TASKS[name], command.run_dir(config, config.out / f"{name}-{T}")
    progress, config = config.progress, dataclasses.replace(config, resume=False, progress=True)

    def init(hyper: Any, key: jax.Array) -> jaxrnn.training.TrainState:
        return jaxrnn.training.train_state(build(config, name, hyper.network, T), optimizer(config, hyper.lr), key=key)

    def advance(
        hyper: Any, state: jaxrnn.training.TrainState, count: int
    ) -> tuple[jaxrnn.training.TrainState, dict[str, jax.Array]]:
        model = build(config, name, hyper.network, T)
        step = jaxrnn.training.make_train_step(model, task.loss, optimizer(config, hyper.lr))

        def drawn(
            state: jaxrnn.training.TrainState, _: None
        ) -> tuple[jaxrnn.training.TrainState, dict[str, jax.Array]]:
            key = jax.random.fold_in(state.key, state.step)  # the models have no noise that would share it
            return step(state, task.generate(key, T, config.batch_size))

        return jax.lax.scan(drawn, state, length=count)

    def rates(network: str) -> tuple[float, ...]:
        return config.learning_rates or (LEARNING_RATES[name][network],)

    seeds = range(config.seed, config.seed + config.seeds)
    members = [{"network": n, "lr": lr, "seed": i} for n in config.networks for lr in rates(n) for i in seeds]
    devices = jax.local_devices()
    mesh = jax.sharding.Mesh(np.array(devices), ("members",)) if len(devices) > 1 else None
    results = jaxrnn.sweep(
        jaxrnn.sweeps.Task(init, advance),
        members,
        key=jax.random.key(0),
        steps=config.steps or task.steps,
        block=config.block,
        strategy="loop",
        mesh=mesh,
        run_dir=run_dir,
        progress=progress,
    )
    chance = task.chance(T)
    unseen = task.generate(jax.random.key(2**31 - 1), T, 1000)
    runs = []
    for i, member in enumerate(members):
        curve = results.train["loss"][i].reshape(-1, config.block).mean(1)
        below = np.flatnonzero(curve < config.solved * chance)
        model = build(config, name, member["network"], T)
        found = {
            "solved after": config.block * (int(below[0]) + 1) if len(below) else None,
            "last training loss": float(curve[-1]),
            "test loss": jaxrnn.evaluate(model, results.params(i).params, task.loss, unseen)["loss"],
            "curve": curve.tolist(),
        }
        runs.append({"task": name, "T": T, "chance": chance} | member | found)
    return runs


def main(config: Config) -> dict[str, Any]:
    """Trains all runs of the configuration, and reports; returns the figures of each task, T, network, rate."""
    problems = [(name, T) for name in TASKS for T in getattr(config, name)]
    if config.check:
        check(config, problems)
    runs, start = [], time.perf_counter()
    for name, T in problems:
        print(f"{name}, T = {T}: the loss without memory is {TASKS[name].chance(T):.4f}", flush=True)
        runs += train(config, name, T)
        print(f"\n{table(runs, name, T)}\n", flush=True)
        run_folder.write(config.out, config, runs)
    plot(config, runs, config.out / "synthetic.png")
    print(f"{time.perf_counter() - start:.0f} s")
    found = command.by_kind(runs, lambda run: f"{run['task']}, T = {run['T']}, {run['network']}, {run['lr']:g}")
    command.write_summary(config.out, found)
    return found


def check(config: Config, problems: list[tuple[str, int]]) -> None:
    """Checks the gradient of the models that are trained, on short sequences."""
    for name, T in problems:
        batch = TASKS[name].generate(jax.random.key(config.seed), 5, 3)
        for network in config.networks:
            model = build(config, name, network, T)
            print(f"{name}, T = {T}, {network}")
            command.check_gradient(model, model.init(jax.random.key(config.seed)), batch["xs"])


def table(runs: list[dict[str, Any]], name: str, T: int) -> str:
    """The results of one task: a row for each network and learning rate, as Markdown."""
    chosen = [run for run in runs if (run["task"], run["T"]) == (name, T)]
    lines = [
        f"| {name}, T = {T} | learning rate | solved | after steps | test loss: mean (from, to) | of chance |",
        "|---|---|---|---|---|---|",
    ]
    for network, lr in dict.fromkeys((run["network"], run["lr"]) for run in chosen):
        mine = [run for run in chosen if (run["network"], run["lr"]) == (network, lr)]
        after = [run["solved after"] for run in mine if run["solved after"]]
        losses = np.array([run["test loss"] for run in mine])
        shown = f"{losses.mean():.4f} ({losses.min():.4f}, {losses.max():.4f})"
        steps = "" if not after else f"{min(after)} to {max(after)}" if min(after) < max(after) else str(after[0])
        share = losses.mean() / TASKS[name].chance(T)
        lines.append(f"| {network} | {lr:g} | {len(after)} of {len(mine)} | {steps} | {shown} | {share:.3f} |")
    return "\n".join(lines)


def plot(config: Config, runs: list[dict[str, Any]], path: pathlib.Path) -> None:
    """The training loss of each network, each seed (pale) and their median, against the loss without memory."""
    problems = list(dict.fromkeys((run["task"], run["T"]) for run in runs))
    networks = list(dict.fromkeys(run["network"] for run in runs))
    figure = Figure(figsize=(4.2 * len(problems), 3.8), layout="constrained")
    panels = figure.subplots(1, len(problems), squeeze=False)[0]
    for axes, (name, T) in zip(panels, problems, strict=True):
        here = [run for run in runs if (run["task"], run["T"]) == (name, T)]
        for network, lr in dict.fromkeys((run["network"], run["lr"]) for run in here):
            curves = np.array([run["curve"] for run in here if (run["network"], run["lr"]) == (network, lr)])
            steps, color = config.block * np.arange(1, curves.shape[1] + 1), f"C{networks.index(network)}"
            axes.plot(steps, curves.T, color=color, alpha=0.3, linewidth=0.7)
            axes.plot(steps, np.median(curves, 0), color=color)
        axes.axhline(TASKS[name].chance(T), color="0.4", linestyle=":")
        axes.set(xlabel="step", yscale="log", title=f"{name.replace('_', ' ')}, T = {T}")
        axes.set_ylim(bottom=1e-3 * TASKS[name].chance(T))
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("training loss, unseen sequences")
    lines = [Line2D([], [], color=f"C{i}", label=network) for i, network in enumerate(networks)]
    lines.append(Line2D([], [], color="0.4", linestyle=":", label="without memory"))
    figure.legend(handles=lines, loc="outside lower center", ncols=7, frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    if "XLA_FLAGS" not in os.environ:
        jax.config.update("jax_num_cpu_devices", os.cpu_count())  # each runs members of its own
    command.run(main, SMOKE)
