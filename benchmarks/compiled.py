"""Persistent kernels, compiled for devices that are not at hand: whether they compile, and the memory they need there.

For a GPU kernel the figures are: the bytes of shared memory that a block asks for, which may not exceed jaxrnn's own
count; the registers of a thread; the bytes of them that are spilt to memory; and the instructions of the loop over
time. Each of the four schedulers of a multiprocessor issues one instruction per cycle, so a step takes at least
warps / 4 times instructions cycles, apart from code that is jumped over. Nothing is run: the figures are not times, and
they do not show that results are right.
"""

from benchmarks.targets import TARGETS, architecture, device, traced_for  # isort: skip: before JAX looks for its plugins

import dataclasses
import json
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import jaxrnn
from benchmarks import gpu
from benchmarks.timing import machine

PERSISTENT = jaxrnn.reverse_scan(loop="persistent")


class Case(NamedTuple):
    """A loop to compile.

    Attributes:
      name: the name of its row.
      cell: a gated cell.
      B: rows.
      members: the number of networks, each with its own weights; 0: one network that is not vmapped.
      masked: whether it has lengths and resets.
    """

    name: str
    cell: Any
    B: int = 16
    members: int = 0
    masked: bool = False


def cases() -> list[Case]:
    """All cases."""
    found = [
        Case(f"{name} {H} {dtype}", make(64, H, dtype=None if dtype == "float32" else dtype))
        for name, make in (("lstm", jaxrnn.lstm), ("gru", jaxrnn.gru))
        for dtype, sizes in (("float32", (16, 32, 64)), ("bfloat16", (16, 32, 64, 128)))
        for H in sizes
    ]
    custom = jaxrnn.gated_cell(64, 128, gpu.GATES, gpu.leaky, dtype="bfloat16")
    return [
        *found,
        Case("gru 128 float32", jaxrnn.gru(64, 128)),
        Case("lstm 128 float16", jaxrnn.lstm(64, 128, dtype="float16")),
        Case("elman 128 float32", jaxrnn.elman(64, 128)),
        Case("elman 256 bfloat16", jaxrnn.elman(64, 256, dtype="bfloat16")),
        Case("lstm 8 heads of 64 float32, masked", jaxrnn.lstm(64, 512, heads=8), masked=True),
        Case("ctrnn 128 float32", jaxrnn.ctrnn(64, 128, 1.0, 5.0)),
        Case("custom 128 bfloat16", custom),
        Case("lstm 40, peephole, masked", jaxrnn.lstm(64, 40, peephole=True), masked=True),
        Case("lstm 12 heads of 64 bfloat16", jaxrnn.lstm(64, 768, heads=12, dtype="bfloat16")),
        Case("lstm 128 float32", jaxrnn.lstm(64, 128)),
        Case("256 grus of 64", jaxrnn.gru(8, 64), B=32, members=256),
    ]


def shapes() -> list[Case]:
    """The shapes of `benchmarks.gpu` with fewer steps, since all numbers of steps look the same to a compiler."""
    return [
        Case(
            f"{s.section} {s.cell} {s.dtype} B={s.B} H={s.heads}x{s.H // s.heads} {s.members}",
            gpu.build(s),
            s.B,
            s.members,
            s.resets,
        )
        for s in gpu.shapes()
    ]


@dataclasses.dataclass(frozen=True)
class Config:
    """Kernels compiled ahead of time."""

    targets: tuple[str, ...] = tuple(TARGETS)
    """Names of the devices."""
    shapes: bool = False
    """Also compile the shapes of `benchmarks.gpu`."""
    out: pathlib.Path = pathlib.Path("benchmarks/results/compiled.json")
    """File for the figures."""


T = 100
"""The number of steps; all numbers look the same to a compiler."""


def refused(case: Case, target: str) -> str | None:
    """The reason why jaxrnn does not run the case as a kernel; None: it does."""
    shapes = jax.eval_shape(case.cell.init, jax.random.key(0))
    xs = jax.ShapeDtypeStruct((T, case.B, case.cell.features[0]), jnp.float32)
    with traced_for(target):
        try:
            jax.eval_shape(lambda params, xs: jaxrnn.unroll(case.cell, params, xs, gradient=PERSISTENT), shapes, xs)
        except ValueError as why:
            return str(why).partition("got 'persistent': ")[2]
    return None


