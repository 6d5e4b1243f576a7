"""Pronunciation: its rows, its error rates, and a small run from start to end."""

import dataclasses

import jax
import numpy as np

from experiments import pronunciation
from experiments.pronunciation import STOP, Alphabet


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


def test_a_small_run(tmp_path):
    """Without the check, which tests/models/test_encoder_decoder.py makes of such a model."""
    config = dataclasses.replace(pronunciation.SMOKE, words=400, check=False, progress=False, out=tmp_path)
    with jax.numpy_dtype_promotion("standard"):  # optax promotes
        found = pronunciation.main(config)
    assert found["phoneme error rate, greedy"] > 0.0
    assert 0.0 < found["word error rate, beam"] <= 1.0
    names = {"config.json", "metrics.json", "history.json", "curves.png", "attention.png"}
    assert {path.name for path in tmp_path.iterdir()} == names
