"""Temporary bytes and time of a compiled gradient of a long sequence, for each way of computing it.

The program is (params, xs, dys) -> (ys, gradient of the parameters) of one LSTM layer, so that no loss is included.
Beside this library's gradients are those of its peers: `jax.checkpoint` around the scan's body, Equinox's
checkpointed scan and Flax's `nn.remat`.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import tyro

import jaxrnn
from benchmarks.agreement import error
from benchmarks.timing import interleaved, machine

Program = Callable[[Any, jax.Array], jax.Array]
"""(params, xs) -> ys."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Memory and time of gradients through long sequences."""

    B: int = 32
    """Rows of the batch."""
    D: int = 64
    """Input features."""
    H: int = 256
    """Hidden features."""
    T: int = 1000
    """Steps."""
    curve: tuple[int, ...] = (100, 300, 1000, 3000)
    """Steps of the curves of memory and time against T."""
    rounds: int = 7
    """Timed rounds."""
    out: pathlib.Path = pathlib.Path("benchmarks/results/memory")
    """Path of the figures, without .json and .png."""


def programs(config: Config) -> dict[str, Program]:
    """All ways, by name."""
    cell = jaxrnn.lstm(config.D, config.H)
    ways = {
        "autodiff": jaxrnn.autodiff(),
        "reverse_scan": jaxrnn.reverse_scan(),
        "checkpointed": jaxrnn.checkpointed(),
        "checkpointed(checkpoints=40)": jaxrnn.checkpointed(checkpoints=40),
        "truncated(50, 50)": jaxrnn.truncated(50, 50),
    }
    found: dict[str, Program] = {
        name: lambda params, xs, g=g: jaxrnn.unroll(cell, params, xs, gradient=g)[1] for name, g in ways.items()
    }
    return found | {"jax.checkpoint of the body": _checkpointed_body(cell)} | _equinox(cell) | _flax(cell)


def _body(cell: jaxrnn.Cell, params: Any) -> Any:
    return lambda carry, x: cell.step(params, carry, x)


def _checkpointed_body(cell: jaxrnn.Cell) -> Program:
    def run(params: Any, xs: jax.Array) -> jax.Array:
        body = jax.checkpoint(_body(cell, params), prevent_cse=False)
        return jax.lax.scan(body, cell.initial_carry(params, xs.shape[1:-1]), xs)[1]

    return run


def _equinox(cell: jaxrnn.Cell) -> dict[str, Program]:
    """Equinox's checkpointed loop over the same step, with its own choice of checkpoints."""
    try:
        import equinox.internal as eqxi
    except ImportError:
        print("equinox is not installed: left out")
        return {}

    def run(params: Any, xs: jax.Array) -> jax.Array:
        initial = cell.initial_carry(params, xs.shape[1:-1])
        return eqxi.scan(_body(cell, params), initial, xs, kind="checkpointed")[1]

    return {"equinox, kind='checkpointed'": run}


def _flax(cell: jaxrnn.Cell) -> dict[str, Program]:
    """`nn.remat` of a module that takes this step, under `nn.scan`."""
    try:
        import flax.linen as nn
    except ImportError:
        print("flax is not installed: left out")
        return {}

    class Step(nn.Module):
        @nn.compact
        def __call__(self, carry: Any, x: jax.Array) -> Any:
            params = self.param("all", lambda key: cell.init(key))
            return cell.step(params, carry, x)

    scanned = nn.scan(nn.remat(Step, prevent_cse=False), variable_broadcast="params", split_rngs={"params": False})()

    def run(params: Any, xs: jax.Array) -> jax.Array:
        _, ys = scanned.apply({"params": {"all": params}}, cell.initial_carry(params, xs.shape[1:-1]), xs)
        return ys  # pyright: ignore[reportReturnType]

    return {"flax, nn.remat of the step": run}


