"""Loops on an accelerator: one persistent kernel beside the scan, cuDNN and other libraries.

All are first checked to compute the same. Times are microseconds per step, forward and forward + backward. "floor" is
the larger of two times that no kernel with this arithmetic can beat: the recurrent products at the rate of one large
product, and reads and writes of arrays larger than the chip at the rate of a large copy, both measured in this process.
"""

import dataclasses
import functools
import importlib.util
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import tyro

import jaxrnn
from benchmarks import gpu_peers, gpu_tune
from benchmarks.agreement import error
from benchmarks.gpu_peers import Way, differentiated
from benchmarks.timing import interleaved, machine

SCAN, PERSISTENT = "jaxrnn, scan", "jaxrnn, persistent"
GRAPH = "jaxrnn, scan in a command buffer"
SPLIT = "jaxrnn, persistent, tf32x3"
TOLERANCE = {"float32": 1e-3, "bfloat16": 3e-2, "float16": 3e-2}
"""Tolerance on the relative error of outputs and gradients."""
DEFAULT_COMMANDS = "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION"
LOOPS = {
    SCAN: ("scan", None, None),
    PERSISTENT: ("persistent", None, None),
    GRAPH: ("scan", {"xla_gpu_enable_command_buffer": f"{DEFAULT_COMMANDS},WHILE"}, None),
    SPLIT: ("persistent", None, "TF32_TF32_F32_X3"),
}
"""By name: (loop, options of the compiler, precision of products). The last makes three tf32 products of one."""


class Shape(NamedTuple):
    """A shape to measure.

    Attributes:
      section: the name of its table.
      cell: "lstm", "gru" or "custom".
      dtype: of the factors of products.
      B, T, D, H, heads: as everywhere.
      members: the number of networks, each with its own weights; 0: one network that is not vmapped.
      resets: whether episodes end, one in 50 steps.
    """

    section: str
    cell: str
    dtype: str
    B: int
    T: int
    D: int
    H: int
    heads: int = 1
    members: int = 0
    resets: bool = False

    @property
    def gates(self) -> int:
        """The number of products in a step."""
        return {"lstm": 4, "gru": 3, "custom": 2}[self.cell]


FLASH = ((24, 32), (12, 64), (6, 128), (48, 16), (3, 256), (1, 768))
"""Heads and their size, as FlashRNN has them (arXiv:2412.07752); the last two are too large for the kernel."""


def shapes() -> list[Shape]:
    """All shapes, the most important first."""
    found = [Shape("heads", "lstm", "bfloat16", 16, 1024, 64, n * K, n) for n, K in FLASH]
    found += [Shape("episodes", "lstm", "bfloat16", 256, 512, 128, 128, resets=on) for on in (False, True)]  # TorchRL's
    found += [Shape("episodes", "gru", "float32", 256, 512, 128, 128, resets=on) for on in (False, True)]
    found += [Shape("episodes", "lstm", d, 16, 512, 512, 512, 8, resets=True) for d in ("bfloat16", "float32")]
    found += [Shape("sweep", "gru", "float32", 32, 100, 8, H, 1, m) for H in (64, 128) for m in (1, 32, 256, 2048)]
    found += [Shape("layer", "lstm", dtype, 16, 512, H, H) for dtype in TOLERANCE for H in (64, 128)]
    found += [Shape("cells", cell, "bfloat16", 16, 512, 64, 128) for cell in ("lstm", "gru", "custom")]
    found += [Shape("batch", "lstm", "bfloat16", B, 512, 64, 768, 12) for B in (2, 8, 32, 64, 128, 256)]
    found += [Shape("haste", c, "float32", B, 50, 128, 128) for c in ("lstm", "gru") for B in (1, 32, 128)]
    found += [Shape("large", "lstm", "bfloat16", 16, 512, 64, H) for H in (256, 512, 1024)]  # too large for the kernel
    return found


