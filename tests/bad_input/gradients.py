"""Wrong options of the gradients, and wrong arguments of online learning."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from tests.bad_input.case import XS, B, Case, D, H, drawn, each, ones, sizes

CELL, PLAIN = jaxrnn.gru(D, H), jaxrnn.gru(D, H, reset_after=False)
PARAMS = drawn(CELL)
START = jaxrnn.online.rtrl_start(CELL, PARAMS, (B,))
OTHER_START = jaxrnn.online.rtrl_start(CELL, PARAMS, (B + 1,))
SNAP_START = jaxrnn.online.rtrl_start(CELL, PARAMS, (B,), sparsity="snap1")


HEADS = jaxrnn.gru(D, H, heads=2)


def persistent(cell):
    return jaxrnn.unroll(cell, drawn(cell), XS, gradient=jaxrnn.reverse_scan(loop="persistent"))


def squares(y):
    return jnp.sum(y**2)


def step(cell=CELL, params=PARAMS, carry=START[0], influence=START[1], x=XS[0], loss=squares, **options):
    return jaxrnn.online.rtrl_step(cell, params, carry, influence, x, loss, **options)


def _of_both(function, call):
    """What `rtrl_start` and `rtrl_step` share."""
    return [
        Case(f"{function}-cell-model", lambda: call(cell=jaxrnn.stack([CELL])), TypeError, "cell", "Cell", "Stack"),
        Case(
            f"{function}-params",
            lambda: call(params={}),
            ValueError,
            "params",
            "['b', 'b_h', 'w_h', 'w_x']",
            "a dict with []",
        ),
        *each(function, "sparsity", lambda v: call(sparsity=v), ValueError, "None, 'snap1'", "snap2", 1),
        Case(
            f"{function}-snap1-plain",
            lambda: call(cell=PLAIN, params=drawn(PLAIN), sparsity="snap1"),
            ValueError,
            "sparsity",
            "gated cell",
            "ResetBeforeGRU",
        ),
    ]


def start(cell=CELL, params=PARAMS, **options):
    return jaxrnn.online.rtrl_start(cell, params, (B,), **options)


CASES = [
    *each(
        "reverse_scan",
        "clip_norm",
        lambda v: jaxrnn.reverse_scan(clip_norm=v),
        ValueError,
        "above 0",
        0.0,
        -1.0,
        np.nan,
    ),
    *each("reverse_scan", "loop", lambda v: jaxrnn.reverse_scan(loop=v), ValueError, "'persistent'", "fused", None),
    Case(
        "reverse_scan-loop-plain", lambda: persistent(PLAIN), ValueError, "loop", "'scan' for this cell", "a GatedCell"
    ),
    Case(
        "reverse_scan-loop-mixing",
        lambda: persistent(jaxrnn.lstm(D, H, layer_norm=True)),
        ValueError,
        "loop",
        "'scan' for this cell",
        "mix hidden units",
    ),
    Case(
        "rtrl-snap1-heads",
        lambda: jaxrnn.unroll(HEADS, drawn(HEADS), XS, gradient=jaxrnn.rtrl(sparsity="snap1")),
        ValueError,
        "sparsity",
        "one head",
        "2",
    ),
    *each("reverse_scan", "clip_value", lambda v: jaxrnn.reverse_scan(clip_value=v), ValueError, "above 0", 0, "1"),
    *[c for c in sizes("checkpointed", "segments", lambda v: jaxrnn.checkpointed(segments=v)) if "None" not in c.name],
    *[
        c
        for c in sizes("checkpointed", "checkpoints", lambda v: jaxrnn.checkpointed(checkpoints=v))
        if "None" not in c.name
    ],
    Case(
        "checkpointed-both",
        lambda: jaxrnn.checkpointed(segments=2, checkpoints=3),
        ValueError,
        "checkpoints",
        "None beside segments=2",
        "3",
    ),
    Case(
        "checkpointed-too-few",
        lambda: jaxrnn.unroll(CELL, PARAMS, ones(100, D), gradient=jaxrnn.checkpointed(checkpoints=5)),
        ValueError,
        "checkpoints",
        "at least 14 for 100 steps",
        "5",
    ),
    *sizes("truncated", "k1", lambda v: jaxrnn.truncated(v, 8)),
    *[c for c in sizes("truncated", "k2", lambda v: jaxrnn.truncated(1, v)) if "None" not in c.name],
    Case("truncated-k2-below", lambda: jaxrnn.truncated(4, 3), ValueError, "k2", "at least k1 = 4", "3"),
    *each("rtrl", "sparsity", lambda v: jaxrnn.rtrl(sparsity=v), ValueError, "None, 'snap1'", "snap2", 1),
    Case(
        "rtrl-xs",
        lambda: jax.grad(lambda xs: jaxrnn.unroll(CELL, PARAMS, xs, gradient=jaxrnn.rtrl())[1].sum())(XS),
        ValueError,
        "gradient",
        "goes back in time where the gradient of xs is asked for",
        "rtrl()",
    ),
    *_of_both("rtrl_start", start),
    *_of_both("rtrl_step", step),
    Case("rtrl_step-x-features", lambda: step(x=ones(B, D + 1)), ValueError, "x", f"[..., {D}]", "float32[2, 4]"),
    Case("rtrl_step-x-integers", lambda: step(x=np.ones((B, D), int)), TypeError, "x", "floating-point", "int32[2, 3]"),
    Case("rtrl_step-carry", lambda: step(carry=ones(B, H + 1)), ValueError, "carry", f"{(B, H)}", "float32[2, 5]"),
    Case("rtrl_step-loss-vector", lambda: step(loss=lambda y: y[0]), ValueError, "loss", "scalar", f"float32[{H}]"),
    Case("rtrl_start-rows", lambda: jaxrnn.online.rtrl_start(CELL, PARAMS, 2), TypeError, "batch_shape", "tuple", "2"),
    Case(
        "rtrl_start-size",
        lambda: jaxrnn.online.rtrl_start(CELL, PARAMS, (-2,)),
        ValueError,
        "batch_shape",
        "positive",
        "-2",
    ),
    Case("rtrl_step-loss", lambda: step(loss=1.0), TypeError, "loss", "function", "float 1.0"),
    Case(
        "rtrl_step-influence-rows",
        lambda: step(influence=OTHER_START[1]),
        ValueError,
        "influence",
        "12, 2, 4",
        "12, 3, 4",
    ),
    Case(
        "rtrl_step-influence-snap1",
        lambda: step(influence=SNAP_START[1]),
        ValueError,
        "influence",
        "12, 2, 4",
        "[2, 3, 4]",
    ),
]
