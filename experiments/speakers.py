"""Recognition of nine speakers, by one short vowel sequence each.

The data are JapaneseVowels (Kudo et al. 1999) as aeon ships them: 640 utterances of /ae/ by nine male speakers, each 7
to 29 steps of 12 cepstral coefficients, in the official split of 270 for training and 370 for testing. All rows are
padded to the longest, and the model gets their `lengths`.

The test split chooses nothing: the options were chosen by the mean accuracy of a stratified cross-validation within the
270 training rows (as `--folds 5 --seeds 2` does), and the parameters are those after the last step, not the best of any
set.

References:
  Kudo, Toyama and Shimbo 1999, Multidimensional curve classification using passing-through regions, Pattern Recognition
  Letters 20(11-13).
"""

import dataclasses
import pathlib
from typing import Annotated, Any, Literal

import jax
import numpy as np
import optax
import tyro
from aeon.datasets import load_japanese_vowels
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import StratifiedKFold

import jaxrnn
from experiments import command, run_folder

CELLS = {"gru": jaxrnn.gru, "lstm": jaxrnn.lstm}
POOLING = {"mean": jaxrnn.mean_over_time(), "last": jaxrnn.last()}
SPEAKERS, CHANNELS = 9, 12

Data = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Config:
    """A bidirectional network that recognises which of nine speakers is heard."""

    cell: Literal["gru", "lstm"] = "gru"
    """Recurrent cell, one for each direction."""
    hidden: int = 64
    """Hidden features of each direction."""
    pooling: Literal["mean", "last"] = "mean"
    """Outputs to read: their mean or the last."""
    dropout: float = 0.5
    """Dropout before the output layer."""
    recurrent_dropout: Annotated[float, tyro.conf.arg(metavar="P")] = 0.25
    """Dropout of recurrent states."""
    input_dropout: float = 0.0
    """Dropout of the inputs."""
    learning_rate: float = 3e-3
    """Adam's learning rate at the start."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    steps: int = 600
    """Steps of training."""
    batch_size: int = 32
    """Rows in a minibatch."""
    seed: int = 0
    """Seed of parameters and order."""
    seeds: command.Seeds = 1
    folds: int = 0
    """Folds of a cross-validation; 0: none."""
    check: command.Check = False
    progress: command.Progress = True
    resume: command.Resume = False
    out: command.Out = pathlib.Path("runs/speakers")

    def __post_init__(self) -> None:
        command.positive(self, "hidden", "steps", "batch_size", "seeds")
        least = "0, or 2 to 30, the utterances of each speaker"
        command.expect("folds", least, self.folds == 0 or 2 <= self.folds <= 30, self.folds)


SMOKE = Config(hidden=4, steps=4, check=True)


def load() -> dict[str, Data]:
    """The utterances as {"train", "test"}, each {"xs": [T, N, 12], "lengths": [N], "targets": [N]}.

    Channels are scaled to mean 0 and standard deviation 1 over the training rows' steps.
    """
    parts = {name: load_japanese_vowels(split=name) for name in ("train", "test")}
    steps = np.concatenate([x.T for x in parts["train"][0]])
    mean, deviation = steps.mean(0), steps.std(0)

    def rows(utterances: Any, speakers: Any) -> Data:
        xs = [((x.T - mean) / deviation).astype(np.float32) for x in utterances]
        return jaxrnn.data.padded({"xs": xs, "targets": list(speakers.astype(np.int32) - 1)})

    return {name: rows(*part) for name, part in parts.items()}


def build(config: Config) -> jaxrnn.Model:
    """Both directions, one vector for each row, dropout, the class."""
    cell = CELLS[config.cell](CHANNELS, config.hidden, recurrent_dropout=config.recurrent_dropout)
    return jaxrnn.chain(
        jaxrnn.dropout(config.input_dropout),
        jaxrnn.bidirectional(cell, cell),
        POOLING[config.pooling],
        jaxrnn.dropout(config.dropout),
        jaxrnn.dense(2 * config.hidden, SPEAKERS),
    )


def loss(ys: jax.Array, batch: dict[str, Any]) -> jax.Array:
    """Cross-entropy of the speaker."""
    return jaxrnn.losses.cross_entropy(ys, batch, at="last")


def accuracy(ys: jax.Array, batch: dict[str, Any]) -> jax.Array:
    """Share of utterances whose speaker is recognised."""
    return jaxrnn.losses.accuracy(ys, batch, at="last")


def learn(config: Config, data: Data, folder: pathlib.Path) -> jaxrnn.training.FitResult:
    """Trains on all given rows."""
    schedule = optax.cosine_decay_schedule(config.learning_rate, config.steps)
    return jaxrnn.fit(
        build(config),
        loss,
        optax.chain(optax.clip_by_global_norm(config.clip_norm), optax.adam(schedule)),
        data,
        key=jax.random.key(config.seed),
        steps=config.steps,
        batch_size=config.batch_size,
        metrics={"accuracy": accuracy},
        run_dir=command.run_dir(config, folder),
        progress=config.progress,
    )


@jax.jit
def outputs(model: jaxrnn.Model, params: Any, xs: np.ndarray, lengths: np.ndarray) -> jax.Array:
    """The model's outputs for some rows, [N, 9]."""
    return model.apply(params, xs, lengths=lengths)[1]


