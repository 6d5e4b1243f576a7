"""What makes XLA compile quickly: most of the tests' time is spent in it."""

import os

CHEAP = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "XLA_FLAGS": "--xla_cpu_use_fusion_emitters=false"}


def environment(devices: int = 1) -> dict[str, str]:
    """Of a process that compiles as the tests do, on so many virtual devices."""
    flags = f"{CHEAP['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    return os.environ | CHEAP | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
