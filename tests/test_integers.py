"""Integers of every type mean the same: classes, symbols, labels, lengths."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from jaxrnn import checks
from tests.helpers import mostly_slow
from tests.training.setup import assert_same

TYPES = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]
every_type = pytest.mark.parametrize("kind", mostly_slow(TYPES, 0, 3, 6), ids=lambda kind: kind.__name__)
T, B, O = 5, 3, 7
LENGTHS = np.array([5, 2, 0])
rng = np.random.default_rng(0)
YS = rng.normal(size=(T, B, O)).astype(np.float32)
CLASSES = rng.integers(0, O, (T, B))


@every_type
def test_as_many_classes_as_a_type_has_values(kind):
    """log 256, 5.545, and not NaN because 256 is none of uint8's numbers."""
    for O, target in ((256, 7), (128, 127), (300, 100)):
        batch = {"targets": np.array([[target]], kind)}
        for given in (batch, jax.tree.map(jnp.asarray, batch)):
            assert float(jaxrnn.losses.cross_entropy(np.zeros((1, 1, O), "f"), given)) == pytest.approx(np.log(O))
            assert float(jaxrnn.losses.accuracy(jax.nn.one_hot(np.array([[target]]), O), given)) == 1.0


@every_type
@pytest.mark.parametrize("name", ["cross_entropy", "accuracy", "f1", "smoothed", "weighted"])
def test_losses_of_classes(kind, name):
    options = {"smoothed": {"label_smoothing": 0.1}, "weighted": {"class_weights": np.arange(O)}}.get(name, {})
    f = functools.partial(getattr(jaxrnn.losses, name, jaxrnn.losses.cross_entropy), **options)
    want = f(YS, {"targets": CLASSES, "lengths": LENGTHS})
    for make in (lambda x: x, jnp.asarray):
        batch = {"targets": make(CLASSES.astype(kind)), "lengths": make(LENGTHS.astype(kind))}
        assert float(f(YS, batch)) == float(want)
        assert float(jax.jit(f)(YS, batch)) == pytest.approx(float(want), rel=1e-6)


@every_type
def test_labels_and_strings(kind):
    labels, count = rng.integers(1, O, (2, B)), np.array([2, 1, 0])
    batch = {"targets": labels, "targets_lengths": count, "lengths": np.array([5, 3, 4])}
    narrow = {name: x.astype(kind) for name, x in batch.items()}
    with jax.numpy_dtype_promotion("standard"):
        assert float(jaxrnn.losses.ctc_loss(YS, narrow)) == float(jaxrnn.losses.ctc_loss(YS, batch))
    want = jaxrnn.decoding.edit_distance(labels, count, CLASSES, LENGTHS)
    got = jaxrnn.decoding.edit_distance(
        labels.astype(kind), count.astype(kind), CLASSES.astype(kind), LENGTHS.astype(kind)
    )
    np.testing.assert_array_equal(got, want)
    wide = jaxrnn.decoding.edit_distance(np.array([[255]], np.uint8), [1], np.array([[-1]], np.int8), [1])
    assert wide.tolist() == [1]  # and not equal, as they are in eight bits


@every_type
def test_symbols_that_are_embedded_and_written(kind):
    symbols = 300
    model = jaxrnn.chain(jaxrnn.embed(symbols, 4), jaxrnn.gru(4, 8), jaxrnn.dense(8, symbols))
    params, prompt = model.init(jax.random.key(0)), np.array([[1, 2], [100, 3]])
    want = model.apply(params, prompt)[1]
    np.testing.assert_array_equal(model.apply(params, prompt.astype(kind))[1], want)
    params["2"]["b"] = params["2"]["b"].at[257].set(100.0)  # it stops at once
    _, written = jaxrnn.decoding.generate(model, params, prompt.astype(kind), 4, stop=257)
    assert written.tolist() == [[257, 257]] * 4
    beams = jaxrnn.decoding.beam_search(model, params, prompt.astype(kind), 4, beam=2, stop=257)
    assert beams.symbols[:, 0, 0].tolist() == [257] * 4
    params["2"]["b"] = params["2"]["b"].at[257].set(-100.0).at[299].set(100.0)
    _, written = jaxrnn.decoding.generate(model, params, prompt.astype(kind), 3)
    assert written.tolist() == [[299, 299]] * 3


@every_type
def test_lengths_of_unroll_pooling_and_streams(kind):
    cell = jaxrnn.gru(2, 3)
    params, xs = cell.init(jax.random.key(0)), rng.normal(size=(T, B, 2)).astype(np.float32)
    for make in (lambda x: x, jnp.asarray):
        lengths = make(LENGTHS.astype(kind))
        assert_same(jaxrnn.unroll(cell, params, xs, lengths=lengths), jaxrnn.unroll(cell, params, xs, lengths=LENGTHS))
        for pool in (jaxrnn.last(), jaxrnn.mean_over_time()):
            assert_same(pool.apply({}, xs, lengths=lengths)[1], pool.apply({}, xs, lengths=LENGTHS)[1])
    model = jaxrnn.chain(cell, jaxrnn.dense(3, 2))
    data = {"xs": xs, "targets": np.cumsum(xs, 0), "lengths": LENGTHS}
    options = {"key": jax.random.key(0), "steps": 4, "stream": 2, "progress": False}
    run = functools.partial(jaxrnn.fit, model, jaxrnn.losses.mean_squared_error, optax.sgd(0.1), **options)
    want = run(data).history.train["loss"]
    np.testing.assert_array_equal(run(data | {"lengths": LENGTHS.astype(kind)}).history.train["loss"], want)


def test_what_does_not_fit_into_32_bits_is_refused():
    wide = np.array([[2**32 + 3]])
    with pytest.raises(ValueError, match=r'^batch\["targets"\]: expected integers that fit into int32'):
        jaxrnn.losses.cross_entropy(np.zeros((1, 1, 8), "f"), {"targets": wide})
    cell = jaxrnn.gru(2, 3)
    params = cell.init(jax.random.key(0))
    with pytest.raises(ValueError, match=r"^lengths: expected integers that fit into int32"):
        jaxrnn.unroll(cell, params, np.zeros((4, 1, 2), "f"), lengths=np.array([2**32 + 3]))
    with jax.enable_x64(True):  # traced: no class, and not class 3
        assert np.isnan(jaxrnn.losses.cross_entropy(jnp.zeros((1, 1, 8)), {"targets": jnp.asarray(wide)}))
        ys = jaxrnn.last().apply({}, jnp.ones((4, 1, 2)), lengths=jnp.asarray([2**32 + 3]))[1]
        np.testing.assert_array_equal(ys, 1.0)  # past the end: all steps, and not three


def test_an_array_read_with_x64_has_32_bits_without():
    """JAX itself remembers 64 bits of a NumPy array that a jitted function has read."""
    lengths = np.array([3, 1])

    def read(x, own):
        dtypes.append((checks.array("lengths", lengths) if own else jnp.asarray(lengths)).dtype)
        return x * jnp.asarray(lengths).sum(dtype=x.dtype)

    dtypes = []
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        jax.jit(read, static_argnums=1)(np.float64(1.0), False)
    jax.jit(read, static_argnums=1)(np.float32(1.0), True)
    assert dtypes == [jnp.int64, jnp.int32]
