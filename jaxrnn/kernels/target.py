"""The device that loops are built for, at hand or not."""

import contextlib
import dataclasses
from typing import Literal, NamedTuple

import jax
from jax.extend.backend import get_backend


class LoopChoice(NamedTuple):
    """A loop, and the reason why it was chosen.

    Attributes:
      loop: "scan" or "persistent".
      reason: a text for users.
    """

    loop: Literal["scan", "persistent"]
    reason: str


class Room(NamedTuple):
    """Bytes on the chip.

    Attributes:
      shared: for arrays that all rows and steps share, such as weights, and for their products.
      rows: for the arrays of a block's rows.
    """

    shared: int
    rows: int


class Gpu(NamedTuple):
    """A GPU, with the properties that a kernel needs to know.

    Attributes:
      name: its model's name.
      multiprocessors: how many it has.
      shared_memory: bytes of shared memory that a block can have.
    """

    name: str
    multiprocessors: int
    shared_memory: int


H100 = Gpu("NVIDIA H100", 132, 227 * 1024)


@dataclasses.dataclass(frozen=True, eq=False)
class Target:
    """A device, and a record of what happens while functions are traced for it.

    Attributes:
      platform: "cuda", "tpu", or "cpu", where kernels are interpreted.
      gpu: the GPU; None on other platforms.
      choices: (cell, its loop), in the order in which they were made.
      rooms: the room that each kernel needs on the chip.
    """

    platform: str
    gpu: Gpu = H100
    choices: list[tuple[str, LoopChoice]] = dataclasses.field(default_factory=list)
    rooms: list[Room] = dataclasses.field(default_factory=list)

    @property
    def room(self) -> Room:
        """The available room. A GPU's multiprocessor also has 256 KiB of registers, of which a step itself needs some.

        A TPU kernel may have 16 MiB of VMEM by default.
        """
        return Room(10 * 2**20, 4 * 2**20) if self.platform == "tpu" else Room(self.gpu.shared_memory, 192 * 1024)

    def described(self) -> contextlib.AbstractContextManager[object]:
        """A context in which functions are lowered for this device, at hand or not."""
        if self.platform != "cuda" or jax.default_backend() == "gpu":
            return contextlib.nullcontext()
        device = jax.sharding.AbstractDevice(self.gpu.name, self.gpu.multiprocessors, "gpu")
        return jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), (), abstract_device=device))


def target_of(platform: str | None = None) -> Target:
    """A target of this platform; None: the default backend's. Without a GPU at hand, "cuda" is an H100."""
    backend, gpu = jax.default_backend(), H100
    if backend == "gpu":
        device = jax.devices()[0]
        backend = "rocm" if "rocm" in get_backend().platform_version.lower() else "cuda"
        if backend == "cuda":
            gpu = Gpu(device.device_kind, device.core_count, device.shared_memory_per_block_optin)
    return Target(backend if platform is None else platform, gpu)
