"""docs/coming_from.md: each library's block runs, and jaxrnn returns its logits from its weights."""

import pathlib
import re
import warnings

import jax
import numpy as np
import pytest

PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "coming_from.md").read_text()
SECTIONS = {
    title: re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    for title, text in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
}
LIBRARIES = {"PyTorch": "torch", "Keras": "keras", "Flax": "flax", "Equinox": "equinox", "Haiku": "haiku"}
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning")  # Keras's own


def test_each_library_has_its_section():
    assert {title for title, blocks in SECTIONS.items() if blocks} == {"jaxrnn", *LIBRARIES}


@pytest.mark.parametrize("title", LIBRARIES)
def test_logits_are_the_same(title, monkeypatch, capsys):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(LIBRARIES[title])
    names, compared = {}, 0
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        for block in [*SECTIONS["jaxrnn"], *SECTIONS[title]]:
            exec(compile(block, title, "exec"), names)
            if "carried" in names:
                np.testing.assert_allclose(names.pop("carried"), names["logits"], rtol=1e-5, atol=1e-6)
                compared += 1
    assert compared == (2 if title == "Flax" else 1)
    assert title != "Flax" or "all gradients agree" in capsys.readouterr().out
