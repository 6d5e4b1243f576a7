"""Real-time recurrent learning against autodiff, and its sparse approximation where that is exact."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.gradients.transforms import TRANSFORMED, assert_equals_rows_of_autodiff, case_name
from tests.helpers import assert_close, example, gradients, mostly_slow, relative_error
from tests.registry import BY_NAME, ENTRIES, D, H

FLOAT64 = np.dtype(np.float64), 1e-10
NO_OPTIONS = ("xs", "cell")
CELLS = ("lstm_learned", "custom_plain", "gru_zoneout", "elman_dropout")
SNAP = jaxrnn.rtrl(sparsity="snap1")
ELEMENTWISE = [e for e in ENTRIES if e.gated and e.build().heads == 1 and not re.search("norm|dropout_zoneout", e.name)]


@pytest.mark.parametrize(
    "i", mostly_slow([0, 3, 5, 6], 1, 3), ids=lambda i: f"{CELLS[i % 4]}-{case_name(TRANSFORMED[i])}"
)
def test_under_options_and_transformations(i, x64):
    assert_equals_rows_of_autodiff(jaxrnn.rtrl(), BY_NAME[CELLS[i % 4]], *TRANSFORMED[i], fixed=NO_OPTIONS)


def elementwise_recurrence(cell, params):
    """The same parameters with a diagonal recurrent matrix for each gate."""
    w_h = params["w_h"].reshape(H, cell.G, H) * np.eye(H)[:, None, :]
    return params | {"w_h": w_h.reshape(H, cell.G * H)}


@pytest.mark.parametrize(
    "entry", mostly_slow(ELEMENTWISE, "elman", "lstm_peephole", "ctrnn_taus_noise"), ids=lambda e: e.name
)
def test_snap1_is_exact_for_element_wise_recurrence(entry, x64):
    e = example(entry)
    params = elementwise_recurrence(e.cell, e.params)
    key = jax.random.key(3) if entry.noisy else None

    @jax.jit
    def both(params, carry):
        options = {"lengths": e.lengths, "resets": e.resets, "reverse": True, "key": key, "fixed": NO_OPTIONS}
        return [gradients(g, e.cell, params, jnp.asarray(e.xs), carry, **options) for g in (SNAP, jaxrnn.autodiff())]

    assert_close(*both(params, e.carry), 1e-10)


def test_snap1_keeps_each_weights_influence_on_its_own_unit(x64):
    """Elsewhere it is an approximation: for tanh, in plain NumPy, one row."""
    rng = np.random.default_rng(0)
    p = {"w_x": rng.standard_normal((D, H)), "w_h": 0.6 * rng.standard_normal((H, H)), "b": rng.standard_normal(H)}
    xs, dys, h = rng.standard_normal((6, D)), rng.standard_normal((6, H)), np.zeros(H)
    kept, want = ({name: np.zeros_like(value) for name, value in p.items()} for _ in range(2))
    for x, dy in zip(xs, dys, strict=True):
        after = np.tanh(x @ p["w_x"] + h @ p["w_h"] + p["b"])
        at_once = {"w_x": x[:, None], "w_h": h[:, None], "b": 1.0}
        h = after
        for name in p:
            kept[name] = (1.0 - h**2) * (at_once[name] + np.diag(p["w_h"]) * kept[name])
            want[name] += dy * kept[name]

    def loss(p, gradient):
        return jnp.sum(dys * jaxrnn.unroll(jaxrnn.elman(D, H), p, xs, gradient=gradient)[1])

    assert_close(jax.grad(loss)(p, SNAP), want, 1e-12)
    assert relative_error(jax.grad(loss)(p, jaxrnn.autodiff())["w_h"], want["w_h"]) > 1e-3


def test_in_a_model_of_one_recurrent_layer(x64):
    model = jaxrnn.chain(
        jaxrnn.stack([jaxrnn.gru(D, H, param_dtype=jnp.float64)]),
        jaxrnn.last(),
        jaxrnn.dense(H, 2, param_dtype=jnp.float64),
    )
    params, xs = model.init(jax.random.key(0)), np.random.default_rng(0).standard_normal((6, 2, D))

    def loss(params, gradient):
        return (model.apply(params, xs, gradient=gradient)[1] ** 2).sum()

    assert_close(*(jax.grad(loss)(params, g) for g in (jaxrnn.rtrl(), jaxrnn.autodiff())), 1e-10)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit, lambda f: jax.vmap(f, in_axes=(None, 1))])
def test_the_gradient_of_the_inputs_is_refused(transform):
    cell = jaxrnn.elman(D, H)
    params, xs = cell.init(jax.random.key(0)), jnp.ones((5, 2, D))
    gradient = jax.grad(lambda params, xs: jaxrnn.unroll(cell, params, xs, gradient=jaxrnn.rtrl())[1].sum(), argnums=1)
    with pytest.raises(ValueError, match=r"^gradient: expected .*gradient of xs is asked for.*got rtrl\(\)"):
        transform(gradient)(params, xs)


def test_lower_layers_are_refused():
    model = jaxrnn.stack([jaxrnn.elman(D, H), jaxrnn.elman(H, H)], gradient=jaxrnn.rtrl())
    params = model.init(jax.random.key(0))
    assert model.apply(params, jnp.ones((5, 2, D)))[1].shape == (5, 2, H)
    with pytest.raises(ValueError, match="gradient of xs is asked for"):
        jax.grad(lambda params: model.apply(params, jnp.ones((5, 2, D)))[1].sum())(params)


@pytest.mark.parametrize("name", ["lstm_layer_norm", "gru_before", "custom_plain"])
def test_snap1_refuses_cells_whose_units_mix(name):
    e = example(BY_NAME[name], np.float32)
    with pytest.raises(ValueError, match=r"^sparsity: expected .*with 'snap1', got"):
        jaxrnn.unroll(e.cell, e.params, e.xs, gradient=SNAP)


@pytest.mark.parametrize(
    "mix",
    [
        lambda h: h[..., :1],
        lambda h: h[..., 0][..., None],
        lambda h: h.reshape(*h.shape[:-1], 2, 2).swapaxes(-1, -2).reshape(h.shape),
        lambda h: jnp.roll(h, 1, -1),
        lambda h: jnp.take(h, jnp.array([1, 0, 3, 2]), -1),
        lambda h: jax.lax.associative_scan(jnp.add, h, axis=-1),
        lambda h: h.mean(-1, keepdims=True),
    ],
)
def test_snap1_refuses_equations_of_ones_own_whose_units_mix(mix):
    cell = jaxrnn.gated_cell(D, 4, {"n": jnp.tanh}, lambda params, h, gates, noise: gates[0] + 0.5 * mix(h))
    with pytest.raises(ValueError, match=r"^sparsity: expected .*with 'snap1', got"):
        jaxrnn.unroll(cell, cell.init(jax.random.key(0)), jnp.ones((5, D)), gradient=SNAP)


def test_half_precision_parameters_are_summed_over_time_in_float32():
    cell = jaxrnn.gru(D, H, param_dtype=jnp.bfloat16)
    params, xs = (
        cell.init(jax.random.key(0)),
        jnp.asarray(np.random.default_rng(0).standard_normal((600, D)), jnp.float32),
    )

    def g(params, gradient):
        return jax.jit(jax.grad(lambda p: jnp.sum(jaxrnn.unroll(cell, p, xs, gradient=gradient)[1] ** 2)))(params)

    found, want = g(params, jaxrnn.rtrl()), g(jax.tree.map(lambda p: p.astype(jnp.float32), params), jaxrnn.autodiff())
    for name, d in found.items():
        assert d.dtype == jnp.bfloat16
        assert relative_error(np.asarray(d, np.float32), want[name]) < 0.02


def test_steps_without_a_forward_mode_are_refused():
    identity = jax.custom_vjp(lambda x: x)
    identity.defvjp(lambda x: (x, None), lambda _, d: (d,))
    cell = jaxrnn.elman(D, H, activation=identity)
    params = cell.init(jax.random.key(0))
    with pytest.raises(ValueError, match=r"^cell: expected a step without jax.custom_vjp functions.*got Elman"):
        jaxrnn.unroll(cell, params, jnp.ones((5, D)), gradient=jaxrnn.rtrl())


def test_snap1_refuses_derivatives_by_options_of_the_cell():
    params = jaxrnn.ctrnn(D, H, 1.0, 4.0).init(jax.random.key(0))

    def loss(tau):
        return jaxrnn.unroll(jaxrnn.ctrnn(D, H, 1.0, tau), params, jnp.ones((5, D)), gradient=SNAP)[1].sum()

    with pytest.raises(ValueError, match="gradient of cell is asked for"):
        jax.grad(loss)(4.0)
