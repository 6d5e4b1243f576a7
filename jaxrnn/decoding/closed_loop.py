"""A model that reads its own outputs."""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.arguments import checked_sequence
from jaxrnn.compiled import compiled
from jaxrnn.decoding.feedback import Feedback, fed_back
from jaxrnn.decoding.one_step import check_parts, one_step
from jaxrnn.types import Model, Params, Tree

if TYPE_CHECKING:
    from jaxtyping import Float


def rollout(
    model: Model,
    params: Params,
    xs: checks.ArrayLike,
    steps: int,
    *,
    carry: Tree = None,
    feedback: Feedback | None = None,
    inputs: checks.ArrayLike | None = None,
) -> "tuple[Tree, Float[jax.Array, 'steps *B O']]":
    """Reads a sequence, then goes on with its own outputs: a forecast of several steps.

        y[0] is the output after the last of xs
        x = feedback(y[k], inputs[k]);  y[k+1] is the output after x,  k = 0 ... steps-2

    If the model was trained to predict the next input, y[k] is the forecast of x[T+k]. After the reading, everything is
    one `lax.scan`: call it under `jax.jit`, differentiate it, vmap it. To continue, read the one input that was not
    read, x = feedback(ys[-1], inputs[-1]): `rollout(model, params, x[None], more, carry=carry, ...)`.

    Args:
      model: a Model that reads forward and has an output at each step; it runs without noise.
      params: its parameters.
      xs: the sequence to begin with, [T, *batch_shape, D] (or symbols [T, *batch_shape]).
      steps: the number of outputs, at least 1.
      carry: the state before xs; None for `initial_carry`.
      feedback: makes an input [*batch_shape, D] of an output y [*batch_shape, O]: a function of y, or of y and
        inputs[k]. None: y itself, whose features must be D.
      inputs: known inputs of the steps to come, [steps, *batch_shape, E]: the calendar, a control, random numbers.
        inputs[k] is read together with y[k]; the last one is not read, see above. None: there are none.

    Returns:
      (carry, ys): the state after the last input that was read, and the outputs [steps, *batch_shape, O].

    Raises:
      ValueError, TypeError: an argument does not fit; the message names it. Raised while tracing.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> model = jaxrnn.chain(jaxrnn.gru(1, 8), jaxrnn.dense(8, 1))
      >>> params = model.init(jax.random.key(0))
      >>> carry, forecast = jaxrnn.decoding.rollout(model, params, jax.numpy.ones((20, 2, 1)), 6)
      >>> forecast.shape
      (6, 2, 1)
    """
    check_parts(model, params, carry)
    steps = checks.positive_int("steps", steps)
    xs = checked_sequence(xs)
    if feedback is not None:
        checks.function("feedback", feedback, *(("y",) if inputs is None else ("y", "inputs[k]")))
    if inputs is not None:
        inputs = checks.array("inputs", inputs)
        if feedback is None:
            raise TypeError("feedback: expected a function of (y, inputs[k]) where there are inputs, got None")
    return _rollout(model, params, xs, carry, feedback, inputs, steps)


@compiled
def _rollout(
    model: Model,
    params: Params,
    xs: jax.Array,
    carry: Tree,
    feedback: Feedback | None,
    inputs: jax.Array | None,
    steps: int,
) -> tuple[Tree, jax.Array]:
    _, ys = jax.eval_shape(lambda params, xs, carry: model.apply(params, xs, carry=carry), params, xs, carry)
    if inputs is not None and inputs.shape[:-1] != (steps, *ys.shape[1:-1]):
        shape = ", ".join(map(str, (steps, *ys.shape[1:-1], "E")))
        raise ValueError(f"inputs: expected an array [{shape}], got {checks.short(inputs)}")

    def next_input(y: jax.Array, known: jax.Array | None) -> jax.Array:
        return fed_back(feedback, xs[0], y) if known is None else fed_back(feedback, xs[0], y, known)

    def step(state: tuple[Tree, jax.Array], known: jax.Array | None) -> tuple[tuple[Tree, jax.Array], jax.Array]:
        carry, y = state
        carry, y = one_step(model, params, carry, next_input(y, known))
        return (carry, y), y

    jax.eval_shape(lambda y, inputs: next_input(y[-1], None if inputs is None else inputs[0]), ys, inputs)
    carry, ys = model.apply(params, xs, carry=carry)
    first = ys[-1]
    (carry, _), ys = jax.lax.scan(step, (carry, first), None if inputs is None else inputs[:-1], length=steps - 1)
    return carry, jnp.concatenate([first[None], ys])
