"""Weights of other libraries: the same outputs, states and gradients as there, and there and back again bitwise."""

import os
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.helpers import assert_close

os.environ.setdefault("KERAS_BACKEND", "jax")
I = jaxrnn.interop
RNG = np.random.default_rng(7)
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning")  # Keras's own


@pytest.fixture(autouse=True)
def _as_other_libraries_need_it():
    """Keras adds biases to batches by rank promotion, and Haiku and Equinox mix dtypes."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def framework(name):
    """The library, or the test is skipped; what it warns of at its import is not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name)


def normal(*shape, dtype=np.float64):
    return RNG.standard_normal(shape).astype(dtype)


def same(got, want):
    """Two trees of arrays, bit by bit."""
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
        assert np.asarray(a).dtype == np.asarray(b).dtype


# PyTorch: float64, 1 to 3 layers, one and both directions, rows of different lengths.


@pytest.mark.parametrize(
    ("kind", "layers", "both", "options"),
    [
        ("RNN", 1, False, {"nonlinearity": "relu"}),
        ("RNN", 2, True, {"nonlinearity": "tanh"}),
        ("LSTM", 1, True, {}),
        ("LSTM", 3, False, {"bias": False}),
        ("LSTM", 2, True, {"proj_size": 2}),
        ("GRU", 1, False, {"batch_first": True}),
        ("GRU", 3, True, {}),
    ],
)
def test_torch(x64, kind, layers, both, options):
    torch = framework("torch")
    T, B, D, H = (int(n) for n in RNG.integers(3, 7, 4))
    module = getattr(torch.nn, kind)(D, H, layers, bidirectional=both, dtype=torch.float64, **options)
    model, params = I.from_torch(module)
    state = {name: x.detach().numpy() for name, x in module.state_dict().items()}
    same(I.to_torch(model, params), state)
    assert not any(np.shares_memory(a, b) for a, b in zip(jax.tree.leaves(params), state.values(), strict=True))

    lengths, xs = RNG.integers(1, T + 1, B), normal(T, B, D)
    lengths[0] = T
    O = options.get("proj_size", H) * (1 + both)
    dys, first = normal(T, B, O), options.get("batch_first", False)
    order = (lambda x: x.swapaxes(0, 1)) if first else (lambda x: x)
    inputs = torch.tensor(order(xs), requires_grad=True)
    pack, pad = torch.nn.utils.rnn.pack_padded_sequence, torch.nn.utils.rnn.pad_packed_sequence
    ys, states = module(pack(inputs, torch.tensor(lengths), batch_first=first, enforce_sorted=False))
    ys, _ = pad(ys, total_length=T, batch_first=first)
    hs = states if isinstance(states, tuple) else (states,)
    dhs = [normal(*h.shape) for h in hs]
    total = (ys * torch.tensor(order(dys))).sum() + sum(
        (h * torch.tensor(d)).sum() for h, d in zip(hs, dhs, strict=True)
    )
    names = [name for name, _ in module.named_parameters()]
    want = torch.autograd.grad(total, [inputs, *module.parameters()])

    def ours(params, xs):
        carry, ys = model.apply(params, order(xs), lengths=lengths, time_major=not first)
        by_layer = [jax.tree.leaves(c) for c in (carry if layers > 1 or not both else [carry])]
        # Torch: for h, and for an LSTM's c, one row a layer and direction.
        found = [jnp.stack([c for leaves in by_layer for c in leaves[i :: len(hs)]]) for i in range(len(hs))]
        value = (order(ys) * dys).sum() + sum((a * d).sum() for a, d in zip(found, dhs, strict=True))
        return value, (ys, found)

    (_, (got, found)), (d_params, d_xs) = jax.jit(jax.value_and_grad(ours, (0, 1), has_aux=True))(params, xs)
    assert_close(got, ys.detach().numpy(), 1e-9)
    assert_close(found, [h.detach().numpy() for h in hs], 1e-9)
    assert_close(order(d_xs), want[0].numpy(), 1e-9)
    d_named = I.to_torch(model, d_params)
    assert_close([d_named[name] for name in names], [d.numpy() for d in want[1:]], 1e-9)


