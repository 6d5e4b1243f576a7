"""`jax.export` for any number of rows and of steps: no decision is taken in Python on a size that is symbolic."""

import jax
import jax.numpy as jnp
import pytest
from jax import export

import jaxrnn
from tests.helpers import assert_close, mostly_slow

CELLS = {
    "lstm": jaxrnn.lstm(1, 3),
    "gru": jaxrnn.gru(1, 4, heads=2),
    "plain": jaxrnn.lstm(1, 3, proj_size=2),
    "drops": jaxrnn.gru(1, 3, zoneout=0.1),
}
GRADIENTS = {
    "autodiff": jaxrnn.autodiff(),
    "reverse_scan": jaxrnn.reverse_scan(),
    "clipped": jaxrnn.reverse_scan(clip_norm=0.1),
    "checkpointed": jaxrnn.checkpointed(),
    "nested": jaxrnn.checkpointed(checkpoints=8),
    "truncated": jaxrnn.truncated(2, 4),
    "cut within a block": jaxrnn.truncated(2, 3),
    "cut nowhere": jaxrnn.truncated(4, 7),
    "rtrl": jaxrnn.rtrl(),
}


@pytest.mark.parametrize("shape", mostly_slow(["7, b, 1", "t, b, 1"], "t, b, 1"))
@pytest.mark.parametrize(
    ("cell", "gradient"),
    mostly_slow([*(("lstm", name) for name in GRADIENTS), *((name, "reverse_scan") for name in CELLS)], 1, 4, 11),
)
def test_values_and_gradients_of_a_program_for_any_sizes(cell, gradient, shape):
    cell, lengths = CELLS[cell], jnp.array([7, 3])
    params, xs = cell.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (7, 2, 1))

    def loss(params, xs, lengths):
        ys = jaxrnn.unroll(cell, params, xs, lengths=lengths, gradient=GRADIENTS[gradient])[1]
        return jnp.sum(ys**2)

    f, sizes = jax.jit(jax.value_and_grad(loss)), export.symbolic_shape(shape)
    given = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)
    rows = jax.ShapeDtypeStruct(sizes[1:2], jnp.int32)
    program = export.export(f)(given, jax.ShapeDtypeStruct(sizes, jnp.float32), rows)
    assert_close(program.call(params, xs, lengths), f(params, xs, lengths), 1e-5)


def test_a_model_for_any_sizes():
    model = jaxrnn.chain(
        jaxrnn.stack([jaxrnn.gru(1, 3)]), jaxrnn.bidirectional(jaxrnn.lstm(3, 2), jaxrnn.lstm(3, 2)), jaxrnn.dense(4, 2)
    )
    params, xs = model.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (7, 2, 1))
    given = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)
    sizes = jax.ShapeDtypeStruct(export.symbolic_shape("t, b, 1"), jnp.float32)
    program = export.export(jax.jit(lambda params, xs: model.apply(params, xs)[1]))(given, sizes)
    assert_close(program.call(params, xs), model.apply(params, xs)[1], 1e-6)
