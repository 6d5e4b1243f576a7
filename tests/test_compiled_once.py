"""A second call with equal cells, options, functions and shapes traces and compiles nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from tests.compiling import counted
from tests.helpers import mostly_slow

SGD = optax.sgd(1e-2)
T, D, H, O, L = 6, 2, 4, 5, 2


def cell():
    return jaxrnn.lstm(D, H, recurrent_dropout=0.1)


def model():
    return jaxrnn.chain(jaxrnn.stack([jaxrnn.gru(D, H), jaxrnn.lstm(H, H)]), jaxrnn.dense(H, O))


def writer():
    return jaxrnn.chain(jaxrnn.embed(O, D), jaxrnn.stack([jaxrnn.gru(D, H)]), jaxrnn.dense(H, O))


def goes_on():
    return jaxrnn.chain(jaxrnn.stack([jaxrnn.gru(D, H)]), jaxrnn.dense(H, D))


def normal():
    return jaxrnn.chain(jaxrnn.stack([jaxrnn.gru(D, H)]), jaxrnn.batch_norm(H), jaxrnn.dense(H, O))


def square(ys):
    return jnp.square(ys).mean()


def of_batch(ys, batch):
    return jaxrnn.losses.mean_squared_error(ys, batch)


def largest(y):
    return jnp.where(y == y.max(-1, keepdims=True), y, jnp.zeros_like(y))


def log_outputs(params, xs, lengths, key):
    return jnp.log(jnp.square(jaxrnn.unroll(cell(), params, xs, lengths=lengths, key=key)[1]) + 1.0).sum()


def log_applied(params, xs, lengths):
    return jnp.log(jnp.square(model().apply(params, xs, lengths=lengths)[1]) + 1.0).sum()


class Data:
    """Arrays of B rows, other ones for each seed, in NumPy as a user has them."""

    def __init__(self, seed, B):
        rng = np.random.default_rng(seed)
        self.B, self.key = B, jax.random.key(seed)
        self.lengths = rng.integers(2, T + 1, B)
        self.resets = rng.random((T, B)) < 0.2
        self.options = {"lengths": self.lengths, "resets": self.resets, "key": self.key}
        self.xs, self.ys = (rng.standard_normal((T, B, n)).astype(np.float32) for n in (D, O))
        self.symbols = rng.integers(0, O, (T, B)).astype(np.int32)
        self.batch = {"xs": self.xs, "targets": self.ys, "lengths": self.lengths}
        labels = np.stack([1 + (np.arange(L) + rng.integers(4)) % 4] * B, 1).astype(np.int32)
        self.ctc = {"targets": labels, "targets_lengths": rng.integers(1, 2, B)}
        self.jacobians = rng.standard_normal((T, B, H, H)).astype(np.float32)
        self.float = float(rng.uniform(0.1, 0.4))

    def params(self, of):
        return of.init(self.key)

    def of_cell(self, f, *arguments, **options):
        return f(cell(), self.params(cell()), self.xs, *arguments, **self.options, **options)


def rtrl(d):
    c = jaxrnn.gru(D, H)
    params = d.params(c)
    carry, influence = jaxrnn.online.rtrl_start(c, params, (d.B,))
    loss = jax.tree_util.Partial(lambda_of_target, jnp.asarray(d.ys[0, :, :H]))
    return jaxrnn.online.rtrl_step(c, params, carry, influence, d.xs[0], loss)


def lambda_of_target(target, y):
    return jnp.square(y - target).sum()


def sampled(d):
    m = jaxrnn.decoding.scheduled_sampling(goes_on(), d.float)
    return m.apply(d.params(m), d.xs, key=d.key)


CALLS = {
    "unroll": lambda d: d.of_cell(jaxrnn.unroll),
    "unroll-reverse": lambda d: d.of_cell(jaxrnn.unroll, gradient=jaxrnn.checkpointed(), reverse=True),
    "apply": lambda d: model().apply(d.params(model()), d.xs, lengths=d.lengths),
    "grad-unroll": lambda d: jax.grad(log_outputs)(d.params(cell()), d.xs, d.lengths, d.key),
    "grad-apply": lambda d: jax.grad(log_applied)(d.params(model()), d.xs, d.lengths),
    "check_gradients": lambda d: d.of_cell(jaxrnn.check_gradients),
    "check_gradients-model": lambda d: jaxrnn.check_gradients(model(), d.params(model()), d.xs, lengths=d.lengths),
    "hidden_gradients": lambda d: d.of_cell(jaxrnn.diagnostics.hidden_gradients, square),
    "weight_contributions": lambda d: d.of_cell(jaxrnn.diagnostics.weight_contributions, square, names=["w_h", "b"]),
    "lag_contributions": lambda d: d.of_cell(jaxrnn.diagnostics.lag_contributions, square, max_lag=3),
    "gradient_norm_by_lag": lambda d: d.of_cell(jaxrnn.diagnostics.gradient_norm_by_lag, square, reverse=True),
    "first_non_finite": lambda d: d.of_cell(jaxrnn.diagnostics.first_non_finite, square),
    "gate_statistics": lambda d: d.of_cell(jaxrnn.diagnostics.gate_statistics, margin=d.float),
    "state_jacobians": lambda d: d.of_cell(jaxrnn.diagnostics.state_jacobians),
    "product_norms": lambda d: jaxrnn.diagnostics.product_norms(
        d.jacobians, lengths=d.lengths, resets=d.resets, reverse=True
    ),
    "singular_values": lambda d: jaxrnn.diagnostics.singular_values(d.jacobians),
    "spectral_radius": lambda d: jaxrnn.diagnostics.spectral_radius(d.jacobians),
    "lyapunov_spectrum": lambda d: jaxrnn.diagnostics.lyapunov_spectrum(
        d.jacobians, transient=1, lengths=d.lengths, resets=d.resets
    ),
    "gradient_statistics": lambda d: jaxrnn.diagnostics.gradient_statistics(
        model(), d.params(model()), d.batch, of_batch
    ),
    "gradient_report": lambda d: str(jaxrnn.gradient_report(model(), d.params(model()), d.batch, of_batch)),
    "evaluate": lambda d: jaxrnn.evaluate(model(), d.params(model()), of_batch, d.batch, metrics={"mse": of_batch}),
    "fit": lambda d: (
        jaxrnn.fit(
            model(), of_batch, SGD, d.batch, key=d.key, steps=3, batch_size=2, validation=d.batch, progress=False
        ).params
    ),
    "calibrate": lambda d: jaxrnn.training.calibrate(normal(), d.params(normal()), [d.batch, d.batch]),
    "generate": lambda d: jaxrnn.decoding.generate(
        writer(), d.params(writer()), d.symbols, 4, key=d.key, temperature=d.float
    ),
    "beam_search": lambda d: jaxrnn.decoding.beam_search(
        writer(), d.params(writer()), d.symbols, 4, length_penalty=d.float
    ),
    "rollout": lambda d: jaxrnn.decoding.rollout(goes_on(), d.params(goes_on()), d.xs, 4, feedback=largest),
    "scheduled_sampling": sampled,
    "ctc_greedy": lambda d: jaxrnn.decoding.ctc_greedy(d.ys, d.lengths),
    "ctc_beam": lambda d: jaxrnn.decoding.ctc_beam(d.ys, d.lengths, beam=3),
    "edit_distance": lambda d: jaxrnn.decoding.edit_distance(d.symbols, d.lengths, d.symbols[::-1], d.lengths),
    "ctc_loss": lambda d: jaxrnn.losses.ctc_loss(d.ys, d.ctc),
    "grad-ctc_loss": lambda d: jax.grad(jaxrnn.losses.ctc_loss)(jnp.asarray(d.ys), d.ctc),
    "cross_entropy": lambda d: jaxrnn.losses.cross_entropy(d.ys, {"targets": d.symbols, "lengths": d.lengths}),
    "mean_squared_error": lambda d: jaxrnn.losses.mean_squared_error(d.ys, d.batch),
    "accuracy": lambda d: jaxrnn.losses.accuracy(d.ys, {"targets": d.symbols}),
    "rtrl": rtrl,
}


@pytest.mark.parametrize("name", mostly_slow(CALLS, *range(0, len(CALLS), 4)))
def test_a_second_call_traces_and_compiles_nothing(name):
    """With so many rows as no other call has, so that the first one does."""
    call, B = CALLS[name], 3 + list(CALLS).index(name)
    first, second = Data(0, B), Data(1, B)
    with counted() as events:
        jax.block_until_ready(call(first))
    assert {event for event, _ in events} >= {"jaxpr_trace_duration", "backend_compile_duration"}
    with counted() as events:
        jax.block_until_ready(call(second))
    checks = 2 if name == "fit" else 0  # a loss checks the values of data and validation, traced
    assert [event for event, _ in events] == checks * ["jaxpr_trace_duration"]


def test_a_new_function_is_traced_anew():
    d = Data(0, 3)
    d.of_cell(jaxrnn.diagnostics.hidden_gradients, square)
    with counted() as events:
        d.of_cell(jaxrnn.diagnostics.hidden_gradients, lambda ys: ys.sum())
    assert events
