"""Wrong arguments of the losses."""

import numpy as np

from tests.bad_input.case import Entries, bad_type, bad_value, right
from tests.bad_input.values import LENGTHS, LONG, MASK, YS, B, D, O, T, ones, without

CLASSES, LABELS = ones(T, B, dtype=int) - 1, ones(2, B, dtype=int)
CTC = {"targets": LABELS, "targets_lengths": np.full(B, 2)}

# fmt: off
TARGETS, IN_MASK, O_IN_YS = 'batch["targets"]', 'batch["mask"]', "got float32[5, 2, 2]"
RANGE, NEW_TARGETS, LONGER = f"{TARGETS}: 0 to {O - 1}", f"{TARGETS}: ({T}, {B}", Entries(xs=ones(T + 1, B, D))


def _of_all(name, targets, **options):
    """Wrong arguments, which all losses but CTC refuse."""
    batch = {"targets": targets, "lengths": LENGTHS, "mask": MASK}
    return [
        right(name, {"ys": YS, "batch": batch, "at": "steps", "time_major": True, **options}, array="ys",
              flag="time_major", option="at" if name in ("accuracy", "f1") else "at over_time"),
        bad_value('entry "targets"', batch=YS), bad_type(f"{TARGETS}: an array, got None", batch=Entries(targets=None)),
        bad_value(f"{NEW_TARGETS}, got [{T - 1}, {B}", batch=Entries(targets=targets[1:])),
        bad_value(f"{TARGETS}: one a step, got [{B}", batch=Entries(targets=targets[0])),
        bad_value("[", ys=np.float32(1.0), batch={"targets": targets.max()}),
        bad_value(f"{IN_MASK}: ({T}, {B}), got bool[{B}]", batch=Entries(mask=MASK[0])),
        bad_type(f"{IN_MASK}: booleans, got float32", batch=Entries(mask=ones(T, B))),
        bad_type(f"{IN_MASK}: an array, got str 'gap'", batch=Entries(mask="gap")),
        bad_value("lengths: T = 5, got 1 to 6", batch=Entries(lengths=LONG)),
        bad_value("targets_lengths: T = 5, got 1 to 6", batch=Entries(targets_lengths=LONG)),
        bad_value(f'ys: "targets_lengths", {O_IN_YS}', batch=LONGER),
        bad_type('batch["xs"]: an array, got list [[1.0], [1.0, 2.0]]', batch=Entries(xs=[[1.0], [1.0, 2.0]])),
        bad_value(f"{IN_MASK}: one a row, got bool[{T}, {B}]", at="last", batch=Entries(targets=targets[-1])),
        bad_value(f"{TARGETS}: one a row, got [{T - 1}, {B}", at="last", batch={"targets": targets[1:]}),
    ]


OF_CLASSES = [
    bad_type(f"{TARGETS}: integer classes, got float32", batch=Entries(targets=YS)),
    bad_value(f"{NEW_TARGETS}), got [{T}, {B}, 1]", batch=Entries(targets=CLASSES[..., None])),
    bad_value(f"{NEW_TARGETS}), got ]; an entry of one value a row", batch=Entries(targets=CLASSES.T)),
    *(bad_value(f"{RANGE}, got {got}", batch={"targets": CLASSES + got}) for got in (O, -1)),
]
OF_VALUES = bad_value(f"{NEW_TARGETS}, {O}), got [{T}, {B}]", batch=Entries(targets=ones(T, B)))
TABLE = [
    *_of_all("accuracy", CLASSES), *OF_CLASSES,
    *_of_all("f1", CLASSES, average="macro"), *OF_CLASSES,
    *_of_all("cross_entropy", CLASSES, label_smoothing=0.1, class_weights=[1.0] * O), *OF_CLASSES,
        bad_value("in [0, 1)", label_smoothing=1.0), bad_type("an array", ys="ys", class_weights=None),
    *_of_all("mean_squared_error", YS), OF_VALUES,
    *_of_all("binary_cross_entropy", YS), OF_VALUES,
        *(bad_value(f"{TARGETS}: from 0 to 1, got {x}", batch={"targets": x * YS}) for x in (2.0, -1.0, np.nan)),
    *_of_all("quantile_loss", YS, quantiles=[0.5]), OF_VALUES, bad_value("(0, 1)", quantiles=0.5),
        bad_value(f"ys: 3 outputs, {O_IN_YS}", quantiles=[0.1, 0.5, 0.9]),
        bad_value(f"{NEW_TARGETS}, 1), {O_IN_YS}", quantiles=[0.1, 0.9]),
        bad_value(f"{NEW_TARGETS}, 1), got float32[{T}]", quantiles=[0.1, 0.9], batch={"targets": ones(T)}),
    right("ctc_loss", {"ys": YS, "batch": CTC, "blank": 0}, array="ys", flag="time_major"),
        bad_value("a class from 0 to 1", blank=O), bad_value('entry "targets"', batch=YS),
        bad_value('entry "targets_lengths"', batch=without(CTC, "targets_lengths")),
        bad_value("lengths: T = 5, got 1 to 6", batch=Entries(lengths=LONG)),
        bad_type(f"{TARGETS}: an array, got None", batch=Entries(targets=None)),
        bad_type(f"{TARGETS}: integer labels, got float32", batch=Entries(targets=ones(2, B))),
        bad_value(f"{TARGETS}: (L, {B}), got [2, 7]", batch=Entries(targets=ones(B, 7, dtype=int))),
        bad_value(f"{TARGETS}: L >= 1, got [0, ", batch=Entries(targets=LABELS[:0])),
        bad_value(f"{TARGETS}: other than blank = 0, got 0", batch=Entries(targets=LABELS - 1)),
        bad_value(f"{RANGE}, got {O}", batch=Entries(targets=LABELS + 1)),
        bad_value(f"{RANGE}, got -1", batch=Entries(targets=LABELS - 2)),
        bad_value(f"{TARGETS}: a step for each label, got row [1] of 2 steps", batch=Entries(lengths=[3, 2])),
        bad_value('batch["targets_lengths"]: L = 2, got 0 to 3', batch=Entries(targets_lengths=[0, 3])),
        bad_value("ys: T = 6 steps, got [5, ", batch=LONGER),
]
