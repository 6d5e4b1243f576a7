"""How programs are compiled in tests: quickly, as most of the time is spent in it; and how many of them."""

import contextlib
import os

import jax

OLDER_EMITTERS = "--xla_cpu_use_fusion_emitters=false" if jax.__version_info__ < (0, 11) else ""
"""A third less time; from jax 0.11 on XLA has no others, and stops at a flag that it does not know."""
CHEAP = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "XLA_FLAGS": OLDER_EMITTERS}

TRACED = ("jaxpr_trace_duration", "jaxpr_to_mlir_module_duration", "backend_compile_duration")
"""How the events end that `counted` looks for."""


def environment(devices: int = 1) -> dict[str, str]:
    """Of a process that compiles as the tests do, on so many virtual devices."""
    flags = f"{CHEAP['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}".strip()
    return os.environ | CHEAP | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


@contextlib.contextmanager
def counted():
    """The events of tracing and of compiling, so far."""
    events = []

    def listen(event, seconds, **details):
        if event.endswith(TRACED):
            events.append((event.rpartition("/")[2], details.get("fun_name")))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield events
    jax.monitoring.unregister_event_duration_listener(listen)
