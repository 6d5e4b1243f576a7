"""The price of `jaxrnn.fit` beside its compiled steps: blocks of one step, run folders, measurements."""

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn
from experiments.characters import Config, build, load, steps_of, streams
from jaxrnn.training import run
from jaxrnn.training.run import SAVE_SECONDS

ROWS = 8
SMALL = (
    jaxrnn.chain(jaxrnn.elman(1, 4), jaxrnn.dense(4, 1)), jaxrnn.losses.mean_squared_error, optax.sgd(1e-2),
    {name: np.random.default_rng(0).standard_normal((3, 128, 1), np.float32) for name in ("xs", "targets")},
)  # fmt: skip
"""A model, a loss, an optimizer and data: a step takes no longer than the work around it."""


def cost(rounds: int = 9, steps: int = 400, every: int = 500, long: int = 1_250_000) -> None:
    """Measures the time that goes into watching a run, apart from its compiled steps; compiling is apart.

    First the model of `experiments.characters`, with a run folder and measurements of the gradient: the share of the
    command's whole time that goes into the comparison with an earlier run and the first measurement, into further
    measurements and the files of the folder, and into saves.

    Then the time of a step with block=1, beside a loop by hand over a jitted step that reads its loss, interleaved. The
    network is so small that the calls are all that counts. With it, too, the time with and without the progress bar,
    interleaved, and the time of a step early and late in a long run.

    Args:
      rounds: the number of pairs of runs with block=1 and with the bar, after one that is not counted.
      steps: the number of steps of the run with a folder.
      every: the number of steps between two measurements of the gradient, for the share; they are timed more often.
      long: the number of steps of the long run.
    """
    _of_folder(steps, every)
    _of_blocks(rounds, 4800)
    _of_progress(rounds, 200_000)
    _of_length(long)


def _of_folder(steps: int, every: int) -> None:
    config = Config()
    text = load(config)
    model = build(config, text.count)
    data = streams(text.encode(text.train), config.streams)
    optimizer = optax.chain(optax.clip_by_global_norm(config.clip_norm), optax.adam(config.learning_rate))
    spent: dict[str, list[float]] = {"comparison": [], "saves": [], "looks": []}

    def timed(name: str, f: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return f(*args, **options)
            finally:
                spent[name].append(time.perf_counter() - start)

        return call

    parts = ((sys.modules["jaxrnn.training.fit"], "identity"), (run.Run, "_save"), (run.Run, "_look"))
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        for name, (owner, attribute) in zip(spent, parts, strict=True):
            stack.enter_context(mock.patch.object(owner, attribute, timed(name, getattr(owner, attribute))))
        result = jaxrnn.fit(
            model, jaxrnn.losses.cross_entropy, optimizer, data, key=jax.random.key(0), steps=steps, stream=config.k,
            progress=False, run_dir=folder, diagnose_every=steps // 4,
        )  # fmt: skip
    step, whole = result.history.run_seconds / steps, steps_of(config, text.train)
    once = sum(spent["comparison"]) + spent["looks"][0]
    look, save = (statistics.median(spent[name][1:]) for name in ("looks", "saves"))
    shares = [once / (step * whole), look / (step * every), save / SAVE_SECONDS]
    print(f"once {once:.1f} s, of which most is compiling; each measurement {look:.2f} s; each save {save:.2f} s")
    print(f"of the {step * whole:.0f} s that {whole} steps take, measured each {every} steps: ", end="")
    print(f"{' + '.join(f'{100 * x:.2f}' for x in shares)} = {100 * sum(shares):.2f} %", flush=True)


def _small(steps: int, **options: Any) -> jaxrnn.training.FitResult:
    options = {"key": jax.random.key(0), "batch_size": ROWS, "progress": False} | options
    return jaxrnn.fit(*SMALL, steps=steps, **options)


def _of_progress(rounds: int, steps: int) -> None:
    def seconds(progress: bool) -> float:
        return _small(steps, progress=progress).history.run_seconds

    pairs = [
        (seconds(False), seconds(True)) if i % 2 else (seconds(True), seconds(False))[::-1] for i in range(rounds + 1)
    ]
    ratios = [b / a for a, b in pairs[1:]]
    print(
        f"with the progress bar: {' '.join(f'{x:.3f}' for x in ratios)}, median {statistics.median(ratios):.3f} times"
    )


def _of_length(steps: int) -> None:
    seen: dict[int, float] = {}

    def note(end: jaxrnn.training.BlockEnd) -> None:
        seen[end.step] = time.perf_counter()

    _small(steps, callback=note)
    looks = np.array([*seen.items()])
    for start in (0.1, 0.9):  # a tenth each, after what is compiled
        some = looks[(looks[:, 0] >= start * steps) & (looks[:, 0] <= (start + 0.1) * steps)]
        rate = 1e6 * float(np.diff(some[[0, -1], 1])[0] / np.diff(some[[0, -1], 0])[0])
        print(f"a step after {int(some[0, 0]):,} steps: {rate:.1f} us")


def _of_blocks(rounds: int, steps: int) -> None:
    model, loss, optimizer, data = SMALL
    train_step = jaxrnn.training.make_train_step(model, loss, optimizer)

    @jax.jit
    def chosen(key: jax.Array) -> jax.Array:
        return jax.random.permutation(key, 128).reshape(-1, ROWS)

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
        result = _small(steps, block=1)
        return time.perf_counter() - start - result.history.compile_seconds

    pairs = [(by_hand(), fitted()) if i % 2 else (fitted(), by_hand())[::-1] for i in range(rounds + 1)][1:]
    hand, ours = (1e6 * statistics.median(times) / steps for times in zip(*pairs, strict=True))
    ratios = [b / a for a, b in pairs]
    print(f"block=1: {ours:.0f} us a step, by hand {hand:.0f}: {' '.join(f'{x:.2f}' for x in ratios)}, ", end="")
    print(f"median {statistics.median(ratios):.2f} times")
