"""Rows of different lengths as arrays."""

import numpy as np
import pytest

import jaxrnn
from tests.training.setup import KEY, MODEL, D, O, fit


def ragged(*lengths, features=(D,), seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((n, *features)).astype(dtype) for n in lengths]


def test_sequences_are_padded_with_zeros_and_values_are_stacked():
    xs, marks = ragged(3, 0, 5), [np.arange(n) > 0 for n in (3, 0, 5)]
    rows = {"xs": xs, "resets": marks, "label": [4, 2, 7], "about": ragged(2, 2, 2, features=())}
    data = jaxrnn.data.padded(rows, per_row=["about"])
    assert {name: x.shape for name, x in data.items()} == {
        "xs": (5, 3, D), "resets": (5, 3), "label": (3,), "about": (3, 2), "lengths": (3,)
    }  # fmt: skip
    np.testing.assert_array_equal(data["lengths"], [3, 0, 5])
    np.testing.assert_array_equal(data["label"], [4, 2, 7])
    for b, (x, mark) in enumerate(zip(xs, marks, strict=True)):
        np.testing.assert_array_equal(data["xs"][: len(x), b], x)
        np.testing.assert_array_equal(data["resets"][: len(x), b], mark)
        assert not data["xs"][len(x) :, b].any()
        assert not data["resets"][len(x) :, b].any()
    assert data["resets"].dtype == bool
    assert data["xs"].dtype == np.float32


def test_what_an_entry_is_does_not_depend_on_the_lengths_of_the_rows():
    """A vector a row stays one where all rows have as many steps as it has features."""
    vectors = ragged(3, 3, features=())
    for lengths in ((3, 3), (3, 5)):
        data = jaxrnn.data.padded({"xs": ragged(*lengths), "about": vectors}, per_row=["about"])
        np.testing.assert_array_equal(data["about"], np.stack(vectors))
    along = jaxrnn.data.padded({"xs": ragged(3, 3), "about": vectors})["about"]
    np.testing.assert_array_equal(along, np.stack(vectors, 1))


def test_sequences_with_lengths_of_their_own_say_them():
    words = [np.array([5, 6]), np.array([7]), np.array([8, 9, 1, 2])]
    data = jaxrnn.data.padded({"xs": ragged(3, 1, 5), "words": words}, own_lengths=["words"])
    np.testing.assert_array_equal(data["words"], [[5, 7, 8], [6, 0, 9], [0, 0, 1], [0, 0, 2]])
    np.testing.assert_array_equal(data["words_lengths"], [2, 1, 4])
    np.testing.assert_array_equal(data["lengths"], [3, 1, 5])


def test_lengths_of_their_own_are_said_even_where_they_are_those_of_xs():
    data = jaxrnn.data.padded({"xs": ragged(2, 3), "words": ragged(2, 3, features=())}, own_lengths=["words"])
    np.testing.assert_array_equal(data["words_lengths"], [2, 3])


def test_as_many_steps_as_rows_are_trained_on():
    rows = {
        "xs": ragged(3, 1, 2),
        "targets": ragged(3, 1, 2, features=(O,)),
        "words": [np.arange(n) for n in (1, 2, 3)],
    }
    data = jaxrnn.data.padded(rows, own_lengths=("words",))
    assert data["xs"].shape == (3, 3, D)
    assert data["words"].shape == (3, 3)
    with pytest.warns(UserWarning, match="nothing reads 'words', 'words_lengths'"):
        result = fit(data, steps=2, batch_size=2)
    assert np.isfinite(result.history.train["loss"]).all()


def test_padding_changes_no_loss():
    lengths = (3, 1, 5, 2)
    xs, targets = ragged(*lengths), ragged(*lengths, features=(O,), seed=1)
    params = MODEL.init(KEY)
    got = jaxrnn.evaluate(
        MODEL, params, jaxrnn.losses.mean_squared_error, jaxrnn.data.padded({"xs": xs, "targets": targets})
    )["loss"]
    errors = [(np.asarray(MODEL.apply(params, x)[1]) - y) ** 2 for x, y in zip(xs, targets, strict=True)]
    assert got == pytest.approx(np.concatenate(errors).mean(), rel=1e-5)
