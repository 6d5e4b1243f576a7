"""A sweep over the hyperparameters of digits or of adding.

    python -m experiments.sweep digits --lr 1e-4:1e-1:16:log --hidden 32,64,128 --seeds 8

Numbers are one value, a list a,b,c or first:last:count, evenly spaced, with :log by factors. Members that differ in
floating-point numbers and seeds alone run through one compiled program.
"""

import dataclasses
import os
import pathlib
import shutil
from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
import tyro

if "XLA_FLAGS" not in os.environ and os.environ.get("JAX_PLATFORMS", "cpu") == "cpu":
    # Before JAX starts: one device for each core, each of which runs members of its own.
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={os.cpu_count()}"

import jax
import optax
from jax.experimental import multihost_utils

import jaxrnn
from experiments import command, digits, memory_tasks, run_folder, vanishing

HEARTBEAT = 30
"""Seconds without a message after which a process counts as dead."""
CELLS = {"gru": jaxrnn.gru, "lstm": jaxrnn.lstm, "elman": jaxrnn.elman}


@dataclasses.dataclass(frozen=True)
class Config:
    """A sweep over hyperparameters; values are a,b,c or first:last:count or first:last:count:log."""

    task: tyro.conf.Positional[Literal["digits", "adding"]]
    """Handwritten digits, or the sum of two marked numbers."""
    length: int = 100
    """Numbers to read, for adding."""
    lr: str = "1e-3:1e-1:8:log"
    """Adam's learning rates."""
    clip: str = "1"
    """Largest norms of the gradient."""
    dropout: str = "0"
    """Dropout rates before the output layer."""
    hidden: str = "32"
    """Hidden features."""
    cell: str = "gru"
    """Cells: gru, lstm, elman."""
    seeds: int = 1
    """Seeds of each configuration."""
    steps: int = 1000
    """Steps of training."""
    batch_size: int = 64
    """Rows in a minibatch."""
    strategy: Annotated[Literal["auto", "vmap", "map", "loop"] | int, tyro.conf.arg(metavar="NAME|INT")] = "auto"
    """auto, vmap, map, loop, or members at once."""
    halving: int = 0
    """Steps before the first pruning; 0: none."""
    devices: int = 0
    """Devices for the members; 0: all."""
    coordinator: str = ""
    """host:port of process 0, of several."""
    processes: int = 1
    """Number of processes."""
    process: int = 0
    """Number of this process, from 0."""
    cluster: command.Flag = False
    """Processes of a cluster: Slurm, MPI, Kubernetes."""
    dry_run: command.Flag = False
    """Only print members, programs, memory and time."""
    resume: command.Resume = False
    overwrite: command.Flag = False
    """Delete the sweep in the folder."""
    progress: command.Progress = True
    key: int = 0
    """Seed of all randomness."""
    out: command.Out = pathlib.Path("runs/sweep")

    def __post_init__(self) -> None:
        command.positive(self, "seeds", "steps", "batch_size", "processes")
        command.expect("length", "at least 2 numbers", self.length >= 2, self.length)
        limits = {"lr": "learning_rate", "clip": "clip_norm", "dropout": "dropout"}
        limits = {name: command.LIMITS[other] for name, other in limits.items()} | {"hidden": (0, 65_537)}
        for name, between in limits.items():
            for x in numbers(name, getattr(self, name), int if name == "hidden" else float):
                command.within(name, x, between)


def numbers(name: str, text: str, kind: Callable[[str], Any] = float) -> list[Any]:
    """A list of numbers from "a,b,c" or "first:last:count" or "first:last:count:log"."""
    try:
        first, *more = text.split(":")
        if not more:
            found = [kind(part) for part in text.split(",")]
        else:
            last, count, *log = more
            if log not in ([], ["log"]):
                raise ValueError
            spaced = np.geomspace if log else np.linspace
            found = [kind(x) for x in spaced(float(first), float(last), int(count)).tolist()]
    except ValueError:
        found = []
    command.expect(name, "a,b,c or first:last:count or first:last:count:log", bool(found), text)
    return found


def space(config: Config) -> Any:
    """All combinations."""
    cells = config.cell.split(",")
    for cell in cells:
        command.expect("cell", f"some of {','.join(CELLS)}", cell in CELLS, cell)
    return jaxrnn.grid(
        cell=cells,
        hidden=numbers("hidden", config.hidden, int),
        lr=numbers("lr", config.lr),
        clip=numbers("clip", config.clip),
        dropout=numbers("dropout", config.dropout),
        seed=list(range(config.seeds)),
    )


