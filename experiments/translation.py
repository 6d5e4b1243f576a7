"""Translation: English into another language, on the messages of programs.

Pairs are messages and their translations in gettext catalogues: by default those of Django, django CMS, django-oscar,
Wagtail, django-allauth and the Django REST framework, as pip installs them. Placeholders such as %s and {name} are
single symbols, so that they come out whole. Marks of shortcuts are left out. A bidirectional encoder reads pieces of
words, a decoder writes pieces and looks back at the source as it does. A tenth of the messages is held out for the test
and a twentieth for validation; messages that are equal but for digits, case, and marks of shortcuts are in one part.
Beside the network stands a translation memory: the translation of the most similar message of training, which the
network reads, too. One table of pieces serves encoder, decoder and output, so that the network can copy. Three ways to
decide stand side by side: greedy search, beam search, and least risk, which takes the hypothesis of the beam that is
most like translations drawn from the network. Hyperparameters were chosen on the validation messages.

References:
  Bahdanau, Cho and Bengio 2015, Neural machine translation by jointly learning to align and translate,
  arXiv:1409.0473; Luong, Pham and Manning 2015, Effective approaches to attention-based neural machine translation,
  arXiv:1508.04025; Bulte and Tezcan 2019, Neural fuzzy repair: integrating fuzzy matches into neural machine
  translation, ACL; Press and Wolf 2017, Using the output embedding to improve language models, arXiv:1608.05859; Kudo
  and Richardson 2018, SentencePiece, arXiv:1808.06226; Popovic 2015, chrF, WMT; Eikema and Aziz 2022, Sampling-based
  approximations to minimum Bayes risk decoding for neural machine translation, EMNLP.
"""

import collections
import dataclasses
import functools
import io
import pathlib
import time
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import jax
import numpy as np
import optax
import sacrebleu
import sentencepiece
import tyro
from matplotlib.figure import Figure
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer

import jaxrnn
from experiments import catalogues, command, run_folder
from experiments.catalogues import LEAST, MOST, PLACEHOLDER, Pair, alike, filled, mark
from experiments.pronunciation import before_stop, encoded

