"""Devices that need not be at hand: what is compiled for them can't be run, but it is compiled.

The compilers are JAX's CUDA plugin, which needs no GPU and no driver for this, and libtpu: `pip install -e ".[aot]"`.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")  # read before the plugins are: nothing will run
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v4-8")  # else it warns that it knows neither this
os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")  # nor this

import jax
from jax.experimental import topologies

from jaxrnn.gradients.loop_choice import noted
from jaxrnn.kernels.absent import described

jax.config.update("jax_platforms", "cpu")  # what runs, such as the constants of a trace, runs here

H100 = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 84942979072
  cuda_compute_capability { major: 9 feature_extension: ACCELERATED_FEATURES }
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
"""What XLA has to know of an NVIDIA H100 SXM, from its data sheet."""
TARGETS = {
    "H100": ("cuda", "", {"target_config": H100, "topology": "1x1x1"}),
    "TPU v4": ("tpu", "v4:2x2x1", {}),
    "TPU v5e": ("tpu", "v5e:2x2", {}),
    "TPU v6e": ("tpu", "v6e:2x2", {}),
}
"""Name: (platform, the topology's name, its description)."""


def device(name: str) -> Any:
    """The first device of a target."""
    _, topology, description = TARGETS[name]
    jax.devices()  # the plugins are looked for
    return topologies.get_topology_desc(topology, platform(name), **description).devices[0]


def platform(name: str) -> str:
    """That of a target."""
    return TARGETS[name][0]


@contextlib.contextmanager
def traced_for(name: str) -> Iterator[None]:
    """Within it, functions are traced and lowered for a target: loops are chosen for its platform."""
    with described(platform(name)), noted(platform(name)):
        yield
