"""The evaluation statistics of batch normalisation against NumPy, over all batches together."""

import jax
import numpy as np
import optax
import pytest

import jaxrnn
from jaxrnn.models.batch_norm import batch_norms
from jaxrnn.types import leaf, pytree
from tests.helpers import assert_close
from tests.models import oracles
from tests.models.oracles import drawn

T, B, D, H, O = 5, 6, 3, 4, 2
KEY = jax.random.key(0)
MODEL = jaxrnn.chain(
    jaxrnn.dense(D, H),
    jaxrnn.residual(jaxrnn.chain(jaxrnn.batch_norm(H), jaxrnn.dropout(0.5))),
    jaxrnn.dense(H, H),
    jaxrnn.batch_norm(H),
    jaxrnn.last(),
    jaxrnn.batch_norm(H),
    jaxrnn.dense(H, O),
)
PATHS = [("1", "0"), ("3",), ("5",)]


def batches(dtype=np.float64):
    """Of other shapes and lengths; one has no padding, and one no valid step."""
    rng = np.random.default_rng(3)
    some = [
        {"xs": 2.0 + rng.standard_normal((T, B, D)), "lengths": np.array([1, 3, 0, T, 2, T])},
        {"xs": 3.0 * rng.standard_normal((T - 1, 2, D))},
        {"xs": rng.standard_normal((T, B, D)) - 5.0, "lengths": np.array([T, T, 1, 0, 0, 2])},
        {"xs": rng.standard_normal((T, B, D)), "lengths": np.zeros(B, np.int64)},
    ]
    return [batch | {"xs": batch["xs"].astype(dtype)} for batch in some]


def by_hand(params, some):
    """The mean and variance of all valid values that reach each batch norm, as in training but without dropout."""
    reached = {path: [] for path in PATHS}
    for batch in some:
        xs = batch["xs"]
        lengths = batch.get("lengths", np.full(xs.shape[1], len(xs)))
        valid = np.arange(len(xs))[:, None] < lengths
        hs = oracles.dense(params["0"], xs)
        reached[PATHS[0]].append(hs[valid])
        if valid.any():
            hs = hs + oracles.batch_norm(params["1"]["0"], hs, lengths)
        hs = oracles.dense(params["2"], hs)
        reached[PATHS[1]].append(hs[valid])
        if valid.any():
            hs = oracles.batch_norm(params["3"], hs, lengths)
        reached[PATHS[2]].append(oracles.last(hs, lengths))
    together = {path: np.concatenate(values) for path, values in reached.items()}
    return {path: {"mean": v.mean(0), "variance": v.var(0)} for path, v in together.items()}


def at(params, path):
    for name in path:
        params = params[name]
    return params["statistics"]


@pytest.mark.parametrize("chosen", [[0], [1], [0, 1, 2], [2, 1, 0, 3]], ids=str)
def test_the_statistics_are_those_of_all_valid_values_together(chosen, x64):
    params, some = drawn(MODEL), [batches()[i] for i in chosen]
    got = jaxrnn.training.calibrate(MODEL, params, some if len(some) > 1 else some[0])
    want = by_hand(params, some)
    for path in PATHS:
        assert_close(at(got, path), want[path], 1e-10)


def test_nothing_else_changes_and_a_generator_will_do(x64):
    params = drawn(MODEL)
    got = jaxrnn.training.calibrate(MODEL, params, (batch for batch in batches()))
    assert jax.tree.structure(got) == jax.tree.structure(params)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(got), jax.tree.leaves(params), strict=True):
        assert (a is b) == ("statistics" not in jax.tree_util.keystr(path))


def test_evaluation_on_the_one_batch_is_what_training_made_of_it(x64):
    model = jaxrnn.chain(
        jaxrnn.dense(D, H), jaxrnn.batch_norm(H), jaxrnn.stack([jaxrnn.gru(H, H)]), jaxrnn.batch_norm(H)
    )
    params, batch = drawn(model), batches()[0]
    options = {"lengths": batch["lengths"], "resets": np.random.default_rng(0).random((T, B)) < 0.3}
    calibrated = jaxrnn.training.calibrate(model, params, batch | options)
    run = jax.jit(lambda params, key=None: model.apply(params, batch["xs"], key=key, **options)[1])
    assert_close(run(calibrated), run(params, KEY), 1e-10)
    assert np.abs(run(calibrated) - run(params)).max() > 0.1


def test_one_epoch_of_buckets_counts_each_row_once(x64):
    rng, model = np.random.default_rng(0), jaxrnn.batch_norm(D)
    rows = [rng.standard_normal((n, D)) for n in (1, 4, 2, 4, 1, 3)]
    data = jaxrnn.data.bucketed({"xs": rows}, batch_size=1, key=KEY, buckets=2, epochs=1)
    values, found = np.concatenate(rows), jaxrnn.training.calibrate(model, drawn(model), data)["statistics"]
    assert_close(found, {"mean": values.mean(0), "variance": values.var(0)}, 1e-10)


