"""Cells and models that hold functions: equal by what these compute, pickled wherever they were made."""

import copy
import functools
import pickle
import subprocess
import sys
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from jaxrnn.functions import Function
from jaxrnn.types import pytree
from tests.compiling import counted


def squashed(z):
    return jnp.tanh(z)


def _update(params, carry, gates, noise):
    return gates[0] * gates[1]


def cells(scale=0.5):
    """One for each way in which a function can be held; anew at each call."""
    return {
        "defaults": jaxrnn.lstm(3, 4),
        "an initialiser of JAX's": jaxrnn.lstm(3, 4, input_init=jax.nn.initializers.normal(0.1)),
        "a cached initialiser": jaxrnn.gru(3, 4, recurrent_init=jaxrnn.initializers.torch_uniform(4)),
        "a function of a module": jaxrnn.elman(3, 4, activation=squashed),
        "a custom derivative": jaxrnn.elman(3, 4, activation=jax.nn.relu),
        "a function that closes over a number": jaxrnn.elman(3, 4, activation=lambda z: scale * z),
        "a partial": jaxrnn.elman(3, 4, activation=functools.partial(jax.nn.leaky_relu, negative_slope=0.3)),
        "gates": jaxrnn.gated_cell(
            3, 4, {"f": jax.nn.sigmoid, "n": jaxrnn.apart(lambda x, h, f: jnp.tanh(x + f * h))}, _update
        ),
        "a cell of three functions": jaxrnn.cell(
            lambda key: {"w": jnp.ones(3)}, lambda p, rows: jnp.zeros((*rows, 3)), lambda p, c, x: (c + x * p["w"], c)
        ),
        "arrays": jaxrnn.ctrnn(3, 4, 1.0, np.full(4, 10.0)),
        "a model": jaxrnn.chain(
            jaxrnn.stack([jaxrnn.lstm(3, 4, proj_size=2)]), jaxrnn.dropout(0.1), jaxrnn.dense(2, 1)
        ),
    }


@pytest.mark.parametrize("name", cells())
def test_a_copy_equals_what_it_is_of(name):
    cell = cells()[name]
    copies = [cells()[name], copy.copy(cell), copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))]
    for other in copies:
        assert other == cell
        assert hash(other) == hash(cell)
        assert jax.tree.structure(other) == jax.tree.structure(cell)
        a, b = (x.init(jax.random.key(0)) for x in (cell, other))
        assert all(map(np.array_equal, jax.tree.leaves(a), jax.tree.leaves(b)))


def test_another_number_or_another_code_is_another_function():
    name = "a function that closes over a number"
    assert cells(0.5)[name] != cells(0.6)[name]
    assert Function(lambda z: z + 1) != Function(lambda z: z + 2)
    assert jaxrnn.elman(3, 4, activation=jnp.sin) != jaxrnn.elman(3, 4, activation=jnp.cos)


NOTEBOOK = """
import jax, jax.numpy as jnp
import jaxrnn
def scaled(h):
    return helper(h)
def update(params, carry, gates, noise):
    return scaled(gates[0])
"""


@pytest.mark.parametrize("again", [False, True])
def test_a_helper_that_is_defined_anew_is_read(again):
    """In a notebook, with or without a new cell after it."""
    book = {"__name__": "notebook"}
    exec(NOTEBOOK + "def helper(h):\n    return h\ncell = jaxrnn.gated_cell(3, 4, {'h': jnp.tanh}, update)", book)
    params, xs = book["cell"].init(jax.random.key(0)), jnp.ones((1, 2, 3))
    first = jaxrnn.unroll(book["cell"], params, xs)[1]
    exec("def helper(h):\n    return 100.0 * h", book)
    if again:
        exec(NOTEBOOK + "cell = jaxrnn.gated_cell(3, 4, {'h': jnp.tanh}, update)", book)
    np.testing.assert_allclose(jaxrnn.unroll(book["cell"], params, xs)[1], 100.0 * first, rtol=1e-6)


class Setting:
    def __init__(self, scale):
        self.scale = scale


SCALE, SETTING = 1.0, Setting(1.0)


@pytree
class Scaled(jaxrnn.GatedCell):
    """A user's class whose equations read their module."""

    gates: ClassVar = {"h": jnp.tanh}

    def update(self, params, carry, gates, noise):
        return SCALE * gates[0]


