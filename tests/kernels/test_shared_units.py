"""Kernels whose blocks share the hidden units of larger cells."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as jr
from jaxrnn.gradients import kernel_loop
from jaxrnn.kernels import exchange, persistent, triton
from jaxrnn.kernels.levels import Levels
from tests.helpers import assert_close
from tests.jaxprs import equations
from tests.kernels import in_threads

PERSISTENT = jr.reverse_scan(loop="persistent")


@pytest.fixture
def shared(monkeypatch):
    """Four blocks share the units of every cell."""
    monkeypatch.setattr(kernel_loop, "fit", lambda *_: kernel_loop.Fit(4))


def loss(gradient, cell, params, xs, **options):
    carry, ys = jr.unroll(cell, params, xs, gradient=gradient, **options)
    return jnp.sum(jnp.sin(3.0 * ys)) + sum(jnp.sum(x * x) for x in jax.tree.leaves(carry))


def given(cell, T=5, B=3):
    """Random parameters and inputs."""
    shapes = jax.eval_shape(cell.init, jax.random.key(0))
    keys = iter(jax.random.split(jax.random.key(1), 20))
    params = jax.tree.map(lambda x: 0.3 * jax.random.normal(next(keys), x.shape), shapes)
    return params, jax.random.normal(next(keys), (T, B, cell.features[0]))


CELLS = {
    "lstm": (jr.lstm(3, 64, peephole=True), {}),
    "gru": (jr.gru(3, 50), {}),  # of 64 units, some of them copies
    "heads": (jr.gru(3, 128, heads=2), {}),
    "noise": (jr.lstm(3, 64, zoneout=0.3, recurrent_dropout=0.2), {"key": jax.random.key(7)}),
}


@pytest.mark.parametrize("name", CELLS)
def test_shares_of_the_units_equal_the_scan(name, shared):
    """On a CPU what the blocks hand each other goes along an axis of arrays."""
    cell, options = CELLS[name]
    params, xs = given(cell)
    options = options | {"lengths": np.array([5, 2, 0]), "resets": np.eye(5, 3, dtype=bool), "reverse": True}

    @jax.jit
    def run(params, xs):
        return [
            jax.value_and_grad(functools.partial(loss, g, cell, **options), (0, 1))(params, xs)
            for g in (PERSISTENT, jr.reverse_scan(loop="scan"))
        ]

    found, expected = run(params, xs)
    assert_close(found, expected, 1e-5)


def kernels(cell, members, B):
    """The two loops of a gradient, each with operands of random numbers."""
    shapes, xs = jax.eval_shape(lambda: given(cell, B=B))
    f = jax.grad(functools.partial(loss, PERSISTENT, cell))
    if members:
        f, shapes = jax.vmap(f, (0, None)), jax.tree.map(lambda x: jnp.zeros((members, *x.shape)), shapes)
    rng = np.random.default_rng(0)
    for equation in equations(jax.make_jaxpr(f)(shapes, xs).jaxpr):
        if equation.primitive.name == "persistent_loop":
            avals = [v.aval for v in equation.invars]
            yield [jnp.asarray(rng.normal(size=a.shape) * 0.3, a.dtype) for a in avals], equation.params


@pytest.mark.parametrize(
    ("cell", "members", "B", "rows"),
    [
        (jr.lstm(3, 64), 0, 3, 16),
        (jr.gru(3, 64), 2, 20, 16),
        (jr.gru(3, 128, heads=2), 0, 20, 16),
        (jr.lstm(3, 64, dtype="bfloat16"), 0, 20, 32),
    ],
    ids=["lstm", "grus", "heads", "rows"],
)
def test_blocks_that_run_at_once_and_meet_at_every_step(cell, members, B, rows, shared, monkeypatch):
    """The kernel's own code, its blocks as threads that are delayed by chance."""
    found = 0
    for operands, params in kernels(cell, members, B):
        axes = Levels(**params)
        assert axes.shares == 4
        expected = persistent._plain(*operands, **params)
        for seed in range(2):
            results, _ = in_threads.run(axes.blocks(operands, rows), monkeypatch, seed)
            assert_close(axes.results(results), expected, 1e-5)
        found += 1
    assert found == 2


def test_a_block_that_never_comes_is_nan_not_a_hang(shared, monkeypatch):
    monkeypatch.setattr(exchange, "PATIENCE", 20)
    operands, params = next(kernels(jr.lstm(3, 64), 0, 3))
    blocks = Levels(**params).blocks(operands, 16)
    results, looks = in_threads.run(blocks, monkeypatch, without=(3, 0))
    assert all(np.isnan(x[:, :3]).all() for x in results[1])  # the carry of all others
    assert looks <= 3 * (exchange.PATIENCE + blocks.T)  # none waits a second time


def test_what_threads_of_python_can_not_show(shared):
    """All threads of a block have written before it says so, and what it reads of others comes from no cache."""
    for operands, params in kernels(jr.lstm(3, 64), 0, 3):
        axes = Levels(**params)
        jaxpr = jax.make_jaxpr(lambda *x, axes=axes: triton.run(axes.blocks(x, 16), interpret=False))(*operands)
        found = [e for e in equations(jaxpr) if e.primitive.name in ("debug_barrier_p", "atomic_rmw", "masked_load")]
        assert [e.primitive.name for e in found] == ["debug_barrier_p", "atomic_rmw", "atomic_rmw", "masked_load"]
        assert found[-1].params["is_volatile"]