def test_without_a_batch_norm_the_parameters_are_the_same_object():
    model = jaxrnn.chain(jaxrnn.stack([jaxrnn.elman(D, H)]), jaxrnn.layer_norm(H))
    params = model.init(KEY)
    assert jaxrnn.training.calibrate(model, params, batches(np.float32)) is params


def test_where_nothing_is_valid_the_statistics_stay(x64):
    model = jaxrnn.batch_norm(D)
    params = drawn(model)
    assert_close(jaxrnn.training.calibrate(model, params, batches()[3]), params, 0.0)


def test_the_statistics_keep_their_dtype():
    model = jaxrnn.batch_norm(D, param_dtype=np.float32)
    halves = jax.tree.map(lambda x: x.astype(jax.numpy.bfloat16), model.init(KEY))
    got = jaxrnn.training.calibrate(model, halves, batches(np.float32))
    assert {x.dtype.name for x in jax.tree.leaves(got)} == {"bfloat16"}


def test_many_values_far_from_zero_lose_no_digits():
    """E[x^2] - E[x]^2 in float32 would have none left."""
    rng = np.random.default_rng(0)
    some = [{"xs": (1e4 + rng.standard_normal((20, 50, D))).astype(np.float32)} for _ in range(20)]
    model = jaxrnn.batch_norm(D)
    found = jaxrnn.training.calibrate(model, model.init(KEY), some)["statistics"]
    together = np.concatenate([batch["xs"].reshape(-1, D) for batch in some]).astype(np.float64)
    assert_close(found, {"mean": together.mean(0), "variance": together.var(0)}, 1e-4)


def test_it_is_found_in_a_tied_model(x64):
    model = jaxrnn.tied(5, H, jaxrnn.residual(jaxrnn.chain(jaxrnn.dense(H, H), jaxrnn.batch_norm(H))))
    assert list(batch_norms(model)) == [("model", "1")]
    params, xs = drawn(model), np.random.default_rng(0).integers(0, 5, (T, B))
    values = oracles.dense(params["model"]["0"], params["w"][xs]).reshape(-1, H)
    got = jaxrnn.training.calibrate(model, params, {"xs": xs})
    assert_close(at(got, ("model", "1")), {"mean": values.mean(0), "variance": values.var(0)}, 1e-10)


class Notes(list):
    """A list that may be an option, which has to be hashable."""

    __hash__ = object.__hash__


@pytree
class Wrapped(jaxrnn.Model):
    """A model of one's own around another one; `how` calls it, with or without what it should hand on."""

    model: jaxrnn.Model = leaf()
    how: object = None
    names: tuple = (None,)

    @property
    def parts(self):
        return (self.model,)

    def init(self, key):
        return self.model.init(key)

    def run(self, params, carry, xs, call):
        return (), self.how(self.model, params, xs, call)


def test_each_shape_is_traced_once():
    traces = Notes()

    def run(model, params, xs, call):
        traces.append(xs.shape)
        return model.run(params, None, xs, call)[1]

    model = Wrapped(jaxrnn.batch_norm(D), run)
    some = [batch | {"lengths": None} for batch in batches(np.float32)]
    for _ in range(2):
        jaxrnn.training.calibrate(model, model.init(KEY), some)
    assert sorted(traces) == [(T - 1, 2, D), (T, B, D)]


def without_the_call(model, params, xs, call):
    return model.apply(params, xs)[1]


def in_a_loop(model, params, xs, call):
    return jax.lax.map(lambda x: model.run(params, None, x, call)[1], xs)


def in_vmap(model, params, xs, call):
    return jax.vmap(lambda x: model.run(params, None, x, call)[1])(xs)


def twice(model, params, xs, call):
    return model.run(params, None, model.run(params, None, xs, call)[1], call)[1]


def elsewhere(model, params, xs, call):
    return model.run(params, None, xs, call.of("a", None))[1]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (without_the_call, r"expected a batch_norm at each of \[\(\)\], got those at \[\] only"),
        (in_a_loop, "expected each batch_norm outside of loops"),
        (in_vmap, "expected each batch_norm outside of loops"),
        (twice, r"expected one batch_norm at each of \[\(\)\], got another one at \(\)"),
        (elsewhere, r"got another one at \('a',\)"),
    ],
)
def test_a_batch_norm_that_cant_be_reached_is_an_error_of_calibrate_and_of_fit(how, message):
    model, batch = Wrapped(jaxrnn.batch_norm(D), how), batches(np.float32)[1]
    with pytest.raises(ValueError, match=f"model: .*{message}"):
        jaxrnn.training.calibrate(model, model.init(KEY), batch)
    data = batch | {"targets": batch["xs"]}
    with pytest.raises(ValueError, match=f"model: .*{message}"):
        jaxrnn.fit(
            model,
            jaxrnn.losses.mean_squared_error,
            optax.sgd(0.1),
            data,
            key=KEY,
            steps=1,
            batch_size=2,
            progress=False,
        )
