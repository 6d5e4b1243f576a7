"""The gain from XLA's flags and the allocator's settings on a CPU; the user has to set them before Python starts.

Each setting gets a process of its own, in turn, several times; each process times jaxrnn's layers and prints medians.
"""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import tyro

from benchmarks.case import Case, data
from benchmarks.timing import interleaved, machine

CASES = [
    Case("gru", 1, 2000, 32, 64),
    Case("gru", 8, 100, 8, 8),
    Case("lstm", 32, 100, 128, 128),
    Case("gru", 128, 50, 128, 128),
    Case("lstm", 256, 100, 10, 100),
    Case("lstm", 20, 35, 650, 650),
]
EXTRA = "--xla_backend_extra_options="
SETTINGS: dict[str, dict[str, str]] = {
    "none": {},
    "vectors of 512 bits": {"XLA_FLAGS": "--xla_cpu_prefer_vector_width=512"},
    "the older matrix library": {"XLA_FLAGS": "--xla_cpu_experimental_ynn_fusion_type="},
    "small loops as one kernel": {"XLA_FLAGS": f"{EXTRA}xla_cpu_small_while_loop_byte_threshold=1000000"},
    "fast math": {"XLA_FLAGS": "--xla_cpu_enable_fast_math=true"},
    "concurrent scheduler": {"XLA_FLAGS": "--xla_cpu_enable_concurrency_optimized_scheduler=true"},
    "multi-output fusion": {"XLA_FLAGS": f"{EXTRA}xla_cpu_use_multi_output_fusion=true"},
    "memory kept": {"MALLOC_MMAP_THRESHOLD_": "4000000000", "MALLOC_TRIM_THRESHOLD_": "4000000000"},
    "huge pages": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
}
"""Environment variables."""


@dataclasses.dataclass(frozen=True)
class Config:
    """jaxrnn's layers under flags of XLA and settings of the allocator."""

    rounds: int = 3
    """Processes of each setting."""
    settings: tuple[str, ...] = tuple(SETTINGS)
    """Names of the settings."""
    here: bool = False
    """Time in this process, and print seconds as JSON."""
    out: pathlib.Path = pathlib.Path("benchmarks/results/flags.json")
    """File for the figures."""


def here() -> list[float]:
    """Median seconds of each case."""
    import jaxrnn
    from benchmarks.peers import jaxrnn_

    programs = {str(i): jaxrnn_.program(case, data(case), jaxrnn.reverse_scan()).run for i, case in enumerate(CASES)}
    return [timing.median for timing in interleaved(programs, 9, at_least=4.0).values()]


def main(config: Config) -> None:
    """Prints a table and writes it as JSON."""
    if config.here:
        print(json.dumps(here()))
        return
    found: dict[str, list[Any]] = {name: [] for name in dict.fromkeys(["none", *config.settings])}
    for _ in range(config.rounds):
        for name, times in found.items():
            command = [sys.executable, "-m", "benchmarks.flags", "--here"]
            ours = {variable for setting in SETTINGS.values() for variable in setting}
            env = {variable: value for variable, value in os.environ.items() if variable not in ours}
            done = subprocess.run(command, env=env | SETTINGS[name], check=True, capture_output=True, text=True)
            times.append(json.loads(done.stdout.splitlines()[-1]))
    base = np.median(found["none"], axis=0)
    print(f"| setting | {' | '.join(f'{case.cell} {case}' for case in CASES)} |\n|{'---|' * (len(CASES) + 1)}")
    for name, times in found.items():
        medians = np.median(times, axis=0)
        shown = [f"{1e3 * t:.3g} ms" for t in medians] if name == "none" else [f"{r:.2f}" for r in medians / base]
        print(f"| {name} | {' | '.join(shown)} |")
    rows = [{"setting": name, "environment": SETTINGS[name], "seconds": times} for name, times in found.items()]
    config.out.parent.mkdir(parents=True, exist_ok=True)
    cases = [case._asdict() for case in CASES]
    config.out.write_text(json.dumps({"machine": machine(), "cases": cases, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Config))
