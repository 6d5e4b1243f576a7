"""The persistent kernels, interpreted on a CPU, against the scan."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn.kernels.program import KINDS
from tests.helpers import assert_close, example, gradients, mostly_slow
from tests.jaxprs import equations
from tests.registry import BY_NAME, ENTRIES

PERSISTENT = jaxrnn.reverse_scan(loop="persistent")
GATED = [e for e in ENTRIES if e.gated and "norm" not in e.name]
FLOAT32 = 1e-5


@pytest.fixture(params=["cuda", "tpu"])
def form(request, monkeypatch):
    """Whose kernel is interpreted."""
    monkeypatch.setitem(KINDS, "cpu", KINDS[request.param]._replace(interpreted=True))


def both(e, candidate=PERSISTENT, reference=None, **options):
    """What the kernel and the scan find: outputs and all derivatives."""
    reference = jaxrnn.reverse_scan(loop="scan") if reference is None else reference

    @jax.jit
    def run(arguments):
        return [gradients(g, *arguments, **options) for g in (candidate, reference)]

    return run(e.arguments())


def assert_equal_to_scan(e, tolerance=FLOAT32, **options):
    found, expected = both(e, **options)
    assert_close(found, expected, tolerance)
    assert np.max(np.abs(expected["['params']['w_h']"])) > 1e-3


def every_option(e, entry):
    """Two of the rows are shorter, episodes begin, time runs backward, and there is noise."""
    key = jax.random.key(3) if entry.noisy else None
    return {"lengths": e.lengths, "resets": e.resets, "reverse": True, "key": key}


@pytest.mark.parametrize("entry", mostly_slow(GATED, "lstm_dropout_zoneout", "custom_gated"), ids=lambda e: e.name)
def test_a_gated_cell_with_every_option(entry):
    """Four units, of sixteen that the kernel has."""
    e = example(entry, np.float32)
    assert_equal_to_scan(e, **every_option(e, entry))


@pytest.mark.parametrize("name", mostly_slow(["lstm_peephole", "gru_zoneout"], "gru_zoneout"))
def test_the_same_on_a_tpu(name, monkeypatch):
    monkeypatch.setitem(KINDS, "cpu", KINDS["tpu"]._replace(interpreted=True))
    e = example(BY_NAME[name], np.float32)
    assert_equal_to_scan(e, **every_option(e, BY_NAME[name]))


@pytest.mark.parametrize(("batch", "T"), [((), 2), ((2, 9), 1)], ids=str)
def test_batches_of_any_shape_and_few_steps(batch, T):
    assert_equal_to_scan(example(BY_NAME["elman"], np.float32, batch=batch, T=T))


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_half_precision_products(name):
    cell = dataclasses.replace(example(BY_NAME[name]).cell, dtype=jnp.bfloat16)
    e = example(BY_NAME[name], np.float32)._replace(cell=cell)
    assert_equal_to_scan(e, 2e-2)


def test_clipping_on_the_way_back():
    e, limits = example(BY_NAME["lstm"], np.float32), {"clip_value": 0.3, "clip_norm": 0.4}
    options = {
        "candidate": jaxrnn.reverse_scan(loop="persistent", **limits),
        "reference": jaxrnn.reverse_scan(**limits),
    }
    found, expected = both(e, **options)
    assert_close(found, expected, FLOAT32)
    assert not np.allclose(expected["['xs']"], both(e)[1]["['xs']"])  # there was something to clip


def wide(**options):
    """A cell of as many units as the kernel has, with random parameters, and inputs."""
    cell = jaxrnn.lstm(3, 16, **options)
    params = jax.tree.map(
        lambda x: 0.4 * jax.random.normal(jax.random.key(x.size), x.shape), cell.init(jax.random.key(0))
    )
    return cell, params, jax.random.normal(jax.random.key(1), (5, 4, 3))


def loss(gradient, cell, params, xs):
    carry, ys = jaxrnn.unroll(cell, params, xs, gradient=gradient)
    return jnp.sum(jnp.sin(3.0 * ys)) + sum(jnp.sum(x * x) for x in jax.tree.leaves(carry))


def test_equations_that_mix_units_where_their_number_fits():
    cell, params, xs = wide(layer_norm=True, peephole=True)
    found, expected = (
        jax.jit(jax.value_and_grad(functools.partial(loss, g, cell)))(params, xs)
        for g in (PERSISTENT, jaxrnn.reverse_scan())
    )
    assert_close(found, expected, FLOAT32)


def launches(f, *arguments):
    """How often a kernel is launched in a program."""
    return sum(e.primitive.name == "pallas_call" for e in equations(jax.make_jaxpr(f)(*arguments)))


def test_members_with_weights_of_their_own_are_one_launch():
    """Forward and backward, however many there are: a mapped axis is part of the grid."""
    cell, _, xs = wide()
    params = jax.vmap(cell.init)(jax.random.split(jax.random.key(2), 3))

    def differentiated(gradient):
        return jax.vmap(jax.value_and_grad(functools.partial(loss, gradient, cell)), (0, None))

    assert launches(differentiated(PERSISTENT), params, xs) == 2
    found, expected = (jax.jit(differentiated(g))(params, xs) for g in (PERSISTENT, jaxrnn.reverse_scan()))
    assert_close(found, expected, FLOAT32)


def test_members_that_share_all_but_w_h(form):
    """Without a derivative, which leaves out what is kept for it, and with one of a function that was jitted first."""
    cell, params, xs = wide()
    axes = dict.fromkeys(params, None) | {"w_h": 0}
    params |= {"w_h": jnp.stack([params["w_h"], 0.5 * params["w_h"]])}

    def values(gradient):
        return jax.vmap(jax.jit(functools.partial(loss, gradient, cell)), (axes, None))

    def both(gradient):
        run = values(gradient)
        return run(params, xs), jax.grad(lambda p: run(p, xs).sum())(params)

    assert_close(both(PERSISTENT), both(jaxrnn.reverse_scan()), FLOAT32)


def test_mapped_axes_of_members_and_of_rows_in_any_order(form):
    """vmap over sequences, members, sequences again; the learned rate of a member is an option of its cell."""
    cell = jaxrnn.ctrnn(3, 16, 1.0, jnp.asarray(4.0), activation=jnp.tanh)
    params = jax.vmap(cell.init)(jax.random.split(jax.random.key(2), 2))
    taus = jnp.asarray([3.0, 7.0])
    xs = jax.random.normal(jax.random.key(1), (3, 4, 5, 3))  # [outer, inner, T, D]

    def one(gradient, params, tau, xs):
        cell = jaxrnn.ctrnn(3, 16, 1.0, tau, activation=jnp.tanh)
        return jaxrnn.unroll(cell, params, xs, gradient=gradient)[1]

    def total(gradient, params, taus):
        run = jax.vmap(functools.partial(one, gradient), (None, None, 0))  # inner
        run = jax.vmap(run, (0, 0, None))  # members
        ys = jax.vmap(run, (None, None, 0))(params, taus, xs)  # outer
        weights = jax.random.normal(jax.random.key(5), ys.shape)
        return jnp.sum(weights * ys), ys

    found, expected = (
        jax.jit(jax.grad(functools.partial(total, g), (0, 1), has_aux=True))(params, taus)
        for g in (PERSISTENT, jaxrnn.reverse_scan())
    )
    assert_close(found, expected, FLOAT32)


def test_second_derivatives_are_those_of_the_scan():
    cell, params, xs = wide()
    direction = jax.tree.map(jnp.ones_like, params)

    def product(gradient):
        slope = jax.grad(functools.partial(loss, gradient, cell))
        return jax.jit(jax.grad(lambda p: sum(map(jnp.vdot, *map(jax.tree.leaves, (slope(p, xs), direction))))))(params)

    assert_close(product(PERSISTENT), product(jaxrnn.reverse_scan()), 1e-4)