STOP = 0
"""Ends a translation, and begins it."""
ROWS = 256
"""Messages that are decoded at a time."""
LONG = 4
"""The least number of words of a message that counts as long."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Translation of messages, with attention."""

    language: str = "de"
    """Language, as folders are named."""
    catalogues: pathlib.Path | None = None
    """Folder of gettext files; None: packages."""
    attention: Annotated[Literal["additive", "dot"], tyro.conf.arg(metavar="NAME")] = "dot"
    """additive or dot."""
    hidden: int = 192
    """Features of a piece and of a layer."""
    pieces: int = 2000
    """Pieces of words of both languages."""
    similar: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = True
    """Do not read the most similar translation."""
    repeat: int = 2
    """Readings of a long message in a pass."""
    dropout: float = 0.2
    """Dropout after embeddings, encoder and decoder."""
    smoothing: float = 0.1
    """Label smoothing."""
    epochs: int = 14
    """Passes through the training rows."""
    batch_size: int = 64
    """Messages in a minibatch."""
    learning_rate: float = 3e-3
    """Adam's learning rate at its peak."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    beam: int = 12
    """Hypotheses of the beam search."""
    samples: int = 16
    """Samples that judge the hypotheses."""
    longest: int = 160
    """Most letters of a message."""
    messages: int | None = None
    """Messages in all; None: all."""
    tune: command.Flag = False
    """Score the validation messages, not the test messages."""
    check: command.Check = False
    seed: int = 0
    """Seed of parameters and order."""
    seeds: command.Seeds = 1
    progress: command.Progress = True
    resume: command.Resume = False
    out: command.Out = pathlib.Path("runs/translation")

    def __post_init__(self) -> None:
        names = ("hidden", "pieces", "repeat", "epochs", "batch_size", "beam", "samples", "longest", "messages")
        command.positive(self, *names, "seeds")
        least = self.messages is None or self.messages >= LEAST
        command.expect("messages", f"{LEAST} or more", least, self.messages)
        command.expect("hidden", "an even number, half of them for each direction", self.hidden % 2 == 0, self.hidden)
        command.expect("smoothing", "a rate in [0, 1)", 0 <= self.smoothing < 1, self.smoothing)


SMOKE = Config(hidden=8, pieces=150, epochs=2, batch_size=16, messages=200, beam=2, samples=2, longest=30, check=True)


class Pieces:
    """Texts as pieces of words, of one vocabulary for both languages."""

    def __init__(self, pairs: Iterable[Pair], size: int) -> None:
        file = io.BytesIO()
        texts = [text for pair in pairs for text in (pair.source, pair.target)]
        letters = {letter for text in texts for letter in text if not letter.isspace()}
        least = len(letters | {mark(i) for i in range(MOST + 1)}) + 3  # a space, an unknown letter and STOP
        command.expect("pieces", f"at least {least}, for the letters of these messages", size >= least, size)
        sentencepiece.set_random_generator_seed(0)
        sentencepiece.SentencePieceTrainer.train(  # pyright: ignore[reportAttributeAccessIssue]
            sentence_iterator=iter(texts), model_writer=file, vocab_size=size, hard_vocab_limit=False,
            character_coverage=1.0, eos_id=STOP, unk_id=1, bos_id=-1, pad_id=-1, minloglevel=2,
            user_defined_symbols=[mark(i) for i in range(MOST + 1)], num_threads=1, normalization_rule_name="identity",
        )  # fmt: skip
        self._model = sentencepiece.SentencePieceProcessor(model_proto=file.getvalue())

    def __len__(self) -> int:
        return self._model.vocab_size()

    def encode(self, text: str) -> np.ndarray:
        """Integers [T]."""
        return np.array(self._model.encode(text), np.int32)

    def decode(self, numbers: np.ndarray) -> str:
        """The text before STOP."""
        return self._model.decode(before_stop(numbers).tolist())

    def names(self, numbers: np.ndarray, placeholders: Sequence[str]) -> list[str]:
        """The pieces, for a picture."""
        texts = [self._model.id_to_piece(i).replace("\u2581", " ").strip() or "_" for i in numbers.tolist()]
        return [filled(text, placeholders).replace(mark(MOST), "|") for text in texts]


class Memory:
    """A translation memory: the translation of the most similar message, by groups of 2 to 5 letters."""

    def __init__(self, pairs: list[Pair]) -> None:
        self._pairs, self._keys = pairs, np.array([alike(pair.source) for pair in pairs])
        self._groups = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
        self._known = self._groups.fit_transform([pair.source for pair in pairs]).T.tocsr()

    def similar(self, pairs: list[Pair]) -> list[Pair]:
        """For each pair the most similar one that is not a near duplicate of it."""
        found = []
        for start in range(0, len(pairs), ROWS):
            some = pairs[start : start + ROWS]
            likeness = (self._groups.transform([pair.source for pair in some]) @ self._known).toarray()
            likeness[np.array([alike(pair.source) for pair in some])[:, None] == self._keys] = -1.0
            found += [self._pairs[i] for i in likeness.argmax(1)]
        return found

    def translate(self, pairs: list[Pair], similar: list[Pair] | None = None) -> list[str]:
        """The translations, with the placeholders of the new messages as far as there are some.

        `similar`: the most similar messages, if they are known already.
        """
        return [
            filled(near.target, (*pair.names, *near.names[len(pair.names) :]))
            for pair, near in zip(pairs, similar or self.similar(pairs), strict=True)
        ]


def sources(pairs: Sequence[Pair], similar: Sequence[Pair] | None, pieces: Pieces) -> list[np.ndarray]:
    """The pieces that the encoder reads: the message, and after a mark the translation of the most similar one."""
    near = ["" if similar is None else mark(MOST) + pair.target for pair in similar or pairs]
    return [
        np.concatenate([pieces.encode(pair.source), pieces.encode(text)])
        for pair, text in zip(pairs, near, strict=True)
    ]


def rows(pairs: Sequence[Pair], similar: Sequence[Pair] | None, pieces: Pieces) -> dict[str, list[np.ndarray]]:
    """Rows: "xs" the source, "targets" the translation and STOP, "previous" the same a step late."""
    written = [pieces.encode(pair.target) for pair in pairs]
    return {
        "xs": sources(pairs, similar, pieces),
        "previous": [np.concatenate([[STOP], target]).astype(np.int32) for target in written],
        "targets": [np.concatenate([target, [STOP]]).astype(np.int32) for target in written],
    }


def build(config: Config, pieces: int) -> jaxrnn.models.EncoderDecoder:
    """A bidirectional encoder, and a decoder with attention. One table has the pieces that are read and predicted."""
    H, rate = config.hidden, config.dropout
    attention = jaxrnn.additive_attention(H, H, H) if config.attention == "additive" else jaxrnn.dot_attention(H, H)
    encoder = jaxrnn.chain(
        jaxrnn.dropout(rate),
        jaxrnn.residual(jaxrnn.bidirectional(jaxrnn.gru(H, H // 2), jaxrnn.gru(H, H // 2))),
        jaxrnn.dropout(rate),
    )
    decoder = jaxrnn.chain(
        jaxrnn.dropout(rate),
        jaxrnn.attention_decoder(jaxrnn.gru(H, H), attention, attend="after"),
        jaxrnn.dense(2 * H, H),
        jaxrnn.dropout(rate),
    )
    return jaxrnn.encoder_decoder(encoder, jaxrnn.tied(pieces, H, decoder), share_embedding=True)


def translations(
    config: Config,
    model: jaxrnn.models.EncoderDecoder,
    params: Any,
    pairs: list[Pair],
    pieces: Pieces,
    similar: list[Pair] | None,
) -> dict[str, list[str]]:
    """The translations of greedy search, of beam search, and of least risk.

    Least risk chooses among the beam's hypotheses with all placeholders, or else among such samples, or else mends the
    beam's best one.
    """
    read, own_pieces = sources(pairs, similar, pieces), [len(pieces.encode(pair.source)) for pair in pairs]
    order = np.argsort([len(x) for x in read], kind="stable")
    written: dict[str, list[str]] = {how: [""] * len(pairs) for how in ("greedy", "beam", "least risk")}
    for start in range(0, len(pairs), ROWS):
        chosen = order[start : start + ROWS]
        some = [read[i] for i in chosen] + [read[chosen[0]]] * (ROWS - len(chosen))
        most = max(own_pieces[i] for i in chosen)
        wanted = max(map(len, some)), most + most // 2 + 8
        longest, steps = (-(-n // 16) * 16 for n in wanted)  # few shapes: few programs
        batch = jaxrnn.data.padded({"xs": some})
        xs = np.pad(batch["xs"], [(0, longest - len(batch["xs"])), (0, 0)])
        decoder, own, begin = encoded(model, params, xs, batch["lengths"]), params["decoder"], np.full((1, ROWS), STOP)
        generate = functools.partial(jaxrnn.decoding.generate, decoder, own, begin, steps, stop=STOP)
        greedy = np.asarray(generate()[1])
        drawn = [np.asarray(generate(key=jax.random.key(k))[1]) for k in range(config.samples)]
        beams = jaxrnn.decoding.beam_search(decoder, own, begin, steps, beam=config.beam, stop=STOP, length_penalty=1.0)
        beam = np.asarray(beams.symbols)
        for row, i in enumerate(chosen.tolist()):
            hypotheses = [pieces.decode(beam[:, row, k]) for k in range(config.beam)]
            samples = [pieces.decode(symbols[:, row]) for symbols in drawn]
            complete = [[text for text in texts if whole(pairs[i], text)] for texts in (hypotheses, samples)]
            allowed = complete[0] or complete[1] or [mended(pairs[i], hypotheses[0])]
            written["greedy"][i] = pieces.decode(greedy[:, row])
            written["beam"][i] = hypotheses[0]
            written["least risk"][i] = least_risk(allowed, samples)
    return {
        how: [filled(t, pair.names) for t, pair in zip(texts, pairs, strict=True)] for how, texts in written.items()
    }


def least_risk(hypotheses: list[str], samples: list[str]) -> str:
    """The hypothesis that is most like the samples on average, by chrF of groups of 1 to 6 letters."""
    hypotheses = list(dict.fromkeys(hypotheses))
    texts = ["".join(text.split()) for text in (*hypotheses, *samples)]
    shares = []  # precision, recall and 1 for each length of group that both texts have
    for n in range(1, 7):
        groups = [collections.Counter(text[i : i + n] for i in range(len(text) - n + 1)) for text in texts]
        if any(groups):
            counts = DictVectorizer(sparse=False).fit_transform(groups)  # [texts, groups]
            one, other = counts[: len(hypotheses), None], counts[len(hypotheses) :]
            both, sizes = np.minimum(one, other).sum(-1), (one.sum(-1), other.sum(-1))
            real = (sizes[0] > 0) & (sizes[1] > 0)
            shares.append([real * both / np.maximum(size, 1) for size in sizes] + [real])
    precision, recall, real = np.sum(shares, 0) if shares else np.zeros((3, len(hypotheses), len(samples)))
    likeness = 5 * precision * recall / np.maximum((4 * precision + recall) * real, 1e-9)
    return hypotheses[int(likeness.mean(1).argmax())]


def mended(pair: Pair, text: str) -> str:
    """A translation with the marks of its message: superfluous ones are left out, missing ones stand at the end."""
    left, kept = collections.Counter(marks(pair.source)), []
    for letter in text:
        left[letter] -= letter in marks(letter)
        kept += [letter] * (left[letter] >= 0)
    return " ".join(["".join(kept), *left.elements()]).strip()


def whole(pair: Pair, text: str) -> bool:
    """Tells whether a translation has the marks of its message, each as often."""
    return collections.Counter(marks(pair.source)) == collections.Counter(marks(text))


def marks(text: str) -> list[str]:
    """The marks in a text."""
    return [letter for letter in text if mark(0) <= letter < mark(MOST)]


def scores(pairs: list[Pair], found: list[str]) -> dict[str, float]:
    """chrF and BLEU of all messages and of the long ones; the share of messages whose placeholders came out whole."""
    references = [filled(pair.target, pair.names) for pair in pairs]
    long = [i for i, pair in enumerate(pairs) if len(pair.source.split()) >= LONG]
    values = {}
    for name, chosen in (("", range(len(pairs))), (f", {LONG} words or more", long)):
        texts = [[x[i] for i in chosen] for x in (found, references)]
        values[f"chrF{name}"] = sacrebleu.corpus_chrf(texts[0], [texts[1]]).score if texts[0] else float("nan")
        values[f"BLEU{name}"] = sacrebleu.corpus_bleu(texts[0], [texts[1]]).score if texts[0] else float("nan")
    counts = [
        collections.Counter(PLACEHOLDER.findall(filled(pair.source, pair.names)))
        == collections.Counter(PLACEHOLDER.findall(text))
        for pair, text in zip(pairs, found, strict=True)
        if pair.names
    ]
    return values | {"placeholders whole": float(np.mean(counts)) if counts else float("nan")}


class Prepared(NamedTuple):
    """The data of a run: pairs by part, the memory, pieces, the rows of its training, the model."""

    parts: dict[str, list[Pair]]
    memory: Memory
    pieces: Pieces
    rows: dict[str, list[np.ndarray]]
    model: jaxrnn.models.EncoderDecoder


def prepared(config: Config) -> Prepared:
    """Data and model; ends the program where the options do not fit the data."""
    found = catalogues.load(config.catalogues, config.language, config.longest)
    parts = catalogues.split(found, config.messages)
    pieces = Pieces(parts["train"], config.pieces)
    memory = Memory(parts["train"])
    similar = memory.similar(parts["train"]) if config.similar else None
    learned = rows(parts["train"], similar, pieces)
    times = [config.repeat if len(pair.source.split()) >= LONG else 1 for pair in parts["train"]]
    learned = {
        name: [x for x, count in zip(values, times, strict=True) for _ in range(count)]
        for name, values in learned.items()
    }
    command.steps_of(config, len(learned["xs"]))
    return Prepared(parts, memory, pieces, learned, build(config, len(pieces)))


def main(config: Config) -> dict[str, Any]:
    """Checks the gradient, trains, scores, draws; returns the figures."""
    if config.check:
        parts, _, pieces, _, model = prepared(config)
        few = jaxrnn.data.padded(rows(parts["train"][:3], None, pieces), own_lengths=("previous", "targets"))
        initial = model.init(jax.random.key(config.seed))
        command.check_gradient(model, initial, model.reads(few), lengths=few["lengths"])
    return command.over_seeds(train, config, f"chrF, {LONG} words or more")


def train(config: Config) -> dict[str, Any]:
    """One run, and its folder."""
    parts, memory, pieces, learned, model = prepared(config)
    key, own = jax.random.key(config.seed), ("previous", "targets")
    batches = jaxrnn.data.bucketed(learned, batch_size=config.batch_size, key=key, buckets=6, own_lengths=own)
    sizes = ", ".join(f"{len(pairs):,} of {part}" for part, pairs in parts.items())
    print(f"{sizes}; {len(pieces):,} pieces\n{batches}", flush=True)
    steps = command.steps_of(config, len(learned["xs"]))
    optimizer = optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adam(command.schedule(config, steps)),
    )
    result = jaxrnn.fit(
        model, functools.partial(jaxrnn.losses.cross_entropy, label_smoothing=config.smoothing), optimizer, batches,
        key=key, steps=steps, progress=config.progress,
        run_dir=command.run_dir(config, command.folder(config)),
    )  # fmt: skip
    begin, scored = time.perf_counter(), parts["validation" if config.tune else "test"]
    similar = memory.similar(scored) if config.similar else None
    found = translations(config, model, result.params, scored, pieces, similar)
    found["memory"] = memory.translate(scored, similar)
    by_way = {how: scores(scored, texts) for how, texts in found.items()}
    print_scores(by_way)
    name = f"chrF, {LONG} words or more"
    values: dict[str, Any] = by_way["least risk"] | {
        f"{name}, above the memory": by_way["least risk"][name] - by_way["memory"][name],
        **{f"{name}, {way}": by_way[way][name] for way in ("greedy", "beam", "memory")},
        **command.costs(result),
        "scoring seconds": time.perf_counter() - begin,
    }
    folder = command.folder(config)
    data = () if config.catalogues else catalogues.installed()
    run_folder.write(folder, config, values | {"ways": by_way}, result.history, data)
    plot(model, result.params, pieces, memory if config.similar else None, scored, folder / "attention.png")
    (folder / "translations.txt").write_text(listed(scored, found), encoding="utf-8")
    print(f"\n{run_folder.table(values)}")
    return values


def print_scores(by_way: dict[str, dict[str, float]]) -> None:
    """Prints the scores of each way to translate, a column each."""
    print(f"\n{'':28}" + "".join(f"{how:>12}" for how in by_way))
    for name in by_way["beam"]:
        print(f"{name:28}" + "".join(f"{values[name]:12.3g}" for values in by_way.values()))


def listed(pairs: list[Pair], found: dict[str, list[str]]) -> str:
    """The messages, their translations and those that were found, as text."""
    blocks = []
    for i, pair in enumerate(pairs):
        lines = {"message": filled(pair.source, pair.names), "translation": filled(pair.target, pair.names)}
        lines |= {how: texts[i] for how, texts in found.items()}
        blocks.append("\n".join(f"{name:12} {text}" for name, text in lines.items()))
    return "\n\n".join(blocks) + "\n"


def plot(
    model: jaxrnn.models.EncoderDecoder,
    params: Any,
    pieces: Pieces,
    memory: Memory | None,
    pairs: list[Pair],
    path: pathlib.Path,
) -> None:
    """Draws the decoder's attention as it writes the known translation of a message: one whose words change places.

    A dotted line is between the message and the similar translation that is read behind it.
    """
    sizes = [(len(p.source.split()), len(p.target.split())) for p in pairs]
    some = [p for p, (n, m) in zip(pairs, sizes, strict=True) if LONG <= n <= 12 and abs(n - m) <= 2] or pairs
    some = sorted(some, key=lambda pair: (abs(len(pieces.encode(pair.source)) - 14), pair.source))[:64]
    learned = rows(some, memory.similar(some) if memory else None, pieces)
    batch = jaxrnn.data.padded(learned, own_lengths=("previous", "targets"))
    read = jax.jit(jaxrnn.diagnostics.attention_weights)
    weights = np.asarray(read(model, params, batch["xs"], batch["previous"], lengths=batch["lengths"]))

    def jumps(i: int) -> int:
        """The number of pairs of pieces, up to 6 apart, that look at the message in the other order."""
        at = weights[: len(learned["targets"][i]) - 1, i].argmax(-1)
        at = at[at < own[i]]
        return sum(int(at[b] < at[a]) for a in range(len(at)) for b in range(a + 1, min(a + 7, len(at))))

    own = [len(pieces.encode(pair.source)) for pair in some]
    i = max(range(len(some)), key=jumps)
    pair, source, target = some[i], learned["xs"][i], learned["targets"][i]
    figure = Figure(
        figsize=(max(5.0, 0.42 * len(source) + 2.4), max(4.0, 0.34 * len(target) + 1.8)), layout="constrained"
    )
    axes = figure.subplots()
    image = axes.imshow(weights[: len(target), i, : len(source)], cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    axes.set_xticks(range(len(source)), pieces.names(source, pair.names), rotation=60, ha="right")
    axes.set_yticks(range(len(target)), [*pieces.names(target[:-1], pair.names), "end"])
    axes.axvline(own[i] - 0.5, color="C1", linestyle=":")
    axes.set(xlabel="piece that is looked at: message, similar translation", ylabel="piece that is written")
    figure.colorbar(image, ax=axes, label="attention")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    command.run(main, SMOKE)
