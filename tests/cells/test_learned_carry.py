"""learn_carry: the derivative with respect to params["initial_carry"]."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests import reference
from tests.helpers import assert_close, cotangents, example, weighted_sum
from tests.registry import BY_NAME

pytestmark = pytest.mark.usefixtures("x64")
GRADIENTS = (jaxrnn.reverse_scan(), jaxrnn.autodiff())


def gradient_of_carry(e, gradient, carry=None, **options):
    def loss(learned):
        params = e.params | {"initial_carry": learned}
        return weighted_sum(jaxrnn.unroll(e.cell, params, e.xs, carry, gradient=gradient, **options))

    return jax.jit(jax.grad(loss))(jax.tree.map(jnp.asarray, e.params["initial_carry"]))


def by_differences(entry, e, carry=None, **options):
    """Central differences of the NumPy loop."""
    base = {name: np.array(value) for name, value in e.params["initial_carry"].items()}

    def loss(learned):
        initial = learned["h"], learned["c"]
        start = carry if carry is not None else jax.tree.map(lambda a: np.stack([a] * 3), initial)
        outputs = reference.unroll(entry.step, e.params, e.xs, start, initial, **options)
        return sum(np.sum(w * x) for w, x in zip(cotangents(outputs), jax.tree.leaves(outputs), strict=True))

    slopes = {name: np.zeros_like(value) for name, value in base.items()}
    for name, value in base.items():
        for k in range(len(value)):
            ahead, behind = ({**base, name: value + s * 1e-6 * np.eye(len(value))[k]} for s in (1, -1))
            slopes[name][k] = (loss(ahead) - loss(behind)) / 2e-6
    return slopes


@pytest.mark.parametrize("gradient", GRADIENTS, ids=repr)
@pytest.mark.parametrize("name", ["lstm_learned", "lstm_projection_peephole_learned"])
@pytest.mark.parametrize("case", ["start", "start and resets", "resets only", "reverse"])
def test_gradient_reaches_the_learned_carry(name, case, gradient):
    entry = BY_NAME[name]
    e = example(entry)
    options = {"lengths": e.lengths}
    if case != "start":
        options["resets"] = e.resets
    carry = e.carry if case == "resets only" else None
    if case == "reverse":
        options["reverse"] = True
    found = gradient_of_carry(e, gradient, carry, **options)
    want = by_differences(entry, e, carry, **options)
    assert all(np.all(slope != 0) for slope in want.values())
    assert_close(found, want, 1e-7)


def test_gradient_of_the_learned_carry_is_the_sum_of_the_rows_by_hand():
    e = example(BY_NAME["lstm_learned"])
    start = tuple(np.stack([e.params["initial_carry"][name]] * 3) for name in "hc")
    outputs = reference.unroll(BY_NAME["lstm"].step, e.params, e.xs, start, e.initial)
    *d_final, dys = cotangents(outputs)
    weights = {name: e.params[name] for name in ("w_x", "w_h", "b")}
    _, _, d_carry = reference.lstm_bptt(weights, e.xs, start, dys, d_final)
    want = dict(zip("hc", (d.sum(0) for d in d_carry), strict=True))
    assert_close(gradient_of_carry(e, jaxrnn.reverse_scan()), {"c": want["c"], "h": want["h"]}, 1e-10)


def test_a_carry_that_is_given_replaces_the_learned_one():
    e = example(BY_NAME["lstm_learned"])
    for d in gradient_of_carry(e, jaxrnn.reverse_scan(), carry=e.carry).values():
        np.testing.assert_array_equal(d, 0.0)