def compiled(case: Case, target: str) -> list[dict[str, Any]]:
    """Compiles the gradient of all weights and inputs; returns the needs of the two kernels, if they can be read.

    The forward kernel, which has fewer instructions, is the first.
    """
    place = jax.sharding.SingleDeviceSharding(device(target))

    def given(shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=place)

    masks: dict[str, Any] = {}
    if case.masked:
        masks = {"lengths": np.arange(case.B) % T, "resets": np.arange(T * case.B).reshape(T, case.B) % 7 == 0}

    def loss(params: Any, xs: Any) -> Any:
        return jnp.sum(jaxrnn.unroll(case.cell, params, xs, gradient=PERSISTENT, **masks)[1])

    shapes = jax.eval_shape(case.cell.init, jax.random.key(0))
    members = (case.members,) if case.members else ()
    params = jax.tree.map(lambda x: given((*members, *x.shape), x.dtype), shapes)
    xs, f, platform = given((T, case.B, case.cell.features[0])), jax.grad(loss, (0, 1)), TARGETS[target].platform
    with traced_for(target) as traced_on, tempfile.TemporaryDirectory() as folder:
        traced = jax.jit(jax.vmap(f, (0, None)) if members else f).trace(params, xs)
        if platform != "cuda":
            traced.lower().compile()
            return []
        asked: dict[str, str | bool] = {
            "xla_dump_to": folder,
            "xla_dump_emitter_re": "ptx",
        }  # otherwise jax 0.11 leaves it out
        traced.lower().compile(compiler_options=asked)
        found = needs(pathlib.Path(folder), target)
    counted = max(room.shared for room in traced_on.rooms)
    if max(kernel["shared"] for kernel in found) > counted:
        raise ValueError(f"a kernel asks for more shared memory than the {counted} bytes that were counted: {found}")
    return found


def needs(dump: pathlib.Path, target: str) -> list[dict[str, Any]]:
    """The needs of each kernel, from XLA's dump: warps, shared memory, registers, spilt bytes, loop instructions."""
    (listing,) = (path.read_text() for path in dump.glob("*.thunk_sequence.txt"))  # in the order in which they run
    launches = re.findall(r"persistent_loop\w* grid: .*threads: \[(\d+), .*shared_memory: (\d+) bytes", listing)
    found = [{"warps": int(threads) // 32, "shared": int(shared)} for threads, shared in launches]
    assembler, disassembler = tool("ptxas"), tool("nvdisasm")
    if assembler is None or disassembler is None:
        return found
    codes = []
    for ptx in dump.glob("*.ptx"):
        if ".entry persistent_loop" in ptx.read_text():
            binary = ptx.with_suffix(".cubin")
            said = printed(assembler, "-v", f"-arch={architecture(target)}", ptx, "-o", binary)
            registers, spilt = re.findall(r"Used (\d+) registers", said)[0], re.findall(r"(\d+) bytes spill", said)
            code = {"registers": int(registers), "spilt": sum(map(int, spilt))}
            codes.append(code | {"instructions": largest_loop(printed(disassembler, "-c", binary))})
    codes.sort(key=lambda code: code["instructions"])  # files have other names than launches; a backward loop is longer
    return [launch | code for launch, code in zip(found, codes, strict=True)]


def largest_loop(assembly: str) -> int:
    """The largest number of instructions between a label and the jump back to it."""
    labels: dict[str, int] = {}
    count, largest = 0, 0
    for line in assembly.splitlines():
        if label := re.match(r"\s*(\.L_x_\d+):", line):
            labels[label[1]] = count
        elif instruction := re.match(r"\s*/\*[0-9a-f]+\*/\s+(.*)", line):
            jump = re.search(r"\bBRA\b.*?(\.L_x_\d+)", instruction[1])
            count += 1
            if jump and jump[1] in labels:
                largest = max(largest, count - labels[jump[1]])
    return largest


def tool(name: str) -> str | None:
    """The path of a program of the CUDA toolkit."""
    return shutil.which(name) or shutil.which(name, path=f"{sysconfig.get_path('purelib')}/nvidia/cu13/bin")


def printed(*command: Any) -> str:
    """The output of a command."""
    ran = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    return ran.stdout + ran.stderr


def row(case: Case, target: str) -> dict[str, Any]:
    """The result of a case: its needs, or the reason why it does not compile."""
    found: dict[str, Any] = {"target": target, "case": case.name}
    if (why := refused(case, target)) is not None:
        return found | {"failed" if why.startswith("Pallas can't") else "refused": why}
    try:
        return found | {"kernels": compiled(case, target)}
    except Exception as why:  # a failure to compile is a result here
        return found | {"failed": str(why).strip().splitlines()[0][:300]}


def said(found: dict[str, Any]) -> str:
    """A line of Markdown."""
    outcome = found.get("failed", f"refused: {found['refused']}" if "refused" in found else "compiled")
    cells = [found["target"], found["case"], outcome]
    for key in ("warps", "shared", "registers", "spilt", "instructions"):
        cells.append(" / ".join(str(kernel[key]) for kernel in found.get("kernels", []) if key in kernel))
    return f"| {' | '.join(cells)} |"


def main(config: Config) -> list[dict[str, Any]]:
    """Compiles all cases, writes and prints the figures; exits with 1 if a case fails that should compile."""
    results = []
    config.out.parent.mkdir(parents=True, exist_ok=True)
    print(
        "| target | kernel | outcome | warps, forward / backward | shared memory | registers | spilt | instructions |"
    )
    print("|" + "---|" * 8)
    for target in config.targets:
        for case in cases() + shapes() * config.shapes:
            if TARGETS[target].platform == "tpu" and case.cell.dtype == "float16":
                continue  # a TPU has no such products
            results.append(row(case, target))
            print(said(results[-1]), flush=True)
        config.out.write_text(json.dumps({"machine": machine(), "results": results}, indent=1))
    if any("failed" in found for found in results):
        sys.exit(1)
    return results


if __name__ == "__main__":
    main(tyro.cli(Config))
