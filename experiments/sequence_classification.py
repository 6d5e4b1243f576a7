"""The introductory Keras program: losses and times beside those of Keras.

Random sequences of 10 numbers from U(0, 1); the label says whether their sum is above its mean. A simple recurrent
network of 32 units reads them, a sigmoid unit classifies: binary cross-entropy, Adam, 10 epochs of minibatches of 32
in order. With `--keras` Keras trains beside it, from the same weights, and the losses of both are printed.
"""

import dataclasses
import importlib.util
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure
from tqdm import tqdm

import jaxrnn
from experiments import command, run_folder

EPSILON = 1e-7
"""Adam's epsilon, as in Keras; optax's default is 1e-8."""


@dataclasses.dataclass(frozen=True)
class Config:
    """A simple recurrent network that classifies short random sequences, as introductions to Keras do."""

    rows: int = 1000
    """Sequences for training, and as many for the test."""
    T: int = 10
    """Length of each."""
    hidden: int = 32
    """Hidden features."""
    learning_rate: float = 1e-3
    """Adam's learning rate."""
    batch_size: int = 32
    """Rows in a minibatch."""
    epochs: int = 10
    """Passes through the data, in order."""
    seed: int = 0
    """Seed of data and parameters."""
    seeds: command.Seeds = 1
    keras: command.Flag = False
    """Train Keras, too (needs `pip install keras`)."""
    rounds: int = 5
    """Times that both are timed, with --keras."""
    check: command.Check = False
    progress: command.Progress = True
    resume: command.Resume = False
    out: command.Out = pathlib.Path("runs/sequence_classification")

    def __post_init__(self) -> None:
        command.positive(self, "rows", "T", "hidden", "batch_size", "epochs", "seeds", "rounds")
        installed = not self.keras or importlib.util.find_spec("keras") is not None
        command.expect("keras", "`pip install keras` first", installed, "no such package")


SMOKE = Config(rows=40, T=4, hidden=4, epochs=2, rounds=1, check=True)


class Run(NamedTuple):
    """One training run.

    Attributes:
      losses: of each epoch, the mean over its rows of the loss that each had in its minibatch, before that step.
      seconds: the seconds of each epoch.
      params: the parameters after the last epoch, in jaxrnn's form.
    """

    losses: list[float]
    seconds: list[float]
    params: Any


Runner = Callable[[], Run]
"""One run from the initial parameters; the first one compiles."""


def load(config: Config) -> dict[str, dict[str, np.ndarray]]:
    """The sequences as {"train", "test"}, each {"xs": [T, N, 1], "targets": [N, 1]}."""
    xs = np.random.default_rng(config.seed).random((2, config.T, config.rows, 1), np.float32)
    targets = (xs.sum(1) > config.T / 2).astype(np.float32)
    return {name: {"xs": xs[i], "targets": targets[i]} for i, name in enumerate(("train", "test"))}


def build(config: Config) -> jaxrnn.Model:
    """SimpleRNN(32), then Dense(1); the sigmoid is part of the loss."""
    return jaxrnn.chain(jaxrnn.stack([jaxrnn.elman(1, config.hidden)]), jaxrnn.last(), jaxrnn.dense(config.hidden, 1))


def loss(ys: jax.Array, batch: dict[str, Any]) -> jax.Array:
    """Binary cross-entropy of the label."""
    return jaxrnn.losses.binary_cross_entropy(ys, batch, at="last")


def accuracy(ys: jax.Array, batch: dict[str, Any]) -> jax.Array:
    """Share of labels that are right."""
    return jnp.mean((ys > 0) == (batch["targets"] > 0.5))


def of_jaxrnn(config: Config, params: Any, data: dict[str, np.ndarray]) -> tuple[Runner, jaxrnn.training.History]:
    """Training by `make_train_step`, one compiled call per epoch; and the first run's measurements at each step."""
    model, size = build(config), min(config.batch_size, config.rows)
    optimizer = optax.adam(config.learning_rate, eps=EPSILON)
    step = jaxrnn.training.make_train_step(model, loss, optimizer, metrics={"accuracy": accuracy})
    whole, left = divmod(config.rows, size)
    counts = np.array([size] * whole + [left] * (left > 0))
    arrays, history = jax.tree.map(jnp.asarray, data), jaxrnn.training.History()

    def rows(start: jax.Array | int, count: int) -> dict[str, jax.Array]:
        axes = {"xs": 1, "targets": 0}
        return {name: jax.lax.dynamic_slice_in_dim(x, start, count, axes[name]) for name, x in arrays.items()}

    @jax.jit
    def epoch(state: jaxrnn.training.TrainState) -> tuple[jaxrnn.training.TrainState, dict[str, jax.Array]]:
        state, values = jax.lax.scan(lambda s, i: step(s, rows(i * size, size)), state, jnp.arange(whole))
        if left:  # a minibatch of another shape
            state, last = step(state, rows(whole * size, left))
            values = {name: jnp.append(x, last[name]) for name, x in values.items()}
        return state, values

    def run() -> Run:
        state = jaxrnn.training.train_state(model, optimizer, key=jax.random.key(config.seed), params=params)
        losses, seconds, first = [], [], not history.steps
        for _ in tqdm(range(config.epochs), unit="epoch", disable=not (config.progress and first)):
            start = time.perf_counter()
            state, values = jax.block_until_ready(epoch(state))
            seconds.append(time.perf_counter() - start)
            losses.append(float(np.average(values["loss"], weights=counts)))
            if first:
                history.extend(values, {})
        return Run(losses, seconds, state.params)

    return run, history


