"""That the kernels can be lowered for GPUs and TPUs, what they need there, and what is said of those that can't be.

Lowering proves neither that they compile nor what they compute on such a device.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas as pl

import jaxrnn as jr
from jaxrnn.gradients import loop_choice
from jaxrnn.gradients.loop_choice import noted
from jaxrnn.kernels.devices import Gpu, assumed, described
from jaxrnn.kernels.persistent import KERNELS
from jaxrnn.kernels.room import needed, there
from tests.jaxprs import equations
from tests.registry import ENTRIES

GATED = [e for e in ENTRIES if e.gated and "norm" not in e.name]
CALLS = {"cuda": "xla.gpu.triton", "tpu": "tpu_custom_call"}
PERSISTENT = jr.reverse_scan(loop="persistent")
platforms = pytest.mark.parametrize("platform", CALLS)


def differentiated(cell, key=None, **options):
    """(params, xs) -> the gradient of a sum of outputs."""

    def loss(params, xs):
        return jnp.sum(jr.unroll(cell, params, xs, key=key, gradient=PERSISTENT, **options)[1])

    return jax.jit(jax.grad(loss, (0, 1)))


def shapes(cell, T=6, B=5):
    return jax.eval_shape(cell.init, jax.random.key(0)), jax.ShapeDtypeStruct((T, B, cell.features[0]), jnp.float32)


def lowered(platform, f, *arguments):
    """The text of a jitted function."""
    with described(platform):
        return f.trace(*arguments).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("entry", GATED, ids=lambda e: e.name)
def test_every_gated_cell_with_every_option(entry):
    cell, key = entry.build(), jax.random.key(0) if entry.noisy else None
    options = {"lengths": np.array([6, 3, 0, 5, 1]), "resets": np.eye(6, 5, dtype=bool), "reverse": True}
    for platform, call in CALLS.items():
        assert lowered(platform, differentiated(cell, key, **options), *shapes(cell)).count(call) == 2  # both ways


@platforms
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=lambda d: d.__name__)
def test_half_precision(dtype, platform):
    cell = jr.lstm(8, 32, dtype=dtype)
    assert lowered(platform, differentiated(cell), *shapes(cell)).count(CALLS[platform]) == 2


@platforms
def test_members_of_a_sweep(platform):
    cell = jr.gru(8, 32)
    params, xs = shapes(cell)
    params = jax.tree.map(lambda x: jax.ShapeDtypeStruct((7, *x.shape), x.dtype), params)
    mapped = jax.jit(jax.vmap(differentiated(cell), (0, None)))
    assert lowered(platform, mapped, params, xs).count(CALLS[platform]) == 2


def programs(cell, B):
    """The loops of a gradient."""
    jaxpr = jax.make_jaxpr(differentiated(cell))(*shapes(cell, B=B))
    return [e.params["program"] for e in equations(jaxpr.jaxpr) if e.primitive.name == "persistent_loop"]


@pytest.mark.parametrize(("cell", "G"), [(jr.elman(8, 64), 1), (jr.lstm(8, 64), 4), (jr.gru(8, 64), 3)], ids=str)
def test_what_is_needed_on_the_chip(cell, G):
    """w_h once, biases, factors and results of products; of a row some vectors of H, by no means T of them."""
    H, block = 64, KERNELS["cuda"].fewest
    for program in programs(cell, B=16):
        room = needed(program, block)
        assert G * H * H * 4 <= room.shared <= G * H * H * 4 + 4 * G * H * 4 + block * H * 4 * max(2, G)
        assert room.rows <= block * H * 4 * (2 + 2 * (3 * G + 5))
    assert needed(programs(cell, B=16)[0], block) == needed(programs(cell, B=1)[0], block)


def test_the_largest_that_fits_a_tpu(measured):
    """By halves: the weights of a GRU of H units fit, of 2 H units they do not."""
    assert loop_of(jr.gru(4, 512), "tpu").loop == "persistent"
    had = there("tpu").shared // 1024
    assert f"KiB on the chip, where {had} KiB can be had" in loop_of(jr.gru(4, 1024), "tpu").reason


@pytest.mark.parametrize(
    ("cell", "shares"),
    [
        (jr.gru(4, 128), 1),
        (jr.lstm(4, 128), 2),
        (jr.lstm(4, 128, dtype="bfloat16"), 1),
        (jr.lstm(4, 700, dtype="bfloat16"), 64),
        (jr.lstm(4, 768, heads=3, dtype="bfloat16"), 4),
    ],
    ids=str,
)
def test_as_few_blocks_share_the_units_as_hold_the_weights(cell, shares, measured):
    choice = loop_of(cell, "cuda")
    assert (choice.loop, choice.shares) == ("persistent", shares)
    assert (f"{shares} blocks share its units" in choice.reason) == (shares > 1)


@pytest.mark.parametrize(
    ("shared_memory", "cell", "shares"),
    [
        (227, jr.gru(4, 128), 1),
        (163, jr.gru(4, 128), 2),
        (163, jr.lstm(4, 128, dtype="bfloat16"), 1),
        (99, jr.lstm(4, 128, dtype="bfloat16"), 2),
        (99, jr.lstm(4, 64), 1),
    ],
    ids=str,
)
def test_what_fits_is_that_of_the_gpu(shared_memory, cell, shares, measured):
    with assumed(Gpu("NVIDIA A100", 108, shared_memory * 1024)):
        assert loop_of(cell, "cuda").shares == shares


def test_fewer_blocks_run_at_once_on_a_smaller_gpu(measured):
    cell = jr.lstm(4, 512)
    assert loop_of(cell, "cuda").loop == "persistent"
    with assumed(Gpu("NVIDIA H100", 24, 227 * 1024)):
        assert loop_of(cell, "cuda").loop == "scan"


def test_products_made_of_several_need_more(measured):
    cell = jr.gru(4, 128)
    assert loop_of(cell, "cuda").shares == 1
    with jax.default_matmul_precision("TF32_TF32_F32_X3"):
        assert loop_of(cell, "cuda").shares > 1


def test_blocks_that_share_units_can_all_run_at_once(measured):
    """More rows to a block where there are many; too many for all of them together are refused."""
    cell = jr.lstm(4, 700, dtype="bfloat16")
    assert loop_of(cell, "cuda", B=16).loop == "persistent"
    assert loop_of(jr.lstm(4, 400, dtype="bfloat16"), "cuda", B=64).loop == "persistent"
    refused = loop_of(cell, "cuda", B=4096)
    assert refused.loop == "scan"
    assert "KiB can be had, its 700 units being padded to 1024; if" in refused.reason
    assert (
        "if blocks share its units, 8192 blocks would have to run at once for all its rows, where 66 can"
        in refused.reason
    )


def test_a_sweep_of_them_that_can_not_is_a_scan(measured):
    """It is seen only when all mapped axes are."""
    cell = jr.lstm(4, 700, dtype="bfloat16")
    params, xs = shapes(cell)

    def launches(members):
        stacked = jax.tree.map(lambda x: jax.ShapeDtypeStruct((members, *x.shape), x.dtype), params)
        return lowered("cuda", jax.jit(jax.vmap(differentiated(cell), (0, None))), stacked, xs).count(CALLS["cuda"])

    with noted("cuda"):
        assert [launches(members) for members in (1, 2)] == [2, 0]


def loop_of(cell, platform, B=5):
    """What `auto` would choose if the kernel had been measured."""
    ((_, choice),) = jr.explain(cell, *shapes(cell, B=B), platform=platform)
    return choice


@pytest.fixture
def measured(monkeypatch):
    monkeypatch.setattr(loop_choice, "MEASURED", frozenset(CALLS))


UNITS = np.linspace(0.0, 1.0, 16, dtype=np.float32)[None]
OBSTACLES = {
    "plain": (jr.gru(4, 16, reset_after=False), "needs a GatedCell, whose only products are x @ w_x and h @ w_h"),
    "mixing": (
        jr.lstm(4, 12, layer_norm=True),
        "its equations mix hidden units, so that their number has to be a power of two from 16 on, not 12",
    ),
    "mixing heads": (jr.lstm(4, 32, layer_norm=True, heads=2), "its equations mix hidden units, of several heads"),
    "mixing rows": (
        jr.gated_cell(4, 16, 1, lambda p, h, zx, zh, n: jnp.tanh(zx[0] + zh[0]) - h.mean(0, keepdims=True)),
        "its equations mix rows of the batch",
    ),
    "mixing rows, in order": (
        jr.gated_cell(4, 16, 1, lambda p, h, zx, zh, n: jnp.tanh(zx[0] + zh[0]) + jnp.cumsum(h, 0)),
        "its equations mix rows of the batch, or might, by cumsum",
    ),
    "an array of its own": (
        jr.gated_cell(4, 16, 1, lambda p, h, zx, zh, n: jnp.tanh(zx[0] + zh[0]) * UNITS, heads=2),
        "neither in own_params nor a Partial's argument",
    ),
    "numbered units": (
        jr.gated_cell(4, 16, 1, lambda p, h, zx, zh, n: jnp.tanh(zx[0] + zh[0]) * jnp.arange(16.0)[None], heads=2),
        "neither in own_params nor a Partial's argument",
    ),
    "large": (jr.lstm(4, 4096), "its weights need"),
    "large, mixing": (
        jr.lstm(4, 256, layer_norm=True),
        "and blocks can't share its units: its equations mix hidden units",
    ),
    "much to carry": (
        jr.gated_cell(
            4,
            16,
            1,
            lambda p, c, zx, zh, n: (jnp.tanh(zx[0] + zh[0]), *c[:-1]),
            hidden=lambda c: c[0],
            zero_carry=lambda batch_shape, dtype: tuple(jnp.zeros((*batch_shape, 16), dtype) for _ in range(80)),
        ),
        "its 16 rows need 2",
    ),
    "a carry of all rows": (
        jr.gated_cell(
            4,
            16,
            1,
            lambda p, c, zx, zh, n: (jnp.tanh(zx[0] + zh[0]), c[1] + 1),
            hidden=lambda c: c[0],
            zero_carry=lambda batch_shape, dtype: (jnp.zeros((*batch_shape, 16), dtype), jnp.zeros((), dtype)),
        ),
        "its carry does not begin with the axes of the batch, (5,)",
    ),
    "an error": (
        jr.gated_cell(4, 16, 1, lambda p, c, zx, zh, n: {2: jnp.tanh(zx[0] + zh[0])}[c.ndim]),
        "its equations have to work on one row [H] of any number of units (axes from the end, such as -1), with own "
        "parameters [n, 16] row by row (p[i], or a loop over p): KeyError: 1",
    ),
    "keys": (
        jr.gated_cell(
            4,
            16,
            1,
            lambda p, c, zx, zh, n: (jnp.tanh(zx[0] + zh[0]), c[1]),
            hidden=lambda c: c[0],
            zero_carry=lambda shape, dtype: (
                jnp.zeros((*shape, 16), dtype),
                jnp.broadcast_to(jax.random.key(0), shape),
            ),
        ),
        "a kernel can't hold random keys, in the carry, noise or parameters",
    ),
    "unknown to Pallas": (
        jr.gated_cell(4, 16, 1, lambda p, c, zx, zh, n: jax.lax.lgamma(zx[0] + zh[0])),
        "Pallas can't compile its equations",
    ),
}


@pytest.mark.parametrize("name", OBSTACLES)
def test_what_keeps_a_cell_from_it_is_said(name, measured):
    cell, reason = OBSTACLES[name]
    choice = loop_of(cell, "cuda")
    assert choice.loop == "scan"
    assert reason in choice.reason
    with pytest.raises(ValueError, match="loop: expected 'auto' or 'scan'"):
        jr.explain(cell, *shapes(cell), platform="cuda", gradient=PERSISTENT)


def test_blocks_that_share_units_do_not_clip_what_each_sees(measured):
    cell = jr.lstm(4, 512)
    for limit in ({"clip_norm": 1.0}, {"clip_value": 1.0}):
        gradient = jr.reverse_scan(**limit)
        ((_, choice),) = jr.explain(cell, *shapes(cell), platform="cuda", gradient=gradient)
        assert ("would not see all that is clipped" in choice.reason) == ("clip_norm" in limit)


def test_float16_is_a_scan_on_a_tpu(measured):
    assert "no float16 products" in loop_of(jr.gru(4, 16, dtype="float16"), "tpu").reason


@pytest.mark.parametrize(
    ("cell", "warps"),
    [(jr.lstm(4, 32), 4), (jr.lstm(4, 64), 8), (jr.gru(4, 128), 16), (jr.lstm(4, 128, dtype="bfloat16"), 8)],
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
    cell = jr.gru(4, 32)
    lowered("tpu", differentiated(cell), *shapes(cell))
    assert [str(axis) for axis in seen[0]][-1].lower().endswith("arbitrary")
    assert len(seen) == 2


def test_a_number_that_is_none_is_the_same_for_any_rows(measured):
    cell = jr.gated_cell(4, 12, 1, lambda p, h, zx, zh, n: jnp.where(zh[0] > 9.0, jnp.nan, jnp.tanh(zx[0] + zh[0])))
    assert loop_of(cell, "cuda").loop == "persistent"


def test_no_rows_are_a_scan(measured):
    assert "there are no rows, (0,)" in loop_of(jr.gru(4, 16), "cuda", B=0).reason


def test_a_mesh_of_devices_is_a_scan(measured):
    cell = jr.gru(4, 16)
    given = shapes(cell)
    mesh = jax.sharding.AbstractMesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    with jax.sharding.use_abstract_mesh(mesh):
        ((_, choice),) = jr.explain(cell, *given, platform="cuda")
    assert "arrays on a mesh of devices" in choice.reason


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
    with jax.default_matmul_precision(asked):
        for program in programs(jr.lstm(8, 16, dtype=dtype), B=2):
            products = [e for e in equations(program.step.jaxpr) if e.primitive.name == "dot_general"]
            assert [e.params["precision"] for e in products] == [precision] * 4
            assert {e.outvars[0].aval.dtype.name for e in products} == {"float32"}


@platforms
def test_pre_activations_are_replaced_where_they_are(platform):
    """By what is kept of them, and by their derivatives."""
    text = lowered(platform, differentiated(jr.lstm(8, 32)), *shapes(jr.lstm(8, 32)))
    assert text.count("output_operand_alias<") == 2 * 4


def test_nothing_is_kept_for_a_derivative_that_is_not_taken():
    cell, B, T = jr.lstm(8, 32), 5, 6
    text = lowered("cuda", jax.jit(lambda p, xs: jr.unroll(cell, p, xs, gradient=PERSISTENT)), *shapes(cell, T, B))
    (call,) = [line for line in text.splitlines() if CALLS["cuda"] in line]
    assert call.partition("->")[2].count(f"tensor<{T}x") == 1  # the outputs


def test_float64_is_a_scan(x64, measured):
    assert "float32, not in float64" in loop_of(jr.gru(4, 16, param_dtype=jnp.float64), "cuda").reason


@platforms
def test_what_was_not_measured_is_not_chosen(platform):
    reason = f"kernels have not been measured on {platform} yet, though it fits on the chip"
    assert loop_of(jr.gru(4, 16), platform) == jr.LoopChoice("scan", reason)


def test_an_explanation_is_a_table(measured):
    model = jr.chain(jr.stack([jr.lstm(4, 32), jr.lstm(32, 200)]), jr.dense(200, 1))
    params = jax.eval_shape(model.init, jax.random.key(0))
    found = jr.explain(model, params, jax.ShapeDtypeStruct((9, 2, 4), jnp.float32), platform="cuda")
    lines = str(found).splitlines()
    assert lines[0].split() == ["cell", "loop", "why"]
    assert lines[2] == "LSTM(4, 32)    persistent  it fits on the chip"
    assert lines[3] == "LSTM(32, 200)  persistent  it fits on the chip, 8 blocks share its units"
    assert found[0][1] == jr.LoopChoice("persistent", "it fits on the chip")
    assert found == jr.explain(model, params, jax.ShapeDtypeStruct((9, 2, 4), jnp.float32), platform="gpu")


def test_layers_are_explained_with_the_gradient_that_they_were_built_with():
    model = jr.chain(jr.stack([jr.lstm(4, 32)], gradient=PERSISTENT), jr.stack([jr.gru(32, 32)]), jr.dense(32, 1))
    found = jr.explain(model, jax.eval_shape(model.init, jax.random.key(0)), np.zeros((9, 2, 4), np.float32))
    assert [choice.loop for _, choice in found] == ["persistent", "scan"]
