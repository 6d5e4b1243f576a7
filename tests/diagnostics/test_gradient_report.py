"""The report on models: known verdicts, and numbers that equal those of the single diagnostics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.helpers import assert_close

T, B, D, H, O = 30, 4, 3, 8, 2
RNG = np.random.default_rng(0)
XS = RNG.standard_normal((T, B, D)).astype(np.float32)
BATCH = {"xs": XS, "targets": RNG.standard_normal((T, B, O)).astype(np.float32)}
MODEL = jaxrnn.chain(
    jaxrnn.stack([jaxrnn.lstm(D, H)]),
    jaxrnn.residual(jaxrnn.stack([jaxrnn.gru(H, H)])),
    jaxrnn.bidirectional(jaxrnn.elman(H, O), jaxrnn.elman(H, O)),
)


def identity(x):
    return x


def of_elman(gain, *, steps=T, **options):
    """A cell whose recurrent matrix is orthogonal, times a gain."""
    cell = jaxrnn.elman(D, H, **options)
    params = cell.init(jax.random.key(0))
    return jaxrnn.gradient_report(cell, params | {"w_h": gain * params["w_h"]}, {"xs": XS[:steps]}, jacobians=False)


@pytest.mark.always("exploding-1.4")
@pytest.mark.parametrize(
    ("verdict", "gain", "options"),
    [
        ("vanishing", 0.3, {}),
        ("vanishing", 0.7, {"activation": identity}),
        ("healthy", 1.0, {"activation": identity}),
        ("exploding", 1.4, {"activation": identity}),
        ("exploding", 4.0, {"activation": jax.nn.relu}),
        ("healthy", 0.7, {"activation": identity, "steps": 5}),
        ("not finite", 1e30, {"activation": identity}),
    ],
)
def test_verdicts_on_known_recurrences(verdict, gain, options):
    report = of_elman(gain, **options)
    assert report.verdict == verdict
    assert f"Elman: {verdict}" in str(report)
    if options.get("activation") is identity and verdict != "not finite":
        lag = options.get("steps", T) - 1
        assert report.layers[0].lag == lag
        assert report.layers[0].left == pytest.approx(gain**lag, rel=1e-3)
        assert report.layers[0].factor == pytest.approx(gain, rel=1e-3)


def test_an_lstm_as_it_is_drawn_is_healthy_on_a_short_sequence():
    cell = jaxrnn.lstm(D, H)
    report = jaxrnn.gradient_report(cell, cell.init(jax.random.key(0)), {"xs": XS[:12]}, jacobians=False)
    assert report.verdict == "healthy"


def test_a_loss_that_is_a_mean_over_all_steps_hides_no_vanishing_gradient():
    """dL/dh[t] is as large at every step then: what y[t] itself gives. By lag it vanishes all the same."""
    cell = jaxrnn.elman(D, H)
    params = cell.init(jax.random.key(0))
    params = params | {"w_h": 0.3 * params["w_h"]}
    loss = lambda ys: jnp.square(ys).mean()  # noqa: E731
    at_each_step = jnp.linalg.norm(jaxrnn.diagnostics.hidden_gradients(cell, params, XS, loss), axis=(1, 2))
    assert at_each_step.min() > 0.2 * at_each_step.max()
    assert jaxrnn.gradient_report(cell, params, BATCH, lambda ys, _: loss(ys), jacobians=False).verdict == "vanishing"


@pytest.fixture(scope="module")
def whole():
    params = MODEL.init(jax.random.key(1))
    batch = BATCH | {"xs": XS[:8], "lengths": np.array([8, 5, 3, 8])}
    batch["targets"] = np.concatenate([batch["targets"][:8]] * 2, -1)
    key = jax.random.key(2)
    return params, batch, key, jaxrnn.gradient_report(MODEL, params, batch, jaxrnn.losses.mean_squared_error, key=key)


def test_every_layer_of_a_model_is_found_by_its_path(whole):
    names = {layer.name for layer in whole[3].layers}
    assert names == {"0/0 LSTM", "1/0 GRU", "2/forward Elman", "2/backward Elman"}


def test_parameter_norms_are_those_of_the_gradient(whole):
    params, batch, key, report = whole

    def loss(params):
        return jaxrnn.losses.mean_squared_error(
            MODEL.apply(params, batch["xs"], lengths=batch["lengths"], key=key)[1], batch
        )

    value, d = jax.jit(jax.value_and_grad(loss))(params)
    assert report.loss == pytest.approx(float(value), rel=1e-5)
    want = {
        jax.tree_util.keystr(path, simple=True, separator="/"): float(jnp.linalg.norm(x))
        for path, x in jax.tree_util.tree_leaves_with_path(d)
    }
    assert report.gradient_norms == pytest.approx(want, rel=1e-4)
    assert report.parameter_norms["0/0/w_h"] == pytest.approx(float(jnp.linalg.norm(params["0"]["0"]["w_h"])), rel=1e-5)


def test_the_steps_that_a_mask_leaves_out_are_read_by_no_report():
    cell, loss = jaxrnn.lstm(D, O), jaxrnn.losses.mean_squared_error
    params, mask = cell.init(jax.random.key(0)), np.arange(8)[:, None] % 3 != np.arange(B) % 3
    batch = {"xs": np.where(mask[..., None], XS[:8], np.nan), "targets": BATCH["targets"][:8], "xs_mask": mask}
    found = jaxrnn.gradient_report(cell, params, batch, loss, jacobians=False)
    want = loss(jaxrnn.unroll(cell, params, XS[:8], mask=mask)[1], batch)
    assert found.loss == pytest.approx(float(want), rel=1e-5)


def test_a_layer_inside_a_model_has_the_numbers_of_the_diagnostics_on_it_alone(whole):
    """The backward cell at the top: its inputs and the loss's derivative of its outputs are worked out by hand."""
    params, batch, _, report = whole
    lengths = batch["lengths"]
    below, top = jaxrnn.chain(*MODEL.models[:2]), MODEL.models[2]
    hs = below.apply({name: params[name] for name in ("0", "1")}, batch["xs"], lengths=lengths)[1]
    forward = jaxrnn.unroll(top.forward, params["2"]["forward"], hs, lengths=lengths)[1]

    def loss(ys):
        return jaxrnn.losses.mean_squared_error(jnp.concatenate([forward, ys], -1), batch)

    cell, own = top.backward, params["2"]["backward"]
    options = {"lengths": lengths, "reverse": True}
    layer = next(layer for layer in report.layers if "backward" in layer.name)
    norms = jaxrnn.diagnostics.gradient_norm_by_lag(cell, own, hs, loss, **options)
    np.testing.assert_allclose(layer.statistics.norm_by_lag, norms, rtol=1e-4)
    gates = jaxrnn.diagnostics.gate_statistics(cell, own, hs, **options)["h"]
    assert_close(layer.statistics.gates["h"].mean, jnp.flip(gates.mean), 1e-5)
    J = jaxrnn.diagnostics.state_jacobians(cell, own, hs[:, :2], lengths=lengths[:2], reverse=True)
    exponents = jaxrnn.diagnostics.lyapunov_spectrum(J, lengths=lengths[:2], reverse=True).mean(0)
    assert_close(layer.lyapunov_spectrum, exponents, 1e-4)
    values = np.flip(
        np.where(np.arange(8)[:, None, None] < lengths[:2, None], jaxrnn.diagnostics.singular_values(J), np.nan), 0
    )
    np.testing.assert_allclose(layer.singular_values, values, rtol=1e-4)
    assert tuple(map(int, layer.statistics.first_non_finite)) == (-1, -1)


