"""Speakers: the official split as it is, and small runs from start to end."""

import dataclasses
import json

import jax
import numpy as np
import pytest

import jaxrnn
from experiments import speakers
from tests.experiments.calls import given_to


def test_the_data_are_the_official_split_scaled_by_training_steps_alone():
    data = speakers.load()
    assert {name: part["xs"].shape[1:] for name, part in data.items()} == {"train": (270, 12), "test": (370, 12)}
    np.testing.assert_array_equal(np.bincount(data["train"]["targets"]), [30] * 9)
    np.testing.assert_array_equal(np.bincount(data["test"]["targets"]), [31, 35, 88, 44, 29, 24, 40, 50, 29])
    for part in data.values():
        assert part["lengths"].min() == 7
        assert part["lengths"].max() == len(part["xs"]) <= 29
        for b, n in enumerate(part["lengths"]):
            assert not part["xs"][n:, b].any()
    train = data["train"]
    steps = np.concatenate([train["xs"][:n, b] for b, n in enumerate(train["lengths"])]).astype(np.float64)
    np.testing.assert_allclose(steps.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(steps.std(0), 1, rtol=1e-5)


@pytest.fixture
def config(tmp_path):
    return dataclasses.replace(speakers.SMOKE, out=tmp_path)


def test_a_small_run(config, capsys):
    """With its progress bar."""
    with jax.numpy_dtype_promotion("standard"):  # optax promotes
        found = speakers.main(config)
    assert 0.0 <= found["test accuracy"] <= 1.0
    printed = capsys.readouterr()
    assert "all gradients agree" in printed.out
    assert "4/4" in printed.err
    folder = config.out / "seed-0"
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "metrics.json",
        "history.json",
        "curves.png",
        "run",
    }
    confusion = np.array(json.loads((folder / "metrics.json").read_text())["confusion"])
    assert confusion.sum() == 370
    versions = json.loads((folder / "config.json").read_text())["versions"]
    assert {"aeon", "scikit-learn"} <= set(versions)
    assert np.trace(confusion) / 370 == pytest.approx(found["test accuracy"], abs=1e-6)


def test_training_sees_the_training_split_alone(config, monkeypatch):
    (*_, data), options = given_to(monkeypatch, jaxrnn, "fit", lambda: speakers.train(config))
    for name, want in speakers.load()["train"].items():
        np.testing.assert_array_equal(data[name], want)
    assert "validation" not in options


def test_cross_validation_scores_rows_that_were_left_out(config, monkeypatch):
    """Each fold has a third of each speaker's rows, and together they are the training split."""
    seen = []
    monkeypatch.setattr(speakers, "learn", lambda config, data, folder: seen.append(data))
    monkeypatch.setattr(speakers, "score", lambda config, result, data: seen.append(data) or 0.5)
    found = speakers.cross_validate(dataclasses.replace(config, folds=3))
    assert found == {"validation accuracy": 0.5, "folds": [0.5] * 3}
    for kept, left_out in zip(seen[::2], seen[1::2], strict=True):
        np.testing.assert_array_equal(np.bincount(left_out["targets"]), [10] * 9)
        np.testing.assert_array_equal(np.bincount(kept["targets"]), [20] * 9)
        both = {x.tobytes() for part in (kept, left_out) for x in part["xs"].swapaxes(0, 1)}
        assert len(both) == 270


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "--seeds: expected a positive integer, got 0"),
        ({"folds": 1}, "--folds: expected 0, or 2 to 30, the utterances of each speaker, got 1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(SystemExit, match=message):
        speakers.Config(**options)
