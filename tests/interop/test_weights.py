"""Weights of other libraries: the same outputs, states and gradients as there, and there and back again bitwise."""

import os
import warnings
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.helpers import assert_close, mostly_slow

os.environ.setdefault("KERAS_BACKEND", "jax")
I = jaxrnn.interop
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning")  # Keras's own


def framework(name):
    """The library, or the test is skipped; what it warns of at its import is not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name)


@pytest.fixture(autouse=True)
def _values_of_its_own(request):
    """Draws the same sizes and values whatever tests ran before."""
    global RNG
    RNG = np.random.default_rng(zlib.crc32(request.node.name.encode()))


def normal(*shape):
    return RNG.standard_normal(shape)


def narrow(x):
    return x.astype(np.float32)


def sizes():
    return (int(n) for n in RNG.integers(3, 7, 4))


def lengths_of(T, B):
    return np.array([T, *RNG.integers(1, T + 1, B - 1)])


def valid_of(lengths, T, B):
    return np.ones((T, B, 1), bool) if lengths is None else (np.arange(T)[:, None] < lengths)[..., None]


def deep(parts, both, xs, lengths):
    """Runs (cell, params) of each layer and direction as one model."""
    if both:
        model = jaxrnn.chain(*(jaxrnn.bidirectional(f, b) for (f, _), (b, _) in parts))
        params = [{"forward": p, "backward": q} for (_, p), (_, q) in parts]
    else:
        model, params = jaxrnn.stack(*(cell for ((cell, _),) in parts)), [p for ((_, p),) in parts]
    return model.apply({str(i): p for i, p in enumerate(params)}, xs, lengths=lengths)


def same(got, want):
    """Two trees of arrays, bit by bit."""
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
        assert np.asarray(a).dtype == np.asarray(b).dtype


# PyTorch: float64, 1 to 3 layers, one and both directions, rows of different lengths.


TORCH = [
    ("RNN", {"nonlinearity": "relu"}), ("RNN", {"nonlinearity": "tanh"}), ("LSTM", {}), ("LSTM", {"bias": False}),
    ("LSTM", {"proj_size": 2}), ("GRU", {"batch_first": True}), ("GRU", {}),
]  # fmt: skip
DEPTHS = [(layers, both) for layers in (1, 2, 3) for both in (False, True)]


def each_depth(kinds):
    """Every kind at every depth; one depth of each kind, another one each, runs with the quick tests."""
    quick = [i * len(DEPTHS) + (5 * i + 3) % len(DEPTHS) for i in range(len(kinds))]
    return mostly_slow([(*kind, *depth) for kind in kinds for depth in DEPTHS], *quick)


@pytest.mark.parametrize(("kind", "options", "layers", "both"), each_depth(TORCH))
def test_torch(x64, kind, options, layers, both):
    torch = framework("torch")
    T, B, D, H = sizes()
    module = getattr(torch.nn, kind)(D, H, layers, bidirectional=both, dtype=torch.float64, **options)
    model, params = I.from_torch(module)
    state = {name: x.detach().numpy() for name, x in module.state_dict().items()}
    same(I.to_torch(model, params), state)
    assert not any(np.shares_memory(a, b) for a, b in zip(jax.tree.leaves(params), state.values(), strict=True))

    lengths, xs = lengths_of(T, B), normal(T, B, D)
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
@pytest.mark.parametrize("bias", [True, False])
def test_torch_cells(x64, kind, bias):
    torch = framework("torch")
    T, B, D, H = sizes()
    module = getattr(torch.nn, kind)(D, H, bias, dtype=torch.float64)
    cell, params = I.from_torch(module)
    assert isinstance(cell, jaxrnn.Cell)
    same(I.to_torch(cell, params), {name: x.detach().numpy() for name, x in module.state_dict().items()})
    xs, dys = normal(T, B, D), normal(T, B, H)
    inputs, carry, ys = torch.tensor(xs, requires_grad=True), None, []
    for x in inputs:
        carry = module(x, carry)
        ys.append(carry[0] if kind == "LSTMCell" else carry)
    ys = torch.stack(ys)
    want = torch.autograd.grad((ys * torch.tensor(dys)).sum(), [inputs, *module.parameters()])

    def ours(params, xs):
        ys = jaxrnn.unroll(cell, params, xs)[1]
        return (ys * dys).sum(), ys

    (_, got), (d_params, d_xs) = jax.jit(jax.value_and_grad(ours, (0, 1), has_aux=True))(params, xs)
    assert_close((got, d_xs), (ys.detach().numpy(), want[0].numpy()), 1e-9)
    d_named = I.to_torch(cell, d_params)
    assert_close([d_named[name] for name, _ in module.named_parameters()], [d.numpy() for d in want[1:]], 1e-9)


@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_torch_cells_of_half_precision(kind):
    torch = framework("torch")
    module = getattr(torch.nn, kind)(3, 4).to(torch.bfloat16)
    _, params = I.from_torch(module)
    assert params["w_x"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(params["w_h"].astype(np.float32), module.weight_hh.detach().float().numpy().T)


# Libraries on JAX, in float64: 1 to 3 layers, one and both directions, gradients with respect to *their* parameters.


class Layer(NamedTuple):
    """A recurrent layer of another library."""

    given: Any
    """Its parameters, as the library has them."""
    run: Callable[..., Any]
    """(given, xs, lengths, reverse) -> (ys, the final carry's arrays in our order)."""
    convert: Callable[[Any], Any]
    """given -> (cell, params)."""
    back: Callable[[Any, Any], Any]
    """(cell, params) -> given."""


def equinox_layer(name, biased, D, H):
    equinox = framework("equinox")
    cell = getattr(equinox.nn, name)(D, H, biased, dtype=jnp.float64, key=jax.random.key(H))

    def run(cell, xs, lengths, reverse):
        zeros = jnp.zeros((xs.shape[1], H))

        def step(carry, x):
            carry = jax.vmap(cell)(x, carry)
            return carry, carry[0] if name == "LSTMCell" else carry

        carry, ys = jax.lax.scan(step, (zeros, zeros) if name == "LSTMCell" else zeros, xs, reverse=reverse)
        return ys, jax.tree.leaves(carry)

    return Layer(cell, run, I.from_equinox, I.to_equinox)


def haiku_layer(name, options, D, H):
    haiku = framework("haiku")

    def network(xs, reverse=False):
        core = getattr(haiku, name)(H, name="core", **options)
        ys, state = haiku.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]), reverse=reverse)
        return ys, jax.tree.leaves(state)

    made = haiku.without_apply_rng(haiku.transform(network))
    shapes = jax.eval_shape(made.init, jax.random.key(0), np.ones((2, 1, D)))
    return Layer(
        jax.tree.map(lambda x: normal(*x.shape), shapes),
        lambda given, xs, lengths, reverse: made.apply(given, xs, reverse),
        lambda given: I.from_haiku(given, "core"),
        lambda cell, params: I.to_haiku(cell, params, "core"),
    )


