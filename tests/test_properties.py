"""Random sizes and options against the NumPy loop."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxrnn
from tests import reference
from tests.helpers import assert_close

STEP = reference.elman()
sizes = st.integers(1, 4)


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(T=st.integers(1, 6), batch=st.lists(sizes, max_size=2), D=sizes, H=sizes, data=st.data())
def test_elman_equals_the_numpy_loop(T, batch, D, H, data):
    batch = tuple(batch)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16), label="seed"))
    rows = int(np.prod(batch))
    lengths = data.draw(st.none() | st.lists(st.integers(0, T), min_size=rows, max_size=rows), label="lengths")
    resets = data.draw(st.none() | st.lists(st.booleans(), min_size=T * rows, max_size=T * rows), label="resets")
    reverse = data.draw(st.booleans(), label="reverse")
    lengths = None if lengths is None else np.array(lengths, np.int32).reshape(batch)
    resets = None if resets is None else np.array(resets, bool).reshape(T, *batch)
    params = {"w_x": rng.standard_normal((D, H)), "w_h": rng.standard_normal((H, H)), "b": rng.standard_normal(H)}
    xs, carry = rng.standard_normal((T, *batch, D)), rng.standard_normal((*batch, H))
    options = {"lengths": lengths, "resets": resets, "reverse": reverse}
    with jax.enable_x64(True):
        cell = jaxrnn.elman(D, H)
        given_ = jax.tree.map(jnp.asarray, (params, xs, carry))
        found = jax.jit(lambda params, xs, carry: jaxrnn.unroll(cell, params, xs, carry, **options))(*given_)
    want = reference.unroll(STEP, params, xs, carry, np.zeros(H), **options)
    for a, b in zip(found, want, strict=True):
        if np.any(b):
            assert_close(a, b, 1e-10)
        else:
            np.testing.assert_array_equal(a, b)
