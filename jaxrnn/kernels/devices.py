"""Devices that kernels are lowered for, at hand or not."""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import NamedTuple

import jax


class Gpu(NamedTuple):
    """What a kernel must know of a GPU.

    Attributes:
      name: that of its kind.
      multiprocessors: how many it has.
      shared_memory: bytes of it that a block can have.
    """

    name: str
    multiprocessors: int
    shared_memory: int


H100 = Gpu("NVIDIA H100", 132, 227 * 1024)
_assumed = contextvars.ContextVar("assumed", default=H100)


def gpu() -> Gpu:
    """The one at hand; where there is none, an H100, or what is assumed instead."""
    if jax.default_backend() != "gpu":
        return _assumed.get()
    device = jax.devices()[0]
    return Gpu(device.device_kind, device.core_count, device.shared_memory_per_block_optin)


@contextlib.contextmanager
def assumed(other: Gpu) -> Iterator[None]:
    """Within it, `gpu` is another one where there is none."""
    token = _assumed.set(other)
    try:
        yield
    finally:
        _assumed.reset(token)


def described(platform: str) -> contextlib.AbstractContextManager[object]:
    """Within it, functions are traced and lowered for a device of this platform, at hand or not."""
    if platform != "cuda" or jax.default_backend() == "gpu":
        return contextlib.nullcontext()
    device = jax.sharding.AbstractDevice(gpu().name, gpu().multiprocessors, "gpu")
    return jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), (), abstract_device=device))