def scaled_cells():
    """One for each place from which an equation may read a number, all of them 1 at first; and what sets it."""
    closed, seen, table, array = 1.0, Setting(1.0), {"scale": [1.0]}, np.ones(4, np.float32)

    def rebind(value):
        nonlocal closed
        closed = value

    def read(scale):
        return jaxrnn.gated_cell(3, 4, {"h": jnp.tanh}, lambda params, carry, gates, noise: scale() * gates[0])

    return {
        "closure": (read(lambda: closed), rebind),
        "object": (read(lambda: seen.scale), functools.partial(setattr, seen, "scale")),
        "dict": (read(lambda: table["scale"][0]), functools.partial(table["scale"].__setitem__, 0)),
        "array": (read(lambda: array[0]), functools.partial(array.fill)),
        "global": (read(lambda: SCALE), functools.partial(globals().__setitem__, "SCALE")),
        "global object": (read(lambda: SETTING.scale), functools.partial(setattr, SETTING, "scale")),
        "method": (Scaled(3, 4), functools.partial(globals().__setitem__, "SCALE")),
    }


@pytest.mark.parametrize("name", scaled_cells())
def test_a_number_that_changes_is_read_again(name, monkeypatch):
    """And one that does not compiles nothing."""
    monkeypatch.setitem(globals(), "SCALE", 1.0)
    cell, put = scaled_cells()[name]
    put(1.0)
    params, xs = cell.init(jax.random.key(0)), jnp.ones((1, 2, 3))
    first = jaxrnn.unroll(cell, params, xs)[1]
    with counted() as events:
        jaxrnn.unroll(cell, params, xs)
    assert not events
    put(2.0)
    np.testing.assert_allclose(jaxrnn.unroll(cell, params, xs)[1], 2.0 * first, rtol=1e-6)
    put(1.0)


def test_a_loss_that_reads_another_number_is_another_loss(monkeypatch):
    def first_loss():
        data = {"xs": jnp.ones((2, 4, 3)), "targets": jnp.ones((2, 4, 4))}
        model = jaxrnn.stack([jaxrnn.elman(3, 4)])
        options = {"key": jax.random.key(0), "steps": 1, "batch_size": 4, "progress": False}
        return jaxrnn.fit(model, scaled_loss, OPTIMIZER, data, **options).history.train["loss"][0]

    one = first_loss()
    monkeypatch.setitem(globals(), "SCALE", 10.0)
    np.testing.assert_allclose(first_loss(), 10.0 * one, rtol=1e-6)


OPTIMIZER = optax.sgd(0.1)


def scaled_loss(ys, batch):
    return SCALE * jaxrnn.losses.mean_squared_error(ys, batch)


@pytree
class Numbered(jaxrnn.Cell):
    """A cell with a static number."""

    number: Any = 0

    def init(self, key):
        return {}

    def initial_carry(self, params, batch_shape=()):
        return jnp.zeros(batch_shape)

    def step(self, params, carry, x, noise=None):
        return carry, 1.0 / jnp.asarray(self.number, float)


def test_numbers_are_told_apart_by_type_and_sign():
    numbers = [0, False, 0.0, -0.0, 1, True, 1.0]
    for i, a in enumerate(numbers):
        for j, b in enumerate(numbers):
            assert (Numbered(a) == Numbered(b)) == (i == j)
    assert Numbered(float("nan")) == Numbered(float("nan"))


def test_an_array_has_to_be_declared_as_a_leaf():
    with pytest.raises(TypeError, match=r"number: expected an array to be declared by leaf\(\), got float64\[2\]"):
        jax.tree.leaves(Numbered(np.ones(2)))


def test_equal_cells_are_traced_once():
    traced = []

    @jax.jit
    def f(cell):
        traced.append(cell)
        return 0.0

    for _ in range(2):
        for cell in cells().values():
            f(cell)
    assert len(traced) == len(cells())


def test_another_process_reads_it(tmp_path):
    cell = cells()["an initialiser of JAX's"]
    (tmp_path / "cell").write_bytes(pickle.dumps(cell))
    script = (
        "import pickle, sys, jax, jaxrnn as jaxrnn\n"
        "cell = pickle.load(open(sys.argv[1], 'rb'))\n"
        "assert cell == jaxrnn.lstm(3, 4, input_init=jax.nn.initializers.normal(0.1))\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "cell")], check=True)


def test_a_function_that_nobody_can_find_again_is_named():
    namespace = {"__name__": "math"}
    exec("lost = lambda z: z", namespace)
    with pytest.raises(pickle.PicklingError, match=r"lambda.*on math failed"):
        pickle.dumps(jaxrnn.elman(3, 4, activation=namespace["lost"]))


class Plain(jaxrnn.Cell):
    """A cell that is no pytree."""

    def init(self, key):
        return {}

    def initial_carry(self, params, batch_shape=()):
        return jnp.zeros(batch_shape)

    def step(self, params, carry, x, noise=None):
        return carry + x.sum(-1), carry


def test_a_cell_that_is_no_pytree_equals_itself_and_is_refused():
    cell = Plain()
    assert cell == cell
    assert cell != Plain()
    with pytest.raises(TypeError, match="cell: expected one whose class is a JAX pytree"):
        jaxrnn.unroll(cell, {}, jnp.ones((3, 2, 4)))
