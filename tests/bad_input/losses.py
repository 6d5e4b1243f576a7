"""Wrong arguments of the losses."""

import functools

import numpy as np

import jaxrnn
from tests.bad_input.case import B, Case, D, O, T, each, ones

YS, VALUES, CLASSES = ones(T, B, O), ones(T, B, O), np.zeros((T, B), np.int32)
REGRESSIONS = {
    "mean_squared_error": jaxrnn.losses.mean_squared_error,
    "binary_cross_entropy": jaxrnn.losses.binary_cross_entropy,
    "quantile_loss": functools.partial(jaxrnn.losses.quantile_loss, quantiles=[0.5]),
}
CLASSIFICATIONS = {
    "cross_entropy": jaxrnn.losses.cross_entropy,
    "accuracy": jaxrnn.losses.accuracy,
    "f1": jaxrnn.losses.f1,
}
TARGETS, MASK = 'batch["targets"]', 'batch["mask"]'


def _of_all(name, loss, targets):
    def case(what, error, argument, expected, got, ys=YS, batch=None, **entries):
        batch = {"targets": targets} | entries if batch is None else batch
        return Case(f"{name}-{what}", lambda: loss(ys, batch), error, argument, expected, got)

    yield case("batch-array", ValueError, "batch", 'entry "targets"', "float32", batch=YS)
    yield case("batch-empty", ValueError, "batch", 'entry "targets"', "a dict with []", batch={})
    yield case("batch-list", ValueError, "batch", 'entry "targets"', "list []", batch=[])
    yield case("targets-none", TypeError, TARGETS, "array", "None", targets=None)
    yield case("targets-string", TypeError, TARGETS, "array", "'cat'", targets="cat")
    yield case("targets-time", ValueError, TARGETS, f"({T}, {B}", f"[{T - 1}, {B}", targets=targets[1:])
    yield case("targets-rows", ValueError, TARGETS, f"({T}, {B}", f"[{T}, 1", targets=targets[:, :1])
    yield case("targets-one-a-row", ValueError, TARGETS, "one a step", f"[{B}", targets=targets[0])
    yield case("ys-string", TypeError, "ys", "array", "'ys'", ys="ys")
    yield case("ys-integers", TypeError, "ys", "floating-point", "int32", ys=np.ones((T, B, O), np.int32))
    yield case("ys-number", ValueError, "ys", "[", "float32[]", ys=np.float32(1.0), targets=targets.max())
    yield case("ys-empty", ValueError, "ys", "time step", "[0, ", ys=YS[:0], targets=targets[:0])
    yield case("ys-tuple", TypeError, "ys", "array", "tuple", ys=(YS, YS[1:]))
    yield case("mask-shape", ValueError, MASK, f"({T}, {B})", f"bool[{B}]", mask=np.ones(B, bool))
    yield case("mask-integers", TypeError, MASK, "booleans", "int32", mask=np.ones((T, B), np.int32))
    yield case("mask-string", TypeError, MASK, "array", "'gap'", mask="gap")
    yield case("lengths-long", ValueError, "lengths", f"T = {T}", f"1 to {T + 1}", lengths=np.array([1, T + 1]))
    own = {"targets_lengths": np.array([1, T + 1])}
    yield case("targets_lengths-long", ValueError, "targets_lengths", f"T = {T}", f"1 to {T + 1}", **own)
    yield case("steps", ValueError, "ys", '"targets_lengths"', f"[{T}, {B}, {O}]", xs=ones(T + 1, B, D))
    yield case("lengths-negative", ValueError, "lengths", f"T = {T}", "-1 to 1", lengths=np.array([-1, 1]))
    yield case("lengths-floats", TypeError, "lengths", "integers", "float32", lengths=ones(B))
    yield case("lengths-rows", ValueError, "lengths", f"({B},)", "[3]", lengths=np.ones(3, np.int32))
    for at in ("first", 0, None):
        call = lambda at=at: loss(YS, {"targets": targets}, at=at)  # noqa: E731
        yield Case(f"{name}-at={at}", call, ValueError, "at", "'last'", str(at))
    last = lambda: loss(YS, {"targets": targets[-1], "mask": np.ones((T, B), bool)}, at="last")  # noqa: E731
    yield Case(f"{name}-last-mask", last, ValueError, MASK, "one a row", f"bool[{T}, {B}]")
    yield Case(
        f"{name}-last-one-a-step",
        lambda: loss(YS, {"targets": targets[1:]}, at="last"),
        ValueError,
        TARGETS,
        "one a row",
        f"[{T - 1}, {B}",
    )


