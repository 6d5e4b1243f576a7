"""Data whose rows come first, data of as many steps as rows, and data that look like the other kind."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from tests.helpers import assert_close
from tests.training.setup import assert_same, fit

T, N, D, O = 5, 8, 2, 2
LENGTHS = np.array([5, 1, 3, 5, 2, 4, 5, 3])


def data(T=T, N=N, seed=0):
    rng = np.random.default_rng(seed)
    xs = rng.normal(size=(T, N, D)).astype(np.float32)
    lengths = rng.integers(1, T + 1, N)
    return {
        "xs": xs,
        "targets": np.cumsum(xs, 0),
        "lengths": lengths,
        "mask": rng.random((T, N)) < 0.8,
        "weight": lengths,
    }


def rows_first(data):
    return {name: x.swapaxes(0, 1) if name in ("xs", "targets", "mask", "resets") else x for name, x in data.items()}


def of_steps(ys, batch):
    """A loss that tells time from rows."""
    weights = jnp.arange(1.0, len(ys) + 1)[:, None, None]
    return (weights * (ys - batch["targets"]) ** 2).mean()


@pytest.mark.filterwarnings("ignore:.*nothing reads .*'weight'")
@pytest.mark.parametrize("T", [5, 8], ids=["T = 5", "T = N = 8"])
@pytest.mark.parametrize("loss", [jaxrnn.losses.mean_squared_error, of_steps], ids=["built in", "own"])
def test_rows_first_trains_as_time_first(loss, T):
    given, other = data(T), data(T, seed=1)
    options = {"steps": 4, "loss": loss, "batch_size": 3}
    want = fit(given, validation=other, **options)
    got = fit(rows_first(given), validation=rows_first(other), time_major=False, **options)
    assert_same(got.params, want.params)
    assert_same(got.history.validation, want.history.validation)
    assert got.read == want.read == f"8 rows of {T} steps"
    assert want.read in repr(want)


@pytest.mark.filterwarnings("ignore:.*nothing reads .*'weight'")
def test_rows_first_in_batches_evaluation_sweeps_and_streams():
    given, model = data(), jaxrnn.chain(jaxrnn.gru(D, 4), jaxrnn.dense(4, O))
    batches = [given, data(seed=1)]
    options = {"key": jax.random.key(0), "steps": 2, "progress": False}
    run = functools.partial(jaxrnn.fit, model, of_steps, optax.sgd(0.1), **options)
    assert_same(run([rows_first(b) for b in batches], time_major=False).params, run(batches).params)
    assert_same(run(rows_first(given), time_major=False, stream=2).params, run(given, stream=2).params)
    params = model.init(jax.random.key(1))
    found = [jaxrnn.evaluate(model, params, of_steps, *args, **o) for args, o in
             (((given,), {}), ((rows_first(given),), {"time_major": False}))]  # fmt: skip
    assert found[0] == found[1]

    def build(hyper):
        return model, of_steps, optax.sgd(hyper.lr)

    tasks = (
        jaxrnn.task(build, given, batch_size=4),
        jaxrnn.task(build, rows_first(given), batch_size=4, time_major=False),
    )
    results = [jaxrnn.sweep(t, jaxrnn.grid(lr=[0.1]), strategy="vmap", **options) for t in tasks]
    assert_same(results[0].params(0), results[1].params(0))


@pytest.mark.parametrize("at", ["steps", "last"])
@pytest.mark.parametrize(
    "name", ["mean_squared_error", "binary_cross_entropy", "cross_entropy", "quantile_loss", "accuracy", "f1"]
)
def test_losses_read_rows_first(name, at):
    rng = np.random.default_rng(0)
    loss = functools.partial(getattr(jaxrnn.losses, name), at=at)
    if name == "quantile_loss":
        loss = functools.partial(loss, quantiles=[0.1, 0.9])
    ys = rng.normal(size=(T, N, 2 * O)).astype(np.float32)
    classes = name in ("cross_entropy", "accuracy", "f1")
    shape = (T, N) if classes else (T, N, O if name == "quantile_loss" else 2 * O)
    targets = rng.integers(0, 2, shape) if classes else rng.random(shape).astype(np.float32)
    batch = {"targets": targets if at == "steps" else targets[0], "lengths": LENGTHS}
    if at == "steps":
        batch["mask"] = rng.random((T, N)) < 0.7
    exchanged = rows_first(batch) if at == "steps" else batch
    want = loss(ys, batch)
    assert float(loss(ys.swapaxes(0, 1), exchanged, time_major=False)) == pytest.approx(float(want), rel=1e-6)
    if at == "steps" and name not in ("accuracy", "f1"):
        sums = [functools.partial(loss, over_time="sum")(ys, batch)]
        sums.append(functools.partial(loss, over_time="sum")(ys.swapaxes(0, 1), exchanged, time_major=False))
        assert float(sums[0]) == pytest.approx(float(sums[1]), rel=1e-6)


def test_labels_read_rows_first():
    rng = np.random.default_rng(0)
    ys, labels = rng.normal(size=(T, 3, 4)).astype(np.float32), rng.integers(1, 4, (2, 3))
    batch = {"targets": labels, "targets_lengths": np.array([2, 1, 0])}
    with jax.numpy_dtype_promotion("standard"):
        want = jaxrnn.losses.ctc_loss(ys, batch)
        got = jaxrnn.losses.ctc_loss(ys.swapaxes(0, 1), batch | {"targets": labels.T}, time_major=False)
    assert float(got) == pytest.approx(float(want), rel=1e-6)


def test_padded_rows_come_first_if_asked_to():
    rows = {
        "xs": [np.ones((n, 2), np.float32) * n for n in (3, 1, 2)],
        "word": [np.arange(n) for n in (1, 4, 2)],
        "y": [1, 2, 3],
    }
    want = jaxrnn.data.padded(rows, own_lengths=["word"])
    got = jaxrnn.data.padded(rows, own_lengths=["word"], time_major=False)
    assert want["xs"].shape == (3, 3, 2)  # and not one step more, to tell steps from rows
    for name, x in want.items():
        np.testing.assert_array_equal(got[name], x.swapaxes(0, 1) if name in ("xs", "word") else x)


def test_where_there_are_as_many_steps_as_rows_an_entry_may_be_said_to_be_none():
    """A square of numbers is a sequence; named in `per_row` it is a value a row."""
    xs = np.ones((6, 6, 2), np.float32)
    square = np.arange(36, dtype=np.float32).reshape(6, 6)
    seen = []

    def loss(ys, batch):
        seen.append(batch["square"].shape)
        return (ys**2).mean() + 0 * batch["square"].sum()

    options = {"steps": 1, "batch_size": 2, "loss": loss}
    fit({"xs": xs, "square": square}, **options)
    fit({"xs": xs, "square": square}, per_row=["square"], **options)
    assert {*seen[:2]} == {(6, 6), (6, 2)}  # of all rows, whose values are checked, and of a minibatch
    assert seen[-1] == (2, 6)
    with pytest.raises(ValueError, match=r"^per_row: expected entries of data other than sequences, got 'squares'"):
        fit({"xs": xs, "square": square}, per_row=["squares"], **options)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda d: rows_first(d), {}, r"^data\['lengths'\]: expected shape .*time_major=False"),
        (lambda d: {k: v for k, v in rows_first(d).items() if k != "lengths"}, {}, "time_major=False"),
        (lambda d: {"xs": rows_first(d)["xs"], "targets": np.zeros(N, int)}, {}, r"targets.*time_major=False"),
        (
            lambda d: {"xs": rows_first(d)["xs"], "targets": rows_first(d)["targets"]},
            {"validation": {k: v.swapaxes(0, 1) for k, v in data(N=3).items() if k in ("xs", "targets")}},
            r'^validation\["xs"\]: expected the T = 8 steps of data.*time_major=False',
        ),
    ],
    ids=["lengths", "mask and weight", "targets", "validation"],
)
def test_what_looks_as_if_rows_came_first_is_refused(change, options, message):
    with pytest.raises(ValueError, match=message):
        fit(change(data()), steps=1, batch_size=2, **options)


def test_validation_of_other_steps_is_read_if_time_is_said_to_come_first():
    longer = {name: x for name, x in data(T=7).items() if name in ("xs", "targets")}
    given = {name: x for name, x in data().items() if name in ("xs", "targets")}
    result = fit(given, validation=longer, steps=2, batch_size=2, time_major=True)
    assert np.isfinite(result.history.validation["loss"]).all()


def test_a_loss_of_rows_first_is_refused_where_it_gets_time_first():
    loss = functools.partial(jaxrnn.losses.mean_squared_error, time_major=False)
    with pytest.raises(ValueError, match=r"^loss: expected a function of outputs with time first"):
        fit(rows_first(data()), steps=1, batch_size=2, loss=loss, time_major=False)


def test_metrics_are_of_all_outputs_and_not_of_pieces():
    """A correlation is no mean of correlations, and F1 no mean of F1."""
    given = {name: x for name, x in data(N=50).items() if name in ("xs", "targets")}
    model = jaxrnn.chain(jaxrnn.gru(D, 4), jaxrnn.dense(4, O))
    params = model.init(jax.random.key(0))

    def correlation(ys, batch):
        return jnp.corrcoef(ys.ravel(), batch["targets"].ravel())[0, 1]

    ys = np.asarray(model.apply(params, given["xs"])[1])
    want = np.corrcoef(ys.ravel(), given["targets"].ravel())[0, 1]
    for size in (7, 50, 10):
        got = jaxrnn.evaluate(
            model, params, jaxrnn.losses.mean_squared_error, given, metrics={"r": correlation}, batch_size=size
        )
        assert got["r"] == pytest.approx(want, abs=1e-5)
        assert_close(got["loss"], np.mean((ys - given["targets"]) ** 2), 1e-5)


def test_one_sequence_into_another_reads_rows_first():
    S, L, B = 6, 3, 4
    rng = np.random.default_rng(0)
    encoder = jaxrnn.chain(jaxrnn.embed(5, 3), jaxrnn.gru(3, 4))
    decoder = jaxrnn.chain(
        jaxrnn.embed(5, 3), jaxrnn.attention_decoder(jaxrnn.gru(3, 4), jaxrnn.dot_attention(4, 4)), jaxrnn.dense(8, 5)
    )
    network = jaxrnn.encoder_decoder(encoder, decoder)
    params = network.init(jax.random.key(0))
    given = {
        "xs": rng.integers(0, 5, (S, B)), "previous": rng.integers(0, 5, (L, B)), "targets": rng.integers(0, 5, (L, B)),
        "mask": rng.random((L, B)) < 0.8, "lengths": np.array([6, 2, 3, 6]), "targets_lengths": np.array([3, 1, 2, 3]),
    }  # fmt: skip
    exchanged = {name: x.swapaxes(0, 1) if x.ndim > 1 else x for name, x in given.items()}
    found = [jaxrnn.evaluate(network, params, jaxrnn.losses.cross_entropy, data, **options)
             for data, options in ((given, {}), (exchanged, {"time_major": False}))]  # fmt: skip
    assert found[0]["loss"] == pytest.approx(found[1]["loss"], rel=1e-6)
    pairs = [(d["xs"], d["previous"], given["targets_lengths"]) for d in (given, exchanged)]
    want = network.apply(params, pairs[0], lengths=given["lengths"])[1]
    got = network.apply(params, pairs[1], lengths=given["lengths"], time_major=False)[1]
    assert_close(got.swapaxes(0, 1), want, 1e-6)


def test_a_sequence_with_lengths_of_its_own_is_handed_on_time_first():
    rows = {
        "xs": [np.ones((n, D), "f") for n in (3, 1, 2)],
        "phones": [np.arange(n) for n in (2, 1, 1)],
        "y": [0, 1, 0],
    }
    model, shapes = jaxrnn.chain(jaxrnn.gru(D, 2), jaxrnn.last()), []

    def loss(ys, batch):
        shapes.append(batch["phones"].shape)
        return ys.mean()

    for time_major in (True, False):
        batch = jaxrnn.data.padded(rows, own_lengths=["phones"], time_major=time_major)
        jaxrnn.evaluate(model, model.init(jax.random.key(0)), loss, batch, time_major=time_major)
    assert set(shapes) == {(2, 3)}
