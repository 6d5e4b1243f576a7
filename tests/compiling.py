"""What makes XLA compile quickly: most of the tests' time is spent in it."""

import os

import jax

OLDER_EMITTERS = "--xla_cpu_use_fusion_emitters=false" if jax.__version_info__ < (0, 11) else ""
"""A third less time; from jax 0.11 on XLA has no others, and stops at a flag that it does not know."""
CHEAP = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "XLA_FLAGS": OLDER_EMITTERS}


def environment(devices: int = 1) -> dict[str, str]:
    """Of a process that compiles as the tests do, on so many virtual devices."""
    flags = f"{CHEAP['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}".strip()
    return os.environ | CHEAP | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
