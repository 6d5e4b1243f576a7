"""Saves with a manifest: damage is noticed before anything is loaded, and the save before it takes its place."""

import json
import shutil
import warnings

import jax
import numpy as np
import pytest

import jaxrnn
from jaxrnn.training import checkpoint
from tests.training.setup import assert_same_run, data_set, fit, saved_steps

SAVED = (6, 12, 18, 24)
OPTIONS = {"block": 3, "validation": data_set(1)}


@pytest.fixture(scope="module")
def saves(tmp_path_factory):
    """A run that was saved four times, and what it becomes undisturbed."""
    path = tmp_path_factory.mktemp("run")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for steps in SAVED:
            fit(steps=steps, run_dir=path, **OPTIONS)
        return path, fit(steps=30, **OPTIONS)


def going_on(path):
    """The run's next steps, and what was said."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        result = fit(steps=30, run_dir=path, **OPTIONS)
    return result, [str(warning.message) for warning in said if "run_dir" in str(warning.message)]


def files(path, step):
    return sorted(p for p in (path / "checkpoints" / str(step)).rglob("*") if p.is_file())


def test_the_newest_three_are_kept(saves):
    assert sorted(saved_steps(saves[0])) == [12, 18, 24]
    for step in (12, 18, 24):
        said = json.loads((saves[0] / "checkpoints" / str(step) / "manifest.json").read_text())
        assert said["number"] == step
        assert len(said["files"]) == len(files(saves[0], step)) - 1


def flip(path, rng):
    data = bytearray(path.read_bytes())
    if data:
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)


DAMAGES = {
    "a bit": flip,
    "cut": lambda path, rng: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "missing": lambda path, rng: path.unlink(),
    "empty": lambda path, rng: path.write_bytes(b""),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_save_gives_way_to_the_one_before(saves, tmp_path, damage, seed):
    rng, path = np.random.default_rng(seed), tmp_path / "run"
    shutil.copytree(saves[0], path)
    victim = files(path, 24)[rng.integers(len(files(path, 24)))]
    while not victim.stat().st_size:
        victim = files(path, 24)[rng.integers(len(files(path, 24)))]
    DAMAGES[damage](victim, rng)
    result, said = going_on(path)
    assert_same_run(result, saves[1])
    assert len(said) == 1
    assert "going on from save 18" in said[0]
    assert victim.name in said[0]
    assert going_on(path)[1] == []  # the damaged one is gone


def test_another_save_in_its_place_is_noticed(saves, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(saves[0], path)
    shutil.rmtree(path / "checkpoints" / "24")
    shutil.copytree(path / "checkpoints" / "12", path / "checkpoints" / "24")
    result, said = going_on(path)
    assert_same_run(result, saves[1])
    assert "not the one that was written for save 24" in said[0]


def test_without_an_intact_save_nothing_begins_anew(saves, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(saves[0], path)
    for step in (12, 18, 24):
        flip(path / "checkpoints" / str(step) / "arrays.safetensors", np.random.default_rng(0))
    with pytest.raises(
        ValueError, match=r"run_dir: expected an intact save, got none: .*24.*18.*12.*; another run_dir begins anew$"
    ):
        fit(steps=30, run_dir=path, **OPTIONS)
    with pytest.raises(ValueError, match="path: expected an intact save, got none"):
        jaxrnn.load(path)


def test_parameters_are_read_from_the_newest_intact_save(saves, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(saves[0], path)
    (path / "checkpoints" / "24" / "manifest.json").unlink()
    with pytest.warns(UserWarning, match=r"path: going on from save 18, since .*manifest.json is missing"):
        params = jaxrnn.load(path)
    want = fit(steps=18, **OPTIONS).params
    jax.tree.map(np.testing.assert_array_equal, params, want)


def test_a_name_with_a_slash_is_no_other_array():
    assert checkpoint._names({"a/b": np.zeros(1), "a": {"b": np.ones(1)}}) == ["a/b", "a%2Fb"]
