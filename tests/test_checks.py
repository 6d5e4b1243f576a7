"""Each check of an argument, with all kinds of wrong values, and with right ones up to the last."""

import functools
import pathlib
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import arguments, checks, validity
from tests.bad_input.case import bad_type, bad_value, cases, right
from tests.bad_input.values import ELMAN, HS, KEY, LONG, LSTM, MASK, XS, B, D, H, T, drawn, ones, without

PARAMS, INTEGERS, Carry = drawn(ELMAN), ones(T, B, D, dtype=np.int32), jaxrnn.cells.LSTMCarry
OPEN = jaxrnn.cell(len, lambda params, batch_shape: 0.0, lambda params, carry, x: (carry, x))
EMPTY = np.zeros(0, np.int32)
STRUCT, TORCH = jax.ShapeDtypeStruct((2,), jnp.float32), type("Tensor", (), {"__module__": "torch"})()

# fmt: off
# Values of all kinds, and the text that a message has for them.
POOL = {
    "0": (0, "int 0"), "1": (1, "int 1"), "2": (2, "int 2"), "-1": (-1, "int -1"), "int64": (np.int64(3), "int64[]"),
    "0.0": (0.0, "float 0.0"), "0.5": (0.5, "float 0.5"), "1.0": (1.0, "float 1.0"), "-0.1": (-0.1, "float -0.1"),
    "2.5": (2.5, "float 2.5"), "inf": (np.inf, "float inf"), "-inf": (-np.inf, "float -inf"),
    "nan": (np.nan, "float nan"), "float32": (np.float32(0.5), "float32[]"), "jax": (jnp.float32(0.5), "float32[]"),
    "complex": (1j, "complex 1j"), "True": (True, "bool True"), "bool_": (np.False_, "bool[]"), "'3'": ("3", "str '3'"),
    "bytes": (b"3", "bytes b'3'"), "None": (None, "NoneType None"), "float16": ("float16", "str 'float16'"),
    "int8": (jnp.int8, f"_ScalarMeta {jnp.int8}"), "np.int8": (np.int8, "type <class 'numpy.int8'>"),
    "[]": ([], "list []"), "()": ((), "tuple ()"),
    "{}": ({}, "dict {}"), "[0.5]": ([0.5], "list [0.5]"), "ragged": ([[1], [2, 3]], "list [[1], [2, 3]]"),
    "strings": (["a"], "list ['a']"), "dicts": ([{"a": 1}], "list of 1: (dict {'a': 1})"),
    "float64": (np.full(2, 0.5), "float64[2]"), "row": (ones(2), "float32[2]"),
    "object": (np.array([None]), "object[1]"), "rows": ([ones(1), ones(2)], "list of 2: (float32[1], float32[2])"),
    "key": (KEY, "key<fry>[]"), "pair": ((1, ones(2)), "tuple of 2: (int 1, float32[2])"),
    "dict": ({"w": HS, "b": 1}, "a dict with ['b', 'w']"), "keys": (jax.random.split(KEY), "key<fry>[2]"),
    "len": (len, "builtin_function_or_method <built-in function len>"),
    "old_key": (np.zeros(2, np.uint32), "uint32[2]"), "cell": (ELMAN, "Elman(D=3, H=4)"),
    "long": (list(range(99)), f"list {list(range(99))}"[:87] + "..."),
}
NUMBERS = "0.5 float32 jax"
POSITIVE = f"1 2 int64 1.0 2.5 {NUMBERS}"
ARRAYS = f"0 -1 0.0 -0.1 inf -inf nan complex True bool_ [] () [0.5] float64 row key keys old_key long {POSITIVE}"
UNEQUAL = f"{POOL['rows'][1]}; jaxrnn.data.padded makes one of rows of different lengths, numpy.stack of equal ones"
LABELS = "<U1[1], which holds no numbers; numpy.unique(..., return_inverse=True) numbers labels"
OTHERS = {"strings": LABELS, "rows": UNEQUAL}
OTHERS |= dict.fromkeys(("dicts", "object"), "object[1], which holds no numbers")
# A check, its error, what it expects, all values of the pool that are right, and the texts of values unlike the pool's.
CHECKS = [
    (checks.positive_int, ValueError, "a positive integer", "1 2 int64", repr),
    (checks.not_negative_int, ValueError, "an integer of at least 0", "0 1 2 int64", repr),
    (checks.rate, ValueError, "a number in [0, 1)", f"0 0.0 {NUMBERS}", None),
    (checks.limit, ValueError, "a number above 0", f"inf {POSITIVE}", None),
    (functools.partial(checks.above, low=0.0), ValueError, "a number above 0", POSITIVE, None),
    (functools.partial(checks.above, low=2.0), ValueError, "a number above 2", "int64 2.5", None),
    (functools.partial(checks.above, low=0.5, shapes=((), (2,))), ValueError,
     "a number or an array of shape (2,), above 0.5", "1 2 int64 1.0 2.5 row", None),
    (checks.not_negative, ValueError, "a number of at least 0", f"0 0.0 {POSITIVE}", None),
    (checks.finite, ValueError, "a number that is finite", f"0 0.0 -1 -0.1 {POSITIVE}", None),
    (checks.flag, TypeError, "True or False", "True bool_", None),
    (functools.partial(checks.instance, kind=str), TypeError, "a str", "'3' float16", None),
    (functools.partial(checks.instance, kind=(str, int), hint="so"), TypeError, "a str or int",
     "0 1 2 -1 True '3' float16", lambda value: f"{checks.short(value)}; so"),
    (functools.partial(checks.one_of, options=("3", None)), ValueError, "one of ('3', None)", "'3' None", repr),
    (checks.float_dtype, TypeError, "a floating-point dtype such as jnp.bfloat16", "float16", repr),
    (checks.callable_, TypeError, "a function", "len int8 np.int8", None),
    (checks.key, TypeError, "a random key such as jax.random.key(0)", "key old_key", None),
    (checks.array, TypeError, "an array", ARRAYS, OTHERS),
]


