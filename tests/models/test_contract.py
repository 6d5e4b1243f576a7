"""What all models have in common."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn.types import pytree
from tests.helpers import assert_close
from tests.models.oracles import B, D, H, O, T, drawn, sequence

SYMBOLS = 5


def build():
    """Each model, made anew."""
    return {
        "dense": jaxrnn.dense(D, O, activation=jnp.tanh),
        "embed": jaxrnn.embed(SYMBOLS, O),
        "layer_norm": jaxrnn.layer_norm(D),
        "batch_norm": jaxrnn.batch_norm(D),
        "tied": jaxrnn.tied(SYMBOLS, H, jaxrnn.stack([jaxrnn.gru(H, H)])),
        "dropout": jaxrnn.dropout(0.3),
        "last": jaxrnn.last(),
        "mean_over_time": jaxrnn.mean_over_time(),
        "stack": jaxrnn.stack([jaxrnn.lstm(D, H, recurrent_dropout=0.3), jaxrnn.ctrnn(H, H, 1.0, 4.0)]),
        "bidirectional": jaxrnn.bidirectional(jaxrnn.gru(D, H), jaxrnn.elman(D, H), merge="sum"),
        "residual": jaxrnn.residual(jaxrnn.chain(jaxrnn.stack([jaxrnn.gru(D, D)]), jaxrnn.dropout(0.2))),
        "chain": jaxrnn.chain(jaxrnn.dense(D, H), jaxrnn.stack([jaxrnn.lstm(H, H)]), jaxrnn.last(), jaxrnn.dense(H, O)),
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
        (jaxrnn.dense(D, O), jaxrnn.dense(D, O, bias=False)),
        (jaxrnn.embed(5, O), jaxrnn.embed(6, O)),
        (jaxrnn.layer_norm(D), jaxrnn.layer_norm(D, epsilon=1e-3)),
        (jaxrnn.batch_norm(D), jaxrnn.batch_norm(D, epsilon=1e-3)),
        (jaxrnn.batch_norm(D), jaxrnn.layer_norm(D)),
        (jaxrnn.tied(5, O, jaxrnn.dropout(0.1)), jaxrnn.tied(5, O, jaxrnn.dropout(0.1), bias=False)),
        (jaxrnn.tied(5, O, jaxrnn.dropout(0.1)), jaxrnn.tied(5, O, jaxrnn.dropout(0.2))),
        (jaxrnn.dropout(0.1), jaxrnn.dropout(0.2)),
        (jaxrnn.dropout(0.1), jaxrnn.dropout(0.1, over_time=True)),
        (jaxrnn.stack([jaxrnn.gru(D, H)]), jaxrnn.stack([jaxrnn.gru(D, H)], gradient=jaxrnn.autodiff())),
        (jaxrnn.stack([jaxrnn.gru(D, H)]), jaxrnn.stack([jaxrnn.gru(D, H), jaxrnn.gru(H, H)])),
        (
            jaxrnn.bidirectional(jaxrnn.gru(D, H), jaxrnn.gru(D, H)),
            jaxrnn.bidirectional(jaxrnn.gru(D, H), jaxrnn.gru(D, H), merge="sum"),
        ),
        (jaxrnn.chain(jaxrnn.last()), jaxrnn.chain(jaxrnn.mean_over_time())),
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
        "residual": (D, D),
        "chain": (D, O),
    }
    assert jaxrnn.bidirectional(jaxrnn.gru(D, H), jaxrnn.elman(D, O)).features == (D, H + O)


def test_parts_are_the_children_in_order():
    cells = (jaxrnn.lstm(D, H), jaxrnn.gru(H, H))
    stack, dense = jaxrnn.stack(cells), jaxrnn.dense(H, O)
    assert stack.parts == cells
    assert jaxrnn.bidirectional(cells[0], cells[0]).parts == (cells[0], cells[0])
    assert jaxrnn.chain(stack, dense).parts == (stack, dense)
    assert jaxrnn.residual(jaxrnn.dense(H, H)).parts == (jaxrnn.dense(H, H),)
    assert jaxrnn.tied(5, H, jaxrnn.dense(H, H)).parts == (jaxrnn.dense(H, H),)
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
    cell, dense = jaxrnn.elman(H, H), jaxrnn.dense(H, H)
    key, other = jax.random.key(0), jax.random.key(1)
    for model in (jaxrnn.stack([cell, cell]), jaxrnn.bidirectional(cell, cell), jaxrnn.chain(dense, dense)):
        a, b = model.init(key).values()
        weights = "w" if "w" in a else "w_h"
        assert np.abs(a[weights] - b[weights]).max() > 0.01, model
        again, different = model.init(key), model.init(other)
        jax.tree.map(np.testing.assert_array_equal, again, model.init(key))
        assert np.abs(next(iter(different.values()))[weights] - a[weights]).max() > 0.01


@pytree
class Recording(jaxrnn.Gradient):
    """Notes the kind of each cell that it runs."""

    seen: tuple = ()

    def run(self, cell, params, carry, inputs):
        self.seen[0].append((type(cell), cell.features))
        return jaxrnn.autodiff().run(cell, params, carry, inputs)


class Notes(list):
    """A list that may be an option, which has to be hashable."""

    __hash__ = object.__hash__


def kinds(*cells):
    return [(type(cell), cell.features) for cell in cells]


def test_the_gradient_of_a_call_overrides_those_of_the_layers():
    built_with, called_with = Recording((Notes(),)), Recording((Notes(),))
    lower, upper, both = jaxrnn.elman(D, H), jaxrnn.lstm(H, H), jaxrnn.gru(H, O)
    model = jaxrnn.chain(
        jaxrnn.stack([lower], gradient=built_with),
        jaxrnn.residual(jaxrnn.stack([upper])),
        jaxrnn.bidirectional(both, both, gradient=built_with),
    )
    params, xs = drawn(model, dtype=np.float32), sequence(T, B, D).astype(np.float32)
    plain = jax.jit(model.apply)(params, xs)
    assert built_with.seen[0] == kinds(lower, both, both)
    overridden = jax.jit(lambda p, x: model.apply(p, x, gradient=called_with))(params, xs)
    assert called_with.seen[0] == kinds(lower, upper, both, both)
    assert len(built_with.seen[0]) == 3
    assert_close(overridden, plain, 1e-6)
