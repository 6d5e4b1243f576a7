"""What all models have in common."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as jr
from jaxrnn.types import pytree
from tests.helpers import assert_close
from tests.models.oracles import B, D, H, O, T, drawn, sequence

SYMBOLS = 5


def build():
    """Each model, made anew."""
    return {
        "dense": jr.dense(D, O, activation=jnp.tanh),
        "embed": jr.embed(SYMBOLS, O),
        "layer_norm": jr.layer_norm(D),
        "batch_norm": jr.batch_norm(D),
        "tied": jr.tied(SYMBOLS, H, jr.stack([jr.gru(H, H)])),
        "dropout": jr.dropout(0.3),
        "last": jr.last(),
        "mean_over_time": jr.mean_over_time(),
        "stack": jr.stack([jr.lstm(D, H, recurrent_dropout=0.3), jr.ctrnn(H, H, 1.0, 4.0)]),
        "bidirectional": jr.bidirectional(jr.gru(D, H), jr.elman(D, H), merge="sum"),
        "residual": jr.residual(jr.chain(jr.stack([jr.gru(D, D)]), jr.dropout(0.2))),
        "chain": jr.chain(jr.dense(D, H), jr.stack([jr.lstm(H, H)]), jr.last(), jr.dense(H, O)),
    }


MODELS = build()
READS_SYMBOLS = ("embed", "tied")
every_model = pytest.mark.parametrize("name", MODELS)


def inputs(name, *batch_shape):
    if name in READS_SYMBOLS:
        return np.random.default_rng(0).integers(0, SYMBOLS, (T, *batch_shape)).astype(np.int32)
    return sequence(T, *batch_shape, D)


@every_model
def test_vmap_over_rows_equals_a_batch_and_each_row_by_itself(name, x64):
    model = MODELS[name]
    params, xs = drawn(model), inputs(name, B)

    @jax.jit
    def three(params, xs):
        mapped = jax.vmap(model.apply, (None, 1), out_axes=(0, 1 if model.keeps_time else 0))(params, xs)
        return model.apply(params, xs), mapped, model.apply(params, xs[:, 1])

    (carry, ys), mapped, row = three(params, xs)
    assert_close(mapped, (carry, ys), 1e-10)
    assert_close(row, (jax.tree.map(lambda c: c[1], carry), ys[:, 1] if model.keeps_time else ys[1]), 1e-10)


@every_model
def test_vmap_over_parameters_equals_each_of_them(name, x64):
    model, apply = MODELS[name], jax.jit(MODELS[name].apply)
    xs, several = inputs(name, B), [drawn(model, seed) for seed in range(2)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *several)
    both = jax.jit(jax.vmap(model.apply, (0, None), axis_size=2))(stacked, xs)
    for i, params in enumerate(several):
        assert_close(jax.tree.map(lambda x, i=i: x[i], both), apply(params, xs), 1e-10)


@every_model
def test_equal_options_are_equal_and_trace_once(name):
    traces = []

    @jax.jit
    def run(model, params, xs):
        traces.append(name)
        return model.apply(params, xs, key=jax.random.key(0))

    a, b = build()[name], build()[name]
    assert a is not b
    assert a == b
    assert hash(a) == hash(b)
    assert repr(a) == repr(b)
    params, xs = drawn(a, dtype=np.float32), inputs(name, B)
    xs = xs if name in READS_SYMBOLS else xs.astype(np.float32)
    jax.tree.map(np.testing.assert_array_equal, run(a, params, xs), run(b, params, xs))
    assert traces == [name]


def test_other_options_are_not_equal():
    pairs = [
        (jr.dense(D, O), jr.dense(D, O, bias=False)),
        (jr.embed(5, O), jr.embed(6, O)),
        (jr.layer_norm(D), jr.layer_norm(D, epsilon=1e-3)),
        (jr.batch_norm(D), jr.batch_norm(D, epsilon=1e-3)),
        (jr.batch_norm(D), jr.layer_norm(D)),
        (jr.tied(5, O, jr.dropout(0.1)), jr.tied(5, O, jr.dropout(0.1), bias=False)),
        (jr.tied(5, O, jr.dropout(0.1)), jr.tied(5, O, jr.dropout(0.2))),
        (jr.dropout(0.1), jr.dropout(0.2)),
        (jr.dropout(0.1), jr.dropout(0.1, over_time=True)),
        (jr.stack([jr.gru(D, H)]), jr.stack([jr.gru(D, H)], gradient=jr.autodiff())),
        (jr.stack([jr.gru(D, H)]), jr.stack([jr.gru(D, H), jr.gru(H, H)])),
        (jr.bidirectional(jr.gru(D, H), jr.gru(D, H)), jr.bidirectional(jr.gru(D, H), jr.gru(D, H), merge="sum")),
        (jr.chain(jr.last()), jr.chain(jr.mean_over_time())),
    ]
    for a, b in pairs:
        assert a != b, (a, b)


def test_features_are_those_of_the_ends():
    got = {name: model.features for name, model in MODELS.items()}
    assert got == {
        "dense": (D, O),
        "embed": (None, O),
        "layer_norm": (D, D),
        "batch_norm": (D, D),
        "tied": (None, SYMBOLS),
        "dropout": (None, None),
        "last": (None, None),
        "mean_over_time": (None, None),
        "stack": (D, H),
        "bidirectional": (D, H),
        "residual": (D, None),
        "chain": (D, O),
    }
    assert jr.bidirectional(jr.gru(D, H), jr.elman(D, O)).features == (D, H + O)


def test_parts_are_the_children_in_order():
    cells = (jr.lstm(D, H), jr.gru(H, H))
    stack, dense = jr.stack(cells), jr.dense(H, O)
    assert stack.parts == cells
    assert jr.bidirectional(cells[0], cells[0]).parts == (cells[0], cells[0])
    assert jr.chain(stack, dense).parts == (stack, dense)
    assert jr.residual(jr.dense(H, H)).parts == (jr.dense(H, H),)
    assert jr.tied(5, H, jr.dense(H, H)).parts == (jr.dense(H, H),)
    for name in ("dense", "embed", "layer_norm", "batch_norm", "dropout", "last", "mean_over_time"):
        assert MODELS[name].parts == ()


@every_model
def test_the_parameters_of_the_parts_are_where_their_names_say(name):
    model = MODELS[name]
    params = jax.eval_shape(model.init, jax.random.key(0))
    assert len(model.names) == len(model.parts)
    for entry, part in zip(model.names, model.parts, strict=True):
        of_part = params if entry is None else params[entry]
        assert of_part == jax.eval_shape(part.init, jax.random.key(0))


def test_layers_draw_their_parameters_from_keys_of_their_own():
    cell, dense = jr.elman(H, H), jr.dense(H, H)
    key, other = jax.random.key(0), jax.random.key(1)
    for model in (jr.stack([cell, cell]), jr.bidirectional(cell, cell), jr.chain(dense, dense)):
        a, b = model.init(key).values()
        weights = "w" if "w" in a else "w_h"
        assert np.abs(a[weights] - b[weights]).max() > 0.01, model
        again, different = model.init(key), model.init(other)
        jax.tree.map(np.testing.assert_array_equal, again, model.init(key))
        assert np.abs(next(iter(different.values()))[weights] - a[weights]).max() > 0.01


@pytree
class Recording(jr.Gradient):
    """Notes the kind of each cell that it runs."""

    seen: tuple = ()

    def run(self, cell, params, carry, inputs):
        self.seen[0].append((type(cell), cell.features))
        return jr.autodiff().run(cell, params, carry, inputs)


class Notes(list):
    """A list that may be an option, which has to be hashable."""

    __hash__ = object.__hash__


def kinds(*cells):
    return [(type(cell), cell.features) for cell in cells]


def test_the_gradient_of_a_call_overrides_those_of_the_layers():
    built_with, called_with = Recording((Notes(),)), Recording((Notes(),))
    lower, upper, both = jr.elman(D, H), jr.lstm(H, H), jr.gru(H, O)
    model = jr.chain(
        jr.stack([lower], gradient=built_with),
        jr.residual(jr.stack([upper])),
        jr.bidirectional(both, both, gradient=built_with),
    )
    params, xs = drawn(model, dtype=np.float32), sequence(T, B, D).astype(np.float32)
    plain = jax.jit(model.apply)(params, xs)
    assert built_with.seen[0] == kinds(lower, both, both)
    overridden = jax.jit(lambda p, x: model.apply(p, x, gradient=called_with))(params, xs)
    assert called_with.seen[0] == kinds(lower, upper, both, both)
    assert len(built_with.seen[0]) == 3
    assert_close(overridden, plain, 1e-6)
