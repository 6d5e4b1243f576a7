"""The language model of characters: its baselines, its streams, and a small run from start to end."""

import collections
import dataclasses
import hashlib
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from experiments import characters, command, text_baselines
from tests.experiments.calls import given_to

CONFIG = characters.Config(hidden=6, embed=4, layers=1, dropout=0.5)


def by_definition(train, test, order):
    """Witten and Bell's interpolation, counted anew for each context."""
    text, bits = train + test, 0.0
    for i in range(len(train), len(text)):
        p = 1 / 256
        for n in range(order + 1):
            context = text[i - n : i]
            ends = [j + n for j in range(len(train) - n) if train[j : j + n] == context]
            followers = collections.Counter(train[j] for j in ends)
            if not followers:
                break
            total, types = sum(followers.values()), len(followers)
            p = (followers[text[i]] + types * p) / (total + types)
        bits -= math.log2(p)
    return bits / len(test)


@pytest.mark.parametrize("order", [0, 2, 5])
def test_witten_bell_is_its_definition(order):
    text = b"the cat sat on the mat; the dog sat on the log; a cat and a dog sat on the log and the mat."
    train, test = text[:70], text[70:] + b"\xff"
    assert text_baselines.witten_bell(train, test, order) == pytest.approx(by_definition(train, test, order), rel=1e-12)


def test_xz_profits_from_what_it_has_seen():
    text = bytes(np.random.default_rng(0).integers(0, 256, 3000, np.uint8))
    assert text_baselines.xz(text) == pytest.approx(8.0, rel=0.05)
    assert text_baselines.xz(text, text) < 0.5


def test_the_text_is_split_and_coded():
    text = characters.load(CONFIG)
    whole = len(text.train) + len(text.test)
    assert len(text.train) == whole * 9 // 10
    assert text.count == len(set(text.train)) + 1
    assert text.decode(text.encode(text.train[:500])) == text.train[:500].decode()
    tuned = characters.load(dataclasses.replace(CONFIG, tune=True))
    assert text.train == tuned.train + tuned.test


def test_streams_are_the_text_cut_into_pieces():
    symbols = np.arange(24)
    data = characters.streams(symbols, 3)
    np.testing.assert_array_equal(data["xs"], np.arange(21).reshape(3, 7).T)
    np.testing.assert_array_equal(data["targets"], data["xs"] + 1)


def untrained(config=CONFIG):
    text = characters.load(config)
    model = characters.build(config, text.count)
    return text, model, model.init(jax.random.key(0))


def test_what_a_stream_costs_does_not_depend_on_the_block_length():
    text, model, params = untrained()
    symbols = jnp.asarray(text.encode(text.test[:301]))
    carry = model.initial_carry(params, (1,))
    found = [characters.score(model, params, symbols, block, carry) for block in (300, 100, 77, 1)]
    for after, nats in found[1:]:
        np.testing.assert_allclose(nats, found[0][1], rtol=1e-5)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), after, found[0][0])
    assert found[0][1] / 300 == pytest.approx(math.log(text.count), rel=0.1)


def test_learning_at_rate_zero_while_reading_costs_what_reading_does():
    """Whatever is left over at the end."""
    text, _, params = untrained()
    text = dataclasses.replace(text, test=text.test[:507])
    config = dataclasses.replace(CONFIG, dynamic_rate=0.0, dynamic_k=50)
    model = characters.build(config, text.count, dropout=False)
    with jax.numpy_dtype_promotion("standard"):  # optax promotes
        got = characters.dynamic_bits_per_byte(config, params, text)
    assert got == pytest.approx(characters.bits_per_byte(model, params, text), rel=1e-5)


def test_learning_while_reading_helps():
    text, model, params = untrained()
    text = dataclasses.replace(text, test=text.test[:3000])
    with jax.numpy_dtype_promotion("standard"):
        got = characters.dynamic_bits_per_byte(dataclasses.replace(CONFIG, dynamic_rate=1e-2), params, text)
    assert got < 0.8 * characters.bits_per_byte(model, params, text)


def test_bytes_that_training_lacks_are_paid_for():
    text = characters.load(CONFIG)
    assert characters.unknown_bits(text) == 0.0
    other = dataclasses.replace(text, train=b"abcd" * 9, test=b"ab\xff\xfe")
    assert characters.unknown_bits(other) == pytest.approx(2 * math.log2(252) / 4)


def test_a_small_run(tmp_path, capsys):
    config = dataclasses.replace(characters.SMOKE, progress=False, out=tmp_path)
    with jax.numpy_dtype_promotion("standard"):
        found = characters.main(config)
    assert found["bits per character, dynamic"] < found["bits per character"] < 8.0
    text, recorded = characters.load(config), json.loads((tmp_path / "metrics.json").read_text())["text"]
    digest = hashlib.sha256(text.train + text.test).hexdigest()
    assert recorded == {"bytes": len(text.train) + len(text.test), "sha256": digest}
    printed = capsys.readouterr().out
    assert "all gradients agree" in printed
    assert "The " in printed
    assert {path.name for path in config.out.iterdir()} == {
        "config.json",
        "metrics.json",
        "history.json",
        "curves.png",
        "run",
    }


def test_steps_are_passes_through_the_streams(tmp_path, monkeypatch):
    source = tmp_path / "text.txt"
    source.write_bytes(bytes(range(100)) * 36)
    config = characters.Config(text=source, streams=4, k=8, embed=2, hidden=2)
    (*_, data), options = given_to(monkeypatch, jaxrnn, "fit", lambda: characters.train(config))
    assert data["xs"].shape == (809, 4)
    assert options["steps"] == 16 * (809 // 8)


def test_each_of_several_seeds_has_a_folder(tmp_path, monkeypatch):
    source = tmp_path / "text.txt"
    source.write_bytes(b"The quick brown fox jumps over the lazy dog. " * 80)
    config = characters.Config(text=source, streams=4, k=8, seeds=2, out=tmp_path / "run")
    monkeypatch.setattr(characters, "train", lambda config: {"bits per character": 1.0 + config.seed})
    assert characters.main(config)["mean"] == {"bits per character": 1.5}
    assert command.folder(config) == tmp_path / "run" / "seed-0"
    assert command.folder(dataclasses.replace(config, seeds=1)) == tmp_path / "run"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (b"", {}, "--text: expected at least 2,049 bytes to train on, for 32 streams of k = 64, got 0"),
        (b"The quick brown fox", {}, "--text: expected at least 2,049 bytes to train on, .* got 17"),
        (None, {"k": 100_000}, "--text: expected at least 3,200,001 bytes to train on, for 32 streams of k = 100000"),
        (b"a" * 2300, {"epochs": 1}, "--epochs: expected so many that there are at least 2 steps of training, got 1"),
    ],
)
def test_a_text_that_is_too_short(text, options, message, tmp_path):
    source = None if text is None else tmp_path / "text.txt"
    if source is not None:
        source.write_bytes(text)
    with pytest.raises(SystemExit, match=message):
        characters.main(characters.Config(text=source, **options))


@pytest.mark.parametrize("name", ["epochs", "seeds", "k"])
def test_bad_options(name):
    with pytest.raises(SystemExit, match=f"--{name}: expected a positive integer, got 0"):
        characters.Config(**{name: 0})
