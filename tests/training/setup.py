"""A small task, and plain loops that training is held against."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn
from jaxrnn.data.rows import shuffled_rows
from jaxrnn.training.block import ORDER

T, N, D, H, O = 4, 10, 2, 3, 2
KEY = jax.random.key(11)
MODEL = jaxrnn.chain(jaxrnn.stack([jaxrnn.elman(D, H)]), jaxrnn.dense(H, O))
NOISY = jaxrnn.chain(jaxrnn.stack([jaxrnn.elman(D, H)]), jaxrnn.dropout(0.4), jaxrnn.dense(H, O))
OPTIMIZER = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(0.05))


def data_set(seed=0, rows=N):
    rng = np.random.default_rng(seed)
    xs = rng.standard_normal((T, rows, D)).astype(np.float32)
    return {"xs": xs, "targets": np.cumsum(xs, 0)}


def batch_of(data, rows):
    """The rows of a data set whose arrays are all sequences."""
    return {name: x[:, rows] for name, x in data.items()}


def fit(data=None, *, model=MODEL, loss=jaxrnn.losses.mean_squared_error, optimizer=OPTIMIZER, key=KEY, **options):
    """`jaxrnn.fit` with the small task's defaults."""
    data = data_set() if data is None else data
    if isinstance(data, dict):
        options = {"batch_size": 4} | options
    return jaxrnn.fit(model, loss, optimizer, data, key=key, **({"progress": False} | options))


def plain_loop(batches, *, model=MODEL, loss=jaxrnn.losses.mean_squared_error, key=KEY):
    """One jitted step after the other: the states after each, and the losses."""
    step = jax.jit(jaxrnn.training.make_train_step(model, loss, OPTIMIZER))
    state, losses, states = jaxrnn.training.train_state(model, OPTIMIZER, key=key), [], []
    for batch in batches:
        state, values = step(state, batch)
        losses.append(float(values["loss"]))
        states.append(state)
    return states, np.array(losses)


def rows_of_run(steps, batch_size, *, rows=N, key=KEY, model=MODEL):
    """The rows that each step of a run of `fit` reads."""
    run_key = jaxrnn.training.train_state(model, OPTIMIZER, key=key).key
    order = jax.random.fold_in(run_key, ORDER)
    return np.asarray(shuffled_rows(order, jnp.asarray(0, jnp.int32), steps, rows, batch_size))


def assert_same(got, want):
    """Bit by bit; keys too."""
    plain = [
        jax.random.key_data(x) if jnp.issubdtype(jnp.result_type(x), jax.dtypes.prng_key) else x
        for tree in (got, want)
        for x in jax.tree.leaves(tree)
    ]
    half = len(plain) // 2
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(plain[:half], plain[half:], strict=True):
        np.testing.assert_array_equal(a, b)


def assert_same_run(got, want):
    assert_same(got.params, want.params)
    assert_same(got.state, want.state)
    assert_same(got.history.train, want.history.train)
    assert_same(got.history.validation, want.history.validation)
    np.testing.assert_array_equal(got.history.validation_steps, want.history.validation_steps)
    assert got.best_step == want.best_step
    assert got.history.stopped == want.history.stopped


def saved_steps(path):
    """The steps at which a run directory holds a save."""
    return [int(entry.name) for entry in (path / "checkpoints").glob("*") if entry.name.isdigit()]