def of(check, arguments, **kinds):
    return right(check.__name__, arguments, call=check, **kinds)


X, STEPS, SHAPE, XS_SHAPE = {"name": "value"}, {"T": T, "batch_shape": (B,)}, "shape (2, 4)", "[T, ..., 3]"
SCALAR, LEAST = "a function that returns a floating-point scalar", "of at least one step"
TWO = jax.sharding.Mesh(np.array(jax.devices()[:1])[:, None], ("a", "b"))
OPTIONS = dict.fromkeys(("carry", "lengths", "resets", "key"))
TABLE = [
    of(checks.probabilities, X),
        *(bad_value("a number in [0, 1]", value=value) for value in (-0.1, 1.1, np.nan, [[0.5]], "1", None, True)),
        bad_value("a number or an array of shape (2,), in [0, 1]", value=[0.5, 1.5]),
        bad_value("a number in [0, 1]", value=[]),
    of(checks.sizes, X), *(bad_type("a tuple or list", value=x) for x in (3, None, HS)),
        *(bad_value("integers of at least 0", value=x) for x in ((-1,), (1.0,), ("a",), (True,), (None,))),
    of(checks.path, X), *(bad_type("the path of a file", value=x) for x in (3, None, b"x", [])),
        bad_type("the path of a directory", value=3, of="directory"),
        bad_value("the path of a file, got tests, a directory", value=pathlib.Path(__file__).parent),
    of(checks.dtype, X), *(bad_type("a dtype such as jnp.float32", value=x) for x in (0, None, "other", HS)),
    of(checks.initializer, X), bad_type("of (key, shape, dtype), got one of (obj, /)", value=len),
    of(checks.levels, X),
        *(bad_value("numbers in (0, 1), a sequence of at least one", value=x) for x in (0.5, [], None, ones(1, 1))),
        *(bad_value("array of shape (2,), in (0, 1)", value=x) for x in ([0.0, 0.5], [0.5, 1.0], ["a", "b"])),
    of(checks.entry, X | {"key": "w"}), bad_value('a dict with the entry "w", got a dict with [\'v\']', value={"v": 1}),
        bad_value('a dict with the entry "w"', value=["w"]),
    of(checks.mesh, X, mesh="value"), bad_value("a mesh of one axis, got Mesh('a': 1, 'b': 1", value=TWO),
    right("function", X, call=lambda name, value: checks.function(name, value, "x", "y"), function="value"),
        bad_type("a function of (x, y), got one of (x)", value=lambda x: x),
    of(checks.array, X), bad_type("an array of JAX or NumPy, got one of torch; see numpy.asarray", value=TORCH),
        bad_type("an array", value=(HS,)), bad_value("integers of at most 32 bits", value=2**40),
        bad_value("integers that fit into int32, got int64 values from 0 to 2147483648", value=np.array([0, 2**31])),
        bad_value("that fit into int32, got int64 values from -2147483649 to 0", value=np.array([0, -(2**31) - 1])),
    of(checks.arrays, X), bad_type("value[0]['w']: an array of JAX or NumPy, got one of torch", tree=[{"w": TORCH}]),
        bad_type("value[1]: an array, got bytes b'3'", tree=(HS, b"3")),
    of(checks.integers, X, array="value"), bad_type("integers, got float32[2]", value=[1.0, 2.0]),
        bad_type("integers", value=MASK),
    of(checks.symbols, {"name": "values", "count": 3}),
        bad_value("symbols from 0 to 2, got values from 0 to 3", values=[0, 3]),
        bad_value("symbols from 0 to 2, got values from -1 to 0", values=[0, -1]),
    of(checks.steps, {"name": "xs", "time_major": False}),
        bad_value("an array [B, T, ...] with time_major=False", xs=ones(4)),
        bad_value("an array [B, T, D] with time_major=False", xs=ones(4, 2), least=3),
    of(checks.steps_of, {"name": "xs"}), bad_value("an array [T, ...]", xs=3),
        bad_value("an array [B, T, ...]", xs=ones(4), time_major=False),
    of(checks.burn_in, {"T": 5}),
        *(bad_value(f"burn_in: an integer from 0 to T - 1 = 4, got {n}", value=n) for n in (5, -1, 1.0, False, None)),
    of(checks.lengths, {"T": T}), bad_value("lengths: values from 0 to T = 5, got 1 to 6", value=LONG),
        bad_value("lengths: values from 0 to T = 5, got -1 to 1", value=[-1, 1]),
        bad_type("lengths: integers, got float32[2]", value=ones(B)),
    of(checks.scalar, X, array="value"), bad_value(SCALAR, value=ones(2)), bad_value(f"{SCALAR}, got int32[]", value=1),
    of(checks.same_tree, X | {"expected": PARAMS}),
        *(bad_value("a dict with the entries ['b', 'w_h', 'w_x']", value=x) for x in (
            None, "w", [PARAMS], without(PARAMS, "w_h"), PARAMS | {"extra": HS})),
        bad_value("['b', 'w_h', 'w_x'], got namespace(params=1); it has", value=SimpleNamespace(params=1)),
        bad_value("value['b']: None, got float32[4]", expected=PARAMS | {"b": None}, value=PARAMS),
        bad_value("value['b']: shape (4,), got float32[1]", value=PARAMS | {"b": ones(1)}),
        bad_value("value['b']: an array of shape (4,), got list [1.0]", value=PARAMS | {"b": [1.0]}),
    of(checks.array_tree, X | {"expected": Carry(HS, HS)}),
        *(bad_value("a LSTMCarry of 2", value=x) for x in (None, HS, (HS, HS), [HS, HS])),
        bad_value(f"value.c: {SHAPE}, got float32[4]", value=Carry(HS, ones(H))),
        bad_type("value.c: float32[2, 4], got float16[2, 4]", value=Carry(HS, HS.astype(np.float16))),
        bad_type("value.h: an array, got None", value=Carry(None, HS)),
    of(checks.array_tree, X | {"expected": (HS, HS)}),
        *(bad_value("a tuple of 2", value=x) for x in ((HS,), [HS, HS], Carry(HS, HS))),
        bad_value(f"value[1]: {SHAPE}, got float32[4]", value=(HS, ones(H))),
    of(checks.array_tree, X | {"expected": HS}), *(bad_value(SHAPE, value=x) for x in (0.0, ones(H), ones(B + 1, H))),
        bad_type("an array", value="zeros"), bad_type("float32[2, 4], got int32", value=ones(B, H, dtype=np.int32)),
    of(checks.array_tree, X | {"expected": [HS]}), bad_value(f"value[0]: {SHAPE}, got float32[4]", value=[ones(H)]),
        bad_value("PyTreeDef([*]), got PyTreeDef([*, *])", value=[HS, HS]),
    of(checks.sequence, X | {"kind": str, "hint": "so"}),
        *(bad_type("at least one str in a list", value=x) for x in ("a", (), [], None, {"a"})),
        bad_type("value[1]: a str, got int 1; so", value=["a", 1]),
    of(checks.fitting, {"name": "layers"}),
        bad_value("layers[1]: 4 input features, the outputs of the one before, got 3", layers=(LSTM, LSTM)),
    of(checks.metrics, {}), *(bad_type("metrics: a dict of functions", value=x) for x in ([], len, 0)),
        bad_type("metrics['a']: a function, got int 1", value={"a": 1}),
        *(bad_value(f"metrics: other names than those written anyway, got {name!r}", value={name: len})
          for name in ("loss", "gradient_norm", "step", "member")),
    of(arguments.checked_inputs, {"cell": ELMAN}, array="xs", features="xs"),
        bad_value(f"an array {XS_SHAPE}", xs=ones(T)), bad_value(f"at least one time step, {XS_SHAPE}", xs=XS[:0]),
        *(bad_type("floating-point numbers", xs=x) for x in (INTEGERS, INTEGERS > 0, XS.astype(np.complex64))),
        bad_type("an array", xs=None), bad_type("an array", xs={"xs": 1}),
    of(arguments.checked_inputs, {"cell": OPEN}), bad_value("an array [T, ..., D]", xs=ones(T)),
        bad_value("at least one time step, [T, ..., D]", xs=ones(0, 2)),
        bad_value("an array or a tree of arrays", xs={}),
        bad_value(f"xs['b']: an array [T, {B}, ...] {LEAST}, got float32[4, 2, 3]", xs={"a": XS, "b": XS[1:]}),
        bad_value(f"xs['a']: an array [T, {B}, ...] {LEAST}, got float32[0, 2, 3]", xs={"a": XS[:0]}),
        bad_value(f"xs['b']: an array [T, ...] {LEAST}, got float32[]", xs={"b": ones()}),
    of(arguments.checked_step_input, {"cell": ELMAN}, array="x"), bad_value("an array [..., 3]", x=HS),
        bad_value("an array [..., 3]", x=ones()), bad_type("floating-point numbers", x=INTEGERS),
        bad_value("an array [..., D]", x=ones(), cell=OPEN),
    of(arguments.checked_sequence, {}, array="xs"),
        *(bad_value("an array [T, ...] of at least one time step", xs=x) for x in (ones(), XS[:0])),
    of(arguments.checked_outputs, {"axes": 2}, array="ys"),
        *(bad_value("an array [T, ..., O] of at least one time step", ys=x) for x in (ones(T), XS[:0], XS[..., :0])),
        bad_type("floating-point numbers", ys=INTEGERS),
        bad_type("an array, the outputs, got a dict with ['xs']; a loss is called as loss(ys, batch)", ys={"xs": XS}),
        bad_type("an array, the outputs, got a model's apply returns (carry, ys)", ys=((), XS)),
    of(arguments.checked_logits, {"ys": XS, "blank": 0}, array="ys"),
        *(bad_value("a class from 0 to 2", blank=x) for x in (-1, D, 1.0, None, True)),
    of(arguments.checked_params, {"owner": ELMAN}, params="params"),
        bad_type("params['b']: floating-point numbers, got int32[4]", params=PARAMS | {"b": ones(H, dtype=np.int32)}),
    of(arguments.check_rows, {"name": "tree", "batch_shape": (B,)}),
        bad_value("tree[0]: a leading shape (2,), one entry a row, got float32[4]", tree=(ones(H),)),
    of(arguments.checked_noise, {"T": T}), bad_value("a leading axis of T = 5 steps", noise=HS),
    of(arguments.checked_options, {"cell": ELMAN, "xs": XS, **OPTIONS, "reverse": False}, flag="reverse", key="key",
       array="xs resets mask", lengths="lengths"), bad_type("xs['a']: an array, got str 'a'", cell=OPEN, xs={"a": "a"}),
    of(validity.valid_steps, STEPS, lengths="lengths", rows="lengths"),
        bad_value("shape (2,), got int32[5]; time comes first here", lengths=[1] * T),
        bad_value("words: values from 0 to L = 5, got 1 to 6", lengths=LONG, name="words", size="L"),
    of(validity.checked_bools, {"name": "value", **STEPS}, array="value", steps="value"),
        *(bad_value("shape (5, 2)", value=x) for x in (MASK[0], MASK.T)),
    of(validity.combined, STEPS | dict.fromkeys(("lengths", "mask", "resets")), lengths="lengths", steps="mask resets"),
]
# fmt: on


