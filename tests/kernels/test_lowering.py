"""That the kernels can be lowered for GPUs and TPUs, and what they need there.

Lowering proves neither that they compile nor what they compute on such a device.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas as pl

import jaxrnn
from jaxrnn.kernels.target import Target
from tests.helpers import mostly_slow
from tests.jaxprs import equations
from tests.kernels.lowering import CALLS, PERSISTENT, differentiated, lowered, shapes
from tests.registry import ENTRIES

GATED = [e for e in ENTRIES if e.gated and "norm" not in e.name]
platforms = pytest.mark.parametrize("platform", CALLS)


@pytest.mark.parametrize(
    "entry", mostly_slow(GATED, "lstm_dropout_zoneout", "gru_zoneout", "custom_gated"), ids=lambda e: e.name
)
def test_every_gated_cell_with_every_option(entry):
    cell, key = entry.build(), jax.random.key(0) if entry.noisy else None
    options = {"lengths": np.array([6, 3, 0, 5, 1]), "resets": np.eye(6, 5, dtype=bool), "reverse": True}
    for platform, call in CALLS.items():
        assert lowered(platform, differentiated(cell, key, **options), *shapes(cell)).count(call) == 2  # both ways


@platforms
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=lambda d: d.__name__)
def test_half_precision(dtype, platform):
    cell = jaxrnn.lstm(8, 32, dtype=dtype)
    if (platform, dtype) == ("tpu", jnp.float16):
        with pytest.raises(ValueError, match="no float16 products"):
            lowered(platform, differentiated(cell), *shapes(cell))
    else:
        assert lowered(platform, differentiated(cell), *shapes(cell)).count(CALLS[platform]) == 2


@platforms
def test_members_of_a_sweep(platform):
    cell = jaxrnn.gru(8, 32)
    params, xs = shapes(cell)
    params = jax.tree.map(lambda x: jax.ShapeDtypeStruct((7, *x.shape), x.dtype), params)
    mapped = jax.jit(jax.vmap(differentiated(cell), (0, None)))
    assert lowered(platform, mapped, params, xs).count(CALLS[platform]) == 2


@pytest.mark.parametrize(
    ("cell", "G"), [(jaxrnn.elman(8, 64), 1), (jaxrnn.lstm(8, 64), 4), (jaxrnn.gru(8, 64), 3)], ids=str
)
def test_what_is_needed_on_the_chip(cell, G):
    """w_h once, biases, factors and results of products; of a row some vectors of H, by no means T of them."""
    H, block, rooms = 64, 16, {}
    for B in (1, 16):
        device = Target("cuda")
        lowered(device, differentiated(cell), *shapes(cell, B=B))
        rooms[B] = device.rooms
        assert len(device.rooms) >= 2
    for room in rooms[16]:
        assert G * H * H * 4 <= room.shared <= G * H * H * 4 + 4 * G * H * 4 + block * H * 4 * max(2, G)
        assert room.rows <= block * H * 4 * (2 + 2 * (3 * G + 5))
    assert rooms[1] == rooms[16]


@pytest.mark.parametrize(
    ("cell", "warps"),
    [
        (jaxrnn.lstm(4, 32), 4),
        (jaxrnn.lstm(4, 64), 8),
        (jaxrnn.gru(4, 128), 16),
        (jaxrnn.lstm(4, 128, dtype="bfloat16"), 8),
    ],
    ids=str,
)
def test_warps_are_those_of_the_table(cell, warps):
    assert lowered("cuda", differentiated(cell), *shapes(cell)).count(f"num_warps = {warps} : i32") == 2


def test_time_is_in_order_on_a_tpu(monkeypatch):
    seen = []
    call = pl.pallas_call

    def spied(*args, **options):
        seen.append(options["compiler_params"].dimension_semantics)
        return call(*args, **options)

    monkeypatch.setattr(pl, "pallas_call", spied)
    cell = jaxrnn.gru(4, 32)
    lowered("tpu", differentiated(cell), *shapes(cell))
    assert len(seen) >= 2
    assert all(str(axes[-1]).lower().endswith("arbitrary") for axes in seen)


@pytest.mark.parametrize(
    ("dtype", "asked", "precision"),
    [
        (None, None, (jax.lax.Precision.HIGHEST,) * 2),
        (None, "tensorfloat32", (jax.lax.Precision.HIGH,) * 2),
        ("bfloat16", None, None),
    ],
    ids=str,
)
def test_products_are_in_float32_unless_asked(dtype, asked, precision):
    cell = jaxrnn.lstm(8, 16, dtype=dtype)
    with jax.default_matmul_precision(asked):
        program = jax.make_jaxpr(differentiated(cell))(*shapes(cell, B=2))
    loops = [e for e in equations(program) if e.primitive.name == "pallas_call"]
    assert len(loops) == 2
    for loop in loops:
        products = [e for e in equations(loop.params["jaxpr"]) if e.primitive.name == "dot_general"]
        assert [e.params["precision"] for e in products] == [precision] * 4
        assert {e.outvars[0].aval.dtype.name for e in products} == {"float32"}


@platforms
def test_pre_activations_are_replaced_where_they_are(platform):
    """By what is kept of them, and by their derivatives."""
    text = lowered(platform, differentiated(jaxrnn.lstm(8, 32)), *shapes(jaxrnn.lstm(8, 32)))
    assert text.count("output_operand_alias<") == 2 * 4


def test_nothing_is_kept_for_a_derivative_that_is_not_taken():
    cell, B, T = jaxrnn.lstm(8, 32), 5, 6
    text = lowered("cuda", jax.jit(lambda p, xs: jaxrnn.unroll(cell, p, xs, gradient=PERSISTENT)), *shapes(cell, T, B))
    (call,) = [line for line in text.splitlines() if CALLS["cuda"] in line]
    assert call.partition("->")[2].count(f"tensor<{T}x") == 1  # the outputs