@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_torch_cells_and_half_precision(kind):
    torch = framework("torch")
    module = getattr(torch.nn, kind)(3, 4).to(torch.bfloat16)
    cell, params = I.from_torch(module)
    assert isinstance(cell, jaxrnn.Cell)
    assert params["w_x"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(params["w_h"].astype(np.float32), module.weight_hh.detach().float().numpy().T)


# Libraries on JAX: both sides' gradients with respect to *their* parameters, through the conversion.


def compare(theirs, convert, given, xs, tolerance):
    """theirs: (given, xs) -> (ys, final states); convert: given -> (cell or model, params), as pure functions."""
    dys = normal(*jax.eval_shape(theirs, given, xs)[0].shape, dtype=xs.dtype)

    def ours(given, xs):
        model, params = convert(given)
        run = model.apply if isinstance(model, jaxrnn.Model) else lambda p, xs: jaxrnn.unroll(model, p, xs)
        carry, ys = run(params, xs)
        return ys, jax.tree.leaves(carry)

    def value(run):
        def total(given, xs):
            ys, states = run(given, xs)
            return (ys * dys).sum() + sum(jnp.sin(s).sum() for s in states), (ys, states)

        return jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True))(given, xs)

    assert_close(value(ours), value(theirs), tolerance)


def scanned(step, carry, xs):
    return jax.lax.scan(step, carry, xs)


@pytest.mark.parametrize("name", ["LSTMCell", "GRUCell"])
@pytest.mark.parametrize("biased", [True, False])
def test_equinox(x64, name, biased):
    equinox = framework("equinox")
    B, D, H = 3, 4, 5
    cell = getattr(equinox.nn, name)(D, H, biased, dtype=jnp.float64, key=jax.random.key(0))

    def theirs(cell, xs):
        zeros = jnp.zeros((B, H))

        def step(carry, x):
            carry = jax.vmap(cell)(x, carry)
            return carry, carry[0] if name == "LSTMCell" else carry

        carry, ys = scanned(step, (zeros, zeros) if name == "LSTMCell" else zeros, xs)
        return ys, jax.tree.leaves(carry)

    compare(theirs, I.from_equinox, cell, normal(6, B, D), 1e-9)
    assert equinox.tree_equal(I.to_equinox(*I.from_equinox(cell)), cell)


@pytest.mark.parametrize(
    ("name", "options"), [("LSTM", {}), ("GRU", {}), ("VanillaRNN", {}), ("VanillaRNN", {"double_bias": False})]
)
def test_haiku(x64, name, options):
    haiku = framework("haiku")
    B, D, H = 3, 4, 5

    def network(xs):
        core = getattr(haiku, name)(H, name="core", **options)
        ys, state = haiku.dynamic_unroll(core, xs, core.initial_state(B))
        return ys, jax.tree.leaves(state)

    transformed, xs = haiku.without_apply_rng(haiku.transform(network)), normal(6, B, D)
    shapes = jax.eval_shape(transformed.init, jax.random.key(0), xs)
    given = jax.tree.map(lambda x: normal(*x.shape), shapes)
    compare(transformed.apply, lambda given: I.from_haiku(given, "core"), given, xs, 1e-9)
    same(I.to_haiku(*I.from_haiku(given, "core"), "core"), given)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SimpleRNN", {"activation": "relu"}),
        ("LSTM", {}),
        ("LSTM", {"use_bias": False}),
        ("GRU", {}),
        ("GRU", {"reset_after": False}),
        ("GRU", {"use_bias": False}),
    ],
)
@pytest.mark.parametrize("merge", [None, "concat", "ave"])
def test_keras(name, options, merge):
    keras = framework("keras")
    T, B, D, H = 6, 3, 4, 5
    layer = getattr(keras.layers, name)(H, return_sequences=True, return_state=True, **options)
    if merge is not None:
        layer = keras.layers.Bidirectional(layer, merge_mode=merge)
    layer.build((B, T, D))
    layer.set_weights([normal(*w.shape, dtype=np.float32) for w in layer.get_weights()])
    same(I.to_keras(*I.from_keras(layer)), layer.get_weights())

    def theirs(weights, xs):
        (ys, *states), _ = layer.stateless_call(weights, layer.non_trainable_variables, xs.swapaxes(0, 1))
        return ys.swapaxes(0, 1), states

    given = [jnp.asarray(w) for w in layer.get_weights()]
    xs, dys = normal(T, B, D, dtype=np.float32), normal(T, B, H * (2 if merge == "concat" else 1), dtype=np.float32)
    model, params = I.from_keras(layer)

    def ours(params, xs):
        run = model.apply if isinstance(model, jaxrnn.Model) else lambda p, xs: jaxrnn.unroll(model, p, xs)
        carry, ys = run(params, xs)
        return ys, jax.tree.leaves(carry)

    def value(run):
        def total(params, xs):
            ys, states = run(params, xs)
            return (ys * dys).sum() + sum(jnp.sin(s).sum() for s in states), (ys, states)

        return jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True))

    aux, (d_params, d_xs) = value(ours)(params, xs)
    want, (d_weights, d_inputs) = value(theirs)(given, xs)
    assert_close((aux, d_xs), (want, d_inputs), 1e-5)
    assert_close(I.to_keras(model, d_params), d_weights, 1e-5)