def task(config: Config) -> jaxrnn.sweeps.ModelTask:
    """The data, and the function that builds a member from its hyperparameters."""
    if config.task == "digits":
        parts = digits.load(digits.Config(seed=config.key))
        data, held_out, D, O, loss = parts["train"], parts["validation"], 8, 10, digits.loss
    else:
        data = memory_tasks.adding(jax.random.key(1), config.length, 20000)
        held_out = memory_tasks.adding(jax.random.key(2), config.length, 1000)
        D, O, loss = 2, 1, vanishing.loss

    def build(hyper: Any) -> tuple[jaxrnn.Model, Any, optax.GradientTransformation]:
        layer = jaxrnn.stack([CELLS[hyper.cell](D, hyper.hidden)])
        model = jaxrnn.chain(layer, jaxrnn.last(), jaxrnn.dropout(hyper.dropout), jaxrnn.dense(hyper.hidden, O))
        return model, loss, optax.chain(optax.clip_by_global_norm(hyper.clip), optax.adam(hyper.lr))

    metrics = {"accuracy": digits.accuracy if config.task == "digits" else vanishing.accuracy}
    return jaxrnn.task(build, data, batch_size=config.batch_size, validation=held_out, metrics=metrics)


def start_processes(config: Config) -> None:
    """Before anything else of JAX: lets the processes know each other; one that dies stops the others in 30 s."""
    if config.coordinator:
        jax.distributed.initialize(
            config.coordinator, config.processes, config.process, heartbeat_timeout_seconds=HEARTBEAT
        )
    elif config.cluster:
        jax.distributed.initialize(heartbeat_timeout_seconds=HEARTBEAT)
    else:
        alone = config.processes == 1 and not config.process
        command.expect("coordinator", "host:port with --processes and --process", alone, "none")


def main(config: Config) -> dict[str, Any]:
    """Runs the sweep; prints a table, writes it and the pictures; returns the best member and the number of members."""
    start_processes(config)
    count = len(jax.local_devices())
    command.expect("devices", f"0 to {count}, the devices that there are", 0 <= config.devices <= count, config.devices)
    devices = jax.local_devices()[: config.devices or None]
    mesh = jax.sharding.Mesh(np.array(devices), ("members",)) if len(devices) > 1 else None
    what, members = task(config), space(config)
    pruning = jaxrnn.sweeps.halving(first=config.halving) if config.halving else None
    options: Any = {"key": jax.random.key(config.key), "steps": config.steps, "strategy": config.strategy}
    options |= {"mesh": mesh, "pruning": pruning}
    if config.dry_run:
        print(jaxrnn.sweeps.plan(what, members, **options))
        return {}
    folder = config.out / config.task
    folder.mkdir(parents=True, exist_ok=True)
    first, saves, before = jax.process_index() == 0, folder / "saves", folder / "saves-before"
    if first and before.exists() and not saves.exists():
        before.rename(saves)  # of a process that ended before its first save
    there = any((folder / name).exists() for name in ("saves", "table.csv")) and not config.resume
    command.expect("out", "a folder without a sweep, or --resume or --overwrite", config.overwrite or not there, folder)
    if there and first and saves.exists():
        with command.alone(folder):
            shutil.rmtree(before, ignore_errors=True)
            saves.rename(before)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("the folder is ready")
    try:
        results = jaxrnn.sweep(what, members, run_dir=folder, progress=config.progress, **options)
    except BaseException:
        if first and before.exists() and not saves.exists():
            before.rename(saves)  # nothing has taken its place
        raise
    found = {"members": len(results), "programs compiled": results.compiles}
    found |= {f"best {name}": column.tolist()[0] for name, column in results.table.items()}
    if not first:
        return found
    shutil.rmtree(before, ignore_errors=True)
    results.to_csv(folder / "table.csv")
    results.to_json(folder / "results.json")
    run_folder.write(folder, config, found)
    jaxrnn.sweeps.plot_sweep(results, "lr", hue="hidden", path=str(folder / "lr.png"))
    jaxrnn.sweeps.plot_curves(results, path=str(folder / "curves.png"))
    if pruning is not None:
        jaxrnn.sweeps.plot_rungs(results, path=str(folder / "rungs.png"))
    print(f"\n{results.show(10)}\n")
    for note in results.notes:
        print(note)
    print(f"{len(results)} members, {results.compiles} programs compiled")
    return found


if __name__ == "__main__":
    command.start(main, Config)
