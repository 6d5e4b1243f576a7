"""The comparison with autodiff that the tests of all gradients share."""

import jax
import numpy as np

import jaxrnn
from tests.helpers import assert_close, example, gradients

FLOAT64 = np.dtype(np.float64), 1e-10
FLOAT32 = np.dtype(np.float32), 1e-5


def assert_equal_to_autodiff(candidates, entry, precision, without_options=False):
    """Values and all derivatives, with every option at once, and if asked for also with nothing but the data.

    `candidates` are gradients, and for each the names of the arguments that it has no derivative for.
    """
    dtype, tolerance = precision
    e = example(entry, dtype)

    @jax.jit
    def run(arguments, lengths, resets):
        every_option = {"lengths": lengths, "resets": resets, "key": jax.random.key(3), "reverse": True}
        cases = [{}, every_option] if without_options else [every_option]
        return [
            (
                gradients(jaxrnn.autodiff(), *arguments, **case),
                [gradients(g, *arguments, fixed=fixed, **case) for g, fixed in candidates],
            )
            for case in cases
        ]

    for reference, found in run(e.arguments(), e.lengths, e.resets):
        for one, (gradient, fixed) in zip(found, candidates, strict=True):
            missing = {name for name in reference if any(name.startswith(f"['{argument}']") for argument in fixed)}
            assert one.keys() == reference.keys() - missing, gradient
            assert_close(one, {name: reference[name] for name in one}, tolerance)
        # Zeros agree with zeros: the weights, inputs and options that matter must have a derivative at all.
        for name in ("['xs']", *(f"['params']['{name}']" for name in e.params if name.startswith("w"))):
            assert np.max(np.abs(reference[name])) > 1e-3, name


def every_gradient(entry):
    """All that should equal autodiff; a cell's own noise may depend on its options, which then have no derivative."""
    without = ("xs", "cell") if entry.noisy else ("xs",)
    two_levels = jaxrnn.checkpointed(segments=2)  # T = 5: segments of 2 and 3
    return (jaxrnn.reverse_scan(), ()), (two_levels, ()), (jaxrnn.rtrl(), without)
