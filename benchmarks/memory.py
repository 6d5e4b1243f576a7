"""What a gradient of a long sequence needs: temporary bytes of the compiled program, and time, by way of taking it.

The program is (params, xs, dys) -> (ys, gradient of the parameters) of one LSTM layer, so that the loss plays no part.
Beside this library's gradients stand what its peers offer: `jax.checkpoint` around the scan's body, Equinox's
checkpointed scan and Flax's `nn.remat`.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import jaxrnn as jr
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
    """Steps of the curve of memory against T."""
    rounds: int = 7
    """Timed rounds."""
    out: pathlib.Path = pathlib.Path("benchmarks/results/memory")
    """Where the figures go: .json and .png."""


def programs(config: Config) -> dict[str, Program]:
    """Every way, by name."""
    cell = jr.lstm(config.D, config.H)
    ways = {
        "autodiff": jr.autodiff(),
        "reverse_scan": jr.reverse_scan(),
        "checkpointed": jr.checkpointed(),
        "checkpointed(checkpoints=40)": jr.checkpointed(checkpoints=40),
        "truncated(50, 50)": jr.truncated(50, 50),
    }
    found: dict[str, Program] = {
        name: lambda params, xs, g=g: jr.unroll(cell, params, xs, gradient=g)[1] for name, g in ways.items()
    }
    return found | {"jax.checkpoint of the body": _checkpointed_body(cell)} | _equinox(cell) | _flax(cell)


def _body(cell: jr.Cell, params: Any) -> Any:
    return lambda carry, x: cell.step(params, carry, x)


def _checkpointed_body(cell: jr.Cell) -> Program:
    def run(params: Any, xs: jax.Array) -> jax.Array:
        body = jax.checkpoint(_body(cell, params), prevent_cse=False)
        return jax.lax.scan(body, cell.initial_carry(params, xs.shape[1:-1]), xs)[1]

    return run


def _equinox(cell: jr.Cell) -> dict[str, Program]:
    """Its checkpointed loop over the same step, with as many checkpoints as it chooses."""
    try:
        import equinox.internal as eqxi
    except ImportError:
        print("equinox is not installed: left out")
        return {}

    def run(params: Any, xs: jax.Array) -> jax.Array:
        initial = cell.initial_carry(params, xs.shape[1:-1])
        return eqxi.scan(_body(cell, params), initial, xs, kind="checkpointed")[1]

    return {"equinox, kind='checkpointed'": run}


def _flax(cell: jr.Cell) -> dict[str, Program]:
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


def main(config: Config) -> dict[str, Any]:
    """Measures all ways; prints a table, writes JSON and a picture."""
    params = jr.lstm(config.D, config.H).init(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1))
    xs = jax.random.normal(keys[0], (config.T, config.B, config.D))
    dys = jax.random.normal(keys[1], (config.T, config.B, config.H))
    ways = programs(config)
    ready = {name: compiled(program, params, config.T, config) for name, program in ways.items()}
    reference = ready["autodiff"](params, xs, dys)
    for name, f in ready.items():
        difference = error(f(params, xs, dys), reference)
        assert difference < 1e-3 or name.startswith("truncated"), f"{name}: differs from autodiff by {difference}"
    timings = interleaved({name: lambda f=f: f(params, xs, dys) for name, f in ready.items()}, config.rounds)
    memory = {name: f.memory_analysis().temp_size_in_bytes for name, f in ready.items()}
    base = timings["autodiff"].median, memory["autodiff"]
    print(
        "| gradient | temporaries, MB | of autodiff's | time, ms (quartiles) | of autodiff's |\n|---|---|---|---|---|"
    )
    for name, t in timings.items():
        time = f"{1e3 * t.median:.0f} ({1e3 * t.low:.0f} to {1e3 * t.high:.0f}) | {t.median / base[0]:.2f}"
        print(f"| {name} | {memory[name] / 1e6:.1f} | {100 * memory[name] / base[1]:.2f} % | {time} |")
    curve = {
        name: [compiled(program, params, T, config).memory_analysis().temp_size_in_bytes for T in config.curve]
        for name, program in ways.items()
    }
    result = {
        "machine": machine(),
        "config": dataclasses.asdict(config) | {"out": str(config.out)},
        "memory": memory,
        "timings": {name: t._asdict() for name, t in timings.items()},
        "curve": curve,
    }
    config.out.parent.mkdir(parents=True, exist_ok=True)
    config.out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    _plot(result, config)
    return result


def _plot(result: dict[str, Any], config: Config) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for i, (name, sizes) in enumerate(result["curve"].items()):
        style = {"color": f"C{i}", "marker": "o" if i < 5 else "s"}
        line = "-" if i < 5 else "--"
        left.loglog(config.curve, np.array(sizes) / 1e6, line, label=name, **style)
        time = result["timings"][name]["median"] / result["timings"]["autodiff"]["median"]
        size = result["memory"][name] / result["memory"]["autodiff"]
        right.semilogx(size, time, **style)
    left.set(xlabel="T", ylabel="temporaries, MB", title="Memory against the number of steps")
    right.set(
        xlabel="memory, of autodiff's",
        ylabel="time, of autodiff's",
        title=f"T = {config.T}: nearer to the corner is better",
    )
    right.set_ylim(0, 1.1 * right.dataLim.y1)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(config.out.with_suffix(".png"), dpi=120)


if __name__ == "__main__":
    main(tyro.cli(Config))
