"""Digits: the split, and a small run from start to end."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments import digit_data, digits


def test_the_parts_share_no_row_and_have_all_of_them():
    _, targets = digit_data.read()
    rows = digit_data.split(targets, 0)
    np.testing.assert_array_equal(np.sort(np.concatenate(list(rows.values()))), np.arange(1797))
    assert {name: len(found) for name, found in rows.items()} == {"train": 1293, "validation": 144, "test": 360}
    for found in rows.values():
        assert np.bincount(targets[found]).min() >= 0.09 * len(found)


def test_pixels_and_rows_are_the_same_images():
    by_row, by_pixel = (digits.load(digits.Config(pixels=pixels))["test"]["xs"] for pixels in (False, True))
    assert by_row.shape == (8, 360, 8)
    np.testing.assert_array_equal(by_pixel[:, :, 0], by_row.swapaxes(1, 2).reshape(64, 360))


def test_a_small_run(tmp_path, capsys):
    with jax.numpy_dtype_promotion("standard"):  # optax promotes
        found = digits.main(dataclasses.replace(digits.SMOKE, progress=False, out=tmp_path))
    assert 0.0 <= found["test accuracy"] <= 1.0
    assert "all gradients agree" in capsys.readouterr().out
    files = {path.name for path in (tmp_path / "seed-0").iterdir()}
    assert files == {"config.json", "metrics.json", "history.json", "curves.png", "run"}


@pytest.mark.parametrize("name", ["seeds", "steps", "layers"])
def test_bad_options(name):
    with pytest.raises(SystemExit, match=f"--{name}: expected a positive integer, got 0"):
        digits.Config(**{name: 0})
