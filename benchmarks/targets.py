"""Devices that need not be at hand: programs are compiled for them, but not run.

The compilers are JAX's CUDA plugin, which needs no GPU and no driver for this, and libtpu: `pip install -e ".[aot]"`.
"""

import contextlib
import os
from collections.abc import Generator
from typing import Any, NamedTuple

os.environ.setdefault("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")  # read before the plugins load: nothing will run
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v4-8")  # without it libtpu warns
os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")  # this one, too

import jax
from jax.experimental import topologies

from jaxrnn.gradients.reverse_scan import target as context
from jaxrnn.kernels import target as kernels

jax.config.update("jax_platforms", "cpu")  # constants of a trace are computed here

GPU = """
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: {shared}
  shared_memory_per_core: {shared_of_core}
  threads_per_core_limit: {threads}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  core_count: {cores}
  fpus_per_core: {fpus}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {bandwidth}
  l2_cache_size: {l2}
  clock_rate_ghz: {ghz}
  device_memory_size: {memory}
  cuda_compute_capability {{ major: {major} minor: {minor} {feature} }}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 }}
device_description_str: "{name}"
"""
"""The description of a GPU for XLA."""
OWN = "feature_extension: ACCELERATED_FEATURES"
"""Architectures whose instructions later ones lack."""


class Device(NamedTuple):
    """A device.

    Attributes:
      platform: its platform.
      topology: the name of its topology.
      described: for a GPU, its properties from data sheets, as text for `GPU`.
    """

    platform: str
    topology: str
    described: dict[str, Any] | None = None


def gpu_target(name: str, capability: str, cores: int, shared_kib: int, gib: int, **others: Any) -> Device:
    """A GPU with these numbers of multiprocessors, shared memory for a block, and memory."""
    major, minor = capability.split(".")
    described = {"name": name, "major": major, "minor": minor, "cores": cores, "memory": gib * 2**30}
    described |= {"shared": shared_kib * 1024, "shared_of_core": (shared_kib + 1) * 1024}
    return Device("cuda", "", {"feature": "", "threads": 2048, "fpus": 128} | described | others)


TARGETS = {
    "H100": gpu_target(
        "NVIDIA H100", "9.0", 132, 227, 80, bandwidth=3350 * 10**9, l2=50 * 2**20, ghz=1.98, feature=OWN
    ),
    "A100": gpu_target("NVIDIA A100", "8.0", 108, 163, 80, bandwidth=2039 * 10**9, l2=40 * 2**20, ghz=1.41, fpus=64),
    "RTX 4090": gpu_target(
        "NVIDIA GeForce RTX 4090", "8.9", 128, 99, 24, bandwidth=1008 * 10**9, l2=72 * 2**20, ghz=2.52, threads=1536
    ),
    "B200": gpu_target(
        "NVIDIA B200", "10.0", 148, 227, 180, bandwidth=8000 * 10**9, l2=126 * 2**20, ghz=1.97, feature=OWN
    ),
    "TPU v4": Device("tpu", "v4:2x2x1"),
    "TPU v5e": Device("tpu", "v5e:2x2"),
    "TPU v6e": Device("tpu", "v6e:2x2"),
}


def device(name: str) -> Any:
    """The first device of a target."""
    target = TARGETS[name]
    config: dict[str, Any] = {}
    if target.described is not None:
        config = {"target_config": GPU.format(**target.described), "topology": "1x1x1"}
    jax.devices()  # loads the plugins
    return topologies.get_topology_desc(target.topology, target.platform, **config).devices[0]


def architecture(name: str) -> str:
    """The architecture of a GPU, by ptxas's name."""
    found = TARGETS[name].described
    assert found is not None
    return f"sm_{found['major']}{found['minor']}{'a' if found['feature'] else ''}"


@contextlib.contextmanager
def traced_for(name: str) -> Generator[kernels.Target]:
    """A context in which functions are traced and lowered for a target; the target lists the loops that were chosen."""
    platform, _, found = TARGETS[name]
    gpu = kernels.H100 if found is None else kernels.Gpu(found["name"], found["cores"], found["shared"])
    target = kernels.Target(platform, gpu)
    with context(target), target.described():
        yield target
