"""The price of a run folder and of measurements of the gradient."""

import statistics
import tempfile
import time
from typing import Any

import jax
import optax

import jaxrnn
from experiments import characters


def cost(rounds: int = 5, steps: int = 300, every: int = 100) -> None:
    """Trains the model of `experiments.characters`, with and without a run folder and measurements, interleaved.

    Prints the extra time of saves, of the files of the folder, of the comparison with an earlier run, and of the
    measurements together. Compiling is apart.

    Args:
      rounds: the number of pairs of runs, after one that is not counted.
      steps: the number of steps of a run.
      every: the number of steps between two measurements of the gradient.
    """
    config = characters.Config()
    text = characters.load(config)
    model = characters.build(config, text.count)
    data = characters.streams(text.encode(text.train), config.streams)
    optimizer = optax.chain(optax.clip_by_global_norm(config.clip_norm), optax.adam(config.learning_rate))

    def seconds(**options: Any) -> float:
        start = time.perf_counter()
        result = jaxrnn.fit(
            model, jaxrnn.losses.cross_entropy, optimizer, data, key=jax.random.key(0), steps=steps, stream=config.k,
            progress=False, **options,
        )  # fmt: skip
        return time.perf_counter() - start - result.history.compile_seconds

    def watched() -> float:
        with tempfile.TemporaryDirectory() as folder:
            return seconds(run_dir=folder, diagnose_every=every)

    pairs = [(seconds(), watched()) if i % 2 else (watched(), seconds())[::-1] for i in range(rounds + 1)][1:]
    extra = [100 * (after / before - 1) for before, after in pairs]
    alone = statistics.median(before for before, _ in pairs)
    print(f"{steps} steps without: {alone:.1f} s; with: {' '.join(f'{x:+.2f}' for x in extra)} %")
    print(f"median {statistics.median(extra):+.2f} %")
