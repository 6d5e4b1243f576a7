"""One cell forward and one backward in time."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.arguments import checked_inputs, steps_and_rows
from jaxrnn.driver import run_layer
from jaxrnn.models.composite import Composite
from jaxrnn.types import Call, Cell, Gradient, Model, Params, Tree, leaf, pytree

Merge = Literal["concat", "sum", "mean", "mul"] | Callable[[Tree, Tree], Tree] | None


class BidirectionalCarry(NamedTuple):
    """The state of the cell that reads forward and of the one that reads backward.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> model = jaxrnn.bidirectional(jaxrnn.gru(3, 8), jaxrnn.lstm(3, 4))
      >>> params = model.init(jax.random.key(0))
      >>> carry, ys = model.apply(params, jax.numpy.ones((5, 2, 3)))
      >>> bool((carry.forward == ys[-1, :, :8]).all()), bool((carry.backward.h == ys[0, :, 8:]).all())
      (True, True)
    """

    forward: Tree
    backward: Tree


@pytree
class Bidirectional(Composite):
    """See `bidirectional`."""

    forward: Cell = leaf()
    backward: Cell = leaf()
    merge: Merge = "concat"
    gradient: Gradient | None = leaf(default=None)

    @property
    def parts(self) -> tuple[Cell, ...]:
        return self.forward, self.backward

    @property
    def features(self) -> tuple[int | None, int | None]:
        (D, a), (_, b) = self.forward.features, self.backward.features
        if a is None or b is None or not isinstance(self.merge, str):
            return D, None
        return D, a + b if self.merge == "concat" else a

    @property
    def names(self) -> tuple[str, ...]:
        return "forward", "backward"

    def carry_of_parts(self, params: Params, batch_shape: tuple[int, ...]) -> BidirectionalCarry:
        return BidirectionalCarry(*super().carry_of_parts(params, batch_shape))

    def run(self, params: Params, carry: Tree, xs: Tree, call: Call) -> tuple[BidirectionalCarry, Tree]:
        after, outputs, xs = [], [], checked_inputs(self.forward, xs)
        if call.burn_in:
            raise ValueError(f"burn_in: expected 0 for a model that reads backward, got {call.burn_in}")
        for name, cell, p, c, key in self.shares(params, carry, call, steps_and_rows(xs)[1]):
            with checks.within(name):
                own, back = call._replace(key=key), name == "backward"
                final, ys = run_layer(cell, p, xs, c, own, gradient=self.gradient, reverse=back)
            after.append(final)
            outputs.append(ys)
        merge = MERGES[self.merge] if isinstance(self.merge, str) or self.merge is None else self.merge
        return BidirectionalCarry(*after), merge(*outputs)


MERGES: dict[str | None, Callable[[Tree, Tree], Tree]] = {
    "concat": lambda a, b: jnp.concatenate([a, b], axis=-1),
    "sum": lambda a, b: a + b,
    "mean": lambda a, b: 0.5 * (a + b),
    "mul": lambda a, b: a * b,
    None: lambda a, b: (a, b),
}
"""The ways to join the outputs of both directions."""


def bidirectional(
    forward: Cell,
    backward: Cell,
    *,
    merge: Merge = "concat",
    gradient: Gradient | None = None,
) -> Bidirectional:
    """Reads each row in both directions: y[t] joins one cell's output up to x[t] and the other's from x[t] on.

    Under `lengths` the backward cell starts at each row's own last step.

    Args:
      forward, backward: the two cells.
      merge: "concat" (O is the sum of the cells' features), "sum", "mean", "mul" (the product), a function of both
        outputs [T, ..., O], or None: the outputs are the pair.
      gradient: the way to differentiate through time; None: `reverse_scan()` for a gated cell, `autodiff()` for any
        other.

    Returns:
      A Model with the parameters {"forward", "backward"} and the carry BidirectionalCarry(forward, backward).

    Raises:
      ValueError, TypeError: `forward` or `backward` is not a Cell, or the features do not fit.

    References:
      Schuster and Paliwal 1997, Bidirectional recurrent neural networks, IEEE Transactions on Signal Processing 45(11).

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> model = jaxrnn.bidirectional(jaxrnn.gru(3, 8), jaxrnn.gru(3, 8))
      >>> params = model.init(jax.random.key(0))
      >>> carry, ys = model.apply(params, jax.numpy.ones((5, 2, 3)), lengths=[5, 3])
      >>> ys.shape, carry.backward.shape
      ((5, 2, 16), (2, 8))
    """
    checks.instance("forward", forward, Cell)
    checks.instance("backward", backward, Cell)
    if callable(merge):
        checks.function("merge", merge, "forward", "backward")
    else:
        checks.one_of("merge", merge, tuple(MERGES))
    (D, a), (D_back, b) = forward.features, backward.features
    if D_back != D:
        raise ValueError(f"backward: expected {D} input features, those of forward, got {D_back}")
    if merge in ("sum", "mean", "mul") and a != b:
        raise ValueError(f"backward: expected {a} output features, those of forward, to merge them, got {b}")
    return Bidirectional(
        forward, backward, merge, None if gradient is None else checks.instance("gradient", gradient, Gradient)
    )


def reads_backward(model: Model | Cell) -> bool:
    """Tells whether any part of a model reads a row from its end."""
    return isinstance(model, Bidirectional) or any(map(reads_backward, getattr(model, "parts", ())))
