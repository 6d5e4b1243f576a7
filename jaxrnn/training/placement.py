"""Data-parallel training: each device of a mesh reads some rows of a minibatch, and has a copy of everything else."""

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxrnn.data.rows import row_axes, rows_of
from jaxrnn.primitives.primitive import multihost_utils
from jaxrnn.training.saves import is_key
from jaxrnn.types import Batch, Tree


def everywhere(tree: Tree, mesh: Mesh | None) -> Tree:
    """Places the tree's arrays on each device; without a mesh they stay as they are.

    With several processes all pass in the same values.
    """
    if mesh is None:
        return tree
    sharding = NamedSharding(mesh, PartitionSpec())
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def put(x: jax.Array) -> jax.Array:
        if getattr(x, "sharding", None) == sharding:
            return x
        if is_key(x):
            return jax.random.wrap_key_data(put(jax.random.key_data(x)), impl=jax.random.key_impl(x))
        values = np.asarray(x)
        return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])

    return jax.tree.map(put, tree)


def is_shared(mesh: Mesh | None) -> bool:
    """Tells whether several processes share the mesh."""
    return mesh is not None and len({device.process_index for device in mesh.devices.flat}) > 1


def anywhere(flag: bool, mesh: Mesh | None) -> bool:
    """Tells whether the flag is true in any of the processes that share the mesh."""
    if not is_shared(mesh):
        return flag
    return bool(multihost_utils.process_allgather(np.asarray(flag)).any())


def spread(batch: Batch, axes: dict[str, int] | None, mesh: Mesh | None) -> Batch:
    """Lets each device read its own rows, while tracing. `axes`: the axis of the rows in each array; None: derived."""
    if mesh is None:
        return batch
    check_rows("data: a batch", rows_of(batch), mesh)
    axes = row_axes("data: a batch", batch) if axes is None else axes

    def constrained(entry: str, x: jax.Array) -> jax.Array:
        spec = PartitionSpec(*[None] * axes[entry], *mesh.axis_names)
        return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec))

    return {entry: constrained(entry, x) for entry, x in batch.items()}


def check_rows(name: str, rows: int, mesh: Mesh | None) -> None:
    """Raises ValueError unless the rows divide evenly among the devices."""
    if mesh is not None and rows % mesh.size:
        raise ValueError(f"{name}: expected rows by a multiple of the mesh's {mesh.size} devices, got {rows}")