SMOKE = [
    Shape("heads", "lstm", "bfloat16", 2, 5, 4, 32, 2),
    Shape("episodes", "lstm", "float32", 2, 5, 4, 16, resets=True),
    Shape("sweep", "gru", "float32", 2, 5, 4, 16, 1, 3),
    Shape("layer", "lstm", "float32", 2, 5, 4, 16),
    Shape("cells", "custom", "float32", 2, 5, 4, 16),
]


@dataclasses.dataclass(frozen=True)
class Config:
    """Loops over time on an accelerator."""

    rounds: int = 5
    """Least number of timed rounds."""
    sections: tuple[str, ...] = ("heads", "episodes", "sweep", "layer", "cells", "batch", "haste", "large")
    """Names of the tables; another one is "tune": warps and rows of a block."""
    seconds: float = 240.0
    """Time after which no further shape is begun; the shapes left out are listed."""
    smoke: bool = False
    """Use tiny shapes, to test that everything runs, also on a CPU, where kernels are interpreted."""
    out: pathlib.Path = pathlib.Path("benchmarks/results/gpu.json")
    """File for the figures."""


def mostly_open(z: jax.Array) -> jax.Array:
    """A gate that begins at 0.7."""
    return jax.nn.sigmoid(z + 1.0)


def swing(zx: jax.Array, zh: jax.Array, keep: jax.Array) -> jax.Array:
    """A bounded drive with an oscillation in it."""
    del keep
    return jnp.sin(jnp.tanh(zx) + zh)


GATES = {"keep": mostly_open, "drive": jaxrnn.apart(swing)}
"""The gates of a cell that no other library has."""


def leaky(params: Any, carry: Any, gates: Any, noise: Any) -> Any:
    """The update of that cell."""
    del params, noise
    keep, drive = gates
    return keep * carry + (1.0 - keep) * drive


def build(shape: Shape) -> jaxrnn.GatedCell:
    """The cell of a shape."""
    options: dict[str, Any] = {"heads": shape.heads}
    if shape.dtype != "float32":
        options["dtype"] = jnp.dtype(shape.dtype)
    if shape.cell == "custom":
        return jaxrnn.gated_cell(shape.D, shape.H, GATES, leaky, **options)
    cell = {"lstm": jaxrnn.lstm, "gru": jaxrnn.gru}[shape.cell](shape.D, shape.H, **options)
    assert isinstance(cell, jaxrnn.GatedCell)
    return cell


class Data(NamedTuple):
    """Parameters, inputs [T, B, D] and cotangents of the outputs."""

    params: Any
    xs: jax.Array
    d_ys: jax.Array


def data(shape: Shape) -> Data:
    """Random data, with an axis of members in front if there are members."""
    cell, keys = build(shape), jax.random.split(jax.random.key(0), 3)
    if shape.members:
        params = jax.jit(jax.vmap(cell.init))(jax.random.split(keys[0], shape.members))
    else:
        params = jax.jit(cell.init)(keys[0])
    members = (shape.members,) if shape.members else ()
    xs = jax.random.normal(keys[1], (shape.T, shape.B, shape.D))
    return Data(params, xs, jax.random.normal(keys[2], (*members, shape.T, shape.B, shape.H)))


def resets(shape: Shape) -> jax.Array | None:
    """The steps at which episodes begin, bool [T, B]."""
    return jax.random.uniform(jax.random.key(1), (shape.T, shape.B)) < 0.02 if shape.resets else None


def ours(shape: Shape, given: Data, loop: Any, options: Any, precision: str | None) -> Way:
    """One of jaxrnn's loops."""
    cell, gradient = build(shape), jaxrnn.reverse_scan(loop=loop)

    def outputs(params: Any, xs: Any) -> Any:
        run = functools.partial(jaxrnn.unroll, cell, gradient=gradient, resets=resets(shape))
        return (jax.vmap(run, (0, None)) if shape.members else run)(params, xs)[1]

    found = differentiated(outputs, *given, options=options)
    return found if precision is None else Way(*(jax.default_matmul_precision(precision)(run) for run in found))


