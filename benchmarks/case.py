"""A case of a comparison: a recurrent network of one shape, its weights and its data."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

GATES = {"elman": 1, "lstm": 4, "gru": 3}

Weights = list[list[dict[str, jax.Array]]]
"""For each layer, for each direction: {"w_x": [D, G*H], "w_h": [H, G*H], "b": [G*H]}; gates i, f, g, o and r, z, n.

A GRU is of the form with the reset after the product. Its hidden bias is zero, since not every library has one.
"""


class Case(NamedTuple):
    """Layers of one cell; with two directions their outputs are concatenated.

    Attributes:
      cell: "elman" (tanh), "lstm" or "gru".
      B, T, D, H: batch, steps, input and hidden features.
      layers, directions: the number of each.
      shortest: the shortest row; rows have lengths from it to T, spread evenly over their logarithms; 0: all have T.
    """

    cell: str
    B: int
    T: int
    D: int
    H: int
    layers: int = 1
    directions: int = 1
    shortest: int = 0

    @property
    def outputs(self) -> int:
        """Features of the outputs."""
        return self.directions * self.H

    @property
    def inputs(self) -> list[int]:
        """Input features of each layer."""
        return [self.D, *[self.outputs] * (self.layers - 1)]

    @property
    def row_lengths(self) -> np.ndarray:
        """The number of steps of each row, the shortest first."""
        return np.geomspace(self.shortest or self.T, self.T, self.B).astype(np.int32)

    def __str__(self) -> str:
        shape = f"{self.B}, {self.T}, {self.D}, {self.H}"
        layers = f", {self.layers} layers" if self.layers > 1 else ""
        rows = f", rows from {self.shortest} steps" if self.shortest else ""
        return shape + layers + (", bidirectional" if self.directions > 1 else "") + rows


class Data(NamedTuple):
    """The weights and data that every library gets.

    Attributes:
      weights: of all layers.
      xs: inputs [T, B, D].
      dys: the loss's derivative [T, B, O], zero past a row's length.
      lengths: int32 [B], in any order; None: all rows have T steps.
    """

    weights: Weights
    xs: jax.Array
    dys: jax.Array
    lengths: np.ndarray | None = None

    def within(self, ys: Any) -> Any:
        """Outputs [T, B, O] with zeros past each row's length, in place of a library's own values there."""
        if self.lengths is None:
            return ys
        return np.where(np.arange(len(ys))[:, None, None] < self.lengths[:, None], np.asarray(ys), 0.0)


def data(case: Case) -> Data:
    """Random weights of the usual size, inputs and derivatives."""
    G, H = GATES[case.cell], case.H
    keys = iter(jax.random.split(jax.random.key(0), 3 * case.layers * case.directions + 2))

    def uniform(*shape: int) -> jax.Array:
        return jax.random.uniform(next(keys), shape, minval=-1.0, maxval=1.0) / jnp.sqrt(H)

    weights = [
        [{"w_x": uniform(D, G * H), "w_h": uniform(H, G * H), "b": uniform(G * H)} for _ in range(case.directions)]
        for D in case.inputs
    ]
    xs = jax.random.normal(next(keys), (case.T, case.B, case.D))
    given = Data(weights, xs, jax.random.normal(next(keys), (case.T, case.B, case.outputs)))
    if not case.shortest:
        return given
    given = given._replace(lengths=np.random.default_rng(0).permutation(case.row_lengths))
    return given._replace(dys=jnp.asarray(given.within(given.dys)))


def operations(case: Case) -> int:
    """Floating-point operations of the matrix products of outputs and gradient: two for each multiply and add.

    Counted are the products of x and of h, the transposed ones for the derivatives of h and (except in the lowest
    layer) of x, and those for the weights' gradients.
    """
    H, width = case.H, GATES[case.cell] * case.H
    each = [2 * (D + H) + H + (D if i else 0) for i, D in enumerate(case.inputs)]
    return 2 * int(case.row_lengths.sum()) * width * case.directions * sum(each)


def by_gate(w: Any, count: int) -> list[Any]:
    """[..., G*H] to G arrays [..., H]."""
    return jnp.split(w, count, axis=-1)


def reordered(w: Any, order: tuple[int, ...]) -> Any:
    """[..., G*H] with its gates in another order."""
    gates = by_gate(w, len(order))
    return jnp.concatenate([gates[g] for g in order], axis=-1)
