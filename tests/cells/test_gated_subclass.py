"""A user's own subclass of GatedCell is checked when its parameters are drawn, as a builder's cell is."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import pytest

import jaxrnn
from jaxrnn.types import pytree


@pytree
class Own(jaxrnn.GatedCell):
    gates: ClassVar = {"h": jnp.tanh}

    def update(self, params, carry, gates, noise):
        return gates[0]


@pytree
class WithoutGates(jaxrnn.GatedCell):
    def update(self, params, carry, gates, noise):
        return carry


@pytree
class ListOfGates(Own):
    gates: ClassVar = [jnp.tanh]


WRONG = [
    (lambda: Own(3, 4, zoneout=2.0), "zoneout: expected a number or an array of shape"),
    (lambda: Own(3, 0), "H: expected a positive integer, got 0"),
    (lambda: Own(3, 5, heads=2), "heads: expected a divisor of H = 5, got 2"),
    (lambda: WithoutGates(3, 4), "gates: expected a Mapping"),
    (lambda: ListOfGates(3, 4), "gates: expected a Mapping"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_what_does_not_fit(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make().init(jax.random.key(0))


def test_it_runs():
    cell = Own(3, 4, zoneout=0.5)
    assert jaxrnn.check_gradients(
        cell, cell.init(jax.random.key(0)), jnp.ones((2, 3)), gradients=(jaxrnn.reverse_scan(),)
    ).ok