def nnx_layer(name, _, D, H):
    nnx = framework("flax.nnx")
    own = {"dtype": jnp.float64} if name == "SimpleCell" else {}
    graph, given = nnx.split(getattr(nnx, name)(D, H, param_dtype=jnp.float64, rngs=nnx.Rngs(H), **own))
    # Without a state of keys: Flax's layers keep some, which no gradient is taken of.
    given = nnx.filter_state(given, nnx.Param)

    def run(given, xs, lengths, reverse):
        layer = nnx.RNN(nnx.merge(graph, given), time_major=True, reverse=reverse, keep_order=True, return_carry=True)
        carry, ys = layer(xs, seq_lengths=lengths)
        return ys, jax.tree.leaves(carry)[::-1]  # an LSTM's is (c, h)

    def back(cell, params):
        made = I.to_nnx(cell, params)
        if name == "LSTMCell":  # it comes back as an OptimizedLSTMCell
            same(I.from_nnx(made)[1], params)
            return given
        assert type(made) is type(nnx.merge(graph, given))
        return nnx.state(made, nnx.Param)

    return Layer(given, run, lambda given: I.from_nnx(nnx.merge(graph, given)), back)


def linen_layer(name, _, D, H):
    nn = framework("flax.linen")
    own = {"dtype": jnp.float64} if name == "SimpleCell" else {}
    module = getattr(nn, name)(H, param_dtype=jnp.float64, **own)
    shapes = jax.eval_shape(nn.RNN(module).init, jax.random.key(0), np.ones((1, 2, D)))["params"]["cell"]
    given = jax.tree.map(lambda x: normal(*x.shape), shapes)

    def run(given, xs, lengths, reverse):
        layer = nn.RNN(module, time_major=True, reverse=reverse, keep_order=True, return_carry=True)
        carry, ys = layer.apply({"params": {"cell": given}}, xs, seq_lengths=lengths)
        return ys, jax.tree.leaves(carry)[::-1]

    def back(cell, params):
        made, named = I.to_linen(cell, params)
        if name == "LSTMCell":  # it comes back as an OptimizedLSTMCell
            same(I.from_linen(made, named)[1], params)
            return given
        return named

    return Layer(given, run, lambda given: I.from_linen(module, given), back)


