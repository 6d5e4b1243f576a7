"""A language model of characters: bits per byte, and a sample of its writing.

The text is read byte by byte, by truncated backpropagation through time: it is cut into streams that go on side by
side, each optimizer step reads the next k bytes of all of them, and the state passes on. The last tenth is held out. It
is read as one stream, right after the rest, and scored twice: with the parameters as they are, and, under `--dynamic`,
while the network goes on learning from what it has just read (dynamic evaluation).

By default the text is the reference prose that Python brings along, `pydoc_data.topics` (0.1 % of it is not ASCII).
Hyperparameters were chosen on the last tenth of the training text (`--tune`), with the test text unseen.

References:
  Mikolov et al. 2010, Recurrent neural network based language model, Interspeech; Krause et al. 2018, Dynamic
  evaluation of neural sequence models, arXiv:1709.07432.
"""

import dataclasses
import functools
import hashlib
import math
import pathlib
import time
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

import jaxrnn
from experiments import command, run_folder, text_baselines

CELLS = {"lstm": jaxrnn.lstm, "gru": jaxrnn.gru}
START = "The "
BLOCK = 1000
"""The number of bytes that are scored at a time; it does not change the score."""


@dataclasses.dataclass(frozen=True)
class Config:
    """A language model of characters, on streams."""

    text: pathlib.Path | None = None
    """File to learn; None: pydoc_data.topics."""
    length: int | None = None
    """Bytes of it, from its start; None: all."""
    cell: Literal["lstm", "gru"] = "lstm"
    """The recurrent cell."""
    embed: int = 64
    """Features of a byte."""
    hidden: int = 384
    """Hidden features of each layer."""
    layers: int = 2
    """Layers, each with norm and dropout."""
    dropout: float = 0.4
    """Dropout after each layer."""
    recurrent_dropout: Annotated[float, tyro.conf.arg(metavar="P")] = 0.0
    """Dropout of recurrent states."""
    streams: int = 32
    """Streams, read side by side."""
    k: int = 64
    """Bytes from one update to the next: the gradient's reach."""
    epochs: int = 16
    """Passes through the text."""
    learning_rate: float = 4e-3
    """Adam's learning rate at its peak."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    dynamic: command.Flag = False
    """Also score while learning the held-out text."""
    dynamic_k: int = 20
    """Bytes from one update to the next in it."""
    dynamic_rate: float = 3e-4
    """Learning rate in it, of RMSprop."""
    temperature: float = 0.7
    """Temperature of the sample."""
    sample: int = 400
    """Bytes in the sample."""
    tune: command.Flag = False
    """Hold out the end of the training text instead."""
    check: command.Check = False
    seed: int = 0
    """Seed of parameters, dropout, sample."""
    seeds: command.Seeds = 1
    progress: command.Progress = True
    resume: command.Resume = False
    out: command.Out = pathlib.Path("runs/characters")

    def __post_init__(self) -> None:
        command.positive(
            self, "length", "embed", "hidden", "layers", "streams", "k", "epochs", "dynamic_k", "sample", "seeds"
        )


SMOKE = Config(
    length=20_000,
    hidden=8,
    embed=4,
    layers=1,
    streams=64,
    k=32,
    epochs=1,
    dynamic=True,
    dynamic_k=50,
    sample=20,
    check=True,
)


@dataclasses.dataclass(frozen=True)
class Text:
    """A text in two parts.

    Attributes:
      train, test: the parts, as bytes.
      symbols: the symbol of each byte; all bytes that `train` lacks are symbol 0.
    """

    train: bytes
    test: bytes
    symbols: np.ndarray

    def encode(self, text: bytes) -> np.ndarray:
        """Integers [T]."""
        return self.symbols[np.frombuffer(text, np.uint8)]

    def decode(self, symbols: np.ndarray) -> str:
        """Text again."""
        known = {int(symbol): byte for byte, symbol in enumerate(self.symbols) if symbol}
        return bytes(known.get(int(symbol), ord("?")) for symbol in symbols).decode(errors="replace")

    @property
    def count(self) -> int:
        """The number of symbols."""
        return int(self.symbols.max()) + 1


def load(config: Config) -> Text:
    """The text, the last tenth of it held out."""
    if config.text is None:
        from pydoc_data.topics import topics

        text = "\n".join(topics.values()).encode()
    else:
        command.expect("text", "a file", config.text.is_file(), config.text)
        text = config.text.read_bytes()
    text = text[: config.length]
    train, test = text[: len(text) * 9 // 10], text[len(text) * 9 // 10 :]
    if config.tune:
        train, test = train[: len(train) * 9 // 10], train[len(train) * 9 // 10 :]
    least = config.streams * config.k + 1
    wanted = f"at least {least:,} bytes to train on, for {config.streams} streams of k = {config.k}"
    command.expect("text", wanted, len(train) >= least, f"{len(train):,}")
    steps = steps_of(config, train)
    command.expect("epochs", "so many that there are at least 2 steps of training", steps >= 2, f"{steps} step")
    symbols = np.zeros(256, np.int32)
    known = sorted(set(train))
    symbols[known] = np.arange(1, len(known) + 1)
    return Text(train, test, symbols)


def steps_of(config: Config, train: bytes) -> int:
    """Steps of training in all."""
    return config.epochs * ((len(train) - 1) // config.streams // config.k)


def build(config: Config, symbols: int, *, dropout: bool = True) -> jaxrnn.Model:
    """Embedding, layers of cells, output; without dropout it is the same model, with the same parameters."""
    rate, recurrent = (config.dropout, config.recurrent_dropout) if dropout else (0.0, 0.0)
    models: list[jaxrnn.Model] = [jaxrnn.embed(symbols, config.embed, w_init=jax.nn.initializers.normal(0.1))]
    D, H = config.embed, config.hidden
    for _ in range(config.layers):
        cell = CELLS[config.cell](D, H, recurrent_dropout=recurrent or None)
        models += [jaxrnn.stack([cell]), jaxrnn.layer_norm(H), jaxrnn.dropout(rate)]
        D = H
    return jaxrnn.chain(*models, jaxrnn.dense(H, symbols))


def streams(symbols: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """`count` pieces of equal length, side by side: the inputs and the next symbols, each [T, count]."""
    T = (len(symbols) - 1) // count
    cut = [symbols[i : i + T * count].reshape(count, T).T for i in (0, 1)]
    return {"xs": cut[0], "targets": cut[1]}


@functools.partial(jax.jit, static_argnums=3)
def score(model: jaxrnn.Model, params: Any, symbols: jax.Array, block: int, carry: Any) -> tuple[Any, jax.Array]:
    """Reads symbols [T + 1] as one stream, `block` at a time: (carry, nats of all symbols except the first)."""

    def read(carry: Any, start: jax.Array, count: int) -> tuple[Any, jax.Array]:
        xs = jax.lax.dynamic_slice_in_dim(symbols, start, count + 1)
        carry, ys = model.apply(params, xs[:-1, None], carry=carry)
        losses = optax.softmax_cross_entropy_with_integer_labels(ys, xs[1:, None])
        return carry, losses.sum()

    block = min(block, len(symbols) - 1)
    full, rest = divmod(len(symbols) - 1, block)
    starts = jnp.arange(full) * block
    carry, nats = jax.lax.scan(lambda carry, start: read(carry, start, block), carry, starts)
    total = nats.sum()
    if rest:
        carry, last = read(carry, jnp.asarray(full * block), rest)
        total = total + last
    return carry, total


def held_out(model: jaxrnn.Model, params: Any, text: Text) -> tuple[Any, np.ndarray]:
    """The state before the last byte of the training text, and the symbols of that byte and of the held-out text."""
    before = text.encode(text.train[-2000:])
    carry, _ = score(model, params, jnp.asarray(before), BLOCK, model.initial_carry(params, (1,)))
    return carry, np.concatenate([before[-1:], text.encode(text.test)])


def in_bits(nats: float, text: Text) -> float:
    """Bits per byte of the held-out text, with those for the bytes that training lacks."""
    return nats / math.log(2) / len(text.test) + unknown_bits(text)


def bits_per_byte(model: jaxrnn.Model, params: Any, text: Text) -> float:
    """Bits per byte of the held-out text, read after the last part of the training text."""
    carry, symbols = held_out(model, params, text)
    return in_bits(float(score(model, params, jnp.asarray(symbols), BLOCK, carry)[1]), text)


def unknown_bits(text: Text) -> float:
    """Bits that tell apart the bytes that training lacks, per byte of the held-out text."""
    known = set(text.train)
    return sum(byte not in known for byte in text.test) * math.log2(max(256 - len(known), 1)) / len(text.test)


def dynamic_bits_per_byte(config: Config, params: Any, text: Text) -> float:
    """Bits per byte of the held-out text, with a step of learning after each `dynamic_k` bytes are scored."""
    model = build(config, text.count, dropout=False)
    carry, symbols = held_out(model, params, text)
    rmsprop = optax.adam(config.dynamic_rate, b1=0.0, b2=0.9999)
    optimizer = optax.chain(optax.clip_by_global_norm(config.clip_norm), rmsprop)
    step = jaxrnn.training.make_train_step(model, jaxrnn.losses.cross_entropy, optimizer)
    state = jaxrnn.training.train_state(model, optimizer, key=jax.random.key(config.seed), params=params, streams=1)
    count = len(text.test) // config.dynamic_k
    cut = {"xs": symbols[:-1], "targets": symbols[1:]}
    blocks = {name: a[: count * config.dynamic_k].reshape(count, config.dynamic_k, 1) for name, a in cut.items()}

    @jax.jit
    def learn(state: Any, blocks: Any) -> tuple[Any, jax.Array]:
        def body(state: Any, batch: Any) -> tuple[Any, jax.Array]:
            state, measured = step(state, batch)
            return state, measured["loss"]

        return jax.lax.scan(body, state, blocks)

    state, losses = learn(state._replace(carry=carry), blocks)
    rest = symbols[count * config.dynamic_k :]
    nats = float(losses.sum()) * config.dynamic_k
    if len(rest) > 1:
        nats += float(score(model, state.params, jnp.asarray(rest), len(rest) - 1, state.carry)[1])
    return in_bits(nats, text)


def main(config: Config) -> dict[str, Any]:
    """Checks the gradient, trains, scores, writes a sample; returns the figures."""
    text = load(config)
    if config.check:
        model, few = build(config, text.count), text.encode(text.train[:16]).reshape(8, 2)
        command.check_gradient(model, model.init(jax.random.key(config.seed)), few)
    return command.over_seeds(train, config, "bits per character")


def train(config: Config) -> dict[str, Any]:
    """One run, and its folder."""
    text = load(config)
    model = build(config, text.count)
    data, steps = streams(text.encode(text.train), config.streams), steps_of(config, text.train)
    schedule = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, max(steps // 20, 1), steps)
    optimizer = optax.chain(optax.clip_by_global_norm(config.clip_norm), optax.adam(schedule))
    result = jaxrnn.fit(
        model,
        jaxrnn.losses.cross_entropy,
        optimizer,
        data,
        key=jax.random.key(config.seed),
        steps=steps,
        stream=config.k,
        run_dir=command.run_dir(config, command.folder(config)),
        progress=config.progress,
    )
    start = time.perf_counter()
    found: dict[str, Any] = {"bits per character": bits_per_byte(model, result.params, text)}
    if config.dynamic:
        found["bits per character, dynamic"] = dynamic_bits_per_byte(config, result.params, text)
    found |= {
        "Witten-Bell, order 5": text_baselines.witten_bell(text.train, text.test),
        "xz": text_baselines.xz(text.test),
        "xz, given the training text": text_baselines.xz(text.test, text.train),
        "parameters": sum(x.size for x in jax.tree.leaves(result.params)),
        "compile seconds": result.history.compile_seconds,
        "training seconds": result.history.run_seconds,
        "scoring seconds": time.perf_counter() - start,
    }
    folder = command.folder(config)
    whole = text.train + text.test
    about = {"text": {"bytes": len(whole), "sha256": hashlib.sha256(whole).hexdigest()}}
    run_folder.write(folder, config, found | about, result.history)
    print(f"\n{run_folder.table(found)}\n\n{sample(config, model, result.params, text)}")
    return found


def sample(config: Config, model: jaxrnn.Model, params: Any, text: Text) -> str:
    """A sample of the network's writing."""
    start = text.encode(START.encode())[:, None]
    key = jax.random.key(config.seed)
    _, symbols = jaxrnn.decoding.generate(model, params, start, config.sample, key=key, temperature=config.temperature)
    return START + text.decode(np.asarray(symbols[:, 0]))


if __name__ == "__main__":
    command.run(main, SMOKE)