def test_the_cheap_numbers_are_those_of_the_report_jitted_and_vmapped(whole):
    params, batch, key, report = whole

    def statistics(params):
        return jaxrnn.diagnostics.gradient_statistics(MODEL, params, batch, jaxrnn.losses.mean_squared_error, key=key)

    each = jax.jit(jax.vmap(statistics))(jax.tree.map(lambda x: jnp.stack([x, 0.5 * x]), params))
    for layer in report.layers:
        norms = each.layers[layer.name].norm_by_lag
        np.testing.assert_allclose(norms[0], layer.statistics.norm_by_lag, rtol=1e-3)
        assert np.nanmax(np.abs(norms[1] - norms[0])) > 1e-3
    assert_close(each.loss[0], report.loss, 1e-5)


def test_only_so_many_rows_and_lags_are_looked_at():
    cell = jaxrnn.elman(D, H)
    params = cell.init(jax.random.key(0))
    found = jaxrnn.diagnostics.gradient_statistics(cell, params, BATCH, lambda ys, _: ys[-1].sum(), rows=2, max_lag=4)
    want = jaxrnn.diagnostics.gradient_norm_by_lag(cell, params, XS[:, :2], lambda ys: ys[-1].sum(), max_lag=4)
    assert_close(found.layers["Elman"].norm_by_lag, want, 1e-5)


def test_the_page_names_the_worst_layer_and_lists_all(whole):
    text = str(whole[3])
    assert text.splitlines()[0].startswith(whole[3].worst.name)
    for layer in whole[3].layers:
        assert f"{layer.left:.1e}" in text
        assert layer.name in text
    for name in whole[3].gradient_norms:
        assert name in text


def test_where_it_is_not_finite_is_said():
    """dL/dh[29] of the default loss, which is linear, is a number; what step 29 hands back is none."""
    cell = jaxrnn.elman(D, H)
    xs = XS.copy()
    xs[7, 2, 0] = np.nan
    report = jaxrnn.gradient_report(cell, cell.init(jax.random.key(0)), {"xs": xs}, jacobians=False)
    assert str(report).splitlines()[0] == "Elman: not finite, first forward at step 7 and backward at step 28"


