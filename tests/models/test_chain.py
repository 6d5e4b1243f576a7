"""Models one after the other, and around a shortcut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests import reference
from tests.helpers import assert_close
from tests.models import oracles
from tests.models.oracles import LENGTHS, B, D, H, O, T, drawn, sequence, with_nan

STREAM = jaxrnn.chain(
    jaxrnn.dense(D, H),
    jaxrnn.residual(jaxrnn.stack([jaxrnn.gru(H, H)])),
    jaxrnn.layer_norm(H),
    jaxrnn.stack([jaxrnn.elman(H, H)]),
    jaxrnn.dense(H, O),
)


def streamed(params, xs, lengths=None):
    """STREAM in NumPy."""
    zs = oracles.dense(params["0"], xs)
    (lower,), outputs = oracles.stack([(reference.gru(), np.zeros(H))], params["1"], zs, lengths)
    zs = oracles.layer_norm(params["2"], zs + outputs)
    (upper,), zs = oracles.stack([(reference.elman(), np.zeros(H))], params["3"], zs, lengths)
    return ((), (lower,), (), (upper,), ()), oracles.dense(params["4"], zs)


@pytest.mark.parametrize("shape", [(T, D), (T, B, D)], ids=len)
def test_each_model_reads_the_one_before(shape, x64):
    params, xs = drawn(STREAM), sequence(*shape)
    assert_close(jax.jit(STREAM.apply)(params, xs), streamed(params, xs), 1e-10)


def test_two_halves_equal_one_whole(x64):
    params, xs = drawn(STREAM), sequence(T, B, D)

    @jax.jit
    def halves(params, xs):
        carry, first = STREAM.apply(params, xs[:3], carry=STREAM.initial_carry(params, (B,)))
        carry, second = STREAM.apply(params, xs[3:], carry=carry)
        return carry, jnp.concatenate([first, second])

    assert_close(halves(params, xs), streamed(params, xs), 1e-10)


def test_after_last_there_are_no_lengths_or_resets_any_more(x64):
    """The second dense would take `lengths` for those of B steps, the wrong shape for [B, H]."""
    model = jaxrnn.chain(jaxrnn.stack([jaxrnn.elman(D, H)]), jaxrnn.last(), jaxrnn.layer_norm(H), jaxrnn.dense(H, O))
    params, xs = drawn(model), sequence(T, B, D)
    resets = np.random.default_rng(3).random((T, B)) < 0.4
    _, ys = jax.jit(model.apply)(params, with_nan(xs), lengths=LENGTHS, resets=resets)
    _, hs = oracles.stack([(reference.elman(), np.zeros(H))], params["0"], xs, LENGTHS, resets)
    hs = oracles.layer_norm(params["2"], oracles.last(hs, LENGTHS))
    assert_close(ys, oracles.dense(params["3"], hs), 1e-10)
    assert not model.keeps_time
    assert STREAM.keeps_time
    assert not jaxrnn.last().keeps_time


def test_parts_draw_noise_of_their_own_and_none_without_a_key():
    model = jaxrnn.chain(jaxrnn.dropout(0.5), jaxrnn.dropout(0.5))
    xs = np.ones((50, B, H), np.float32)
    ys = np.asarray(model.apply({"0": {}, "1": {}}, xs, key=jax.random.key(0))[1])
    assert set(np.unique(ys)) == {0.0, 4.0}
    assert abs((ys > 0).mean() - 0.25) < 0.06  # 0.5 if both had the same mask
    np.testing.assert_array_equal(model.apply({"0": {}, "1": {}}, xs)[1], xs)


def test_a_shortcut_adds_the_input(x64):
    model = jaxrnn.residual(jaxrnn.dense(D, D))
    params, xs = drawn(model), sequence(T, B, D)
    assert_close(jax.jit(model.apply)(params, xs), xs + oracles.dense(params, xs), 1e-10)


def test_a_shortcut_around_what_changes_the_shape_is_an_error():
    with pytest.raises(
        ValueError, match=r"model: expected outputs of the shape of its inputs, \(5, 4, 3\), got \(4, 3\)"
    ):
        jaxrnn.residual(jaxrnn.last()).apply({}, np.ones((T, B, D), np.float32))


def test_an_error_names_the_part_by_its_path():
    model = jaxrnn.chain(jaxrnn.chain(jaxrnn.dropout(0.1), jaxrnn.stack(jaxrnn.gru(3, 4))), jaxrnn.dense(4, 1))
    with pytest.raises(ValueError, match="xs: expected 3 features") as info:
        model.apply(model.init(jax.random.key(0)), jnp.ones((5, 2, 2)))
    assert "in part 0/1/0 of the model" in info.value.__notes__
    assert sum(note.startswith("in part") for note in info.value.__notes__) == 1


@pytest.mark.parametrize("between", [jaxrnn.last(), jaxrnn.mean_over_time(), jaxrnn.dropout(0.5), None])
def test_features_pass_through_parts_that_keep_them(between):
    parts = [jaxrnn.dropout(0.1), jaxrnn.gru(2, 24), between or jaxrnn.chain(jaxrnn.dropout(0.5), jaxrnn.last())]
    assert jaxrnn.chain(*parts).features == (2, 24)
    with pytest.raises(ValueError, match=r"^models\[3\]: expected 24 input features, the outputs of the one "):
        jaxrnn.chain(*parts, jaxrnn.dense(32, 3))
    assert jaxrnn.chain(jaxrnn.chain(*parts), jaxrnn.dense(24, 3)).features == (2, 3)
