"""Kernels for devices that are not at hand."""

import contextlib

import jax

DEVICES = {"cuda": jax.sharding.AbstractDevice("NVIDIA H100", 132, "gpu")}
"""Those that a kernel must know to be lowered for their platform."""


def described(platform: str) -> contextlib.AbstractContextManager[object]:
    """Within it, functions are traced and lowered for a device of this platform, at hand or not."""
    if platform not in DEVICES or jax.default_backend() == "gpu":
        return contextlib.nullcontext()
    return jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), (), abstract_device=DEVICES[platform]))
