"""The number of members that run at once."""

import os
from typing import Any

import jax

from jaxrnn import checks
from jaxrnn.sweeps.runner import LOOK, Runner

STRATEGIES = ("auto", "vmap", "map", "loop")


def default_memory() -> int:
    """Bytes that a sweep may take: four fifths of the device's free memory, or half of the machine's."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return int(0.8 * (stats["bytes_limit"] - stats.get("bytes_in_use", 0)))
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def check_memory(runner: Runner, memory: int) -> None:
    """Raises before anything is compiled if not even the state of one member fits."""
    if runner.member_bytes > memory:
        raise ValueError(
            f"memory: expected at least the {runner.member_bytes} bytes of one member's state, got {memory}"
        )


def checked_strategy(strategy: Any) -> str | int:
    """One of `STRATEGIES`, or the number of members that run at once."""
    if isinstance(strategy, int):
        return checks.positive_int("strategy", strategy)
    return checks.one_of("strategy", strategy, STRATEGIES)


def choose_size(runner: Runner, strategy: str | int, memory: int, steps: int) -> tuple[int, str]:
    """(number of members at once, reason) for `steps` steps; programs that are compiled for the choice are kept."""
    count, devices = -(-len(runner.group.members) // jax.process_count()), runner.devices
    everything = -(-count // devices) * devices
    if isinstance(strategy, int):
        size = min(-(-strategy // devices) * devices, everything)
        return size, f"{size} at once, as asked for"
    if strategy == "loop":
        return devices, f"loop: {devices} at once, one a device"
    if strategy == "vmap":
        return everything, f"vmap: all {count} at once"
    if strategy == "map":
        size = _fitting(runner, everything, memory)
        return size, f"map: {size} at once, whose {runner.bytes(size):,} bytes fit into {memory:,}"
    return _fastest(runner, everything, memory, steps * count)


def _fitting(runner: Runner, size: int, memory: int) -> int:
    """The largest size, halving from the top, whose program fits."""
    devices = runner.devices
    while runner.bytes(size) > memory:
        if size <= devices:
            raise ValueError(f"memory: expected at least the {runner.bytes(size)} bytes of one member, got {memory}")
        share = memory / runner.bytes(size)
        size = max(devices, int(size * min(share, 0.5)) // devices * devices)
    return size


def _fastest(runner: Runner, everything: int, memory: int, member_steps: int) -> tuple[int, str]:
    """Measures a few steps of 1, 4, 16, ... members at once, until more are not faster or take too long to measure."""
    found: dict[int, float] = {}
    size, ended = runner.devices, ""
    while True:
        if runner.bytes(size) > memory:
            break
        found[size] = runner.seconds(size)
        best = min(found, key=lambda size: found[size])
        if size >= everything or (size > best and found[size] > 1.25 * found[best]):
            break
        left, costs = member_steps * found[best], runner.compile_seconds + LOOK
        if left < 2 * costs:
            ended = f"; {left:.1f} s of training are too few to measure more, which takes {costs:.1f} s"
            break
        size = min(everything, 4 * size)
    if not found:
        raise ValueError(f"memory: expected at least the {runner.bytes(size)} bytes of one member, got {memory}")
    best = min(found, key=lambda size: found[size])
    measured: list[Any] = [f"{size}: {1e6 * seconds:.0f}" for size, seconds in found.items()]
    why = f"microseconds of a member's step by members at once: {', '.join(measured)}{ended}"
    return best, f"auto: {best} at once; {why}"
