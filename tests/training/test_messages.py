"""Mistakes that people make with data and losses, each refused in one sentence."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from tests.helpers import assert_close
from tests.training.setup import KEY, MODEL, D, N, O, T, assert_same, data_set, fit

WRITER = jaxrnn.chain(jaxrnn.embed(5, D), jaxrnn.gru(D, 3), jaxrnn.dense(3, O))


def refused(message, kind=ValueError):
    return pytest.raises(kind, match=message)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("length", "lengths"),
        ("reset", "resets"),
        ("masks", "mask"),
        ("input_mask", "xs_mask"),
        ("target_lengths", "targets_lengths"),
    ],
)
def test_a_misspelt_entry_suggests_the_right_name(wrong, right):
    with refused(rf"^data: expected the entry '{right}', got '{wrong}', which nothing reads"):
        fit(data_set() | {wrong: np.ones((T, N), bool)}, steps=1)


def test_entries_of_ones_own_are_left_alone():
    with pytest.warns(UserWarning, match="nothing reads 'mass', 'presets', 'target', 'task', 'weight'"):
        fit(data_set() | dict.fromkeys(("weight", "target", "task", "mass", "presets"), np.ones(N, "f")), steps=1)


def test_rows_in_a_list_name_what_makes_an_array_of_them():
    rows = [np.ones((n, D), "f") for n in (2, 3)]
    with refused(r"^data\['xs'\]: expected an array, got list of 2.*jaxrnn\.data\.padded", TypeError):
        fit({"xs": rows, "targets": rows}, steps=1)


def test_fit_under_vmap_names_sweeps():
    with refused(r"^fit: expected a call outside of jax\.jit.*jaxrnn\.sweep", TypeError):
        jax.vmap(lambda key: fit(key=key, steps=1).params)(jax.random.split(KEY))


def test_arguments_of_a_loss_the_other_way_round():
    with refused(r"^ys: expected an array.*loss\(ys, batch\)", TypeError):
        jaxrnn.losses.mean_squared_error({"targets": np.ones((T, N, O), "f")}, np.ones((T, N, O), "f"))


def test_errors_in_validation_say_so():
    with refused(r'^validation: batch\["targets"\]: expected shape'):
        fit(steps=1, validation=data_set(1) | {"targets": np.ones((T, N, O + 1), "f")})


@pytest.mark.parametrize("name", ["data", "validation"])
def test_symbols_that_are_none_are_refused_where_they_can_be_seen(name):
    good = {"xs": np.zeros((T, N), int), "targets": np.zeros((T, N, O), "f"), "lengths": np.full(N, 2)}
    bad = good | {"xs": np.where(np.arange(T)[:, None] < 1, 5, good["xs"])}
    padding = good | {"xs": np.where(np.arange(T)[:, None] < 2, good["xs"], -1)}  # which nobody reads
    options = {"data": good, "validation": good, "steps": 1, "model": WRITER}
    assert np.isfinite(fit(**options | {name: padding}).history.train["loss"]).all()
    with refused(rf"^{name}\['xs'\]: expected symbols from 0 to 4, got values from 0 to 5"):
        fit(**options | {name: bad})
    with refused(r"^data\['xs'\]: expected symbols from 0 to 4"):
        jaxrnn.evaluate(WRITER, WRITER.init(KEY), jaxrnn.losses.mean_squared_error, bad)


def test_arrays_of_torch_are_refused():
    torch = pytest.importorskip("torch")
    cell = jaxrnn.gru(D, 3)
    params = cell.init(KEY)
    foreign = params | {"w_h": torch.zeros(3, 9, requires_grad=True)}
    with refused(r"^params\['w_h'\]: expected an array of JAX or NumPy, got one of torch", TypeError):
        jaxrnn.unroll(cell, foreign, np.ones((T, D), "f"))
    with refused("^xs: expected an array of JAX or NumPy, got one of torch", TypeError):
        jaxrnn.unroll(cell, params, torch.ones(T, D))


class Unhashable:
    """A loss that can't be hashed."""

    __hash__ = None  # pyright: ignore

    def __eq__(self, other):
        return self is other

    def __call__(self, ys, batch):
        return jaxrnn.losses.mean_squared_error(ys, batch)