# Constants that Keras's own tests publish: kernels of 0.01, recurrent ones of 0.02, biases of 0.03.


@pytest.mark.parametrize(
    ("name", "options", "reverse", "want"),
    [
        ("LSTM", {}, False, [0.6288687, 0.86899155, 0.9460773]),
        ("LSTM", {}, True, [0.35622165, 0.74789524, 0.8872726]),
        ("LSTM", {"unit_forget_bias": False}, False, [0.57019705, 0.8661914, 0.9459622]),
        ("LSTM", {"use_bias": False}, False, [0.54986924, 0.86226785, 0.9443936]),
        ("GRU", {}, False, [0.5217289, 0.6371659, 0.39384964]),
        ("GRU", {}, True, [0.24406259, 0.611516, 0.3928808]),
        ("GRU", {"reset_after": False}, False, [0.51447755, 0.6426879, 0.40208298]),
        ("GRU", {"use_bias": False}, False, [0.49988455, 0.64701194, 0.4103359]),
        ("SimpleRNN", {}, False, [0.405432, 0.73605347]),
        ("SimpleRNN", {}, True, [0.11144729, 0.5528889]),
    ],
)
def test_keras_constants(name, options, reverse, want):
    keras = framework("keras")
    B, T, H = (2, 3, 4) if name == "SimpleRNN" else (3, 6, 3)
    xs, at = np.arange(B * T * 4, dtype=np.float32).reshape(B, T, 4), keras.initializers.Constant
    layer = getattr(keras.layers, name)(
        H, kernel_initializer=at(0.01), recurrent_initializer=at(0.02), bias_initializer=at(0.03), **options
    )
    layer.build(xs.shape)
    cell, params = I.from_keras(layer)
    carry, _ = jaxrnn.unroll(cell, params, xs, reverse=reverse, time_major=False)
    np.testing.assert_allclose(
        jax.tree.leaves(carry)[0], np.repeat(np.array(want)[:, None], H, 1), atol=1e-5, rtol=1e-5
    )


def test_keras_constants_of_a_mask_and_of_an_initial_state():
    keras = framework("keras")
    xs, at = np.arange(24, dtype=np.float32).reshape(2, 4, 3), keras.initializers.Constant
    layer = keras.layers.LSTM(2, kernel_initializer=at(0.01), recurrent_initializer=at(0.02), bias_initializer=at(0.03))
    layer.build(xs.shape)
    cell, params = I.from_keras(layer)
    _, ys = jaxrnn.unroll(cell, params, xs, lengths=[3, 2], time_major=False)
    want = [[0.01588910, 0.05552048, 0.11755939, 0.0], [0.14185596, 0.28556206, 0.0, 0.0]]  # zero_output_for_mask
    np.testing.assert_allclose(ys, np.repeat(np.array(want)[..., None], 2, -1), atol=1e-5, rtol=1e-5)
    start = np.arange(4, dtype=np.float32).reshape(2, 2)
    carry, _ = jaxrnn.unroll(cell, params, xs, type(cell.initial_carry(params))(start, start), time_major=False)
    np.testing.assert_allclose(carry.h, [[0.20574439, 0.3558822], [0.64930826, 0.66276]], atol=1e-5, rtol=1e-5)


# Options without a counterpart are refused.


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