KINDS = [
    *((equinox_layer, name, biased) for name in ("LSTMCell", "GRUCell") for biased in (True, False)),
    *((haiku_layer, name, {}) for name in ("LSTM", "GRU", "VanillaRNN")),
    (haiku_layer, "VanillaRNN", {"double_bias": False}),
    *((make, name, {}) for make in (nnx_layer, linen_layer) for name in
      ("SimpleCell", "LSTMCell", "OptimizedLSTMCell", "GRUCell")),
]  # fmt: skip


@pytest.mark.parametrize(("make", "name", "options", "layers", "both"), each_depth(KINDS))
def test_libraries_on_jax(x64, make, name, options, layers, both):
    T, B, D, H = sizes()
    lengths = None if make in (equinox_layer, haiku_layer) else lengths_of(T, B)
    directions = 1 + both
    net = [
        [make(name, options, D if i == 0 else H * directions, H) for _ in range(directions)] for i in range(layers)
    ]  # fmt: skip
    given = [[layer.given for layer in pair] for pair in net]
    for pair in net:
        for layer in pair:
            same(layer.back(*layer.convert(layer.given)), layer.given)

    def theirs(given, xs):
        states = []
        for pair, values in zip(net, given, strict=True):
            each = [
                layer.run(p, xs, lengths, bool(i)) for i, (layer, p) in enumerate(zip(pair, values, strict=True))
            ]  # fmt: skip
            xs = jnp.concatenate([ys for ys, _ in each], -1)
            states += [s for _, own in each for s in own]
        return xs, states

    def ours(given, xs):
        parts = [
            [layer.convert(p) for layer, p in zip(pair, values, strict=True)]
            for pair, values in zip(net, given, strict=True)
        ]  # fmt: skip
        carry, ys = deep(parts, both, xs, lengths)
        return ys, jax.tree.leaves(carry)

    xs, dys, valid = normal(T, B, D), normal(T, B, H * directions), valid_of(lengths, T, B)

    def value(run):
        def total(given, xs):
            ys, states = run(given, xs)
            ys = jnp.where(valid, ys, 0.0)  # Flax's layers put something on padding
            return (ys * dys).sum() + sum(jnp.sin(s).sum() for s in states), (ys, states)

        return jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True))(given, xs)

    assert_close(value(ours), value(theirs), 1e-9)


