"""fit(diagnose_every=n): looks at the gradient while training, which do not change it."""

import jax
import numpy as np
import pytest

import jaxrnn
from tests.helpers import assert_close
from tests.training.setup import MODEL, assert_same_run, data_set, fit


def test_looks_are_those_of_gradient_statistics_and_change_nothing():
    data = data_set()
    looked = fit(data, steps=10, block=4, diagnose_every=5)
    plain = fit(data, steps=10, block=4)
    assert_same_run(looked, plain)
    np.testing.assert_array_equal(looked.history.diagnostic_steps, [5, 10])
    few = {name: x[:, :8] for name, x in data.items()}
    want = jaxrnn.diagnostics.gradient_statistics(MODEL, looked.state.params, few, jaxrnn.losses.mean_squared_error)
    found = looked.history.diagnostics
    assert_close(found["gradient_norm/0/0/w_h"][1], want.gradient_norms["0/0/w_h"], 1e-5)
    assert_close(found["norm_by_lag/0/0 Elman"][1], want.layers["0/0 Elman"].norm_by_lag, 1e-5)
    assert_close(found["saturated/0/0 Elman/h"][1], want.layers["0/0 Elman"].gates["h"].saturated.mean(), 1e-5)
    assert plain.history.diagnostics == {}


def test_looks_survive_a_resumed_run(tmp_path):
    whole = fit(steps=8, diagnose_every=2)
    fit(steps=5, diagnose_every=2, run_dir=tmp_path)
    resumed = fit(steps=8, diagnose_every=2, run_dir=tmp_path)
    np.testing.assert_array_equal(resumed.history.diagnostic_steps, [2, 4, 6, 8])
    jax.tree.map(np.testing.assert_array_equal, resumed.history.diagnostics, whole.history.diagnostics)


def test_on_batches_of_an_iterable_and_on_streams():
    batches = [data_set(seed) for seed in range(4)]
    assert fit(batches, steps=4, diagnose_every=2).history.diagnostic_steps.tolist() == [2, 4]
    streams = fit(steps=4, diagnose_every=4, batch_size=None, stream=2)
    assert streams.history.diagnostics["norm_by_lag/0/0 Elman"].shape == (1, 2)


def test_looks_change_neither_the_validations_nor_the_end_of_a_run():
    options = {"steps": 12, "block": 4, "validation": data_set(1), "patience": 2}
    assert_same_run(fit(diagnose_every=3, **options), fit(**options))


def test_a_model_without_recurrence_is_refused_before_anything_runs():
    with pytest.raises(ValueError, match=r"^model: expected at least one recurrent layer"):
        fit(model=jaxrnn.chain(jaxrnn.dense(2, 2), jaxrnn.dense(2, 2)), steps=4, diagnose_every=2)


def test_plot_of_the_looks():
    history = fit(steps=6, diagnose_every=2).history
    lags, norms, shares = history.plot_diagnostics().axes
    assert len(lags.lines) == 3
    found = {line.get_label(): line.get_ydata() for line in norms.lines}
    np.testing.assert_array_equal(found["0/0/w_h"], history.diagnostics["gradient_norm/0/0/w_h"])
    assert len(shares.lines) == 1
    with pytest.raises(ValueError, match=r"^diagnostics: expected at least one look"):
        fit(steps=2).history.plot_diagnostics()
