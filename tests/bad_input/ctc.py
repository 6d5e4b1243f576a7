"""Wrong arguments of connectionist temporal classification and of the edit distance."""

import functools

import numpy as np

import jaxrnn
from tests.bad_input.case import B, Case, T, each, ones, sizes

O, L = 3, 2
YS = ones(T, B, O)
BATCH = {"targets": np.full((L, B), 1, np.int32), "targets_lengths": np.full(B, L, np.int32)}
TARGETS, TARGET_LENGTHS = 'batch["targets"]', 'batch["targets_lengths"]'


def _loss(what, error, argument, expected, got, ys=YS, batch=None, **entries):
    batch = BATCH | entries if batch is None else batch
    return Case(f"ctc_loss-{what}", lambda: jaxrnn.losses.ctc_loss(ys, batch), error, argument, expected, got)


def _without(entry):
    return {name: x for name, x in BATCH.items() if name != entry}


def _of_logits(name, call):
    """What the loss and both decoders refuse."""
    yield Case(f"{name}-ys-string", lambda: call("ys"), TypeError, "ys", "array", "'ys'")
    yield Case(f"{name}-ys-integers", lambda: call(np.ones((T, B, O), int)), TypeError, "ys", "floating-point", "int")
    yield Case(f"{name}-ys-vector", lambda: call(ones(T)), ValueError, "ys", "[T, ..., O]", f"[{T}]")
    yield Case(f"{name}-ys-empty", lambda: call(YS[:0]), ValueError, "ys", "time step", "[0, ")
    with_blank = lambda value: call(YS, blank=value)  # noqa: E731
    yield from each(name, "blank", with_blank, ValueError, f"0 to {O - 1}", -1, O, 1.0, None, True)
    for what, lengths, error, expected, got in (
        ("long", np.array([1, T + 1]), ValueError, f"T = {T}", f"1 to {T + 1}"),
        ("negative", [-1, 1], ValueError, f"T = {T}", "-1 to 1"),
        ("floats", ones(B), TypeError, "integers", "float32"),
        ("rows", np.ones(3, np.int32), ValueError, f"({B},)", "[3]"),
    ):
        with_lengths = lambda lengths=lengths: call(YS, lengths=lengths)  # noqa: E731
        yield Case(f"{name}-lengths-{what}", with_lengths, error, "lengths", expected, got)


def loss(ys, *, lengths=None, **options):
    return jaxrnn.losses.ctc_loss(ys, BATCH | {"lengths": lengths}, **options)


def beam(**options):
    return jaxrnn.decoding.ctc_beam(YS, **options)


CASES = [
    *_of_logits("ctc_loss", loss),
    *_of_logits("ctc_greedy", jaxrnn.decoding.ctc_greedy),
    *_of_logits("ctc_beam", jaxrnn.decoding.ctc_beam),
    *sizes("ctc_beam", "beam", lambda value: beam(beam=value)),
    *sizes("ctc_beam", "max_length", lambda value: beam(max_length=value))[:-1],  # None is right
    _loss("batch-array", ValueError, "batch", 'entry "targets"', "float32", batch=YS),
    _loss("batch-no-targets", ValueError, "batch", 'entry "targets"', "targets_lengths", batch=_without("targets")),
    _loss(
        "batch-no-targets_lengths",
        ValueError,
        "batch",
        'entry "targets_lengths"',
        "a dict with ['targets']",
        batch=_without("targets_lengths"),
    ),
    _loss("targets-none", TypeError, TARGETS, "array", "None", targets=None),
    _loss("targets-floats", TypeError, TARGETS, "integer labels", "float32", targets=ones(L, B)),
    _loss("targets-rows-first", ValueError, TARGETS, f"(L, {B})", "[2, 7]", targets=np.ones((B, 7), np.int32)),
    _loss("targets-vector", ValueError, TARGETS, f"(L, {B})", f"[{L}]", targets=np.ones(L, np.int32)),
    _loss("targets-none-at-all", ValueError, TARGETS, "L >= 1", "[0, ", targets=np.ones((0, B), np.int32)),
    _loss("targets-blank", ValueError, TARGETS, "other than blank = 0", "0", targets=np.zeros((L, B), np.int32)),
    _loss("targets-too-large", ValueError, TARGETS, f"0 to {O - 1}", f"{O}", targets=np.full((L, B), O)),
    _loss("targets-negative", ValueError, TARGETS, f"0 to {O - 1}", "-1", targets=np.full((L, B), -1)),
    _loss("targets-too-many", ValueError, TARGETS, "a step for each label", "row [1] of 2 steps", lengths=[3, 2]),
    _loss("targets_lengths-long", ValueError, TARGET_LENGTHS, f"L = {L}", "0 to 3", targets_lengths=np.array([0, 3])),
    _loss("targets_lengths-negative", ValueError, TARGET_LENGTHS, f"L = {L}", "-1 to 0", targets_lengths=[-1, 0]),
    _loss("targets_lengths-floats", TypeError, TARGET_LENGTHS, "integers", "float32", targets_lengths=ones(B)),
    _loss("targets_lengths-number", ValueError, TARGET_LENGTHS, f"({B},)", "[]", targets_lengths=1),
    _loss("ys-steps", ValueError, "ys", f"T = {T + 1} steps", f"[{T}, ", xs=ones(T + 1, B, 4)),
]

A = np.ones((4, B), np.int32)
N = np.full(B, 3, np.int32)
EDITS = (
    ("a-string", ("cat", N, A, N), TypeError, "a", "array", "'cat'"),
    ("a-floats", (ones(4, B), N, A, N), TypeError, "a", "integers", "float32"),
    ("a-number", (np.int32(1), 1, A, N), ValueError, "a", "[L, ...]", "[]"),
    ("b-floats", (A, N, ones(4, B), N), TypeError, "b", "integers", "float32"),
    ("b-rows", (A, N, A[:, :1], N[:1]), ValueError, "b", f"[M, {B}]", "[4, 1]"),
    ("a_lengths-long", (A, N + 2, A, N), ValueError, "a_lengths", "L = 4", "5 to 5"),
    ("b_lengths-long", (A, N, A, N + 2), ValueError, "b_lengths", "M = 4", "5 to 5"),
    ("a_lengths-rows", (A, N[:1], A, N), ValueError, "a_lengths", f"({B},)", "[1]"),
    ("b_lengths-floats", (A, N, A, ones(B)), TypeError, "b_lengths", "integers", "float32"),
)
for what, arguments, *expected in EDITS:
    CASES.append(Case(f"edit_distance-{what}", functools.partial(jaxrnn.decoding.edit_distance, *arguments), *expected))
