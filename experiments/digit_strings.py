"""Strings of handwritten digits, learned and read without segmentation.

Each image is a row of 3 to 5 of scikit-learn's digits of 8 x 8 pixels, at random heights on a canvas and with random
gaps. The labels are the digits in order, without their places; connectionist temporal classification
(`jaxrnn.losses.ctc_loss`) learns the places, too. Each seed splits the 1,797 scans, stratified (20 % test, 8 %
validation, 72 % training), before any string is made: training never shows the scans of the test strings. Training
draws fresh strings at each step. The parameters kept are those of the lowest validation loss.

References:
  Graves, Fernandez, Gomez and Schmidhuber 2006, Connectionist temporal classification, ICML.
"""

import dataclasses
import functools
import itertools
import pathlib
import time
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxrnn
from experiments import command, digit_data, run_folder

CELLS = {"gru": jaxrnn.gru, "lstm": jaxrnn.lstm}
SIZE = 8
"""Pixels of a scan, in height and width."""
BLANK = 0
"""The class of no digit; digit d is class d + 1."""
CHANNELS = (8, 16)
"""The features of the two convolutions."""
DRAWN = 4
"""The number of strings in the picture."""


@dataclasses.dataclass(frozen=True)
class Config:
    """A bidirectional network that learns to spell strings of digits without knowing where they are."""

    cell: Literal["gru", "lstm"] = "gru"
    """Recurrent cell, one for each direction."""
    hidden: int = 96
    """Hidden features of each cell."""
    layers: int = 2
    """Bidirectional layers."""
    front: Literal["none", "conv"] = "none"
    """Layers before: none, or two convolutions."""
    dropout: float = 0.5
    """Dropout after each layer."""
    shortest: int = 3
    """Digits of the shortest strings."""
    longest: int = 5
    """Digits of the longest strings."""
    height: int = 12
    """Pixels of the canvas, top to bottom."""
    gap: int = 4
    """Widest gap beside a digit, in columns."""
    learning_rate: float = 5e-3
    """Adam's learning rate at the start."""
    distortion: float = 0.15
    """Size of random distortions of the training scans."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    steps: int = 4000
    """Steps of training."""
    batch_size: int = 32
    """Strings in a minibatch."""
    held_out: int = 1000
    """Strings for validation, and for the test."""
    beam: int = 16
    """Beams of the beam search."""
    seed: int = 0
    """Seed of split, parameters and strings."""
    seeds: command.Seeds = 1
    check: command.Check = False
    progress: command.Progress = True
    resume: command.Resume = False
    out: command.Out = pathlib.Path("runs/digit_strings")

    def __post_init__(self) -> None:
        command.positive(self, "hidden", "layers", "shortest", "longest", "steps", "batch_size", "beam", "seeds")
        command.expect("shortest", f"at most longest = {self.longest}", self.shortest <= self.longest, self.shortest)
        command.expect("height", f"at least the {SIZE} pixels of a scan", self.height >= SIZE, self.height)
        command.expect("gap", "at least 0 columns", self.gap >= 0, self.gap)
        command.expect(
            "held_out", f"at least the {DRAWN} strings of the picture", self.held_out >= DRAWN, self.held_out
        )


SMOKE = Config(
    hidden=4, layers=1, shortest=1, longest=2, height=9, gap=1, steps=4, batch_size=4, held_out=4, beam=4, check=True
)


class Decoded(NamedTuple):
    """The outputs [T, B, 11] for a batch, strings of the beam search, (symbols, lengths) of greedy decoding."""

    ys: jax.Array
    beam: Any
    greedy: tuple[jax.Array, jax.Array]


class Scans(NamedTuple):
    """Digits to make strings of: images [N, 8, 8] in [0, 1], their classes 1 to 10 [N]."""

    images: jax.Array
    classes: jax.Array


def load(seed: int) -> dict[str, Scans]:
    """The scans as {"train", "validation", "test"}."""
    images, digits = digit_data.read()
    images, rows = images.reshape(-1, SIZE, SIZE), digit_data.split(digits, seed)
    return {
        name: Scans(jnp.asarray(images[i]), jnp.asarray(digits[i] + 1, dtype=jnp.int32)) for name, i in rows.items()
    }


def distorted(key: jax.Array, image: jax.Array, amount: float) -> jax.Array:
    """A linear map of an image [8, 8] about its middle: the identity plus normal numbers of this standard deviation."""
    around = jnp.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    to_source = jnp.eye(2) + amount * jax.random.normal(key, (2, 2))
    source = jnp.einsum("ij,jyx->iyx", to_source, around) + (SIZE - 1) / 2
    return jax.scipy.ndimage.map_coordinates(image, list(source), order=1)


@functools.partial(jax.jit, static_argnames=("config", "count", "distortion"))
def strings(key: jax.Array, scans: Scans, config: Config, count: int, distortion: float = 0.0) -> dict[str, jax.Array]:
    """Draws strings of digits.

    Args:
      key: the same key draws the same strings.
      scans: the scans to draw from.
      config: has the numbers of digits, and the sizes of canvas and gaps.
      count: B, the number of strings.
      distortion: the amount by which scans are distorted, see `distorted`.

    Returns:
      {"xs": [T, B, height], "lengths": [B], "targets": [longest, B], "targets_lengths": [B]}, where T is the largest
      possible width of a string.
    """
    L, T = config.longest, config.longest * SIZE + (config.longest + 1) * config.gap

    def string(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        keys = jax.random.split(key, 5)
        digits = jax.random.randint(keys[0], (), config.shortest, L + 1)
        which = jax.random.randint(keys[1], (L,), 0, len(scans.images))
        gaps = jax.random.randint(keys[2], (L + 1,), 0, config.gap + 1)
        top = jax.random.randint(keys[3], (L,), 0, config.height - SIZE + 1)
        images = scans.images[which]
        if distortion > 0.0:
            images = jax.vmap(distorted, in_axes=(0, 0, None))(jax.random.split(keys[4], L), images, distortion)
        is_digit = jnp.arange(L) < digits
        left = jnp.cumsum(gaps[:-1]) + SIZE * jnp.arange(L)
        canvas = jnp.zeros((config.height, T))
        for i in range(L):  # digits past the string's length are empty images
            image = jnp.where(is_digit[i], images[i], 0.0)
            canvas = jax.lax.dynamic_update_slice(canvas, image, (top[i], left[i]))
        width = left[digits - 1] + SIZE + gaps[digits]
        return canvas.T, width, jnp.where(is_digit, scans.classes[which], BLANK), digits

    xs, lengths, targets, targets_lengths = jax.vmap(string, out_axes=(1, 0, 1, 0))(jax.random.split(key, count))
    return {"xs": xs, "lengths": lengths, "targets": targets, "targets_lengths": targets_lengths}


def batches(key: jax.Array, scans: Scans, config: Config) -> Iterator[dict[str, jax.Array]]:
    """Fresh strings for each step of training, without end."""
    for step in itertools.count():
        yield strings(jax.random.fold_in(key, step), scans, config, config.batch_size, config.distortion)


def build(config: Config) -> jaxrnn.Model:
    """Bidirectional layers with dropout, then the logits of the blank and ten digits at each column."""
    cell, H, models, D = CELLS[config.cell], config.hidden, [], config.height
    if config.front == "conv":
        models.append(jaxrnn.interop.nnx.layer(convolutions, sequence=True))
        D = CHANNELS[1] * -(-config.height // 4)
    for i in range(config.layers):
        D = D if i == 0 else 2 * H
        models += [jaxrnn.bidirectional(cell(D, H), cell(D, H)), jaxrnn.dropout(config.dropout)]
    return jaxrnn.chain(*models, jaxrnn.dense(2 * H, 11))


def convolutions(rngs: Any) -> Any:
    """A Flax module [*batch, T, height] -> [*batch, T, features]: 3 x 3 pixels at a time, every other row, twice."""
    from flax import nnx

    class Convolutions(nnx.Module):
        def __init__(self) -> None:
            sizes = zip((1, *CHANNELS), CHANNELS, strict=False)
            self.layers = nnx.List([nnx.Conv(a, b, (3, 3), strides=(1, 2), rngs=rngs) for a, b in sizes])

        def __call__(self, xs: jax.Array) -> jax.Array:
            xs = xs[..., None]
            for conv in self.layers:
                xs = jax.nn.silu(conv(xs))  # smooth: empty columns are at 0, where relu has no derivative to check
            return xs.reshape(*xs.shape[:-2], -1)

    return Convolutions()


def error_rates(symbols: jax.Array, lengths: jax.Array, batch: dict[str, Any]) -> tuple[jax.Array, jax.Array]:
    """Digit errors (insertions, deletions and substitutions) per digit, and the share of strings with any."""
    errors = jaxrnn.decoding.edit_distance(batch["targets"], batch["targets_lengths"], symbols, lengths)
    return errors.sum() / batch["targets_lengths"].sum(), (errors > 0).mean()


def digit_error_rate(ys: jax.Array, batch: dict[str, Any]) -> jax.Array:
    """The digit error rate of greedy decoding: a metric for `fit`."""
    return error_rates(*jaxrnn.decoding.ctc_greedy(ys, batch["lengths"]), batch)[0]


def main(config: Config) -> dict[str, Any]:
    """Checks the gradient, trains, and reports; returns the figures."""
    if config.check:
        model, key = build(config), jax.random.key(config.seed)
        batch = first(DRAWN, strings(key, load(config.seed)["validation"], config, config.held_out))
        command.check_gradient(model, model.init(key), batch["xs"], lengths=batch["lengths"])
    return command.over_seeds(train, config, "test digit error rate")


def train(config: Config) -> dict[str, Any]:
    """One run: trains on strings of the training scans, decodes strings of the other scans, and writes its folder."""
    model, scans = build(config), load(config.seed)
    drawing, training = jax.random.split(jax.random.key(config.seed))
    keys = dict(zip(scans, jax.random.split(drawing, len(scans)), strict=True))
    held_out = {name: strings(keys[name], scans[name], config, config.held_out) for name in ("validation", "test")}
    schedule = optax.cosine_decay_schedule(config.learning_rate, config.steps)
    result = jaxrnn.fit(
        model,
        jaxrnn.losses.ctc_loss,
        optax.chain(optax.clip_by_global_norm(config.clip_norm), optax.adam(schedule)),
        batches(keys["train"], scans["train"], config),
        key=training,
        steps=config.steps,
        metrics={"digit error rate": digit_error_rate},
        validation=held_out["validation"],
        run_dir=command.run_dir(config, config.out / f"seed-{config.seed}"),
        progress=config.progress,
    )

    @jax.jit
    def decoded(params: Any, batch: dict[str, Any]) -> Decoded:
        _, ys = model.apply(params, batch["xs"], lengths=batch["lengths"])
        beam = jaxrnn.decoding.ctc_beam(ys, batch["lengths"], beam=config.beam, max_length=2 * config.longest)
        return Decoded(ys, beam, jaxrnn.decoding.ctc_greedy(ys, batch["lengths"]))

    rates, found = jax.jit(error_rates), {}
    for part, batch in held_out.items():
        _, beam, greedy = decoded(result.params, batch)
        for name, read in {"": (beam.symbols[0], beam.lengths[0]), "greedy ": greedy}.items():
            by_digit, by_string = rates(*read, batch)
            found[f"{part} {name}digit error rate"] = float(by_digit)
            found[f"{part} {name}sequence error rate"] = float(by_string)
    start = time.perf_counter()
    of_test = jax.block_until_ready(decoded(result.params, held_out["test"]))
    found |= {
        "parameters": sum(x.size for x in jax.tree.leaves(result.params)),
        "best step": result.best_step,
        "steps per second": result.history.steps_per_second,
        "compile seconds": result.history.compile_seconds,
        "training seconds": result.history.run_seconds,
        "test decoding seconds": time.perf_counter() - start,
    }
    folder = config.out / f"seed-{config.seed}"
    run_folder.write(folder, config, found, result.history)
    plot(held_out["test"], of_test, folder / "strings.png")
    print(f"\n{run_folder.table({'seed': config.seed} | found)}")
    return found


def text(symbols: Any, length: Any) -> str:
    """The digits that classes stand for."""
    return "".join(str(int(symbol) - 1) for symbol in symbols[: int(length)])


def first(count: int, batch: dict[str, Any]) -> dict[str, Any]:
    """The first strings of a batch."""
    return {name: x[:, :count] if name in ("xs", "targets") else x[:count] for name, x in batch.items()}


def plot(batch: dict[str, Any], decoded: Decoded, path: pathlib.Path) -> None:
    """Draws the first strings of a batch, the probabilities of all classes at each column, and the decoded digits."""
    (batch, decoded), classes = jax.tree.map(np.asarray, (batch, decoded)), np.asarray(jax.nn.softmax(decoded.ys))
    found = decoded.beam
    figure = Figure(figsize=(11.0, 6.4), layout="constrained")
    panels = figure.subplots(4, 2, height_ratios=(1.0, 1.0, 1.0, 1.0))
    for i in range(DRAWN):
        image, curves = panels[2 * (i // 2) : 2 * (i // 2) + 2, i % 2]
        width = int(batch["lengths"][i])
        spelled, read = (
            text(symbols[:, i], length[i])
            for symbols, length in (
                (batch["targets"], batch["targets_lengths"]),
                (found.symbols[0], found.lengths[0]),
            )
        )
        image.imshow(np.asarray(batch["xs"][:width, i]).T, cmap="gray_r", aspect="auto", interpolation="nearest")
        image.set_title(f"is {spelled}, read {read} (p = {np.exp(found.log_probs[0, i]):.3f})", fontsize=10)
        image.set(xticks=[], yticks=[])
        curves.plot(classes[:width, i, BLANK], color="0.7", linewidth=1.0)
        for digit in range(10):
            p = classes[:width, i, digit + 1]
            curves.plot(p, color=f"C{digit}", linewidth=1.2)
            for start, end in _runs(p > 0.3):
                peak = start + int(np.argmax(p[start:end]))
                curves.text(peak, p[peak] + 0.04, str(digit), color=f"C{digit}", ha="center", fontsize=9)
        curves.set(xlim=(-0.5, width - 0.5), ylim=(0, 1.25), yticks=(0, 1))
    panels[3, 0].set_xlabel("column")
    panels[3, 1].set_xlabel("column")
    figure.suptitle("Strings of unseen digits; below, the probability of each digit (coloured) and of the blank (grey)")
    figure.savefig(path, dpi=110)


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """The unbroken runs of True in a mask: [(first, one past the last), ...]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


if __name__ == "__main__":
    command.run(main, SMOKE)
