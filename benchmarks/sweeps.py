"""Sweeps of small networks: members per second by the number of members, beside loops over single runs.

Each member is a GRU on 8 x 8 digits (T = 8, D = 8, B = 64), 100 steps of Adam with its own learning rate, clip norm and
seed. Ways: `jaxrnn.sweep` on one device, and on one virtual device for each core; a Python loop over one jitted run
(compiled once, numbers as arguments); the same loop as it is usually written, which compiles for each learning rate; a
PyTorch loop. Each way gets its own processes, in turn; compiling is timed separately, except in that second loop.
"""

import dataclasses
import functools
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tyro

STEPS, BATCH = 100, 64
SWEEP, SPREAD, LOOP, RECOMPILED, TORCH = "sweep", "sweep, a device a core", "compiled loop", "recompiling loop", "torch"
WAYS = (SWEEP, SPREAD, LOOP, RECOMPILED, TORCH)
LARGEST = 2**16
"""The largest number of members times hidden features: larger sweeps take minutes and show nothing new."""
FEW = {LOOP: 48, RECOMPILED: 4, TORCH: 4}
"""Number of members of a loop that are timed: each takes the same time, however many there are."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Sweeps beside loops."""

    hidden: tuple[int, ...] = (8, 16, 32, 64, 128)
    """Hidden features."""
    members: tuple[int, ...] = (1, 16, 128, 1024)
    """Numbers of members of a sweep."""
    rounds: int = 1
    """Processes of each way."""
    ways: tuple[str, ...] = WAYS
    """Ways to time."""
    here: str = ""
    """Time this way in this process, and print the figures as JSON."""
    out: pathlib.Path = pathlib.Path("benchmarks/results/sweeps.json")
    """File for the figures."""


def digits() -> dict[str, np.ndarray]:
    """The training part of the digits."""
    from experiments.digits import Config as Digits
    from experiments.digits import load

    return load(Digits())["train"]


