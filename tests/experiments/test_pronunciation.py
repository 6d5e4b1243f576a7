"""Pronunciation: its rows, its error rates, and a small run from start to end."""

import dataclasses
import itertools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from experiments import pronunciation
from experiments.pronunciation import STOP, Alphabet
from tests.experiments.calls import given_to


def test_no_word_is_in_two_parts_and_stress_is_gone():
    words = pronunciation.load(pronunciation.Config(words=2000))
    assert {part: len(found) for part, found in words.items()} == {"test": 100, "validation": 40, "train": 1860}
    assert len({word for found in words.values() for word in found}) == 2000
    phonemes = {phoneme for found in words.values() for said in found.values() for one in said for phoneme in one}
    assert len(phonemes) == 39
    assert all(phoneme.isalpha() for phoneme in phonemes)


def test_rows_are_pairs_of_a_spelling_and_a_pronunciation():
    words = {"ab": [("A", "B"), ("B",)], "b": [("B",)]}
    letters, phonemes = Alphabet(list(words)), Alphabet([("A", "B")])
    rows = pronunciation.rows(words, letters, phonemes)
    for name, want in {
        "xs": [[1, 2], [1, 2], [2]],
        "previous": [[STOP, 1, 2], [STOP, 2], [STOP, 2]],
        "targets": [[1, 2, STOP], [2, STOP], [2, STOP]],
    }.items():
        assert [row.tolist() for row in rows[name]] == want
    assert phonemes.decode(np.array([2, 1, STOP, 1])) == ["B", "A"]


def test_a_word_is_scored_against_its_nearest_pronunciation():
    strings = [np.array(s, np.int32) for s in ([1, 2, 3], [], [4])]
    references = [[np.array(r, np.int32) for r in rs] for rs in ([[2, 3, 1], [1, 3]], [[1, 2]], [[4], [1]])]
    distances, lengths = pronunciation.nearest(strings, references)
    np.testing.assert_array_equal(distances, [1, 2, 0])
    np.testing.assert_array_equal(lengths, [2, 2, 1])


def knowing(answers, letters, phonemes):
    """`pronunciation.encoded` of a network that knows how the words are said that it reads."""

    def encoded(model, params, xs, lengths):
        words = ["".join(letters.symbols[i - 1] for i in xs[:n, b]) for b, n in enumerate(lengths)]
        steps = max(len(said) for said in answers.values()) + 1
        table = np.full((steps, len(words)), STOP)
        for b, word in enumerate(words):
            table[: len(answers[word]), b] = phonemes.encode(answers[word])
        logits = jnp.asarray(50.0 * np.eye(len(phonemes), dtype=np.float32)[table])

        def start(params, batch_shape):
            row = jnp.arange(len(words)) if batch_shape else jnp.zeros((), jnp.int32)
            return {"t": jnp.zeros(batch_shape, jnp.int32), "row": row}

        def step(params, carry, x):
            return {**carry, "t": carry["t"] + 1}, logits[jnp.minimum(carry["t"], steps - 1), carry["row"]]

        return jaxrnn.chain(jaxrnn.embed(len(phonemes), 1), jaxrnn.stack([jaxrnn.cell(lambda key: {}, start, step)]))

    return encoded


def test_a_network_that_knows_makes_no_error(monkeypatch):
    """In both ways of decoding; the words are decoded two at a time, the last one alone."""
    answers = {"ab": ("A", "B"), "ba": ("B", "A"), "b": ("B",), "aab": ("A", "A", "B"), "a": ("A",)}
    words = {word: [said] for word, said in answers.items()}
    letters, phonemes = Alphabet(list(words)), Alphabet([("A", "B")])
    monkeypatch.setattr(pronunciation, "ROWS", 2)
    monkeypatch.setattr(pronunciation, "encoded", knowing(answers, letters, phonemes))
    params = {"decoder": {"0": jaxrnn.embed(len(phonemes), 1).init(jax.random.key(0)), "1": {"0": {}}}}
    options = pronunciation.Config(beam=2), None, params, words, letters, phonemes
    found = pronunciation.error_rates(*options, steps=6)
    assert found == dict.fromkeys(found, 0.0)
    assert len(found) == 4
    monkeypatch.setattr(pronunciation, "encoded", knowing(answers | {"a": ("B",)}, letters, phonemes))
    for name, rate in pronunciation.error_rates(*options, steps=6).items():
        assert rate == pytest.approx(1 / 5 if name.startswith("word") else 1 / 9)


def test_decoding_is_bounded_by_the_training_words(monkeypatch, tmp_path):
    """A test word that is longer than all of them changes nothing."""
    config = dataclasses.replace(pronunciation.SMOKE, progress=False, out=tmp_path)
    words = pronunciation.load(config)
    words["test"] = {"the": [("DH", "AH") * 40]}
    monkeypatch.setattr(pronunciation, "load", lambda config: words)
    monkeypatch.setattr(pronunciation.jaxrnn, "fit", lambda *arguments, **options: SimpleNamespace(params=None))
    given, _ = given_to(monkeypatch, pronunciation, "error_rates", lambda: pronunciation.train(config))
    assert given[3] is words["test"]
    assert given[-1] == max(len(said) for all_said in words["train"].values() for said in all_said) + 5


def test_a_small_run(tmp_path, capsys):
    config = dataclasses.replace(pronunciation.SMOKE, progress=False, out=tmp_path)
    with jax.numpy_dtype_promotion("standard"):  # optax promotes
        found = pronunciation.main(config)
    assert found["phoneme error rate, greedy"] > 0.0
    assert 0.0 < found["word error rate, beam"] <= 1.0
    names = {"config.json", "metrics.json", "history.json", "curves.png", "attention.png", "run"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert "all gradients agree" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "--seeds: expected a positive integer, got 0"),
        ({"hidden": 5}, "--hidden: expected an even number, half of them for each direction, got 5"),
        ({"words": 10}, "--words: expected at least 50, so that each part has some, got 10"),
        ({"shown": ("na\u00efve",)}, "--shown: expected words of letters, got na\u00efve"),
        ({"shown": ()}, "--shown: expected at least one word, got none"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(SystemExit, match=message):
        pronunciation.Config(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"words": 60, "batch_size": 200}, r"--batch-size: expected at most the \d+ rows there are, got 200"),
        ({"words": 60, "epochs": 1}, "--epochs: expected so many that there are at least 2 steps"),
        ({"words": 60, "shown": ("Quartz",)}, "--shown: expected words of the letters that there are, .* got Quartz"),
    ],
)
def test_options_that_do_not_fit_the_data(options, message, monkeypatch):
    words = {"".join(letters): [("A", "B")] for letters in itertools.product("abc", repeat=4)}
    monkeypatch.setattr(pronunciation, "dictionary", lambda: words)
    with pytest.raises(SystemExit, match=message):
        pronunciation.main(pronunciation.Config(**({"shown": ("A",), "batch_size": 50} | options)))