CASES = []
for name, loss in REGRESSIONS.items():
    CASES += _of_all(name, loss, VALUES)
    CASES.append(
        Case(
            f"{name}-targets-features",
            lambda loss=loss: loss(YS, {"targets": ones(T, B)}),
            ValueError,
            TARGETS,
            f"({T}, {B}, {O})",
            f"[{T}, {B}]",
        )
    )
for what, targets, got in (
    ("large", 2 * VALUES, "2.0"),
    ("negative", -VALUES, "-1.0"),
    ("nan", np.nan * VALUES, "nan"),
):
    call = lambda targets=targets: jaxrnn.losses.binary_cross_entropy(YS, {"targets": targets})  # noqa: E731
    CASES.append(Case(f"binary_cross_entropy-targets-{what}", call, ValueError, TARGETS, "from 0 to 1", got))
for name, loss in CLASSIFICATIONS.items():
    CASES += _of_all(name, loss, CLASSES)
    for what, targets, error, expected, got in (
        ("one-hot", VALUES, TypeError, "integer classes", "float32"),
        ("trailing", CLASSES[..., None], ValueError, f"({T}, {B})", f"[{T}, {B}, 1]"),
        ("too-large", CLASSES + O, ValueError, f"0 to {O - 1}", f"{O}"),
        ("negative", CLASSES - 1, ValueError, f"0 to {O - 1}", "-1"),
    ):
        call = lambda loss=loss, targets=targets: loss(YS, {"targets": targets})  # noqa: E731
        CASES.append(Case(f"{name}-targets-{what}", call, error, TARGETS, expected, got))
CASES += each(
    "cross_entropy",
    "label_smoothing",
    lambda v: jaxrnn.losses.cross_entropy(YS, {"targets": CLASSES}, label_smoothing=v),
    ValueError,
    "[0, 1)",
    1.0,
    -0.1,
    "0.1",
    True,
    np.nan,
    None,
    [0.1, 0.2],
)
for name, loss in (REGRESSIONS | {"cross_entropy": jaxrnn.losses.cross_entropy}).items():
    targets = CLASSES if name == "cross_entropy" else VALUES
    call = lambda v, loss=loss, targets=targets: loss(YS, {"targets": targets}, over_time=v)  # noqa: E731
    CASES += each(name, "over_time", call, ValueError, "'sum'", "median", 1, None)
CASES += each(
    "quantile_loss",
    "quantiles",
    lambda v: jaxrnn.losses.quantile_loss(YS, {"targets": VALUES}, quantiles=v),
    ValueError,
    "(0, 1)",
    0.5, [], [0.0], [1.0], ["low"], None, [[0.5]],
)  # fmt: skip
for what, targets, expected, got in (
    ("all-outputs", VALUES, f"({T}, {B}, {O // 2})", f"{O}]"),
    ("features", ones(T), f"({T}, {B}, {O // 2})", f"[{T}]"),
):
    call = lambda targets=targets: jaxrnn.losses.quantile_loss(YS, {"targets": targets}, quantiles=[0.1, 0.9])  # noqa: E731
    CASES.append(Case(f"quantile_loss-two-targets-{what}", call, ValueError, TARGETS, expected, got))
call = lambda: jaxrnn.losses.quantile_loss(YS, {"targets": VALUES}, quantiles=[0.1, 0.5, 0.9])  # noqa: E731
CASES.append(Case("quantile_loss-outputs", call, ValueError, "ys", "3 outputs", f"[{T}, {B}, {O}]"))
