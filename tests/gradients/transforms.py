"""The options of an unroll under the transformations of JAX: every pair of settings, on cells that have noise."""

import jax
import numpy as np

import jaxrnn
from tests.helpers import assert_close, example, gradients

OPTIONS = ("lengths", "resets", "reverse", "carry", "key")
# The options that are on; each transformation also runs with the complement.
SETTINGS = {
    "jit": "11111",
    "vmap_batch": "10101",
    "vmap_params": "11001",
    "vmap_both": "01101",
    "no_batch_axis": "10110",
    "two_batch_axes": "11100",
}
CASES = [
    (transform, {name: (bit == "1") != flip for name, bit in zip(OPTIONS, bits, strict=True)})
    for transform, bits in SETTINGS.items()
    for flip in (False, True)
]
TRANSFORMED = [case for case in CASES if case[0] in ("jit", "vmap_batch", "vmap_params", "vmap_both")]
BATCH = {"no_batch_axis": (), "two_batch_axes": (2, 2)}

# For each transformation the axis of params, xs, carry, lengths, resets and key that is mapped over.
AXES = {
    "vmap_batch": (None, 1, 0, 0, 1, 0),
    "vmap_params": (0, None, None, None, None, None),
    "vmap_both": (0, 1, 0, 0, 1, 0),
}


def case_name(case):
    transform, on = case
    return "-".join([transform, *(name for name in OPTIONS if on[name])])


def entry_of(tree, axis, m):
    """Entry m along an axis, or all if it is None."""
    return tree if axis is None else jax.tree.map(lambda a: a[(slice(None),) * axis + (m,)], tree)


def assert_equals_rows_of_autodiff(gradient, entry, transform, on, fixed=(), reference=None):
    """Under vmap: each row against its own call of the plain program; else the same call with the reference."""
    reference = jaxrnn.autodiff() if reference is None else reference
    e = example(entry, batch=BATCH.get(transform, (3,)), seed=1)
    axes = AXES.get(transform)
    key = jax.random.key(4)
    if axes and axes[-1] == 0:
        key = jax.random.split(key, 3)
    data = [
        jax.tree.map(lambda p: np.stack([p, 0.5 * p, -p]), e.params) if axes and axes[0] == 0 else e.params,
        e.xs,
        e.carry if on["carry"] else None,
        e.lengths if on["lengths"] else None,
        e.resets if on["resets"] else None,
        key if on["key"] else None,
    ]

    def run(gradient):
        def call(params, xs, carry, lengths, resets, key):
            options = {"lengths": lengths, "resets": resets, "key": key, "reverse": on["reverse"]}
            options["fixed"] = fixed
            return gradients(gradient, e.cell, params, xs, carry, **options)

        return call

    if not axes:
        assert_close(jax.jit(run(gradient))(*data), jax.jit(run(reference))(*data), 1e-10)
        return
    plain = jax.jit(run(reference))
    rows = []
    for m in range(3):
        rows.append(plain(*(entry_of(d, axis, m) for d, axis in zip(data, axes, strict=True))))
    want = jax.tree.map(lambda *leaves: np.stack(leaves), *rows)
    assert_close(jax.jit(jax.vmap(run(gradient), axes))(*data), want, 1e-10)