def test_a_loss_that_reads_the_first_step_alone_has_no_gradient_through_time():
    cell = jaxrnn.elman(D, H)
    report = jaxrnn.gradient_report(
        cell, cell.init(jax.random.key(0)), BATCH, lambda ys, _: ys[0].sum(), jacobians=False
    )
    assert report.verdict == "no gradient"
    assert "no gradient goes back in time" in str(report)


def test_norms_by_lag_do_not_depend_on_the_scale_of_the_loss():
    cell = jaxrnn.elman(D, H)
    params, square = cell.init(jax.random.key(0)), lambda ys: jnp.sum(ys**2)
    norms = jax.jit(
        lambda scale: jaxrnn.diagnostics.gradient_norm_by_lag(cell, params, XS, lambda ys: scale * square(ys))
    )
    for scale in (1e-30, 1e30):
        assert_close(norms(scale), norms(1.0), 1e-4)
    parts = jaxrnn.diagnostics.lag_contributions(cell, params, XS, lambda ys: 1e-6 * square(ys))["w_h"]
    assert_close(parts.sum(0), jax.grad(lambda p: 1e-6 * square(jaxrnn.unroll(cell, p, XS)[1]))(params)["w_h"], 1e-4)


def test_of_several_layers_the_worst_one_is_named_and_a_factor_survives_underflow():
    cells = [jaxrnn.elman(D, H), jaxrnn.elman(H, H)]
    model = jaxrnn.stack(cells)
    params = model.init(jax.random.key(0))
    for layer, gain in (("0", 0.7), ("1", 0.1)):
        params[layer]["w_h"] = gain * params[layer]["w_h"]
    xs = np.concatenate([XS] * 3)
    report = jaxrnn.gradient_report(model, params, {"xs": xs}, lambda ys, _: jnp.sum(ys[-1] ** 2), jacobians=False)
    assert [layer.verdict for layer in report.layers] == ["vanishing", "vanishing"]
    assert report.worst.name == "1 Elman"
    assert 0.02 < report.worst.factor < 0.1
    assert repr(report).startswith("GradientFlow('vanishing', ['0 Elman: vanishing")


def test_a_model_that_runs_its_cells_inside_a_transformation_is_refused_with_a_reason():
    model = jaxrnn.stack([jaxrnn.elman(D, H)])

    class Jitted(type(model)):
        def run(self, params, carry, xs, call):
            return jax.jit(lambda params, xs: model.run(params, carry, xs, call))(params, xs)

    with pytest.raises(ValueError, match=r"^model: expected one that runs its cells outside of jax.jit"):
        jaxrnn.gradient_report(Jitted(model.cells, None), model.init(jax.random.key(0)), {"xs": XS}, jacobians=False)


def test_a_loss_that_is_not_finite_is_no_healthy_gradient():
    """The target of a class that there is not: every step is finite, and so is the gradient."""
    model = jaxrnn.chain(jaxrnn.gru(2, 3), jaxrnn.dense(3, 4))
    batch = {"xs": jnp.ones((5, 2, 2)), "targets": jnp.full((5, 2), 4)}
    report = jaxrnn.gradient_report(model, model.init(jax.random.key(0)), batch, jaxrnn.losses.cross_entropy)
    assert report.verdict == "not finite"
    assert str(report).startswith("the loss is not finite, though every step is: nan; targets may be out of range")


def test_batch_first_batches_and_sequences():
    model = jaxrnn.chain(jaxrnn.gru(2, 3), jaxrnn.dense(3, 1))
    params, rng = model.init(jax.random.key(0)), np.random.default_rng(0)
    batch = {"xs": rng.normal(size=(6, 4, 2)), "targets": rng.normal(size=(6, 4, 1)), "lengths": np.array([6, 3, 1, 5])}
    batch |= {"mask": rng.random((6, 4)) < 0.8, "resets": rng.random((6, 4)) < 0.2}
    rows_first = {name: x.swapaxes(0, 1) if x.ndim > 1 else x for name, x in batch.items()}
    arguments = (model, params), jaxrnn.losses.mean_squared_error
    for f in (jaxrnn.gradient_report, jaxrnn.diagnostics.gradient_statistics):
        want, got = (f(*arguments[0], x, arguments[1], time_major=x is batch) for x in (batch, rows_first))
        assert want.gradient_norms == got.gradient_norms
        assert want.loss == got.loss
    xs, options = ("xs", {"lengths": batch["lengths"]})
    want, got = (
        jaxrnn.check_gradients(
            model, params, x[xs], resets=x["resets"], mask=x["mask"], time_major=x is batch, **options
        )
        for x in (batch, rows_first)
    )
    assert want.ok
    assert str(want) == str(got)
    with pytest.raises(ValueError, match=r"^xs: expected an array \[B, T, D\] with time_major=False, got float"):
        jaxrnn.check_gradients(model, params, batch["xs"][0], time_major=False)