def compiled(program: Program, params: Any, T: int, config: Config) -> Any:
    """The compiled (params, xs, dys) -> (ys, gradient)."""

    def both(params: Any, xs: jax.Array, dys: jax.Array) -> Any:
        ys, pull = jax.vjp(lambda params: program(params, xs), params)
        return ys, pull(dys)[0]

    xs, dys = (jax.ShapeDtypeStruct((T, config.B, n), jnp.float32) for n in (config.D, config.H))
    return jax.jit(both).lower(params, xs, dys).compile()


def measure(ways: dict[str, Program], T: int, rounds: int, config: Config) -> dict[str, dict[str, float]]:
    """Temporary bytes and time of all ways at one T, after a comparison of their results."""
    params = jaxrnn.lstm(config.D, config.H).init(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1))
    xs = jax.random.normal(keys[0], (T, config.B, config.D))
    dys = jax.random.normal(keys[1], (T, config.B, config.H))
    ready = {name: compiled(program, params, T, config) for name, program in ways.items()}
    reference = ready["autodiff"](params, xs, dys)
    for name, f in ready.items():
        difference = error(f(params, xs, dys), reference)
        assert difference < 1e-3 or name.startswith("truncated"), f"{name}: differs from autodiff by {difference}"
    timings = interleaved({name: lambda f=f: f(params, xs, dys) for name, f in ready.items()}, rounds)
    memory = {name: f.memory_analysis().temp_size_in_bytes for name, f in ready.items()}
    return {name: t._asdict() | {"temporary_bytes": memory[name]} for name, t in timings.items()}


def main(config: Config) -> dict[str, Any]:
    """Measures all ways; prints a table, writes JSON and a picture."""
    ways = programs(config)
    found = {T: measure(ways, T, 3, config) for T in config.curve if T != config.T}
    found[config.T] = measure(ways, config.T, config.rounds, config)
    here = found[config.T]
    base = here["autodiff"]
    print(
        "| gradient | temporaries, MB | of autodiff's | time, ms (quartiles) | of autodiff's |\n|---|---|---|---|---|"
    )
    for name, x in here.items():
        time = f"{1e3 * x['median']:.0f} ({1e3 * x['low']:.0f} to {1e3 * x['high']:.0f})"
        size, share = x["temporary_bytes"], x["temporary_bytes"] / base["temporary_bytes"]
        print(f"| {name} | {size / 1e6:.1f} | {100 * share:.2f} % | {time} | {x['median'] / base['median']:.2f} |")
    result = {
        "machine": machine(),
        "config": dataclasses.asdict(config) | {"out": str(config.out)},
        "by T": {T: found[T] for T in sorted(found)},
    }
    config.out.parent.mkdir(parents=True, exist_ok=True)
    config.out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    _plot(result["by T"], config)
    return result


def _plot(found: dict[int, dict[str, dict[str, float]]], config: Config) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.4), layout="constrained")
    memory, time, both = figure.subplots(1, 3)
    here = found[config.T]
    for i, name in enumerate(here):
        style = {"color": f"C{i}", "marker": "o" if i < 5 else "s", "linestyle": "-" if i < 5 else "--"}
        memory.loglog(list(found), [x[name]["temporary_bytes"] / 1e6 for x in found.values()], label=name, **style)
        time.semilogx(list(found), [1e3 * x[name]["median"] / T for T, x in found.items()], **style)
        size, took = (here[name][k] / here["autodiff"][k] for k in ("temporary_bytes", "median"))
        both.semilogx(size, took, **style)
    memory.set(xlabel="T", ylabel="temporaries, MB", title="Memory against the number of steps")
    time.set(xlabel="T", ylabel="ms for each step", title="Time of a step against their number")
    both.set(
        xlabel="memory, of autodiff's",
        ylabel="time, of autodiff's",
        title=f"T = {config.T}: nearer to the corner is better",
    )
    for axes in (time, both):
        axes.set_ylim(0, 1.1 * axes.dataLim.y1)
    for axes in (memory, time, both):
        axes.grid(alpha=0.3)
    figure.legend(*memory.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(config.out.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main(tyro.cli(Config))
