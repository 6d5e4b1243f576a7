"""The parts of a model, and its cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn

MODEL = jaxrnn.chain(
    jaxrnn.embed(50, 16),
    jaxrnn.stack([jaxrnn.lstm(16, 32), jaxrnn.lstm(32, 32)]),
    jaxrnn.bidirectional(jaxrnn.gru(32, 24), jaxrnn.gru(32, 24)),
    jaxrnn.last(),
    jaxrnn.dense(48, 10),
)
XS = jax.ShapeDtypeStruct((30, 8), jnp.int32)


def test_parts_have_the_shapes_and_sizes_of_a_run():
    found, params = jaxrnn.summary(MODEL, XS), MODEL.init(jax.random.key(0))
    assert found.parameters == sum(x.size for x in jax.tree.leaves(params))
    assert [(part.name, part.outputs, part.parameters) for part in found.parts] == [
        ("0", "[30, 8, 16]", 50 * 16),
        ("1/0", "[30, 8, 32]", 4 * 32 * (16 + 32 + 1)),
        ("1/1", "[30, 8, 32]", 4 * 32 * (32 + 32 + 1)),
        ("2", "[30, 8, 48]", 2 * 3 * 24 * (32 + 24 + 2)),
        ("3", "[8, 48]", 0),
        ("4", "[8, 10]", 490),
        ("", "[8, 10]", found.parameters),
    ]
    assert "1/1" in str(found)
    assert "FLOPs a step" in str(found)


def test_flops_are_those_of_the_products_of_one_step():
    found = jaxrnn.summary(MODEL, XS)
    products = 2 * 8 * (4 * 32 * (16 + 32) + 4 * 32 * (32 + 32) + 2 * 3 * 24 * (32 + 24) + 48 * 10)
    assert products <= found.forward.step_flops < 1.15 * products
    assert 2 * products < found.gradient.step_flops < 3.3 * products
    longer = jaxrnn.summary(MODEL, jax.ShapeDtypeStruct((60, 8), jnp.int32))
    assert longer.forward.step_flops == found.forward.step_flops
    assert longer.gradient.temporary_bytes > 1.5 * found.gradient.temporary_bytes
    assert found.forward.compile_seconds > 0.0


def test_a_cell_a_model_of_ones_own_and_wrong_inputs():
    assert jaxrnn.summary(jaxrnn.gru(3, 8), np.zeros((5, 2, 3), "f")).parts[0].outputs == "[5, 2, 8]"
    residual = jaxrnn.residual(jaxrnn.stack([jaxrnn.gru(4, 4)]))
    assert [part.name for part in jaxrnn.summary(residual, np.zeros((5, 2, 4), "f")).parts] == [""]
    with pytest.raises(TypeError, match=r"^model: expected a Model or Cell"):
        jaxrnn.summary(3, XS)
    with pytest.raises(ValueError, match="xs"):
        jaxrnn.summary(jaxrnn.gru(3, 8), np.zeros((5, 2, 4), "f"))
