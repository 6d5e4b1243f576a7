"""The README's Python blocks run as they stand; the site's pages run when it is built, and docs/coming_from.md here."""

import pathlib
import re

import jax
import pytest

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text()
TRAIN, OWN_CELL = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.mark.always
@pytest.mark.parametrize("block", [TRAIN, OWN_CELL], ids=["train", "own_cell"])
def test_example_runs(block, capsys):
    names = {}
    with jax.numpy_dtype_promotion("standard"):
        exec(compile(block, "example", "exec"), names)
    assert "all gradients agree" in capsys.readouterr().out
    if block is TRAIN:  # it ends far below the error of a constant
        error = names["jaxrnn"].losses.mean_squared_error(names["ys"], names["data"])
        assert error < 0.05 * names["data"]["targets"].var()


def test_it_is_short():
    assert len(README.splitlines()) <= 130