def to_keras(params: Any) -> list[np.ndarray]:
    """The parameters in the order of Keras's `set_weights`; its matrices are [in, out], too."""
    cell, dense = params["0"]["0"], params["2"]
    return [np.asarray(x) for x in (cell["w_x"], cell["w_h"], cell["b"], dense["w"], dense["b"])]


def from_keras(weights: list[np.ndarray]) -> Any:
    """The inverse of `to_keras`."""
    w_x, w_h, b, w, b_out = weights
    return {"0": {"0": {"w_x": w_x, "w_h": w_h, "b": b}}, "1": {}, "2": {"w": w, "b": b_out}}


def of_keras(config: Config, params: Any, data: dict[str, np.ndarray]) -> Runner:
    """Keras's own program, as in its introductions, except for its initial weights and the order of rows."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras  # pyright: ignore[reportMissingImports]

    model = keras.Sequential(
        [
            keras.Input((config.T, 1)),
            keras.layers.SimpleRNN(config.hidden),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    adam = keras.optimizers.Adam(config.learning_rate, epsilon=EPSILON)
    model.compile(optimizer=adam, loss="binary_crossentropy", metrics=["accuracy"])
    xs, targets, times = data["xs"].swapaxes(0, 1), data["targets"], []

    def stamp(*_: Any) -> None:
        times.append(time.perf_counter())

    clock = keras.callbacks.LambdaCallback(on_epoch_begin=stamp, on_epoch_end=stamp)

    def run() -> Run:
        model.set_weights(to_keras(params))
        for variable in adam.variables:
            if variable is not adam.learning_rate:
                variable.assign(np.zeros(variable.shape, variable.dtype))
        times.clear()
        options = {"batch_size": config.batch_size, "epochs": config.epochs, "shuffle": False, "verbose": 0}
        fitted = model.fit(xs, targets, callbacks=[clock], **options)
        return Run(fitted.history["loss"], (np.diff(times)[::2]).tolist(), from_keras(model.get_weights()))

    return run


def compare(first: dict[str, Run], runners: dict[str, Runner], rounds: int) -> dict[str, Any]:
    """Prints the losses of both and the seconds per epoch; returns the times and the largest difference."""
    ours, theirs = (run.losses for run in first.values())
    print(f"\n| epoch | {' | '.join(first)} | difference |\n|---|---|---|---|")
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        print(f"| {i + 1} | {a:.6f} | {b:.6f} | {abs(a - b):.1e} |")
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name, run in runners.items():
            seconds[name] += run().seconds
    print("\n| library | first epoch, compiling included, s | an epoch afterwards, ms: median (quartiles) |")
    print("|---|---|---|")
    for name, measured in seconds.items():
        low, middle, high = 1000 * np.quantile(measured, [0.25, 0.5, 0.75])
        print(f"| {name} | {first[name].seconds[0]:.2f} | {middle:.1f} ({low:.1f} to {high:.1f}) |")
    difference = float(np.max(np.abs(np.subtract(ours, theirs))))
    print(f"\nlargest difference of an epoch's loss: {difference:.1e}")
    return {"largest difference": difference, "seconds of epochs": seconds}


def plot(losses: dict[str, list[float]], path: pathlib.Path) -> None:
    """The loss of each epoch."""
    figure = Figure(figsize=(5.5, 3.6), layout="constrained")
    axes = figure.subplots()
    for (name, values), style in zip(losses.items(), ("o-", "x"), strict=False):
        axes.plot(np.arange(1, len(values) + 1), values, style, markersize=8 if style == "x" else 4, label=name)
    axes.axhline(np.log(2), color="0.5", linestyle=":", label="chance, log 2")
    axes.set(xlabel="epoch", ylabel="binary cross-entropy", title="Mean loss of an epoch")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


def main(config: Config) -> dict[str, Any]:
    """Trains for each seed, and reports; returns the figures."""
    if config.check:
        model, xs = build(config), load(config)["train"]["xs"]
        command.check_gradient(model, model.init(jax.random.key(config.seed)), xs[:, :4])
    return command.over_seeds(train, config, "test accuracy")


def train(config: Config) -> dict[str, Any]:
    """One run, or one of each library; writes its folder."""
    folder = config.out / f"seed-{config.seed}"
    earlier = run_folder.earlier(folder, config)
    if earlier is not None:
        return earlier
    data, model = load(config), build(config)
    params = model.init(jax.random.key(config.seed))
    runner, history = of_jaxrnn(config, params, data["train"])
    runners = {"jaxrnn": runner}
    if config.keras:
        runners["keras"] = of_keras(config, params, data["train"])
    first = {name: run() for name, run in runners.items()}
    losses = {name: run.losses for name, run in first.items()}
    unseen = {
        name: jaxrnn.evaluate(model, run.params, loss, data["test"], metrics={"accuracy": accuracy})
        for name, run in first.items()
    }
    found = {"test accuracy": unseen["jaxrnn"]["accuracy"], "test loss": unseen["jaxrnn"]["loss"]}
    found |= {"first epoch's loss": losses["jaxrnn"][0], "last epoch's loss": losses["jaxrnn"][-1]}
    found |= {"seconds": sum(first["jaxrnn"].seconds), "of these the first epoch": first["jaxrnn"].seconds[0]}
    if config.keras:
        found["test accuracy of keras"] = unseen["keras"]["accuracy"]
    print(f"\n{run_folder.table({'seed': config.seed} | found)}")
    compared = compare(first, runners, config.rounds) if config.keras else {}
    run_folder.write(folder, config, found | {"losses": losses} | compared, history)
    plot(losses, folder / "losses.png")
    return found | compared


if __name__ == "__main__":
    command.run(main, SMOKE)