def one_by_one(shape: Shape, given: Data) -> Way:
    """The members of a sweep one after the other, in one program."""
    cell = build(shape)

    def outputs(params: Any, xs: Any) -> Any:
        return jaxrnn.unroll(cell, params, xs, gradient=jaxrnn.reverse_scan(loop="scan"))[1]

    def both(params: Any, xs: Any, d_ys: Any) -> Any:
        ys, pull = jax.vjp(lambda params: outputs(params, xs), params)
        return ys, pull(d_ys)[0]

    forward = jax.jit(lambda params, xs: jax.lax.map(lambda p: outputs(p, xs), params))
    backward = jax.jit(lambda params, xs, d_ys: jax.lax.map(lambda a: both(a[0], xs, a[1]), (params, d_ys)))
    return Way(lambda: forward(given.params, given.xs), lambda: backward(*given))


def ways(shape: Shape, given: Data) -> dict[str, Callable[[], Way]]:
    """All ways for a shape, by name."""
    found: dict[str, Callable[[], Way]] = {
        name: functools.partial(ours, shape, given, *options)
        for name, options in LOOPS.items()
        if (name != GRAPH or jax.default_backend() == "gpu")
        and (name != SPLIT or (jax.default_backend() == "gpu" and shape.dtype == "float32"))
    }
    if shape.members:
        found["jaxrnn, one by one"] = functools.partial(one_by_one, shape, given)
    elif shape.heads == 1 and shape.cell == "lstm" and not shape.resets:
        found["flax nnx"] = functools.partial(gpu_peers.nnx, *given, shape.dtype)
        found["torch"] = functools.partial(gpu_peers.torch, *given, shape.dtype)
        if importlib.util.find_spec("keras") is not None:
            found["keras on jax"] = functools.partial(gpu_peers.keras, *given, shape.dtype)
        if shape.dtype == "float32" and jax.default_backend() == "gpu":
            found["jax.experimental.rnn"] = functools.partial(gpu_peers.cudnn, *given)
    return found


def measure(shape: Shape, rounds: int, rates: dict[str, float]) -> dict[str, Any]:
    """Checks that all compute the same, then times all, in turn."""
    given = data(shape)
    ready: dict[str, Callable[[], Any]] = {}
    left_out: dict[str, str] = {}
    errors: dict[str, float] = {}
    expected = None
    for name, make in ways(shape, given).items():
        try:
            way = make()
            found = jax.block_until_ready(way.both())
            jax.block_until_ready(way.forward())
        except Exception as why:  # a failure to fit or compile is a result here
            left_out[name] = str(why).strip().splitlines()[0][:200]
            continue
        if name == SCAN:
            expected = found
        if expected is None:
            left_out[name] = "not checked: the scan, which it is compared with, did not run"
            continue
        ours = name.startswith("jaxrnn")  # the others' gradients have a layout of their own
        pair = (found, expected) if ours else map(gpu_peers.outputs_of, (found, expected))
        errors[name] = error(*pair)
        if not errors[name] < TOLERANCE[shape.dtype]:
            left_out[name] = f"its numbers differ by {errors[name]:.1e}"
            continue
        ready |= {f"{name}: forward": way.forward, f"{name}: both": way.both}
    timings = interleaved(ready, rounds, at_least=0.5)
    return {
        "shape": shape._asdict(),
        "timings": {name: timing._asdict() for name, timing in timings.items()},
        "us a step": {name: 1e6 * timing.median / shape.T for name, timing in timings.items()},
        "floor": floor(shape, rates),
        "errors": errors,
        "left out": left_out,
    }