# Keras, with and without masks, in float32: its tanh rounds float64 to that.

KERAS = [
    ("SimpleRNN", {"activation": "relu"}), ("LSTM", {}), ("LSTM", {"use_bias": False}), ("GRU", {}),
    ("GRU", {"reset_after": False}), ("GRU", {"use_bias": False}),
]  # fmt: skip
MERGES = ["one direction", "concat", "ave", "sum", "mul", None]
KERAS_CASES = [
    (name, options, merge, 1 + (i + j) % 3, (i + j // 3) % 2 == 0)
    for i, (name, options) in enumerate(KERAS)
    for j, merge in enumerate(MERGES)
]


@pytest.mark.parametrize(
    ("name", "options", "merge", "layers", "masked"), mostly_slow(KERAS_CASES, 0, 7, 9, 14, 17, 22, 28, 30, 35)
)
def test_keras(name, options, merge, layers, masked):
    keras = framework("keras")
    T, B, D, H = sizes()
    lengths, both = lengths_of(T, B) if masked else None, merge != "one direction"
    mask = None if lengths is None else np.arange(T) < lengths[:, None]
    net = []
    for i in range(layers):
        layer = getattr(keras.layers, name)(H, return_sequences=True, return_state=True, **options)
        if both:  # two outputs of a layer are for no other layer
            layer = keras.layers.Bidirectional(
                layer, merge_mode="concat" if merge is None and i < layers - 1 else merge
            )
        net.append(layer)
        layer.build((B, T, D if i == 0 else H * (2 if both and merge in ("concat", None) else 1)))
        layer.set_weights([narrow(0.5 * normal(*w.shape)) for w in layer.get_weights()])
        same(I.to_keras(*I.from_keras(layer)), layer.get_weights())
    parts = [I.from_keras(layer) for layer in net]
    model, params = jaxrnn.chain(*(part for part, _ in parts)), {str(i): p for i, (_, p) in enumerate(parts)}
    if not both:
        model = jaxrnn.stack(*(part for part, _ in parts))
    given = [[jnp.asarray(w) for w in layer.get_weights()] for layer in net]

    def theirs(given, xs):
        xs, states = xs.swapaxes(0, 1), []
        for layer, weights in zip(net, given, strict=True):
            (*xs, carry), _ = _apart(layer, weights, xs, mask, 2 if merge is None and layer is net[-1] else 1)
            xs, states = xs if len(xs) > 1 else xs[0], states + carry
        return jax.tree.map(lambda x: x.swapaxes(0, 1), xs), states

    def ours(params, xs):
        carry, ys = model.apply(params, xs, lengths=lengths)
        return [*ys] if merge is None else ys, jax.tree.leaves(carry)

    xs, valid = narrow(normal(T, B, D)), valid_of(lengths, T, B)
    dys = narrow(normal(H * 2))

    def value(run):
        def total(params, xs):
            ys, states = run(params, xs)
            ys = jax.tree.map(lambda y: jnp.where(valid, y, 0.0), ys)
            total = sum((y * dys[: y.shape[-1]]).sum() for y in jax.tree.leaves(ys))
            return total + sum(jnp.sin(s).sum() for s in states), (ys, states)

        return jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True))

    (_, aux), (d_params, d_xs) = value(ours)(params, xs)
    (_, want), (d_weights, d_inputs) = value(theirs)(given, xs)
    assert_close((aux, d_xs), (want, d_inputs), 1e-5)
    for i, (part, _) in enumerate(parts):
        assert_close(I.to_keras(part, d_params[str(i)]), d_weights[i], 1e-5)


def _apart(layer, weights, xs, mask, outputs):
    """([*outputs, list of final states], rest) of a Keras layer."""
    (*found,), rest = layer.stateless_call(weights, layer.non_trainable_variables, xs, mask=mask)
    return (*found[:outputs], found[outputs:]), rest


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