@pytest.mark.parametrize(("check", "error", "expected", "right", "texts"), CHECKS)
def test_a_check_refuses_all_values_but_the_right_ones(check, error, expected, right, texts):
    for name, (value, text) in POOL.items():
        if name in right.split():
            check("x", value=value)
            continue
        text = texts(value) if callable(texts) else (texts or {}).get(name, text)
        with pytest.raises(error) as info:
            check("x", value=value)
        assert str(info.value) == f"x: expected {expected}, got {text}"


def test_a_message_has_a_short_text_for_each_value():
    assert [checks.short(value) for value, _ in POOL.values()] == [text for _, text in POOL.values()]


@pytest.mark.parametrize("case", [*cases(TABLE)], ids=lambda case: case.name)
def test_a_check_names_what_was_expected_and_what_came(case):
    case.check()


# fmt: off
def test_right_values_come_back_as_what_the_library_computes_with():
    for value, wanted in (
        (checks.positive_int("x", np.int64(3)), 3), (checks.not_negative_int("x", np.int8(0)), 0),
        (checks.rate("x", 0), 0.0),
        (checks.limit("x", np.inf), np.inf), (checks.flag("x", np.True_), True), (checks.burn_in(np.int64(4), 5), 4),
        (checks.burn_in(0, 0), 0), (checks.steps("x", {"a": ones(T), "b": XS}), T), (checks.steps("x", XS, False), B),
        (checks.steps_of("x", [[1.0], [2.0]]), 2), (checks.steps_of("x", {"a": XS}, time_major=False), B),
        (checks.metrics(None), {}), (checks.metrics({"a": max}), {"a": max}), (checks.mesh("x", None), None),
        (checks.sequence("x", ["a", "b"], str), ("a", "b")), (checks.in_one_list((["a", "b"],)), ["a", "b"]),
        (checks.in_one_list(("a", "b")), ("a", "b")), (checks.function("x", max, "a"), max),
        (checks.float_dtype("x", jnp.bfloat16), jnp.dtype("bfloat16")), (checks.symbols("x", [0, 2], 3), None),
        (checks.sizes("x", [2, np.int64(3)]), (2, 3)), (checks.sizes("x", ()), ()),
        (checks.dtype("x", "int8"), np.dtype("int8")), (checks.path("x", "a"), pathlib.Path("a")),
        (checks.in_numpy([1, XS]), True), (checks.in_numpy([1, jnp.ones(1)]), False),
        (checks.symbols("x", [], 3), None), (checks.fitting("x", (LSTM, OPEN, ELMAN)), None),
        (arguments.steps_and_rows((XS, XS[..., 0])), (T, ())), (arguments.steps_and_rows(XS), (T, (B,))),
        (checks.array("x", STRUCT), STRUCT), (arguments.checked_params(ELMAN, PARAMS), None),
        (arguments.check_rows("x", HS, (B,)), None),
    ):
        assert value == wanted
        assert type(value) is type(wanted)
    ends = np.array([-(2**31), 2**31 - 1])
    for value, wanted in (
    (checks.levels("x", [0.1, 0.9]), np.array([0.1, 0.9], "f")), (checks.scalar("x", 0.5), np.float32(0.5)),
        (checks.probabilities("x", [0, 1]), np.array([0, 1], "f")), (checks.integers("x", ends), ends.astype("i")),
        (checks.integers("x", np.array([2**32 - 1], "u4")), ends[1:].astype("i")),
        (checks.lengths(np.array([0, T], "u1"), T), np.array([0, T], "i")), (checks.lengths(EMPTY, T), EMPTY),
        (arguments.at_least_float32(jnp.float16(1.5)), np.float32(1.5)), (arguments.checked_logits(XS, D - 1), XS),
        (arguments.checked_logits(XS, 0), XS), (arguments.checked_outputs(ones(1), 1), ones(1)),
        (arguments.checked_sequence(ones(1)), ones(1)), (arguments.checked_noise(XS, T), XS),
        (arguments.checked_step_input(ELMAN, XS[0]), XS[0]), (validity.valid_steps([0, 1], 1, (B,)), np.eye(2)[1:] > 0),
    ):
        assert value.dtype == np.asarray(wanted).dtype
        np.testing.assert_array_equal(value, wanted)
# fmt: on


def test_traced_values_are_right_whatever_they_will_be():
    jax.eval_shape(lambda x, n: (checks.rate("x", x), checks.finite("x", x), checks.lengths(n, T)), 2.0, LONG)


def test_an_error_says_in_which_part_and_under_which_name_it_came_up():
    with pytest.raises(ValueError, match=r"^data: x: expected") as info, checks.prefix("data"), checks.within("0"):
        checks.rate("x", 2)
    assert info.value.__cause__.__notes__ == ["in part 0 of the model"]
    for error in (KeyError("x"), ValueError("data: x")):
        with pytest.raises(type(error)) as info, checks.prefix("data"):
            raise error
        assert info.value is error


def test_an_error_about_forward_mode_names_the_gradient():
    rule = jax.custom_vjp(lambda x: x)
    rule.defvjp(lambda x: (x, None), lambda _, d: (d,))
    with pytest.raises(TypeError, match=r"^gradient: expected autodiff.* got that, "), checks.forward_mode("that"):
        jax.jvp(rule, (1.0,), (1.0,))
    for said in ("forward-mode", "custom_vjp"):
        with pytest.raises(TypeError, match=f"^{said}$"), checks.forward_mode("that"):
            raise TypeError(said)
