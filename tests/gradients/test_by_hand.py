"""Both gradients against backpropagation through time written by hand in NumPy."""

import jax
import numpy as np
import pytest

import jaxrnn
from tests import reference
from tests.helpers import assert_close, cotangents, example, gradients
from tests.registry import BY_NAME

BY_HAND = {"elman": reference.elman_bptt, "lstm": reference.lstm_bptt, "gru": reference.gru_bptt}


@pytest.mark.parametrize("gradient", [jaxrnn.reverse_scan(), jaxrnn.autodiff()], ids=repr)
@pytest.mark.parametrize("name", BY_HAND)
def test_gradients_equal_those_by_hand(name, gradient, precision):
    dtype, tolerance = precision
    e = example(BY_NAME[name], dtype)
    found = jax.jit(lambda a: gradients(gradient, *a))(e.arguments())
    *d_final, dys = cotangents(found["outputs"])
    params, xs, carry = jax.tree.map(lambda a: a.astype(np.float64), (e.params, e.xs, e.carry))
    d_final = d_final[0] if len(d_final) == 1 else d_final
    d_params, d_xs, d_carry = BY_HAND[name](params, xs, carry, dys, d_final)
    want = {f"['params']['{name}']": d for name, d in d_params.items()} | {"['xs']": d_xs}
    want |= {"['carry'].h": d_carry[0], "['carry'].c": d_carry[1]} if name == "lstm" else {"['carry']": d_carry}
    assert_close({name: found[name] for name in want}, want, tolerance)


@pytest.mark.parametrize("name", BY_HAND)
def test_backpropagation_by_hand_equals_finite_differences(name):
    """The oracle itself, against nothing but the oracle's forward loop."""
    e = example(BY_NAME[name])
    step, rng = BY_NAME[name].step, np.random.default_rng(5)
    plain_carry = tuple(e.carry) if name == "lstm" else e.carry
    dys = rng.standard_normal((5, 3, 4))
    d_final = jax.tree.map(lambda a: rng.standard_normal(a.shape), plain_carry)

    def loss(params, xs, carry):
        final, ys = reference.unroll(step, params, xs, carry, e.initial)
        pairs = zip(jax.tree.leaves(d_final), jax.tree.leaves(final), strict=True)
        return np.sum(dys * ys) + sum(np.sum(d * f) for d, f in pairs)

    arguments = (e.params, e.xs, plain_carry)
    found = BY_HAND[name](*arguments, dys, d_final)
    for i in range(len(jax.tree.leaves(arguments))):
        leaves, structure = jax.tree.flatten(arguments)
        direction = rng.standard_normal(leaves[i].shape)
        moved = [[a + s * 1e-6 * direction if k == i else a for k, a in enumerate(leaves)] for s in (1, -1)]
        ahead, behind = (loss(*jax.tree.unflatten(structure, m)) for m in moved)
        slope = np.vdot(jax.tree.leaves(found)[i], direction)
        assert abs((ahead - behind) / 2e-6 - slope) < 1e-7 * max(1.0, abs(slope))
