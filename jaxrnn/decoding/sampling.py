"""Training on a mixture of the truth and the model's own outputs."""

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.arguments import at_least_float32
from jaxrnn.decoding.feedback import Feedback, fed_back
from jaxrnn.decoding.one_step import checked_model
from jaxrnn.masks import select
from jaxrnn.models.batch_norm import batch_norms
from jaxrnn.models.wrapper import Wrapper
from jaxrnn.types import Call, Model, Params, Tree, leaf, pytree
from jaxrnn.validity import combined, has_before


@pytree
class ScheduledSampling(Wrapper):
    """See `scheduled_sampling`."""

    rate: checks.Number = leaf()
    feedback: Feedback | None = None

    @property
    def needs_time(self) -> bool:
        return True

    def run(self, params: Params, carry: Tree, xs: Tree, call: Call) -> tuple[Tree, jax.Array]:
        if call.key is None:
            return self.model.run(params, carry, xs, call)
        xs = checks.array("xs", xs)
        if jnp.issubdtype(xs.dtype, jnp.integer):
            xs = checks.integers("xs", xs)  # fed-back symbols may not fit into a narrower type
        read = jax.eval_shape(lambda params, xs: self.model.run(params, carry, xs, call), params, xs)[1]
        T, *batch_shape, _ = read.shape
        before = jnp.zeros(read.shape[1:], read.dtype)
        jax.eval_shape(lambda y, xs: fed_back(self.feedback, xs[0], y, xs[0]), before, xs)
        coins_key, key = jax.random.split(call.key)
        rate = at_least_float32(jnp.asarray(self.rate))  # the coins are drawn in its dtype
        if rate.shape not in ((), (T,)):
            raise ValueError(f"rate: expected a number or one for each of the T = {T} steps, got {checks.short(rate)}")
        rate = rate.reshape(rate.shape + (1,) * (len(batch_shape) + 1 - rate.ndim))
        own = jax.random.bernoulli(coins_key, rate, (T, *batch_shape))
        if call.states or call.burn_in:
            asked = "states" if call.states else "burn_in"
            raise ValueError(f"{asked}: expected none with scheduled sampling, which runs step by step, got some")
        valid, resets = combined(T, tuple(batch_shape), call.lengths, call.mask, call.resets)
        own &= has_before(own, valid, resets)
        if carry is None:
            carry = jax.tree.map(jnp.asarray, self.model.initial_carry(params, tuple(batch_shape)))

        def step(state: tuple[Tree, jax.Array], now: Tree) -> tuple[tuple[Tree, jax.Array], jax.Array]:
            (carry, y), (x, own, valid, reset, key) = state, now
            x = select(own, fed_back(self.feedback, x, y, x), x)
            valid, reset = (None if flags is None else flags[None] for flags in (valid, reset))
            carry, ys = self.model.run(params, carry, x[None], Call(None, reset, key, call.gradient, valid))
            return (carry, ys[0] if valid is None else select(valid[0], ys[0], y)), ys[0]

        steps = xs, own, valid, resets, jax.random.split(key, T)
        (carry, _), ys = jax.lax.scan(step, (carry, before), steps)
        return carry, ys


def scheduled_sampling(model: Model, rate: checks.ArrayLike, *, feedback: Feedback | None = None) -> ScheduledSampling:
    """Lets a model read its own last output in place of the truth, at random steps of training.

        x'[t] = feedback(y[t-1], x[t]) with probability rate, else x[t];  y[t] is the output after x'[t]

    A model that is trained on the truth alone never sees the errors that it makes in `rollout`, where it reads its own
    outputs. Each row and step has its own random choice; the first step of a row or episode reads the truth. In
    evaluation (key=None) it computes the same as `model`; use either in `rollout`.

    The gradient also goes back through the outputs that were read. The paper's gradient stops there: for it, put
    `jax.lax.stop_gradient` into `feedback`. In training the model is called step by step, so noise is drawn anew at
    each step, including recurrent dropout's mask, and truncation inside the layers has no effect.

    With a rate for each step, 0 at first and 1 from step C on, the model reads C values and then its own outputs, as in
    `rollout` (let "mask" leave out the first C - 1 steps for a loss of the forecasts alone).

    The rate may be traced. For a rate that rises during training, make the model inside the jitted step::

        @jax.jit
        def train_step(state, batch, rate):
            model_ = jaxrnn.decoding.scheduled_sampling(model, rate)
            return jaxrnn.training.make_train_step(model_, loss, optimizer)(state, batch)

    Args:
      model: a Model that reads forward and has an output at each step, without a `batch_norm` in it, since its
        statistics in training would be those of single steps. In a `jaxrnn.encoder_decoder`, wrap the decoder.
      rate: the probability of reading the model's own output, in [0, 1]; or one for each step, [T].
      feedback: makes an input [*batch_shape, D] of (y[t-1], x[t]), an output [*batch_shape, O] and the input that it
        replaces (for known parts of the input: the calendar, a control). None: y[t-1] itself, whose features must be D.

    Returns:
      A Model with the parameters and the carry of `model`.

    Raises:
      ValueError, TypeError: `model` is not such a Model, the rate is out of range, or outputs can't be inputs.

    References:
      Bengio et al. 2015, Scheduled sampling for sequence prediction with recurrent neural networks, arXiv:1506.03099.

    Example:
      >>> import jax
      >>> import jaxrnn
      >>> model = jaxrnn.chain(jaxrnn.gru(1, 8), jaxrnn.dense(8, 1))
      >>> sampled = jaxrnn.decoding.scheduled_sampling(model, 0.5)
      >>> params = sampled.init(jax.random.key(0))
      >>> carry, ys = sampled.apply(params, jax.numpy.ones((5, 2, 1)), key=jax.random.key(1))
      >>> ys.shape
      (5, 2, 1)
    """
    checked_model(model)
    if any(True for _ in batch_norms(model)):
        raise ValueError(
            "model: expected one without batch_norm, whose statistics would be those of single steps in training and "
            f"of sequences in evaluation, got {checks.short(model)}"
        )
    D, O = model.features
    if feedback is not None:
        checks.function("feedback", feedback, "y[t-1]", "x[t]")
    elif D is not None and O is not None and D != O:
        raise ValueError(f"feedback: expected a function that makes {D} input features of {O} outputs, got None")
    return ScheduledSampling(model, checks.probabilities("rate", rate), feedback)
