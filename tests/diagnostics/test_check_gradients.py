"""The gradient checker: passes what is right, fails what is wrong, whatever the session's precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.helpers import example, mostly_slow
from tests.registry import BY_NAME, ENTRIES, QUICK, D, H


@jax.custom_vjp
def wrong_tanh(z):
    """tanh with a derivative that is 1 % too large."""
    return jnp.tanh(z)


wrong_tanh.defvjp(lambda z: (jnp.tanh(z), z), lambda z, d: (1.01 * d * (1.0 - jnp.tanh(z) ** 2),))


def finite_differences(report):
    return [row for row in report.rows if "finite" in row.gradient]


def small(name):
    return example(BY_NAME[name], np.float32, T=3, batch=(2,))


@pytest.mark.parametrize("entry", mostly_slow(ENTRIES, *QUICK), ids=lambda e: e.name)
def test_every_cell_is_right(entry):
    """autodiff against finite differences, with resets, and noise where there is some; the rest: tests/gradients."""
    e, key = small(entry.name), jax.random.key(0) if entry.noisy else None
    report = jaxrnn.check_gradients(
        e.cell, e.params, e.xs, carry=e.carry, resets=e.resets, key=key, gradients=(), directions=1
    )
    assert report.ok, str(report)
    assert len(report.rows) >= len(jax.tree.leaves(e.params)) + 2


def test_lstm_is_right_with_every_option():
    e = small("lstm_dropout_zoneout")
    report = jaxrnn.check_gradients(
        e.cell, e.params, e.xs, carry=e.carry, lengths=np.array([3, 1]), resets=e.resets, key=jax.random.key(0)
    )
    assert report.ok, str(report)
    assert report.max_error < 1e-5
    names = {row.parameter for row in report.rows}
    assert {"params/w_x", "params/w_h", "params/b", "xs", "carry/h", "carry/c"} <= names
    assert {row.gradient for row in finite_differences(report)} == {"finite differences"}
    assert {row.parameter for row in finite_differences(report)} == names


def test_any_gradient_can_be_checked_and_truncation_is_told_apart():
    e = example(BY_NAME["elman"], np.float32, T=9, batch=(2,))
    right = (jaxrnn.checkpointed(checkpoints=6), jaxrnn.truncated(9))
    report = jaxrnn.check_gradients(e.cell, e.params, e.xs, gradients=(*right, jaxrnn.truncated(3)), directions=1)
    assert {row.gradient for row in report.rows if not row.ok} == {str(jaxrnn.truncated(3))}
    assert {str(gradient) for gradient in right} < {row.gradient for row in report.rows}


def test_a_derivative_that_is_wrong_by_a_hundredth_is_found_by_the_finite_differences_alone():
    """All gradients go through the wrong rule and agree with each other."""
    e = small("elman")
    report = jaxrnn.check_gradients(jaxrnn.elman(D, H, activation=wrong_tanh), e.params, e.xs)
    assert not report.ok
    assert report.max_error > 1e-3
    wrong = [row for row in report.rows if not row.ok]
    assert wrong
    assert wrong == [row for row in finite_differences(report) if row.error > row.tolerance]
    assert {"params/w_x", "params/w_h"} <= {row.parameter for row in wrong}
    assert "WRONG" in str(report)


class HalvedRecurrence(type(jaxrnn.autodiff())):
    """A gradient that loses half of what passes from step to step; its values are right."""

    def run(self, cell, params, carry, inputs):
        halved = {**params, "w_h": params["w_h"] / 2 + jax.lax.stop_gradient(params["w_h"] / 2)}
        return super().run(cell, halved, carry, inputs)


def test_a_wrong_gradient_differs_from_autodiff_and_only_it_is_blamed():
    e = small("elman")
    report = jaxrnn.check_gradients(e.cell, e.params, e.xs, gradients=(HalvedRecurrence(), jaxrnn.reverse_scan()))
    assert not report.ok
    wrong = {(row.gradient, row.parameter) for row in report.rows if not row.ok}
    assert wrong == {(repr(HalvedRecurrence()), "params/w_h")}
    assert abs(report.max_error - 0.5) < 1e-9


def test_it_computes_in_float64_whatever_the_session_and_the_cells_dtype():
    e = small("lstm")
    assert not jax.config.jax_enable_x64
    cell = jaxrnn.lstm(D, H, dtype=jnp.bfloat16)
    report = jaxrnn.check_gradients(cell, e.params, e.xs)
    assert report.ok, str(report)
    assert max(row.error for row in report.rows if "finite" not in row.gradient) < 1e-12
    assert not jax.config.jax_enable_x64
    assert jnp.zeros(1).dtype == np.float32


def test_parameters_in_bfloat16_are_checked_in_float64():
    cell = jaxrnn.elman(D, H, param_dtype=jnp.bfloat16)
    report = jaxrnn.check_gradients(cell, cell.init(jax.random.key(0)), small("elman").xs)
    assert report.ok, str(report)
    assert max(row.error for row in report.rows if "finite" not in row.gradient) < 1e-12


def test_the_report_prints_as_a_table():
    e = small("elman")
    report = jaxrnn.check_gradients(e.cell, e.params, e.xs, directions=1)
    header, rule, *rows, verdict = str(report).splitlines()
    assert header.split("  ")[0] == "gradient"
    positions = [header.index(title) for title in ("gradient", "parameter", "relative error", "tolerance")]
    assert positions == sorted(positions)
    assert set(rule) == {"-", " "}
    assert len(rows) == len(report.rows)
    for line, row in zip(rows, report.rows, strict=True):
        columns = [line[a:b].strip() for a, b in zip(positions, [*positions[1:], None], strict=True)]
        assert columns[:2] == [row.gradient, row.parameter]
        assert float(columns[2]) == pytest.approx(row.error, rel=0.06)
        assert float(columns[3].split()[0]) == row.tolerance
    assert "agree" in verdict


@jax.custom_vjp
def broken_tanh(z):
    """tanh with a derivative that is not a number."""
    return jnp.tanh(z)


broken_tanh.defvjp(lambda z: (jnp.tanh(z), None), lambda _, d: (d * jnp.nan,))


@pytest.mark.parametrize("gradients", [None, ()], ids=["all", "finite differences alone"])
def test_nan_counts_as_wrong(gradients):
    e = small("elman")
    cell = jaxrnn.elman(D, H, activation=broken_tanh)
    report = jaxrnn.check_gradients(cell, e.params, e.xs, gradients=gradients, directions=1)
    assert not report.ok
    assert not report.max_error < 1e30  # NaN or infinite
    assert not any(row.ok for row in report.rows if row.parameter == "params/w_h")


@pytest.mark.parametrize("seed", range(3))
def test_a_bias_that_a_batch_norm_takes_away_is_right(seed):
    """In training its gradient is zero, and what is computed is rounding."""
    model = jaxrnn.chain(
        jaxrnn.dense(D, H),
        jaxrnn.batch_norm(H),
        jaxrnn.stack([jaxrnn.gru(H, H)]),
        jaxrnn.dense(H, H),
        jaxrnn.batch_norm(H),
    )
    xs = np.random.default_rng(seed).standard_normal((6, 5, D)).astype(np.float32)
    report = jaxrnn.check_gradients(model, model.init(jax.random.key(seed)), xs, key=jax.random.key(0), directions=1)
    assert report.ok, str(report)


class HalvedSmall(type(jaxrnn.autodiff())):
    """A gradient that loses half of that of `small`; its values are right."""

    def run(self, cell, params, carry, inputs):
        halved = {**params, "small": params["small"] / 2 + jax.lax.stop_gradient(params["small"] / 2)}
        return super().run(cell, halved, carry, inputs)


def test_a_wrong_gradient_that_is_a_hundred_millionth_of_another_is_found():
    cell = jaxrnn.cell(
        lambda key: {"w": jnp.ones(D), "small": jnp.ones(D)},
        lambda params, batch_shape: jnp.zeros((*batch_shape, D)),
        lambda params, h, x, noise=None: 2 * (jnp.tanh(x * params["w"] + 1e-8 * h * params["small"]),),
    )
    params, xs = cell.init(jax.random.key(0)), small("elman").xs
    with jax.numpy_rank_promotion("allow"):
        report = jaxrnn.check_gradients(
            cell, params, xs, gradients=(HalvedSmall(), jaxrnn.reverse_scan()), directions=1
        )
    assert {(row.gradient, row.parameter) for row in report.rows if not row.ok} == {
        (repr(HalvedSmall()), "params/small")
    }


def test_nan_in_the_data_counts_as_wrong():
    e = small("elman")
    xs = e.xs.copy()
    xs[0, 0, 0] = np.nan
    report = jaxrnn.check_gradients(e.cell, e.params, xs, directions=1)
    assert not report.ok
    assert not report.max_error < 1e30


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("directions: expected a positive integer", {"directions": 0}),
        ("gradients: expected a Gradient", {"gradients": ("autodiff",)}),
        (r"xs: expected 3 features", {"xs": np.ones((3, 2, 5), np.float32)}),
    ],
)
def test_a_wrong_argument_is_named(message, options):
    e = small("elman")
    with pytest.raises((TypeError, ValueError), match=message):
        jaxrnn.check_gradients(e.cell, e.params, **{"xs": e.xs, **options})
