"""Plain Python loops over `model.apply`: the oracles of the loops in `jaxrnn.decoding`."""

import jax
import numpy as np


def rollout(model, params, xs, steps, feedback=lambda y: y, inputs=None, carry=None):
    apply = jax.jit(model.apply)
    carry, ys = apply(params, xs, carry=carry)
    found = [np.asarray(ys)[-1]]
    for k in range(steps - 1):
        x = feedback(found[-1]) if inputs is None else feedback(found[-1], inputs[k])
        carry, ys = apply(params, np.asarray(x)[None], carry=carry)
        found.append(np.asarray(ys)[0])
    return carry, np.stack(found)
