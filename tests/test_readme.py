"""The Python blocks of the README and of docs/ run as they stand; tests/interop runs those of other libraries."""

import pathlib
import re

import jax
import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted({*(ROOT / "docs").glob("*.md")} - {ROOT / "docs" / "coming_from.md"})]
BLOCKS = [
    pytest.param(block, id=f"{page.stem}-{i}")
    for page in PAGES
    for i, block in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE))
]


def test_there_are_examples():
    assert len(BLOCKS) >= 12


@pytest.mark.parametrize("block", BLOCKS)
def test_example_runs(block, capsys):
    names = {}
    with jax.numpy_dtype_promotion("standard"):
        exec(compile(block, "example", "exec"), names)
    printed = capsys.readouterr().out
    assert "all gradients agree" in printed or "check_gradients" not in block
    if "ys" in names and "data" in names:  # what is trained also learns: it ends far below the error of a constant
        assert (
            names["jaxrnn"].losses.mean_squared_error(names["ys"], names["data"])
            < 0.05 * names["data"]["targets"].var()
        )
    if "series" in names:
        assert names["result"].history.train["loss"][-10:].mean() < 0.1 * names["series"].var()
    if "beams" in names:
        assert (names["beams"].symbols[:-1, 0, 0] == names["source"][::-1, 0]).all()
    if "few" in names:
        for source, symbols in zip(names["sources"][:3], names["symbols"].T, strict=True):
            assert symbols[: len(source) + 1].tolist() == [*source[::-1], 0]
    if "f1" in names:
        assert names["found"]["f1"] > 0.9
    if "piece" in names:
        assert abs(names["ys"] - names["piece"]["ys"]).max() < 1e-6
    if "losses" in names:
        assert names["losses"][-100:].mean() < 0.1 * names["losses"][:100].mean()
