"""Damaged saves, and runs that go on from them."""

import collections
import pathlib
import random
import shutil
import sys
import tempfile
import time
import warnings
from typing import Any

import jax
import numpy as np

from benchmarks.survival import runs
from jaxrnn.training.saves import numbers


def damages(count: int = 500, of_sweeps: int = 100, seed: int = 0) -> None:
    """Damages files of saves, goes on, and compares with undisturbed runs.

    Args:
      count: damages to runs, half of them with 8 hidden units, half with 128.
      of_sweeps: damages to a sweep.
      seed: the seed of the damages.
    """
    rng, start, outcomes = random.Random(seed), time.monotonic(), collections.Counter()
    plan = [("dict", 8, count - count // 2), ("dict", 128, count // 2), ("sweep", 8, of_sweeps)]
    runs.run.SAVE_SECONDS = runs.record.SAVE_SECONDS = 0.0
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    wrong = []
    with tempfile.TemporaryDirectory() as root:
        jax.config.update("jax_compilation_cache_dir", str(pathlib.Path(root) / "compiled"))
        for kind, hidden, each in plan:
            if not each:
                continue
            folder, steps = pathlib.Path(root) / f"{kind}{hidden}", 30
            folder.mkdir()
            whole = jax.tree.leaves(runs.result(kind, None, hidden, steps=steps))
            runs.result(kind, folder, hidden, steps=steps if kind == "sweep" else 20)
            for _ in range(each):
                copy = pathlib.Path(root) / "copy"
                shutil.copytree(folder, copy)
                what = damage(runs.saves_of(kind, copy), rng)
                outcome = _outcome(kind, copy, hidden, steps, whole)
                outcomes[outcome.partition(":")[0]] += 1
                if outcome.startswith(("silent", "bare")):
                    wrong.append(f"{kind} {hidden}: {what}: {outcome}")
                shutil.rmtree(copy)
    print(f"{sum(outcomes.values())} damages, {time.monotonic() - start:.0f} s: {dict(outcomes)}")
    for text in wrong[:20]:
        print(f"  {text}")
    sys.exit(bool(wrong))


def damage(saves: pathlib.Path, rng: random.Random, only: pathlib.Path | None = None) -> str:
    """Damages some of a run's saves, or only this one, or another of its files; returns a description of the damage."""
    folders = [saves / str(number) for number in sorted(numbers(saves))]
    hurt = folders[-1:] if rng.random() < 0.7 else rng.sample(folders, rng.randint(1, len(folders)))
    hurt = hurt if only is None else [only]
    kind = rng.choice(("bits", "bits", "truncated", "missing", "empty", "swapped", "older", "garbage"))
    beside = sorted(path for path in saves.parent.iterdir() if path.is_file()) if only is None else []
    if beside and rng.random() < 0.2:
        kind, hurt = rng.choice(("bits", "truncated", "missing", "empty", "garbage")), [rng.choice(beside)]
    for folder in hurt:
        path = folder if folder in beside else rng.choice(sorted(folder.iterdir()))
        data, other = bytearray(path.read_bytes()), rng.choice(folders) / path.name
        if not data and kind in ("bits", "truncated"):
            path.write_bytes(rng.randbytes(20))
        elif kind == "bits":
            for _ in range(rng.choice((1, 1, 3, 100))):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            path.write_bytes(data)
        elif kind == "truncated":
            path.write_bytes(data[: rng.randrange(len(data))])
        elif kind == "missing":
            path.unlink()
        elif kind == "empty":
            path.write_bytes(b"")
        elif kind == "swapped":
            a, b = sorted(folder.iterdir())[:2]
            first = a.read_bytes()
            a.write_bytes(b.read_bytes())
            b.write_bytes(first)
        elif kind == "older":
            path.write_bytes(other.read_bytes())
        else:
            path.write_bytes(rng.randbytes(len(data)))
    return f"{kind} in {[folder.name for folder in hurt]}"


def _outcome(kind: str, folder: pathlib.Path, hidden: int, steps: int, whole: list[Any]) -> str:
    saves = runs.saves_of(kind, folder)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            found = jax.tree.leaves(runs.result(kind, folder, hidden, steps=steps))
        except ValueError as error:
            named = str(error).startswith("run_dir: expected an intact save, got none: ") and str(saves) in str(error)
            return "refused, the file named" if named else f"bare: {error!r}"
        except Exception as error:
            return f"bare: {error!r}"
    if not runs.same([*map(np.asarray, found)], [*map(np.asarray, whole)]):
        return "silent: another result"
    told = [str(each.message) for each in said if "run_dir: going on from save" in str(each.message)]
    return "fallen back, the file named" if told and str(saves) in told[0] else "harmless"
