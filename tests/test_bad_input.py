"""Every public function refuses what it can't use, says what, and does so before it compiles a loop."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from benchmarks.survival import functions
from tests.bad_input import cells, decoding, diagnostics, interop, losses, models, sequences, sweeps, training
from tests.bad_input.case import PUBLIC, Right, cases
from tests.bad_input.values import GRU, KEY, MODEL, B, D, H, O, drawn, ones

PARTS = (cells, sequences, models, losses, decoding, training, sweeps, diagnostics, interop)
CASES = [case for part in PARTS for case in cases(part.TABLE)]
CALLS = {row.name: row for part in PARTS for row in part.TABLE if isinstance(row, Right)}

# fmt: off
# The programs that take time: loops over time, and what `fit`, `evaluate` and `check_gradients` jit. Drawing parameters
# or a carry of zeros compiles small programs of other names.
PROGRAMS = (
    "_unroll", "_apply", "_gradients", "_along", "_hidden_gradients", "_weight_contributions", "_by_lag", "exponents",
    "_first_non_finite", "_gate_statistics", "_state_jacobians", "_gradient_statistics", "_measure", "_product_norms",
    "_generate", "_beam_search", "_rollout", "_ctc_beam", "_edit_distance", "_ctc_loss", "_step", "block", "_evaluate",
    "scan", "while", "scan_in_place",
)
# Calls that can be told to be wrong while they are traced, when an argument or two are random, and those that are run.
TRACED = (
    "unroll", "chain.apply", "embed.apply", "tied.apply", "encoder_decoder.apply", "rtrl_start", "rtrl_step", "attach",
    "cross_entropy", "binary_cross_entropy", "mean_squared_error", "quantile_loss", "accuracy", "f1", "ctc_loss",
    "generate", "beam_search", "rollout", "ctc_greedy", "ctc_beam", "edit_distance", "resets_from_dones", "pieces",
)
RUN = (
    "elman", "lstm", "gru", "ctrnn", "gated_cell", "cell", "apart", "dense", "embed", "layer_norm", "batch_norm",
    "tied", "dropout", "repeat", "bidirectional", "residual", "additive_attention", "dot_attention",
    "attention_decoder", "encoder_decoder", "scheduled_sampling", "reverse_scan", "checkpointed", "truncated", "rtrl",
    "fit", "evaluate", "train_state", "padded", "bucketed", "grid", "zipped", "random", "uniform", "log_uniform",
    "choice", "halving", "task",
)
# Functions without arguments that could be wrong, and those whose wrong arguments have tests of their own.
OTHERS = {
    "autodiff", "identity", "last", "mean_over_time", "leaf", "save", "load", "carries", *jaxrnn.interop.__all__,
}
# fmt: on


@pytest.fixture
def compiled():
    """The names of the long programs that a test compiled."""
    names, long = [], {f"jit({name})" for name in PROGRAMS}

    def listen(event, seconds, **details):
        if event == "/jax/core/compile/backend_compile_duration" and details["fun_name"] in long:
            names.append(details["fun_name"])

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_wrong_argument_is_named_with_what_was_expected_and_what_came(case, compiled):
    case.check()
    assert not compiled


def strange(rng, right):
    """Something else than the right value, now and then close to it."""
    if isinstance(right, dict) and right and rng.random() < 0.7:
        name = rng.choice(sorted(right))
        changed = {k: v for k, v in right.items() if k != name}
        return changed if rng.random() < 0.2 else changed | {str(name): strange(rng, right[name])}
    shape = tuple(rng.integers(0, 4, rng.integers(0, 4)))
    # fmt: off
    values = [
        None, -1, 0, 2**40, 1.5, float("nan"), True, "x", b"x", ..., [], (), {}, [1, "a"], object(), len, jaxrnn,
        np.zeros(shape), np.zeros(shape, int), np.zeros(shape, bool), np.array("a"), np.full(shape, np.nan, "f"),
        jnp.zeros(shape, jnp.complex64), np.zeros(3, object), [np.zeros(2), np.zeros(3)], KEY, jax.random.split(KEY),
        MODEL, GRU, jaxrnn.reverse_scan(), {"xs": np.zeros(shape)}, np.uint8(3),
    ]
    if isinstance(right, np.ndarray) and right.size:
        values += 4 * [
            right[..., :1], right[:1], right[:0], right[None], right.swapaxes(0, -1), right.tolist(), list(right),
            right.astype(complex), right.astype(int) - 1, right.astype(object), right.astype("f2"), jnp.asarray(right),
        ]
    # fmt: on
    return values[rng.integers(len(values))]


@pytest.mark.parametrize("seed", range(120))
def test_a_random_wrong_call_raises_no_error_from_below(seed):
    """One or two arguments are strange. More seeds find more: `for seed in range(3000)` takes a minute."""
    rng = np.random.default_rng(seed)
    call = CALLS[rng.choice(TRACED + RUN)]
    known = sorted({*call.arguments, *(name for name, _ in call.kinds)})
    names = rng.choice(known, min(len(known), 1 + (rng.random() < 0.3)), replace=False)
    arguments = call.arguments | {str(name): strange(rng, call.arguments.get(name)) for name in names}
    said, kind = "x: expected ", TypeError
    try:
        if call.name in TRACED:
            jax.eval_shape(lambda: call.call(**arguments))
        else:
            call.call(**arguments)
    except (TypeError, ValueError) as error:
        said, kind = str(error), type(error)
    assert kind in (TypeError, ValueError), said
    assert re.match(r"[^\n]{1,120}?: expected |\w+\(\) (got an unexpected|missing)", said), said


def test_every_public_function_has_cases():
    assert PUBLIC.keys() - OTHERS <= {re.match(r"\w+", case.name).group() for case in CASES}


def test_the_benchmark_of_wrong_calls_knows_every_public_name():
    assert not functions.missing()
    assert not functions.LEFT_OUT.keys() & {call.name for call in functions.table()}


def test_right_calls_do_compile_what_the_wrong_ones_must_not(compiled):
    """Else the test above would hold for any program."""
    T, cell, model = 7, jaxrnn.elman(D, H), training.MODEL  # another T than that of the cases: nothing is in a cache
    data = {"xs": ones(T, B, D), "targets": ones(T, B, O)}
    for call in (
        lambda: jaxrnn.unroll(cell, drawn(cell), data["xs"]),
        lambda: model.apply(drawn(model), ones(T, 1, D)),
        lambda: jaxrnn.check_gradients(cell, drawn(cell), data["xs"]),
        lambda: training.fit(**training.FIT | {"data": data, "validation": None}),
        lambda: jaxrnn.evaluate(model, drawn(model), training.LOSS, data),
    ):
        call()
        assert compiled
        compiled.clear()
