"""Runs that are killed and interrupted again and again, and go on."""

import collections
import concurrent.futures
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
import safetensors

from benchmarks.survival import runs
from jaxrnn.training.saves import ARRAYS, numbers

NAMES = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}
CODES = {"SIGKILL": (-9,), "SIGTERM": (143,), "SIGINT": (-2, 130)}


def kills(sigkill: int = 200, sigterm: int = 50, sigint: int = 50, workers: int = 2, seed: int = 0) -> None:
    """Sends signals at random moments until each run has ended, and compares with undisturbed runs.

    Args:
      sigkill, sigterm, sigint: the number of each signal.
      workers: processes at once.
      seed: the seed of the moments.
    """
    rng, start = random.Random(seed), time.monotonic()
    kinds = [*runs.KINDS]
    sent = [name for name, count in zip(NAMES, (sigkill, sigterm, sigint), strict=True) for _ in range(count)]
    rng.shuffle(sent)
    with tempfile.TemporaryDirectory() as root, concurrent.futures.ThreadPoolExecutor(workers) as pool:
        whole = dict(zip(kinds, pool.map(lambda kind: _undisturbed(kind, pathlib.Path(root)), kinds), strict=True))
        pieces = [sent[i :: 10 * len(kinds)] for i in range(min(10 * len(kinds), len(sent)))]
        jobs = [(kinds[i % len(kinds)], piece, pathlib.Path(root) / str(i), i) for i, piece in enumerate(pieces)]
        found = [*pool.map(lambda job: _disturbed(*job), jobs)]
    count = collections.Counter(name for name, _ in _signals(found))
    lost = [text for _, text in _signals(found) if text]
    differ = [job[0] for job, (_, arrays) in zip(jobs, found, strict=True) if not runs.same(arrays, whole[job[0]])]
    shown = ", ".join(f"{n} {name}" for name, n in sorted(count.items()))
    print(f"{shown}; {len(jobs)} runs ({', '.join(kinds)}), {time.monotonic() - start:.0f} s")
    print(f"runs that end otherwise than undisturbed ones: {len(differ)} {sorted(set(differ))}")
    print(f"signals that lost more than the block under way, or ended with another code: {len(lost)}")
    for text in lost[:20]:
        print(f"  {text}")
    sys.exit(bool(lost or differ))


def _signals(found: list[Any]) -> list[tuple[str, str]]:
    """The outcomes of all signals."""
    return [each for signals, _ in found for each in signals]


def _start(kind: str, folder: pathlib.Path, often: bool = True) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    env = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "compiled"),  # of processes that begin again and again
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    }  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.survival.runs", kind, str(folder), "often" if often else "seldom"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env)


def _undisturbed(kind: str, root: pathlib.Path) -> list[np.ndarray]:
    folder = root / f"whole-{kind}"
    process = _start(kind, folder)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return _arrays(folder)


def _arrays(folder: pathlib.Path) -> list[np.ndarray]:
    with np.load(folder / runs.DONE) as saved:
        return [saved[name] for name in saved.files]


def _disturbed(kind: str, names: list[str], folder: pathlib.Path, seed: int) -> tuple[Any, list[np.ndarray]]:
    """([(signal, its loss)], the final result)."""
    rng, found, late = random.Random(seed), [], 0
    names = [*names]
    while names:
        name = names.pop(0)
        shutil.rmtree(folder, ignore_errors=True) if (folder / runs.DONE).exists() else None
        process = _start(kind, folder, often=name == "SIGKILL")
        saves = runs.saves_of(kind, folder)
        # SIGKILL comes at any moment; other signals only after a run has begun, since Python handles earlier ones.
        deadline = time.monotonic() + (rng.uniform(0.5, 6.0) if name == "SIGKILL" else 60.0)
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
            if name != "SIGKILL" and _logged(folder, process.pid):
                deadline = min(deadline, time.monotonic() + rng.uniform(0.0, 0.6))
        process.send_signal(NAMES[name])
        _, errors = process.communicate()
        last, code = _logged(folder, process.pid), process.returncode
        ended = code == 0 or (last == runs.TOTAL[kind] and code == -NAMES[name])  # no longer caught after the last save
        if not ended and code not in CODES[name]:
            found.append((name, f"{kind}: code {code} after {name}, {last} steps logged: {errors[-300:]}"))
        elif name != "SIGKILL" and _reached(kind, saves) < last:  # only the signal can have made it save
            found.append((name, f"{kind}: saved {_reached(kind, saves)}, was at {last}"))
        elif ended and late < 20:
            found.append((f"{name} too late, sent again", ""))
            names, late = [name, *names], late + 1
        elif ended:
            found.append((f"{name} too late", ""))
        else:
            found.append((name, ""))
    process = _start(kind, folder)
    _, errors = process.communicate()
    if process.returncode:
        found.append(("end", f"{kind}: {errors[-500:]}"))
        return found, []
    return found, _arrays(folder)


def _reached(kind: str, saves: pathlib.Path) -> int:
    """The steps of a run's newest save; for a sweep, the steps of all members together."""
    newest = max(numbers(saves), default=0)
    if kind != "sweep" or not newest:
        return newest
    with safetensors.safe_open(saves / str(newest) / ARRAYS, "numpy") as file:
        return int(file.get_tensor("taken").sum())


def _logged(folder: pathlib.Path, pid: int) -> int:
    log = folder / runs.LOG
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return max((int(line[1]) for line in lines if len(line) == 2 and line[0] == str(pid)), default=0)
