"""Weights and options without a counterpart are refused, with the reason."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.interop.test_weights import I, framework, pytestmark  # noqa: F401


def test_what_a_library_does_not_have_is_refused_with_the_reason():
    key = jax.random.key(0)

    def refuse(f, cell, reason, **changes):
        params = cell.init(key) | changes
        with pytest.raises((ValueError, TypeError), match=reason):
            f(cell, params)

    refuse(I.to_torch, jaxrnn.lstm(3, 4, peephole=True), "without peephole, got peephole=True")
    refuse(I.to_torch, jaxrnn.lstm(3, 4, zoneout=0.1), "without zoneout")
    refuse(I.to_torch, jaxrnn.gru(3, 4, reset_after=False), "PyTorch has .* got gru with reset_after=False")
    refuse(I.to_torch, jaxrnn.elman(3, 4, activation=jax.nn.sigmoid), "tanh or relu, which PyTorch")
    refuse(I.to_torch, jaxrnn.ctrnn(3, 4, dt=0.1, tau=1.0), "PyTorch has")
    refuse(I.to_torch, jaxrnn.lstm(3, 4), "params", w_x=np.ones((2, 16), np.float32))
    refuse(I.to_keras, jaxrnn.lstm(3, 4, proj_size=2), "Keras has")
    refuse(lambda c, p: I.to_haiku(c, p, "gru"), jaxrnn.gru(3, 4), "Haiku has")
    refuse(I.to_nnx, jaxrnn.gru(3, 4), "nnx.GRUCell has none", b_h=np.ones(12, np.float32))
    refuse(I.to_linen, jaxrnn.lstm(4, 4, heads=2), "without heads, got heads=2")
    relu = jaxrnn.elman(4, 4, activation=jax.nn.relu)
    for second in (jaxrnn.gru(4, 4), jaxrnn.lstm(4, 5), jaxrnn.lstm(4, 4, bias=False)):
        refuse(I.to_torch, jaxrnn.stack(jaxrnn.lstm(3, 4), second), "cells of one kind")
    refuse(I.to_torch, jaxrnn.stack(jaxrnn.elman(3, 4), relu), "cells of one kind, H, activation")
    refuse(I.to_torch, jaxrnn.bidirectional(jaxrnn.gru(3, 4), jaxrnn.gru(3, 4), merge="sum"), "merge='concat'")
    cell = jaxrnn.gru(3, 4)
    for f in (I.to_torch, I.to_keras, I.to_nnx):
        with pytest.raises(TypeError, match="expected values, got traced ones"):
            jax.jit(lambda p, f=f: f(cell, p))(cell.init(key))


def test_chains_and_half_precision_into_torch():
    torch = framework("torch")
    model = jaxrnn.chain(jaxrnn.gru(3, 4), jaxrnn.gru(4, 4, param_dtype=jnp.float32))
    state = I.to_torch(model, model.init(jax.random.key(0)))
    torch.nn.GRU(3, 4, 2).load_state_dict({name: torch.from_numpy(x) for name, x in state.items()})
    cell = jaxrnn.lstm(3, 4, param_dtype=jnp.bfloat16)
    params, module = cell.init(jax.random.key(0)), torch.nn.LSTMCell(3, 4).to(torch.bfloat16)
    module.load_state_dict({name: torch.from_numpy(x) for name, x in I.to_torch(cell, params).items()})
    np.testing.assert_array_equal(module.weight_ih.detach().float().numpy(), params["w_x"].T.astype(np.float32))


def test_what_keras_layers_have_beside_weights_is_refused():
    keras = framework("keras")

    def tanh(x):
        return 3.0 * keras.ops.tanh(x)

    class Own(keras.layers.LSTM):
        pass

    for make, reason in (
        (lambda: keras.layers.LSTM(3, activation=tanh), "Keras's own functions as activation"),
        (lambda: keras.layers.GRU(3, recurrent_activation="hard_sigmoid"), "recurrent_activation='sigmoid'"),
        (lambda: keras.layers.LSTM(3, go_backwards=True), "go_backwards=True"),
        (lambda: keras.layers.LSTM(3, stateful=True), "stateful=True"),
        (lambda: Own(3), "expected a Keras SimpleRNN"),
    ):
        layer = make()
        layer.build((2, 5, 4))
        with pytest.raises((ValueError, TypeError), match=reason):
            I.from_keras(layer)
    with pytest.raises(ValueError, match="expected one that is built"):
        I.from_keras(keras.layers.LSTM(3))


STATE = {"weight_ih_l0": (16, 3), "weight_hh_l0": (16, 4), "bias_ih_l0": (16,), "bias_hh_l0": (16,)}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"weight_hh_l0": None}, "weight_hh_l0"),
        ({"bias_hh_l0": None}, "bias_hh_l0"),
        ({"more": (1,)}, "more"),
        ({"weight_ih_l0": (15, 3)}, "1, 3 or 4 times H = 4 rows"),
        ({"bias_ih_l0": (15,)}, r"source\['bias_ih_l0'\]: expected shape \(16,\), got \(15,\)"),
        ({"weight_hh_l0": (16, 4, 1)}, "expected a matrix"),
        ({"weight_ih_l0_reverse": (16, 3)}, "weight_hh_l0_reverse"),
        ({"weight_ih_l2": (16, 4)}, "weight_ih_l2"),
        ({"weight_ih_l0": (4, 3), "weight_hh_l0": (4, 4), "bias_ih_l0": (4,), "bias_hh_l0": (4,)}, "'tanh' or 'relu'"),
    ],
)
def test_torch_arrays_that_fit_nothing_are_refused_by_name(changes, reason):
    shapes = {name: shape for name, shape in (STATE | changes).items() if shape is not None}
    with pytest.raises(ValueError, match=reason):
        I.from_torch({name: np.zeros(shape, np.float32) for name, shape in shapes.items()})


def test_numbers_of_64_bits_are_not_rounded_silently():
    with pytest.raises(ValueError, match="expected 32 bits, got float64"):
        I.from_torch({name: np.zeros(shape) for name, shape in STATE.items()})
    with pytest.raises(TypeError, match="expected floating-point numbers, got int32"):
        I.from_torch({name: np.zeros(shape, np.int32) for name, shape in STATE.items()})
    with pytest.raises(ValueError, match="expected 32 bits, got float64"):
        I.from_haiku({"gru": {"w_i": np.zeros((3, 12)), "w_h": np.zeros((4, 12)), "b": np.zeros(12)}}, "gru")
