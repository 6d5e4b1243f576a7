"""Every public function refuses what it can't use, says what, and does so before it compiles a loop."""

import inspect
import re

import jax
import pytest

import jaxrnn
from tests.bad_input import (
    attention,
    cells,
    ctc,
    decoding,
    diagnostics,
    gradients,
    losses,
    models,
    sequences,
    sweeps,
    training,
)
from tests.bad_input.case import D, H, drawn, ones
from tests.bad_input.fuzz import wrong_call

PARTS = (cells, sequences, gradients, models, attention, losses, ctc, decoding, training, sweeps, diagnostics)
CASES = [case for part in PARTS for case in part.CASES]

# The programs that take time: loops over time, and what `fit`, `evaluate` and `check_gradients` jit. Drawing parameters
# or a carry of zeros compiles small programs of other names.
PROGRAMS = (
    "_unroll",
    "_apply",
    "_gradients",
    "_along",
    "_hidden_gradients",
    "_weight_contributions",
    "_by_lag",
    "_first_non_finite",
    "_gate_statistics",
    "_state_jacobians",
    "_gradient_statistics",
    "_measure",
    "_product_norms",
    "exponents",
    "_generate",
    "_beam_search",
    "_rollout",
    "_ctc_beam",
    "_edit_distance",
    "_ctc_loss",
    "_step",
    "block",
    "_evaluate",
    "scan",
    "while",
    "scan_in_place",
)
LONG = {f"jit({name})" for name in PROGRAMS}


@pytest.fixture
def compiled():
    """The names of the long programs that a test compiled."""
    names = []

    def listen(event, seconds, **details):
        if event == "/jax/core/compile/backend_compile_duration" and details["fun_name"] in LONG:
            names.append(details["fun_name"])

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_wrong_argument_is_named_with_what_was_expected_and_what_came(case, compiled):
    with pytest.raises(case.error) as info:
        case.call()
    assert type(info.value) is case.error
    argument, _, rest = str(info.value).partition(": expected ")
    expected, _, got = rest.rpartition("got ")
    assert argument.startswith(case.argument), str(info.value)
    assert case.expected in expected, str(info.value)
    assert case.got in got, str(info.value)
    assert not compiled


@pytest.mark.parametrize("seed", range(120))
def test_a_random_wrong_call_raises_no_error_from_below(seed):
    """The first of 1,500, all of which hold: `for seed in range(1500)` takes some minutes."""
    call, arguments = wrong_call(seed)
    try:
        if call.traced:
            jax.eval_shape(lambda: call.function(**arguments))
        else:
            call.function(**arguments)
    except (TypeError, ValueError) as error:
        said, kind = str(error), type(error)
    else:
        return
    assert kind in (TypeError, ValueError), said
    assert re.match(r"[^\n]{1,120}?: expected |\w+\(\) (got an unexpected|missing)", said), said


def test_the_names_of_the_cases_differ():
    names = [case.name for case in CASES]
    assert sorted(set(names)) == sorted(names)


def test_every_public_function_has_cases():
    places = [jaxrnn, *(x for x in (getattr(jaxrnn, name) for name in dir(jaxrnn)) if inspect.ismodule(x))]
    functions = {name for place in places for name in place.__all__ if inspect.isfunction(getattr(place, name))}
    without_arguments = {"autodiff", "identity", "last", "mean_over_time", "leaf", "pytree", "run_layer", "orthogonal"}
    without_arguments |= {"save", "load", "resets_from_dones", "pieces", "carries"}  # see their own tests
    without_arguments |= set(jaxrnn.interop.__all__)
    tested = {part for case in CASES for part in (case.name.split("-")[0].split(".")[0],)}
    assert functions - without_arguments <= tested


def test_right_calls_do_compile_what_the_wrong_ones_must_not(compiled):
    """Else the test above would hold for any program."""
    T = 7  # of other sizes than those of the cases, so that nothing is in a cache
    cell, model = jaxrnn.elman(D, H), training.MODEL
    data = {"xs": ones(T, 2, D), "targets": ones(T, 2, training.O)}
    for call in (
        lambda: jaxrnn.unroll(cell, drawn(cell), ones(T, 2, D)),
        lambda: model.apply(drawn(model), ones(T, 1, D)),
        lambda: jaxrnn.check_gradients(cell, drawn(cell), ones(T, 2, D)),
        lambda: training.fit(data=data),
        lambda: training.evaluate(data=data),
    ):
        call()
        assert compiled
        compiled.clear()
