"""Which loop is chosen for a cell, and what is said of those that can't be a kernel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn.gradients.reverse_scan import target
from jaxrnn.kernels import choice
from jaxrnn.kernels.target import Gpu, LoopChoice, Target
from tests.kernels.lowering import CALLS, PERSISTENT, shapes

TANH = {"a": jnp.tanh}
UNITS = np.linspace(0.0, 1.0, 16, dtype=np.float32)[None]


@pytest.fixture
def measured(monkeypatch):
    """The kernel counts as faster than the scan, so that `auto` would choose it."""
    monkeypatch.setattr(choice, "MEASURED", frozenset(CALLS))


def loop_of(cell, platform, B=5):
    ((_, found),) = jaxrnn.diagnostics.explain(
        cell, *shapes(cell, B=B), platform=platform, gradient=jaxrnn.reverse_scan()
    )
    return found


def loop_on(gpu, cell):
    device, (params, xs) = Target("cuda", gpu), shapes(cell)
    with target(device):
        jax.eval_shape(lambda params, xs: jaxrnn.unroll(cell, params, xs), params, xs)
    return device.choices[0][1].loop


def test_the_largest_that_fits_a_tpu(measured):
    """By halves: the weights of a GRU of H units fit, of 2 H units they do not."""
    assert loop_of(jaxrnn.gru(4, 512), "tpu").loop == "persistent"
    assert "KiB on the chip, where 10240 KiB can be had" in loop_of(jaxrnn.gru(4, 1024), "tpu").reason


@pytest.mark.parametrize(
    ("kib", "cell", "loop"),
    [
        (227, jaxrnn.gru(4, 128), "persistent"),
        (163, jaxrnn.gru(4, 128), "scan"),
        (227, jaxrnn.lstm(4, 128), "scan"),
        (163, jaxrnn.lstm(4, 128, dtype="bfloat16"), "persistent"),
        (99, jaxrnn.lstm(4, 128, dtype="bfloat16"), "scan"),
        (99, jaxrnn.lstm(4, 64), "persistent"),
        (99, jaxrnn.lstm(4, 512, heads=8), "persistent"),
    ],
    ids=str,
)
def test_what_fits_is_that_of_the_gpu(kib, cell, loop, measured):
    assert loop_on(Gpu("NVIDIA A100", 108, kib * 1024), cell) == loop


def test_products_made_of_several_need_more(measured):
    cell = jaxrnn.gru(4, 128)
    assert loop_of(cell, "cuda").loop == "persistent"
    with jax.default_matmul_precision("TF32_TF32_F32_X3"):
        assert loop_of(cell, "cuda").loop == "scan"


def one(update, H=16, **options):
    return jaxrnn.gated_cell(4, H, TANH, lambda p, c, gates, n: update(gates[0], c), **options)


OBSTACLES = {
    "plain": (jaxrnn.gru(4, 16, reset_after=False), "needs a GatedCell, whose only products are x @ w_x and h @ w_h"),
    "mixing": (
        jaxrnn.lstm(4, 12, layer_norm=True),
        "its equations mix hidden units, so that their number has to be a power of two from 16 on, not 12",
    ),
    "mixing heads": (jaxrnn.lstm(4, 32, layer_norm=True, heads=2), "its equations mix hidden units, of several heads"),
    "mixing rows": (one(lambda a, h: a - h.mean(0, keepdims=True)), "its equations mix rows of the batch"),
    "mixing rows, in order": (
        one(lambda a, h: a + jnp.cumsum(h, 0)),
        "its equations mix rows of the batch, or might, by cumsum",
    ),
    "an array of its own": (
        one(lambda a, h: a * UNITS, heads=2),
        "neither in own_params nor a Partial's argument",
    ),
    "numbered units": (
        one(lambda a, h: a * jnp.arange(16.0)[None], heads=2),
        "neither in own_params nor a Partial's argument",
    ),
    "large": (jaxrnn.lstm(4, 4096), "its weights need"),
    "large, padded": (jaxrnn.lstm(4, 200), "227 KiB can be had, its 200 units being padded to 256"),
    "much to carry": (
        one(
            lambda a, c: (a, *c[:-1]),
            hidden=lambda c: c[0],
            zero_carry=lambda batch_shape, dtype: tuple(jnp.zeros((*batch_shape, 16), dtype) for _ in range(80)),
        ),
        "its 16 rows need 2",
    ),
    "a carry of all rows": (
        one(
            lambda a, c: (a, c[1] + 1),
            hidden=lambda c: c[0],
            zero_carry=lambda batch_shape, dtype: (jnp.zeros((*batch_shape, 16), dtype), jnp.zeros((), dtype)),
        ),
        "its carry does not begin with the axes of the batch, (5,)",
    ),
    "an error": (
        one(lambda a, c: {2: a}[c.ndim]),
        "its equations have to work on one row [H] of any number of units (axes from the end, such as -1), with own "
        "parameters [n, 16] row by row (p[i], or a loop over p): KeyError: 1",
    ),
    "keys": (
        one(
            lambda a, c: (a, c[1]),
            hidden=lambda c: c[0],
            zero_carry=lambda shape, dtype: (
                jnp.zeros((*shape, 16), dtype),
                jnp.broadcast_to(jax.random.key(0), shape),
            ),
        ),
        "a kernel can't hold random keys, in the carry, noise or parameters",
    ),
    "unknown to Pallas": (one(lambda a, c: jax.lax.lgamma(a)), "Pallas can't compile its equations"),
}


@pytest.mark.parametrize("name", OBSTACLES)
def test_what_keeps_a_cell_from_it_is_said(name, measured):
    cell, reason = OBSTACLES[name]
    found = loop_of(cell, "cuda")
    assert found.loop == "scan"
    assert reason in found.reason
    with pytest.raises(ValueError, match="loop: expected 'auto' or 'scan'"):
        jaxrnn.diagnostics.explain(cell, *shapes(cell), platform="cuda", gradient=PERSISTENT)


def test_float16_is_a_scan_on_a_tpu(measured):
    assert "no float16 products" in loop_of(jaxrnn.gru(4, 16, dtype="float16"), "tpu").reason


def test_a_number_that_is_none_is_the_same_for_any_rows(measured):
    cell = one(lambda a, h: jnp.where(a > 9.0, jnp.nan, a), 12)
    assert loop_of(cell, "cuda").loop == "persistent"


def test_no_rows_are_a_scan(measured):
    assert "there are no rows, (0,)" in loop_of(jaxrnn.gru(4, 16), "cuda", B=0).reason


def test_a_mesh_of_devices_is_a_scan(measured):
    cell = jaxrnn.gru(4, 16)
    given = shapes(cell)
    mesh = jax.sharding.AbstractMesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    with jax.sharding.use_abstract_mesh(mesh):
        ((_, found),) = jaxrnn.diagnostics.explain(cell, *given, platform="cuda")
    assert "arrays on a mesh of devices" in found.reason


def test_float64_is_a_scan(x64, measured):
    assert "float32, not in float64" in loop_of(jaxrnn.gru(4, 16, param_dtype=jnp.float64), "cuda").reason


@pytest.mark.parametrize("platform", CALLS)
def test_what_was_not_measured_is_not_chosen(platform):
    reason = f"kernels have not been measured on {platform} yet, though it fits on the chip"
    assert loop_of(jaxrnn.gru(4, 16), platform) == LoopChoice("scan", reason)


def test_an_explanation_is_a_table(measured):
    model = jaxrnn.chain(jaxrnn.stack([jaxrnn.lstm(4, 32), jaxrnn.lstm(32, 200)]), jaxrnn.dense(200, 1))
    params = jax.eval_shape(model.init, jax.random.key(0))
    found = jaxrnn.diagnostics.explain(model, params, jax.ShapeDtypeStruct((9, 2, 4), jnp.float32), platform="cuda")
    lines = str(found).splitlines()
    assert lines[0].split() == ["cell", "loop", "why"]
    assert lines[2] == "LSTM(4, 32)    persistent  it fits on the chip"
    assert lines[3].startswith("LSTM(32, 200)  scan        its weights need")
    assert found[0] == ("LSTM(4, 32)", LoopChoice("persistent", "it fits on the chip"))
    assert found == jaxrnn.diagnostics.explain(
        model, params, jax.ShapeDtypeStruct((9, 2, 4), jnp.float32), platform="gpu"
    )


def test_layers_are_explained_with_the_gradient_that_they_were_built_with():
    model = jaxrnn.chain(
        jaxrnn.stack([jaxrnn.lstm(4, 32)], gradient=PERSISTENT), jaxrnn.stack([jaxrnn.gru(32, 32)]), jaxrnn.dense(32, 1)
    )
    found = jaxrnn.diagnostics.explain(
        model, jax.eval_shape(model.init, jax.random.key(0)), np.zeros((9, 2, 4), np.float32)
    )
    assert [loop for _, (loop, _) in found] == ["persistent", "scan"]


def test_an_explanation_sees_through_jit_and_leaves_nothing_behind(measured):
    cell = jaxrnn.gru(3, 16)
    params, xs = cell.init(jax.random.key(0)), jnp.ones((4, 2, 3))
    inner = jax.jit(lambda params, xs: jaxrnn.unroll(cell, params, xs)[1])

    class Jitted(type(jaxrnn.dense(3, 3))):
        """A model that jits its own loop."""

        def run(self, params, carry, xs, call):
            return (), inner(params, xs)

        def init(self, key):
            return cell.init(key)

    model = Jitted(3, 16)
    for _ in range(2):
        ((_, found),) = jaxrnn.diagnostics.explain(model, params, xs, platform="cuda")
        assert found.loop == "persistent"
    assert "persistent_loop" not in str(jax.make_jaxpr(inner)(params, xs))
