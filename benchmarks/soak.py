"""Hours of training with kills and damaged saves: `python -m benchmarks.soak --minutes 60`.

In the first half one process trains undisturbed, and its memory is recorded; in the second half processes are killed
again and again, and saves are damaged in between. Each block records a digest of the parameters: a step that is
repeated after a kill must give the same parameters.
"""

import collections
import dataclasses
import hashlib
import json
import os
import pathlib
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from typing import Any

import jax
import numpy as np
import optax
import psutil
import tyro

import jaxrnn
from benchmarks.survival.damages import damage
from jaxrnn.training.checkpoint import SAVES
from jaxrnn.training.saves import numbers


@dataclasses.dataclass(frozen=True)
class Config:
    """Trains for a long time, and checks that no step is lost and no memory grows."""

    minutes: float = 60.0
    """Duration, in minutes."""
    hidden: int = 128
    """Hidden units of the LSTM that is trained."""
    seed: int = 0
    """Seed of the moments and damages."""
    out: pathlib.Path = pathlib.Path("benchmarks/results/soak.json")
    """File for the figures."""
    child: pathlib.Path | None = None
    """Folder of the run that this process is; the program starts such processes itself."""


LOG, STOP = "blocks.jsonl", "stop"


def train(config: Config, folder: pathlib.Path) -> None:
    """Trains until it is stopped; each block is recorded with the memory, compiled programs and a digest."""
    compiled = collections.Counter()

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        del duration_secs, kwargs
        compiled.update([event])

    jax.monitoring.register_event_duration_secs_listener(listen)
    xs = np.random.default_rng(0).standard_normal((50, 256, 16)).astype(np.float32)
    model = jaxrnn.chain(jaxrnn.lstm(16, config.hidden), jaxrnn.dropout(0.1), jaxrnn.dense(config.hidden, 16))

    def note(end: Any) -> bool:
        digest = hashlib.sha1(b"".join(np.asarray(x).tobytes() for x in jax.tree.leaves(end.state.params)))
        with (folder / LOG).open("a") as file:
            row = {
                "pid": os.getpid(),
                "step": end.step,
                "time": time.time(),
                "bytes": psutil.Process().memory_info().rss,
            }
            programs = compiled["/jax/core/compile/backend_compile_duration"]
            file.write(json.dumps(row | {"programs": programs, "digest": digest.hexdigest()}) + "\n")
        return (folder / STOP).exists()

    jaxrnn.fit(
        model, jaxrnn.losses.mean_squared_error, optax.adam(1e-3), {"xs": xs, "targets": xs}, key=jax.random.key(0),
        steps=10**8, batch_size=32, block=20, run_dir=folder / "run", callback=note, progress=False,
    )  # fmt: skip


def rows(folder: pathlib.Path) -> list[dict[str, Any]]:
    """The rows that the processes recorded; a line that a kill cut off is left out."""
    found = []
    for line in (folder / LOG).read_text().splitlines() if (folder / LOG).exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def start(config: Config, folder: pathlib.Path) -> subprocess.Popen[bytes]:
    """Starts a process that goes on with the run."""
    command = [sys.executable, "-m", "benchmarks.soak", "--child", str(folder), "--hidden", str(config.hidden)]
    return subprocess.Popen(command)


def main(config: Config) -> None:
    """Trains for `minutes`, prints the findings, and writes them."""
    rng, killed, damaged, codes = random.Random(config.seed), 0, collections.Counter(), collections.Counter()
    with tempfile.TemporaryDirectory() as root:
        folder, half = pathlib.Path(root), 30.0 * config.minutes
        process = start(config, folder)
        time.sleep(half)
        undisturbed = rows(folder)
        end = time.monotonic() + half
        while time.monotonic() < end:
            number = rng.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM))
            process.send_signal(number)
            codes[process.wait()] += 1
            killed += 1
            saves = folder / "run" / SAVES
            if rng.random() < 0.5 and len(numbers(saves)) == 3:
                newest = saves / str(max(numbers(saves)))
                damaged[damage(saves, random.Random(rng.random()), only=newest)] += 1
            process = start(config, folder)
            time.sleep(rng.uniform(15.0, 60.0))
        (folder / STOP).touch()
        code, found = process.wait(), rows(folder)
    digests = collections.defaultdict(set)
    for row in found:
        digests[row["step"]].add(row["digest"])
    warm = undisturbed[len(undisturbed) // 5 :]
    memory, tenth = [row["bytes"] for row in warm], max(1, len(warm) // 8)
    growth = statistics.median(memory[-tenth:]) / statistics.median(memory[:tenth]) - 1.0
    figures = {
        "minutes": config.minutes, "steps": max(digests), "blocks": len(found), "kills": killed,
        "damages": sum(damaged.values()), "last exit code": code,
        "exit codes of others": {str(key): n for key, n in codes.items()},
        "blocks that came out otherwise when taken again": sum(len(each) > 1 for each in digests.values()),
        "blocks taken again": len(found) - len(digests),
        "steps without a block": max(digests) // 20 - len(digests),
        "growth of memory from the third tenth to the last": growth,
        "most memory after warm-up, relative to its beginning": max(memory) / memory[0] - 1.0,
        "memory, MiB": warm[-1]["bytes"] / 2**20,
        "programs compiled after warm-up": warm[-1]["programs"] - warm[0]["programs"],
    }  # fmt: skip
    print(json.dumps(figures, indent=2))
    config.out.parent.mkdir(parents=True, exist_ok=True)
    config.out.write_text(json.dumps(figures, indent=2) + "\n")
    bad = code or set(codes) - {-9, 143} or any(len(each) > 1 for each in digests.values()) or growth > 0.01
    lost = max(digests) // 20 > len(digests)
    sys.exit(bool(bad or lost or warm[-1]["programs"] > warm[0]["programs"]))


if __name__ == "__main__":
    given = tyro.cli(Config)
    if given.child is None:
        main(given)
    else:
        warnings.simplefilter("default")
        train(given, given.child)
