"""The gain on a CPU from one compiled call for all steps, with the recurrent weights packed once.

The recurrence of an LSTM, forward and backward, in 150 lines of C++ behind `jax.ffi` (`one_call.cc`, compiled by g++
when this runs): each thread keeps its rows of the batch for all of time. The input product and the weights' gradients
stay products of JAX, as in `jaxrnn.reverse_scan()`. Beside it: jaxrnn, PyTorch, and the floor of `benchmarks.layer`.
"""

import ctypes
import dataclasses
import functools
import json
import pathlib
import subprocess
import tempfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import jaxrnn
from benchmarks.agreement import error
from benchmarks.case import Case, Data, data, operations
from benchmarks.layer import LARGE, TOLERANCE, available
from benchmarks.peers import jaxrnn_
from benchmarks.peers.program import Program, jax_program
from benchmarks.timing import interleaved, machine

SHAPES = [(32, 50, 128, 128), (32, 100, 128, 128), (128, 50, 128, 128), (256, 100, 10, 100), (64, 784, 1, 128)]
SHAPES += [(32, 50, 512, 512), (20, 35, 650, 650)]
OURS, HERE = "jaxrnn", "one call"


@dataclasses.dataclass(frozen=True)
class Config:
    """One call for all steps of an LSTM."""

    rounds: int = 9
    """Least number of timed rounds."""
    out: pathlib.Path = pathlib.Path("benchmarks/results/one_call.json")
    """File for the figures."""


def register() -> None:
    """Compiles the C++ file and makes its two functions known to JAX."""
    source, library = pathlib.Path(__file__).with_suffix(".cc"), pathlib.Path(tempfile.mkdtemp()) / "one_call.so"
    flags = ["-O3", "-march=native", "-w", "-std=c++17", "-shared", "-fPIC", "-pthread"]
    subprocess.run(["g++", *flags, f"-I{jax.ffi.include_dir()}", source, "-o", library], check=True)
    loaded = ctypes.cdll.LoadLibrary(str(library))
    for name in ("lstm_forward", "lstm_backward"):
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(loaded, name)), platform="cpu")


def program(case: Case, given: Data) -> Program:
    """The network, as in `benchmarks.peers`."""
    T, B, H = case.T, case.B, case.H

    def array(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, jnp.float32)

    gates, states = array(T, B, 4 * H), array(T, B, H)

    @jax.custom_vjp
    def layer(p: Any, xs: jax.Array) -> jax.Array:
        return forward(p, xs)[0]

    def forward(p: Any, xs: jax.Array) -> Any:
        zx = (xs.reshape(T * B, -1) @ p["w_x"]).reshape(T, B, 4 * H)
        call = jax.ffi.ffi_call("lstm_forward", (gates, states, states, states))
        activations, cs, hs, before = call(zx, p["w_h"], p["b"])
        return hs, (p, xs, activations, cs, before)

    def backward(residuals: Any, dys: jax.Array) -> Any:
        p, xs, activations, cs, before = residuals
        dz = jax.ffi.ffi_call("lstm_backward", gates)(activations, cs, p["w_h"], dys)
        rows, xs = dz.reshape(T * B, -1), xs.reshape(T * B, -1)
        return {"w_x": xs.T @ rows, "w_h": before.reshape(T * B, H).T @ rows, "b": rows.sum(0)}, None

    layer.defvjp(forward, backward)
    return jax_program(given, lambda weights: weights[0][0], lambda p, xs: layer(p, xs))


def main(config: Config) -> list[dict[str, Any]]:
    """Measures all shapes; prints a table and writes it as JSON."""
    register()
    square = jax.random.normal(jax.random.key(0), (LARGE, LARGE))
    large = functools.partial(jax.jit(lambda a: a @ a), square)
    ways = available((), ("torch",))
    print("| B, T, D, H | jaxrnn, ms | torch | one call | floor | one call is faster than jaxrnn by |")
    print("|---|---|---|---|---|---|")
    rows = []
    for shape in SHAPES:
        case = Case("lstm", *shape)
        given = data(case)
        ready = {OURS: jaxrnn_.program(case, given, jaxrnn.reverse_scan()), HERE: program(case, given)}
        ready |= {name: make(case, given) for name, make in ways.items()}
        expected = ready[OURS].read(ready[OURS].run())
        for name, ours in ready.items():
            difference = error(ours.read(ours.run()), expected)
            assert difference < TOLERANCE, f"{name}: its numbers differ by {difference}"
        timings = interleaved({name: ours.run for name, ours in ready.items()} | {"large": large}, config.rounds)
        floor = operations(case) * timings.pop("large").median / (2 * LARGE**3)
        times = {name: timings[name].median if name in timings else np.nan for name in (OURS, "torch", HERE)}
        shown = " | ".join(f"{1e3 * t:.3g}" for t in [*times.values(), floor])
        print(f"| {case} | {shown} | {times[OURS] / times[HERE]:.2f} |", flush=True)
        rows.append({"case": case._asdict(), "timings": {n: t._asdict() for n, t in timings.items()}, "floor": floor})
    config.out.parent.mkdir(parents=True, exist_ok=True)
    config.out.write_text(json.dumps({"machine": machine("torch"), "rows": rows}, indent=1) + "\n")
    return rows


if __name__ == "__main__":
    main(tyro.cli(Config))
