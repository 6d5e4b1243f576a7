"""Devices that kernels are lowered for, at hand or not."""

import contextlib

import jax

DEVICES = {"cuda": jax.sharding.AbstractDevice("NVIDIA H100", 132, "gpu")}
"""Those that stand for a platform where none is at hand: the description is what a kernel must know of one."""


def described(platform: str) -> contextlib.AbstractContextManager[object]:
    """Within it, functions are traced and lowered for a device of this platform, at hand or not."""
    if platform not in DEVICES or jax.default_backend() == "gpu":
        return contextlib.nullcontext()
    return jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), (), abstract_device=DEVICES[platform]))


def multiprocessors() -> int:
    """Of a GPU."""
    if jax.default_backend() == "gpu":
        return jax.devices()[0].core_count
    return DEVICES["cuda"].num_cores or 1
