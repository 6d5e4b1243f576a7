"""Strings of digits: how they are drawn, and a small run from start to end."""

import dataclasses

import jax
import numpy as np
import pytest

import jaxrnn
from experiments import digit_strings
from tests.experiments.calls import given_to

CONFIG = digit_strings.Config(shortest=2, longest=3, height=10, gap=2)
T = 3 * 8 + 4 * 2


def marked():
    """Scans all of whose pixels say which they are; class i + 1 is scan i."""
    images = np.ones((10, 8, 8), np.float32) * np.arange(1, 11, dtype=np.float32)[:, None, None]
    return digit_strings.Scans(jax.numpy.asarray(images), jax.numpy.arange(1, 11, dtype=jax.numpy.int32))


def drawn(config, count, **options):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        batch = digit_strings.strings(jax.random.key(0), marked(), config, count, **options)
    return jax.tree.map(np.asarray, batch)


def test_the_labels_say_which_scans_stand_in_a_string_and_in_which_order():
    batch = drawn(CONFIG, 300)
    assert batch["xs"].shape == (T, 300, 10)
    tops, gaps = set(), set()
    for b in range(300):
        image, length, count = batch["xs"][:, b], batch["lengths"][b], batch["targets_lengths"][b]
        np.testing.assert_array_equal(image[length:], 0.0)
        np.testing.assert_array_equal(batch["targets"][count:, b], 0)
        columns = image.max(1)
        np.testing.assert_array_equal(columns[columns > 0.0], np.repeat(batch["targets"][:count, b], 8))
        rows = [np.flatnonzero(column) for column in image if column.any()]
        assert all(len(at) == 8 and np.ptp(at) == 7 for at in rows)
        tops |= {int(at[0]) for at in rows}
        first, last = np.flatnonzero(columns)[[0, -1]]
        gaps |= {int(first), int(length - last - 1)}
        assert 0 <= length - 8 * count <= 2 * (count + 1)
    assert set(batch["targets_lengths"].tolist()) == {2, 3}
    assert tops == {0, 1, 2} == gaps


def test_the_parts_share_no_scan_and_have_all_of_them():
    parts = digit_strings.load(0)
    rows = {name: {image.tobytes() for image in np.asarray(part.images)} for name, part in parts.items()}
    assert sum(len(part.images) for part in parts.values()) == 1797
    assert not rows["train"] & rows["test"]
    assert not rows["train"] & rows["validation"]
    assert not rows["validation"] & rows["test"]
    assert not np.array_equal(parts["test"].images, digit_strings.load(1)["test"].images)


def test_training_strings_are_made_of_training_scans_alone(monkeypatch):
    """All pixels of a part's scans say which part it is."""
    shades = {"train": 0.25, "validation": 0.5, "test": 1.0}
    scans = {part: marked()._replace(images=jax.numpy.full((10, 8, 8), shade)) for part, shade in shades.items()}
    monkeypatch.setattr(digit_strings, "load", lambda seed: scans)
    config = dataclasses.replace(digit_strings.SMOKE, distortion=0.0)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        (*_, data), options = given_to(monkeypatch, jaxrnn, "fit", lambda: digit_strings.train(config))
        batch = next(iter(data))
    assert set(np.unique(batch["xs"])) == {0.0, 0.25}
    assert set(np.unique(options["validation"]["xs"])) == {0.0, 0.5}


def test_distortion_of_nothing_is_the_scan_and_of_something_is_a_linear_map():
    image = np.random.default_rng(0).random((8, 8)).astype(np.float32)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        same = digit_strings.distorted(jax.random.key(0), jax.numpy.asarray(image), 0.0)
        ramp = jax.numpy.asarray(np.outer(np.arange(8.0), np.ones(8)).astype(np.float32))
        moved = digit_strings.distorted(jax.random.key(0), ramp, 0.1)
    np.testing.assert_allclose(same, image, atol=1e-6)
    inner = np.asarray(moved)[2:6, 2:6].astype(np.float64)  # a ramp stays one, of another slope, where nothing is cut
    assert np.abs(np.diff(inner, n=2, axis=0)).max() < 1e-5
    assert np.abs(np.diff(inner, n=2, axis=1)).max() < 1e-5
    assert 0.0 < np.abs(inner - ramp[2:6, 2:6]).max() < 2.0


def test_error_rates():
    batch = {"targets": np.array([[1, 2], [2, 2], [0, 3]], np.int32), "targets_lengths": np.array([2, 3], np.int32)}
    symbols, lengths = np.array([[1, 2], [2, 3], [9, 9]], np.int32), np.array([2, 2], np.int32)
    with jax.numpy_dtype_promotion("standard"):
        by_digit, by_string = digit_strings.error_rates(symbols, lengths, batch)
    assert by_digit == pytest.approx(1 / 5)
    assert by_string == 0.5


@pytest.mark.parametrize("front", ["none", "conv"])
def test_a_small_run(front, tmp_path, capsys):
    config = dataclasses.replace(digit_strings.SMOKE, front=front, progress=False, out=tmp_path)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        found = digit_strings.main(config)
    printed = capsys.readouterr().out
    assert "all gradients agree" in printed
    for part in ("validation", "test"):
        for name in ("", "greedy "):
            assert f"{part} {name}digit error rate" in printed
            assert 0.0 <= found[f"{part} {name}sequence error rate"] <= 1.0
    files = {path.name for path in (tmp_path / "seed-0").iterdir()}
    assert files == {"config.json", "metrics.json", "history.json", "curves.png", "strings.png", "run"}


def test_what_is_read_of_a_model_that_is_sure():
    """Text of decoded classes: 1 to 10 stand for 0 to 9."""
    symbols, length = jaxrnn.decoding.ctc_greedy(20.0 * np.eye(11, dtype=np.float32)[[0, 4, 4, 0, 4, 10, 1]])
    assert digit_strings.text(symbols, length) == "3390"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "--seeds: expected a positive integer, got 0"),
        ({"shortest": 6}, "--shortest: expected at most longest = 5, got 6"),
        ({"height": 6}, "--height: expected at least the 8 pixels of a scan, got 6"),
        ({"held_out": 3}, "--held-out: expected at least the 4 strings of the picture, got 3"),
        ({"gap": -1}, "--gap: expected at least 0 columns, got -1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(SystemExit, match=message):
        digit_strings.Config(**options)