@pytest.mark.always
def test_a_loss_that_can_not_be_hashed_works_wherever_one_does():
    loss = Unhashable()
    result = fit(steps=2, loss=loss, validation=data_set(1), metrics={"again": loss})
    found = jaxrnn.evaluate(MODEL, result.state.params, loss, data_set(1), metrics={"again": loss})
    assert found["loss"] == found["again"] == pytest.approx(result.history.validation["loss"][-1], rel=1e-6)


def test_a_mask_of_the_inputs_reaches_the_model_in_training_and_evaluation():
    mask = np.random.default_rng(0).random((T, N)) < 0.7
    data = data_set() | {"xs_mask": mask, "mask": mask}
    params = fit(steps=0 + 1, optimizer=optax.sgd(0.0)).params
    ys = MODEL.apply(params, data["xs"], mask=mask)[1]
    want = jaxrnn.losses.mean_squared_error(ys, {"targets": data["targets"], "mask": mask})
    found = jaxrnn.evaluate(MODEL, params, jaxrnn.losses.mean_squared_error, data, batch_size=3)
    assert_close(found["loss"], want, 1e-6)
    spoilt = data | {"xs": np.where(mask[..., None], data["xs"], np.nan)}
    assert_same(fit(spoilt, steps=3).params, fit(data, steps=3).params)


def test_a_number_that_a_gated_cell_closes_over_is_handed_in_as_an_argument():
    """The message says how, and it works so."""

    def update(leak, params, h, gates, noise):
        return (1 - leak) * h + leak * gates[0]

    def build(wrap, hyper):
        cell = jaxrnn.gated_cell(D, 3, {"n": jnp.tanh}, wrap(hyper.leak))
        return jaxrnn.chain(cell, jaxrnn.dense(3, O)), jaxrnn.losses.mean_squared_error, optax.sgd(0.1)

    def closing(leak):
        return lambda params, h, gates, noise: update(leak, params, h, gates, noise)

    def handing(leak):
        return jax.tree_util.Partial(update, leak)

    options = {"key": KEY, "steps": 3, "strategy": "vmap", "progress": False}
    space = jaxrnn.grid(leak=[0.3, 0.9])
    with refused(r"^step: expected a function that closes over no traced value.*jax\.tree_util\.Partial"):
        jaxrnn.sweep(jaxrnn.task(functools.partial(build, closing), data_set(), batch_size=4), space, **options)
    results = jaxrnn.sweep(jaxrnn.task(functools.partial(build, handing), data_set(), batch_size=4), space, **options)
    for member in (0, 1):
        alone = fit(steps=3, model=results.build(member)[0], optimizer=optax.sgd(0.1), key=results.key(member))
        assert_close(results.params(member), alone.params, 1e-4)


def test_the_same_run_says_what_it_read():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = fit(steps=2)
    assert f"{N} rows of {T} steps" in repr(result)
    assert "2 steps, the last with loss" in repr(result.history)


def test_symbols_of_batches_and_of_what_a_model_is_called_with_are_looked_at():
    bad = {"xs": np.full((T, N), 7), "targets": np.zeros((T, N, O), "f")}
    with refused(r"^data: a batch\['xs'\]: expected symbols from 0 to 4, got values from 7 to 7"):
        fit([bad], steps=1, model=WRITER)
    with refused("^xs: expected symbols from 0 to 4, got values from 7 to 7"):
        WRITER.apply(WRITER.init(KEY), bad["xs"])
    of = jaxrnn.task(lambda h: (WRITER, jaxrnn.losses.mean_squared_error, optax.sgd(h.lr)), bad, batch_size=2)
    with refused(r"^data\['xs'\]: expected symbols from 0 to 4"):
        jaxrnn.sweep(of, jaxrnn.grid(lr=[0.1]), key=KEY, steps=1, progress=False)


def test_batches_whose_rows_come_first_are_refused_where_it_shows():
    batch = {"xs": np.ones((N, T, D), "f"), "targets": np.zeros(N, int)}
    with refused(r"^data\['targets'\].*time_major=False"):
        fit([batch], steps=1)
