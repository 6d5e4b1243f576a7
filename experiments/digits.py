"""Handwritten digits, read row by row or pixel by pixel.

The data are scikit-learn's 1,797 digits of 8 x 8 pixels. Each seed draws its own stratified split: 20 % test, 8 %
validation, 72 % training. The parameters kept are those of the lowest validation loss.
"""

import dataclasses
import itertools
import pathlib
from typing import Annotated, Any, Literal

import jax
import numpy as np
import optax
import tyro

import jaxrnn
from experiments import command, digit_data, run_folder

CELLS = {
    "lstm": jaxrnn.lstm,
    "gru": jaxrnn.gru,
    "elman": jaxrnn.elman,
    "ctrnn": lambda D, H: jaxrnn.ctrnn(D, H, 1.0, 4.0),
}
GRADIENTS = {"reverse_scan": jaxrnn.reverse_scan(), "autodiff": jaxrnn.autodiff()}
OPTIMIZERS = {"adam": optax.adam, "adamw": optax.adamw, "rmsprop": optax.rmsprop, "sgd": optax.sgd}


@dataclasses.dataclass(frozen=True)
class Config:
    """Recurrent networks on handwritten digits."""

    cell: Annotated[Literal["lstm", "gru", "elman", "ctrnn"], tyro.conf.arg(metavar="CELL")] = "gru"
    """lstm, gru, elman or ctrnn."""
    hidden: int = 128
    """Hidden features of each layer."""
    layers: int = 1
    """Layers of cells."""
    dropout: float = 0.5
    """Dropout before the output layer."""
    pixels: command.Flag = False
    """Read pixel by pixel (T=64), not row by row (T=8)."""
    permute: command.Flag = False
    """Read all pixels in one random order."""
    gradient: Annotated[Literal["reverse_scan", "autodiff"], tyro.conf.arg(metavar="NAME")] = "reverse_scan"
    """reverse_scan or autodiff."""
    optimizer: Annotated[Literal["adam", "adamw", "rmsprop", "sgd"], tyro.conf.arg(metavar="NAME")] = "adam"
    """adam, adamw, rmsprop or sgd."""
    learning_rate: float = 1e-2
    """Learning rate at the start."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    steps: int = 2000
    """Steps of training."""
    batch_size: int = 64
    """Rows in a minibatch."""
    seed: int = 0
    """Seed of split, parameters and order."""
    seeds: command.Seeds = 1
    progress: command.Progress = True
    resume: command.Resume = False
    out: command.Out = pathlib.Path("runs/digits")

    def __post_init__(self) -> None:
        command.positive(self, "hidden", "layers", "steps", "batch_size", "seeds")


SMOKE = Config(hidden=4, steps=4)


def load(config: Config) -> dict[str, dict[str, np.ndarray]]:
    """The digits as {"train", "validation", "test"}, each {"xs": [T, N, D], "targets": [N]}."""
    images, targets = digit_data.read()
    if config.permute:
        images = images[:, np.random.default_rng(config.seed).permutation(64)]
    T, D = (64, 1) if config.pixels else (8, 8)
    xs = images.reshape(-1, T, D)
    rows = digit_data.split(targets, config.seed)
    return {name: {"xs": xs[i].transpose(1, 0, 2), "targets": targets[i]} for name, i in rows.items()}


def build(config: Config) -> jaxrnn.Model:
    """The cells, then the output at the last step."""
    sizes = [1 if config.pixels else 8] + [config.hidden] * config.layers
    cells = [CELLS[config.cell](D, H) for D, H in itertools.pairwise(sizes)]
    layers = jaxrnn.stack(cells, gradient=GRADIENTS[config.gradient])
    return jaxrnn.chain(layers, jaxrnn.last(), jaxrnn.dropout(config.dropout), jaxrnn.dense(config.hidden, 10))


def loss(ys: jax.Array, batch: dict[str, Any]) -> jax.Array:
    """Cross-entropy of the class."""
    return jaxrnn.losses.cross_entropy(ys, batch, at="last")


def accuracy(ys: jax.Array, batch: dict[str, Any]) -> jax.Array:
    """Share of digits recognised."""
    return jaxrnn.losses.accuracy(ys, batch, at="last")


def main(config: Config) -> dict[str, Any]:
    """Checks the gradient, trains, and reports; returns the figures."""
    data, model = load(config), build(config)
    command.check_gradient(model, model.init(jax.random.key(config.seed)), data["train"]["xs"][:, :4])
    return command.over_seeds(train, config, "test accuracy")


def train(config: Config) -> dict[str, Any]:
    """One run: trains on one split and writes its folder."""
    data, model = load(config), build(config)
    schedule = optax.cosine_decay_schedule(config.learning_rate, config.steps)
    optimizer = optax.chain(optax.clip_by_global_norm(config.clip_norm), OPTIMIZERS[config.optimizer](schedule))
    metrics = {"accuracy": accuracy}
    result = jaxrnn.fit(
        model,
        loss,
        optimizer,
        data["train"],
        key=jax.random.key(config.seed),
        steps=config.steps,
        batch_size=config.batch_size,
        metrics=metrics,
        validation=data["validation"],
        run_dir=command.run_dir(config, config.out / f"seed-{config.seed}"),
        progress=config.progress,
    )
    scores = {name: jaxrnn.evaluate(model, result.params, loss, part, metrics=metrics) for name, part in data.items()}
    found = {f"{name} accuracy": score["accuracy"] for name, score in scores.items()} | {
        "parameters": sum(x.size for x in jax.tree.leaves(result.params)),
        "best step": result.best_step,
        "steps per second": result.history.steps_per_second,
        "compile seconds": result.history.compile_seconds,
        "training seconds": result.history.run_seconds,
    }
    folder = config.out / f"seed-{config.seed}"
    run_folder.write(folder, config, found, result.history)
    print(f"\n{run_folder.table({'seed': config.seed} | found)}")
    return found


if __name__ == "__main__":
    command.run(main, SMOKE)