def space(count: int) -> list[dict[str, Any]]:
    """16 learning rates, clip norms, seeds: the first `count` combinations, the rates changing fastest."""
    rates, clips = np.geomspace(1e-4, 1e-1, 16), np.geomspace(0.1, 10.0, 8)
    return [{"lr": float(rates[i % 16]), "clip": float(clips[i // 16 % 8]), "seed": i // 128} for i in range(count)]


def build(hidden: int) -> Callable[[Any], Any]:
    """A member's model, loss and optimizer."""
    import optax

    import jaxrnn
    from experiments.digits import loss

    model = jaxrnn.chain(jaxrnn.stack([jaxrnn.gru(8, hidden)]), jaxrnn.last(), jaxrnn.dense(hidden, 10))
    return lambda hyper: (model, loss, optax.chain(optax.clip_by_global_norm(hyper.clip), optax.adam(hyper.lr)))


def of_sweep(hidden: int, sizes: tuple[int, ...], devices: int) -> list[dict[str, Any]]:
    """Seconds per member of `jaxrnn.sweep`, by the number of members; "auto" measures once how many to run together."""
    import jax

    import jaxrnn
    from jaxrnn.sweeps.planning import make_plan
    from jaxrnn.sweeps.strategy import choose_size

    mesh = jax.sharding.Mesh(np.array(jax.devices()[:devices]), ("members",)) if devices > 1 else None
    task = jaxrnn.task(build(hidden), digits(), batch_size=BATCH)

    def runner_of(members: int) -> Any:
        plan = make_plan(task, space(members), jax.random.key(0), STEPS, None, STEPS, "auto", 2**30, mesh, None)
        return plan.runners[0]

    found, why = choose_size(runner_of(max(sizes)), "auto", 2**30, 10**9)
    rows = []
    for members in sizes:
        runner = runner_of(members)
        size, _ = choose_size(runner, found, 2**30, 10**9)
        runner.compile(size)

        def run(runner: Any = runner, members: int = members, size: int = size) -> None:
            for _ in runner.run(np.arange(members), size, 0, STEPS, STEPS):
                pass

        if members <= 16:
            run()  # the first run in a process is slow
        seconds = median_seconds([run] * max(1, 32 // members)) / members
        rows.append({"members": members, "seconds": seconds, "size": size, "why": why, "compiles": runner.compiles})
    return rows


def of_loop(hidden: int, recompile: bool) -> dict[str, Any]:
    """Seconds per member of a loop over jitted runs."""
    import jax

    import jaxrnn
    from jaxrnn.training.block import Progress, Task, make_block

    data = {name: jax.numpy.asarray(x) for name, x in digits().items()}
    make, compiles = build(hidden), 0

    def train(lr: Any, clip: Any, key: Any) -> Any:
        nonlocal compiles
        compiles += 1
        model, loss, optimizer = make(jaxrnn.Hyper({"lr": lr, "clip": clip}))
        task = Task(model, loss, optimizer, None, None, {"xs": 1, "targets": 0}, None, BATCH, None)
        state = jaxrnn.training.train_state(model, optimizer, key=key)
        stop = jax.numpy.asarray(STEPS, jax.numpy.int32)
        return make_block(task, STEPS)(Progress(state, None, jax.numpy.int32(0)), data, stop)

    count = FEW[RECOMPILED if recompile else LOOP]
    compiled = jax.jit(train)
    if not recompile:
        jax.block_until_ready(compiled(1e-3, 1.0, jax.random.key(0)))

    def one(member: dict[str, Any]) -> None:
        key = jax.random.fold_in(jax.random.key(0), member["seed"])
        if recompile:
            run = jax.jit(functools.partial(train, member["lr"], member["clip"]))
            jax.block_until_ready(run(key))
        else:
            jax.block_until_ready(compiled(member["lr"], member["clip"], key))

    return {"seconds": median_seconds([functools.partial(one, m) for m in space(count)]), "compiles": compiles}


def median_seconds(runs: list[Callable[[], Any]]) -> float:
    """The median seconds of one run."""
    took = []
    for run in runs:
        start = time.perf_counter()
        run()
        took.append(time.perf_counter() - start)
    return float(np.median(took))


def of_torch(hidden: int) -> dict[str, Any]:
    """Seconds per member of a PyTorch loop."""
    import torch

    data = digits()
    xs, targets = torch.tensor(data["xs"]), torch.tensor(data["targets"]).long()

    def train(lr: float, clip: float, seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        layer, dense = torch.nn.GRU(8, hidden), torch.nn.Linear(hidden, 10)
        params = [*layer.parameters(), *dense.parameters()]
        optimizer = torch.optim.Adam(params, lr=lr)
        for rows in torch.randint(len(targets), (STEPS, BATCH), generator=generator):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(dense(layer(xs[:, rows])[0][-1]), targets[rows])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(params, clip)
            optimizer.step()
        return float(loss)  # pyright: ignore[reportPossiblyUnboundVariable]

    train(1e-3, 1.0, 0)
    return {"seconds": median_seconds([lambda m=m: train(**m) for m in space(FEW[TORCH])]), "compiles": 0}


def here(config: Config) -> list[dict[str, Any]]:
    """The figures of one way."""
    rows = []
    for hidden in config.hidden:
        if config.here in (SWEEP, SPREAD):
            devices = 1 if config.here == SWEEP else os.cpu_count() or 1
            found = of_sweep(hidden, tuple(n for n in config.members if n * hidden <= LARGEST), devices)
        elif config.here == TORCH:
            found = [of_torch(hidden)]
        else:
            found = [of_loop(hidden, config.here == RECOMPILED)]
        rows += [{"hidden": hidden} | each for each in found]
    return rows


def main(config: Config) -> None:
    """Prints a table and writes it as JSON."""
    if config.here:
        print(json.dumps(here(config)))
        return
    found: dict[str, list[Any]] = {way: [] for way in config.ways}
    for _ in range(config.rounds):
        for way, rounds in found.items():
            command = [sys.executable, "-m", "benchmarks.sweeps", "--here", way]
            command += ["--hidden", *map(str, config.hidden), "--members", *map(str, config.members)]
            spread = f"--xla_force_host_platform_device_count={os.cpu_count()}"
            env = os.environ | ({"XLA_FLAGS": spread} if way == SPREAD else {})
            done = subprocess.run(command, env=env, capture_output=True, text=True)
            if done.returncode:
                print(f"{way}: left out, {done.stderr.splitlines()[-1]}")
                continue
            rounds.append(json.loads(done.stdout.splitlines()[-1]))
    rows = []
    for way, rounds in found.items():
        for i, row in enumerate(rounds[0] if rounds else ()):
            each = [one[i]["seconds"] for one in rounds]
            rows.append(row | {"way": way, "seconds": float(np.median(each)), "each": each})
    print("| H | way | members | members a second (lowest to highest) | of the compiled loop's | at once | compiles |")
    print("|---|---|---|---|---|---|---|")
    for hidden in config.hidden:
        base = next((row["seconds"] for row in rows if row["way"] == LOOP and row["hidden"] == hidden), np.nan)
        for row in (row for row in rows if row["hidden"] == hidden):
            low, high = 1 / max(row["each"]), 1 / min(row["each"])
            rate = f"{1 / row['seconds']:.1f} ({low:.1f} to {high:.1f}) | {base / row['seconds']:.2f}"
            first, last = (
                f"{hidden} | {row['way']} | {row.get('members', '-')}",
                f"{row.get('size', 1)} | {row['compiles']}",
            )
            print(f"| {first} | {rate} | {last} |")
    from benchmarks.timing import machine

    config.out.parent.mkdir(parents=True, exist_ok=True)
    config.out.write_text(json.dumps({"machine": machine("torch"), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Config))