def rates() -> dict[str, float]:
    """Products and bytes per second, of a large product in each dtype and of a large copy."""
    size = 4096 if jax.default_backend() == "gpu" else 256
    found = {}
    for name in TOLERANCE:
        a = jnp.ones((size, size), name)
        product = jax.jit(lambda a: jnp.matmul(a, a, preferred_element_type=jnp.float32))
        found[name] = 2 * size**3 / interleaved({"": functools.partial(product, a)}, 5, 0.3)[""].median
    x = jnp.ones(2**27 if jax.default_backend() == "gpu" else 2**20)
    copy = jax.jit(lambda x: x + 1.0)
    return found | {"bytes": 2 * x.nbytes / interleaved({"": lambda: copy(x)}, 5, 0.3)[""].median}


def floor(shape: Shape, rates: dict[str, float]) -> dict[str, float]:
    """The least microseconds per step for the recurrent products and the arrays over time.

    The forward pass reads the inputs of all gates and writes h. The backward pass reads these and h again, and dL/dh,
    and writes the derivatives of all gates; its two products are one with w_h^T and one for the gradient of w_h. So
    both passes together need three times as much.
    """
    members, K = max(shape.members, 1), shape.H // shape.heads
    operations = 2 * members * shape.B * shape.H * shape.gates * K
    bytes_ = 4 * members * shape.B * shape.H * (shape.gates + 1)
    forward = 1e6 * max(operations / rates[shape.dtype], bytes_ / rates["bytes"])
    return {"forward": forward, "both": 3 * forward}


def pair(us: dict[str, float], name: str) -> str:
    """forward / both, if they were measured."""
    found = [us.get(f"{name}: {what}" if name else what) for what in ("forward", "both")]
    return " / ".join(f"{x:.2f}" for x in found if x is not None)


def table(results: list[dict[str, Any]]) -> str:
    """Markdown, a table for each section."""
    lines = []
    for section in dict.fromkeys(r["shape"]["section"] for r in results):
        mine = [r for r in results if r["shape"]["section"] == section]
        names = list(dict.fromkeys(name.rpartition(":")[0] for r in mine for name in r["us a step"]))
        lines += ["", f"| {section}: us a step, forward / both | " + " | ".join([*names, "floor"]) + " |"]
        lines += ["|" + "---|" * (len(names) + 2)]
        for r in mine:
            shape, us = Shape(**r["shape"]), r["us a step"]
            what = f"{shape.cell}, {shape.dtype}, B={shape.B}, T={shape.T}, H={shape.heads}x{shape.H // shape.heads}"
            what += f", {shape.members} members" * bool(shape.members) + ", resets" * shape.resets
            columns = [pair(us, name) or r["left out"].get(name, "") for name in names]
            lines.append("| " + " | ".join([what, *columns, pair(r["floor"], "")]) + " |")
    return "\n".join(lines)


def main(config: Config) -> dict[str, Any]:
    """Measures, writes the figures, prints the tables."""
    start, results, late = time.perf_counter(), [], []
    with jax.default_matmul_precision("highest"):
        measured = rates()
    for shape in SMOKE if config.smoke else shapes():
        if shape.section not in config.sections:
            continue
        if time.perf_counter() - start > config.seconds:
            late.append(shape)
            continue
        # float32 to the last bit on all sides; elsewhere the factors' own dtype decides
        with jax.default_matmul_precision("highest" if shape.dtype == "float32" else None):
            results.append(measure(shape, config.rounds, measured))
        print(table(results[-1:]), flush=True)
    tuned = gpu_tune.measured(config.rounds, config.smoke) if "tune" in config.sections else []
    found = {
        "machine": machine("flax", "torch", "keras"),
        "tuned": tuned,
        "rates": measured,
        "results": results,
        "not begun in time": [shape._asdict() for shape in late],
        "seconds": time.perf_counter() - start,
    }
    config.out.parent.mkdir(parents=True, exist_ok=True)
    config.out.write_text(json.dumps(found, indent=1))
    print(f"\n{table(results)}\n\n{len(late)} shapes not begun in time; {found['seconds']:.0f} s; {config.out}")
    return found


if __name__ == "__main__":
    main(tyro.cli(Config))