def score(config: Config, result: jaxrnn.training.FitResult, data: Data) -> float:
    """Accuracy on some rows."""
    return jaxrnn.evaluate(build(config), result.params, accuracy, data)["loss"]


def main(config: Config) -> dict[str, Any]:
    """Checks the gradient, trains, and reports; returns the figures."""
    if config.check:
        few = some(load()["train"], np.arange(0, 270, 90))
        model = build(config)
        params = model.init(jax.random.key(config.seed))
        command.check_gradient(model, params, few["xs"], lengths=few["lengths"])
    if config.folds:
        return command.over_seeds(cross_validate, config, "validation accuracy", config.out / "folds")
    return command.over_seeds(train, config, "test accuracy")


def train(config: Config) -> dict[str, Any]:
    """One run: trains on the official training split and writes its folder."""
    data, model = load(), build(config)
    folder = config.out / f"seed-{config.seed}"
    result = learn(config, data["train"], folder)
    ys = outputs(model, result.params, data["test"]["xs"], data["test"]["lengths"])
    confusion = confusion_matrix(data["test"]["targets"], np.argmax(ys, -1), labels=range(SPEAKERS))
    found = {f"{name} accuracy": score(config, result, part) for name, part in data.items()} | {
        "parameters": sum(x.size for x in jax.tree.leaves(result.params)),
        "steps per second": result.history.steps_per_second,
        "compile seconds": result.history.compile_seconds,
        "training seconds": result.history.run_seconds,
    }
    run_folder.write(folder, config, found | {"confusion": confusion.tolist()}, result.history)
    print(f"\n{run_folder.table({'seed': config.seed} | found)}\n\nspeakers (rows) and answers (columns):\n{confusion}")
    return found


def cross_validate(config: Config) -> dict[str, Any]:
    """Mean accuracy on training rows that were left out, a fold at a time; the seed also draws the folds."""
    data, scores = load()["train"], []
    folds = StratifiedKFold(config.folds, shuffle=True, random_state=config.seed).split(
        data["targets"], data["targets"]
    )
    folder = config.out / "folds" / f"seed-{config.seed}"
    for number, (kept, left_out) in enumerate(folds):
        result = learn(config, some(data, kept), folder / str(number))
        scores.append(score(config, result, some(data, left_out)))
    found = {"validation accuracy": float(np.mean(scores)), "folds": [round(x, 4) for x in scores]}
    run_folder.write(folder, config, found)
    print(f"\n{run_folder.table(found)}", flush=True)
    return found


def some(data: Data, rows: np.ndarray) -> Data:
    """Some rows of the data."""
    return {name: x[:, rows] if name == "xs" else x[rows] for name, x in data.items()}


if __name__ == "__main__":
    command.run(main, SMOKE)
