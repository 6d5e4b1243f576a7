"""The comparison with autodiff that the tests of all gradients share."""

import jax
import numpy as np

import jaxrnn as jr
from tests.helpers import assert_close, example, gradients


def assert_equals_autodiff(gradient, entry, precision, fixed=(), without_options=False):
    """Values and all derivatives, with every option at once, and if asked for also with nothing but the data."""
    dtype, tolerance = precision
    e = example(entry, dtype)

    @jax.jit
    def both(arguments, lengths, resets):
        every_option = {"lengths": lengths, "resets": resets, "key": jax.random.key(3), "reverse": True}
        cases = [{}, every_option] if without_options else [every_option]
        return [[gradients(g, *arguments, fixed=fixed, **case) for g in (gradient, jr.autodiff())] for case in cases]

    for found, reference in both(e.arguments(), e.lengths, e.resets):
        assert_close(found, reference, tolerance)
        # Zeros agree with zeros: the weights, inputs and options that matter must have a derivative at all.
        inputs = () if "xs" in fixed else ("['xs']",)
        for name in (*inputs, *(f"['params']['{name}']" for name in e.params if name.startswith("w"))):
            assert np.max(np.abs(reference[name])) > 1e-3, name
