"""The price of `jaxrnn.fit` beside its compiled steps: blocks of one step, run folders, measurements."""

import statistics
import tempfile
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn
from experiments.characters import Config, build, load, streams


def cost(rounds: int = 5, steps: int = 300, every: int = 100) -> None:
    """Times runs with and without what watches them, interleaved; compiling is apart.

    Prints the extra time of a run folder and measurements of the gradient, on the model of `experiments.characters`:
    saves, the files of the folder, the comparison with an earlier run, and the measurements together. Prints the time
    of a step with block=1, beside a loop by hand over a jitted step that reads its loss, on a GRU of 8 units.

    Args:
      rounds: the number of pairs of runs, after one that is not counted.
      steps: the number of steps of a run with a folder.
      every: the number of steps between two measurements of the gradient.
    """
    _of_folder(rounds, steps, every)
    _of_blocks(rounds, 1600)


def _of_folder(rounds: int, steps: int, every: int) -> None:
    config = Config()
    text = load(config)
    model = build(config, text.count)
    data = streams(text.encode(text.train), config.streams)
    optimizer = optax.chain(optax.clip_by_global_norm(config.clip_norm), optax.adam(config.learning_rate))

    def plain(**options: Any) -> float:
        start = time.perf_counter()
        result = jaxrnn.fit(
            model, jaxrnn.losses.cross_entropy, optimizer, data, key=jax.random.key(0), steps=steps, stream=config.k,
            progress=False, **options,
        )  # fmt: skip
        return time.perf_counter() - start - result.history.compile_seconds

    def watched() -> float:
        with tempfile.TemporaryDirectory() as folder:
            return plain(run_dir=folder, diagnose_every=every)

    pairs = _interleaved(plain, watched, rounds)
    extra = [100 * (b / a - 1) for a, b in pairs]
    alone = statistics.median(a for a, _ in pairs)
    print(f"a run folder, and the gradient measured every {every} of {steps} steps, {alone:.1f} s without: ", end="")
    print(f"{' '.join(f'{x:+.2f}' for x in extra)}, median {statistics.median(extra):+.2f} %", flush=True)


def _of_blocks(rounds: int, steps: int) -> None:
    model = jaxrnn.chain(jaxrnn.gru(3, 8), jaxrnn.dense(8, 2))
    loss, optimizer, batch_size = jaxrnn.losses.mean_squared_error, optax.adam(1e-2), 16
    rng = np.random.default_rng(0)
    data = {name: rng.standard_normal((10, 256, n), np.float32) for name, n in (("xs", 3), ("targets", 2))}
    train_step = jaxrnn.training.make_train_step(model, loss, optimizer)

    @jax.jit
    def chosen(key: jax.Array) -> jax.Array:
        return jax.random.permutation(key, 256).reshape(-1, batch_size)

    def step(state: Any, data: Any, rows: jax.Array) -> Any:
        return train_step(state, jax.tree.map(lambda x: x[:, rows], data))

    step = jax.jit(step, donate_argnums=0)

    def by_hand() -> float:
        state = jaxrnn.training.train_state(model, optimizer, key=jax.random.key(0))
        arrays, found = jax.tree.map(jnp.asarray, data), []
        start = time.perf_counter()
        for epoch in range(steps // 16):
            for rows in np.asarray(chosen(jax.random.fold_in(state.key, epoch))):
                state, measured = step(state, arrays, rows)
                found.append(float(measured["loss"]))
        return time.perf_counter() - start

    def fitted() -> float:
        start = time.perf_counter()
        result = jaxrnn.fit(
            model, loss, optimizer, data, key=jax.random.key(0), steps=steps, batch_size=batch_size, block=1,
            progress=False,
        )  # fmt: skip
        return time.perf_counter() - start - result.history.compile_seconds

    pairs = [(1e6 * a / steps, 1e6 * b / steps) for a, b in _interleaved(by_hand, fitted, rounds)]
    ratios = [b / a for a, b in pairs]
    print(f"block=1: {statistics.median(b for _, b in pairs):.0f} us a step, by hand ", end="")
    print(f"{statistics.median(a for a, _ in pairs):.0f}: {' '.join(f'{x:.2f}' for x in ratios)}, ", end="")
    print(f"median {statistics.median(ratios):.2f} times")


def _interleaved(first: Any, second: Any, rounds: int) -> list[tuple[float, float]]:
    """Pairs of seconds, in turns that begin with the one or the other; the first pair, which compiles, is left out."""
    pairs = [(first(), second()) if i % 2 else (second(), first())[::-1] for i in range(rounds + 1)]
    return pairs[1:]
