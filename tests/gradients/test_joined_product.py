"""Pieces side by side times a matrix: the same numbers however they are joined."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.gradients.joined_product import joined_product
from tests.helpers import assert_close

KEYS = jax.random.split(jax.random.key(0), 4)
PIECES = [jax.random.normal(KEYS[i], (2, 3, n)) for i, n in enumerate((4, 5))]  # two members of three rows
W = jax.random.normal(KEYS[2], (2, 9, 6))


def plain(*operands):
    return jnp.concatenate(operands[:-1], -1) @ operands[-1]


def joined(*operands):
    return joined_product(operands[:-1], operands[-1])


AXES = {
    "all": (0, 0, 0),
    "shared weights": (0, 0, None),
    "one piece": (None, 0, None),
    "weights alone": (None, None, 0),
}


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES)
def test_values_and_derivatives_under_vmap(axes):
    operands = [x if axis == 0 else x[0] for x, axis in zip((*PIECES, W), axes, strict=True)]
    got, want = (jax.vmap(f, axes) for f in (joined, plain))
    assert_close(jax.jit(got)(*operands), want(*operands), 1e-6)
    tangents = [jnp.cos(x) for x in operands]
    assert_close(jax.jvp(got, operands, tangents)[1], jax.jvp(want, operands, tangents)[1], 1e-5)

    def loss(f, *operands):
        return jnp.sum(jnp.sin(f(*operands)))

    arguments = tuple(range(3))
    gradients = [jax.grad(functools.partial(loss, f), arguments)(*operands) for f in (got, want)]
    assert_close(*gradients, 1e-5)


def test_the_mapped_axis_may_stand_anywhere():
    moved = [jnp.moveaxis(x, 0, -1) for x in PIECES]
    got = jax.vmap(joined, (-1, -1, None))(*moved, W[0])
    assert_close(got, plain(*PIECES, W[0]), 1e-6)


def test_members_with_weights_of_their_own_join_nothing():
    own, shared = (
        jax.make_jaxpr(jax.vmap(joined, (0, 0, axis)))(*PIECES, W if axis == 0 else W[0]) for axis in (0, None)
    )
    assert [e.primitive.name for e in shared.jaxpr.eqns] == ["joined_product"]
    assert "concatenate" not in str(own)
    assert "concatenate" in jax.jit(joined).lower(*(x[0] for x in PIECES), W[0]).as_text()


def test_the_sum_is_accumulated_in_float32():
    x = [piece.astype(jnp.float32) for piece in PIECES]
    got = joined_product(x, W[0], dtype=jnp.bfloat16)
    assert got.dtype == np.float32
    assert_close(got, plain(*PIECES, W[0]), 0.05)
