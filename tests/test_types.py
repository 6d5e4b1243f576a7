"""Cells as values: equal by their options, traced once, numbers as leaves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.helpers import assert_close, example
from tests.registry import BY_NAME, ENTRIES, D, H


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
def test_cells_of_equal_options_are_equal_and_trace_once(entry):
    a, b = entry.build(), entry.build()
    assert a is not b
    assert a == b
    assert hash(a) == hash(b)
    traces = []

    @jax.jit
    def run(cell, params, xs):
        traces.append(cell)
        return jaxrnn.unroll(cell, params, xs)[1]

    e = example(entry, np.float32, T=1, batch=())
    np.testing.assert_array_equal(run(a, e.params, e.xs), run(b, e.params, e.xs))
    assert len(traces) == 1


def test_cells_of_other_options_differ():
    cells = [
        jaxrnn.lstm(D, H),
        jaxrnn.lstm(D, H + 1),
        jaxrnn.lstm(D, H, forget_bias=2.0),
        jaxrnn.lstm(D, H, peephole=True),
        jaxrnn.lstm(D, H, dtype=jnp.bfloat16),
        jaxrnn.lstm(D, H, recurrent_dropout=0.1),
        jaxrnn.lstm(D, H, recurrent_dropout=0.2),
        jaxrnn.gru(D, H),
        jaxrnn.elman(D, H),
        jaxrnn.elman(D, H, activation=jax.nn.relu),
        jaxrnn.ctrnn(D, H, 1.0, 4.0),
        jaxrnn.ctrnn(D, H, 1.0, np.full(H, 4.0, np.float32)),
        jaxrnn.ctrnn(D, H, 1.0, np.full(H, 5.0, np.float32)),
        jaxrnn.lstm(D, H, proj_size=2),
    ]
    for i, a in enumerate(cells):
        assert [j for j, b in enumerate(cells) if a == b] == [i]
    assert jaxrnn.reverse_scan() == jaxrnn.reverse_scan() != jaxrnn.autodiff()
    assert hash(jaxrnn.reverse_scan()) == hash(jaxrnn.reverse_scan())


def test_one_compilation_serves_several_values_of_a_number():
    """tau and sigma are leaves: made inside the traced function, or handed in within the cell."""
    e = example(BY_NAME["ctrnn"], np.float32)
    built, handed = [], []

    @jax.jit
    def build(tau):
        built.append(tau)
        return jaxrnn.unroll(jaxrnn.ctrnn(D, H, 1.0, tau), e.params, e.xs)[1]

    @jax.jit
    def hand(cell):
        handed.append(cell)
        return jaxrnn.unroll(cell, e.params, e.xs)[1]

    results = []
    for tau in (2.0, 3.0, 5.0):
        want = jaxrnn.unroll(jaxrnn.ctrnn(D, H, 1.0, tau), e.params, e.xs)[1]
        assert_close(build(tau), want, 1e-6)
        assert_close(hand(jaxrnn.ctrnn(D, H, 1.0, tau)), want, 1e-6)
        results.append(np.asarray(want))
    assert len(built) == len(handed) == 1
    assert np.max(np.abs(results[0] - results[1])) > 1e-2


def test_a_sweep_over_tau_is_one_vmap():
    e = example(BY_NAME["ctrnn"], np.float32)
    taus = jnp.array([2.0, 3.0, 5.0])
    run = jax.jit(lambda tau: jaxrnn.unroll(jaxrnn.ctrnn(D, H, 1.0, tau), e.params, e.xs)[1])
    assert_close(jax.vmap(run)(taus), jnp.stack([run(tau) for tau in taus]), 1e-6)


def test_repr_shows_the_options_that_differ_from_their_defaults():
    text = repr(jaxrnn.lstm(D, H, peephole=True, recurrent_dropout=0.25))
    for part in ("D=3", "H=4", "peephole=True", "recurrent_dropout=0.25"):
        assert part in text
    assert "coupled" not in text
    assert "relu" in repr(jaxrnn.elman(D, H, activation=jax.nn.relu))
    assert "5.0" in repr(jaxrnn.ctrnn(D, H, 1.0, 5.0))
    assert "autodiff" in repr(jaxrnn.autodiff()).lower()


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
def test_cells_are_frozen_and_survive_flattening(entry):
    cell = entry.build()
    leaves, structure = jax.tree.flatten(cell)
    assert jax.tree.unflatten(structure, leaves) == cell
    with pytest.raises(AttributeError):
        cell.anything = 1


@pytest.mark.parametrize(
    ("error", "message", "build"),
    [
        (ValueError, "H: expected a positive integer, got 0", lambda: jaxrnn.lstm(3, 0)),
        (ValueError, "D: expected a positive integer, got 2.0", lambda: jaxrnn.gru(2.0, 4)),
        (TypeError, "peepholes: expected one of the options", lambda: jaxrnn.lstm(3, 4, peepholes=True)),
        (
            ValueError,
            r"recurrent_dropout: expected a number in \[0, 1\), got float 1.0",
            lambda: jaxrnn.elman(3, 4, recurrent_dropout=1.0),
        ),
        (
            ValueError,
            r"zoneout: expected a number .*in \[0, 1\), got float -0.1",
            lambda: jaxrnn.gru(3, 4, zoneout=-0.1),
        ),
        (ValueError, "dt: expected at most tau = 2.0, got 3.0", lambda: jaxrnn.ctrnn(3, 4, 3.0, 2.0)),
        (
            ValueError,
            r"tau: expected a number or an array of shape \(4,\), above 0, got float\d+\[3\]",
            lambda: jaxrnn.ctrnn(3, 4, 1.0, np.ones(3)),
        ),
        (ValueError, "chrono: expected a number above 2, got float 2.0", lambda: jaxrnn.lstm(3, 4, chrono=2.0)),
        (TypeError, "dtype: expected a floating-point dtype", lambda: jaxrnn.lstm(3, 4, dtype=jnp.int8)),
        (TypeError, "activation: expected a function", lambda: jaxrnn.elman(3, 4, activation="tanh")),
        (ValueError, "zoneout: expected None with proj_size", lambda: jaxrnn.lstm(3, 4, proj_size=2, zoneout=0.1)),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_wrong_option_is_named(error, message, build):
    with pytest.raises(error, match=message):
        build()


def test_classes_of_equal_fields_have_structures_of_their_own():
    """Else jit may run the program of one on the other."""
    last, mean = jaxrnn.chain(jaxrnn.last()), jaxrnn.chain(jaxrnn.mean_over_time())
    assert jax.tree.structure(last) != jax.tree.structure(mean)
    assert jax.tree.structure(last) == jax.tree.structure(jaxrnn.chain(jaxrnn.last()))
    paths = [
        jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(jaxrnn.chain(jaxrnn.dropout(0.1)))
    ]
    assert paths == [".models[0].rate"]
