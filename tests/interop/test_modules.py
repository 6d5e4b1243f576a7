"""Flax's cells and modules as parts of jaxrnn's models."""

import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import jaxrnn
from tests.helpers import assert_close

T, B, D, H = 6, 3, 4, 5
XS = np.random.default_rng(0).standard_normal((T, B, D)).astype(np.float32)
LENGTHS = np.array([6, 2, 4])
VALID = np.arange(T)[:, None] < LENGTHS


class Front(nnx.Module):
    """A convolution over time, [*batch, T, D] -> [*batch, T, 8], with dropout behind it."""

    def __init__(self, rngs):
        self.conv = nnx.Conv(D, 8, kernel_size=(3,), rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, xs):
        return self.dropout(jax.nn.relu(self.conv(xs)))


class OwnCell(nn.RNNCellBase):
    """A linen cell that is in no library."""

    hidden: int
    num_feature_axes = 1

    @nn.compact
    def __call__(self, carry, x):
        h = jnp.tanh(nn.Dense(self.hidden)(x) + nn.Dense(self.hidden)(carry))
        return h, h

    @nn.nowrap
    def initialize_carry(self, rng, input_shape):
        return jnp.zeros((*input_shape[:-1], self.hidden))


def build():
    return jaxrnn.chain(
        jaxrnn.interop.nnx.layer(Front, sequence=True),
        jaxrnn.gru(8, H),
        jaxrnn.interop.nnx.layer(lambda rngs: nnx.Linear(H, 2, rngs=rngs)),
    )


def test_a_front_and_a_head_of_nnx_equal_nnx():
    model = build()
    params = model.init(jax.random.key(0))
    ys = jax.jit(lambda p: model.apply(p, XS, lengths=LENGTHS)[1])(params)
    front = params["0"]["conv"]
    conv = nnx.Conv(D, 8, kernel_size=(3,), rngs=nnx.Rngs(0))
    nnx.update(conv, nnx.State({name: nnx.Param(x) for name, x in front.items()}))
    hs = jax.nn.relu(conv((XS * VALID[..., None]).swapaxes(0, 1))).swapaxes(0, 1)
    hs = jaxrnn.unroll(jaxrnn.gru(8, H), params["1"]["0"], hs, lengths=LENGTHS)[1]
    want = (hs @ params["2"]["kernel"] + params["2"]["bias"]) * VALID[..., None]
    assert_close(ys, want, 1e-5)


def test_padding_does_not_reach_a_convolution():
    model = build()
    params = model.init(jax.random.key(0))
    dirty = np.where(VALID[..., None], XS, np.nan).astype(np.float32)
    grad = jax.jit(jax.grad(lambda p, xs: jnp.square(model.apply(p, xs, lengths=LENGTHS)[1]).sum()))
    assert_close(grad(params, dirty), grad(params, XS), 0.0)


def test_dropout_of_a_module_needs_a_key():
    model = build()
    params = model.init(jax.random.key(0))
    run = jax.jit(lambda key: model.apply(params, XS, key=key)[1])
    plain = model.apply(params, XS)[1]
    first, again, other = (run(jax.random.key(i)) for i in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert float(abs(first - other).max()) > 0.0
    assert float(abs(first - plain).max()) > 0.0


def test_fit_sweep_and_check_gradients_take_modules():
    model, data = build(), {"xs": XS, "targets": np.zeros((T, B, 2), np.float32)}
    assert jaxrnn.check_gradients(model, model.init(jax.random.key(0)), XS[:3, :1]).ok
    result = jaxrnn.fit(
        model, jaxrnn.losses.mean_squared_error, optax.adam(1e-2), data, key=jax.random.key(0), steps=30, batch_size=3,
        progress=False,
    )  # fmt: skip
    losses = result.history.train["loss"]
    assert losses[-1] < 0.5 * losses[0]
    results = jaxrnn.sweep(
        jaxrnn.task(lambda h: (build(), jaxrnn.losses.mean_squared_error, optax.adam(h.lr)), data, batch_size=3),
        jaxrnn.grid(lr=[1e-3, 1e-2], seed=[0, 1]), key=jax.random.key(0), steps=3, strategy="vmap", progress=False,
    )  # fmt: skip
    first = [results.params(i)["0"]["conv"]["kernel"] for i in range(2)]
    assert float(abs(first[0] - first[1]).max()) > 0.0  # each seed draws the module anew


def test_a_module_that_is_there_keeps_its_parameters():
    linear = nnx.Linear(D, 2, rngs=nnx.Rngs(3))
    layer = jaxrnn.interop.nnx.layer(linear)
    params = layer.init(jax.random.key(9))
    np.testing.assert_array_equal(params["kernel"], linear.kernel[...])
    assert_close(layer.apply(params, XS)[1], linear(XS), 1e-6)


def test_linen_modules():
    class Network(nn.Module):
        @nn.compact
        def __call__(self, xs):
            return nn.Conv(2, (3,))(nn.Dense(7)(xs))

    layer = jaxrnn.interop.linen.layer(Network(), D, sequence=True)
    params = layer.init(jax.random.key(0))
    want = Network().apply({"params": params}, XS.swapaxes(0, 1)).swapaxes(0, 1)
    assert_close(layer.apply(params, XS)[1], want, 1e-6)
    with pytest.raises(ValueError, match="no collection beside 'params'"):
        jaxrnn.interop.linen.layer(nn.BatchNorm(use_running_average=True), D)


def test_a_module_that_changes_the_number_of_steps_is_refused():
    layer = jaxrnn.interop.nnx.layer(lambda r: nnx.Conv(D, 2, (3,), strides=2, rngs=r), sequence=True)
    with pytest.raises(ValueError, match="the same 6 steps"):
        layer.apply(layer.init(jax.random.key(0)), XS)


@pytest.mark.parametrize("kind", [nn.SimpleCell, nn.OptimizedLSTMCell, nn.GRUCell, nn.MGUCell, OwnCell])
def test_any_linen_cell_with_every_gradient(kind):
    module = kind(H)
    carry = module.initialize_carry(jax.random.key(0), (D,))
    drawn = module.init(jax.random.key(1), carry, XS[0, 0])["params"]
    cell, params = jaxrnn.interop.from_linen(module, drawn, D=D)
    assert jaxrnn.check_gradients(cell, params, XS[:3, :1]).ok
    want = nn.RNN(module, time_major=True).apply({"params": {"cell": drawn}}, XS)
    assert_close(jaxrnn.unroll(cell, params, XS)[1], want, 1e-5)
    again = cell.init(jax.random.key(1))
    assert jax.tree.structure(again) == jax.tree.structure(params)


class OwnNnxCell(nnx.nn.recurrent.RNNCellBase):
    """A cell that is in no library, with two states of different sizes."""

    num_feature_axes = 1

    def __init__(self, D, H, *, rngs):
        self.H, self.read, self.recur = H, nnx.Linear(D, H, rngs=rngs), nnx.Linear(H + 2, H, rngs=rngs)

    def __call__(self, carry, x):
        h, slow = carry
        h = jnp.tanh(self.read(x) + self.recur(jnp.concatenate([h, slow], -1)))
        slow = 0.9 * slow + 0.1 * h[..., :2]
        return (h, slow), h * slow[..., :1]

    def initialize_carry(self, input_shape, rngs=None, carry_init=None):
        return jnp.zeros((*input_shape[:-1], self.H)), jnp.ones((*input_shape[:-1], 2))


@pytest.mark.parametrize("kind", [nnx.SimpleCell, nnx.OptimizedLSTMCell, nnx.GRUCell, OwnNnxCell])
def test_any_nnx_cell_with_every_gradient(kind):
    module = kind(D, H, rngs=nnx.Rngs(0))
    cell, params = jaxrnn.interop.from_nnx(module, D=D)
    assert jaxrnn.check_gradients(cell, params, XS[:3, :1]).ok
    assert_close(jaxrnn.unroll(cell, params, XS)[1], nnx.RNN(module, time_major=True)(XS), 1e-5)
    graph, own, rest = nnx.split(module, nnx.Param, ...)
    want = jax.grad(lambda own: nnx.RNN(nnx.merge(graph, own, rest), time_major=True)(XS).sum())(own)
    got = jax.grad(lambda p: jaxrnn.unroll(cell, p, XS)[1].sum())(params)
    if kind is OwnNnxCell:  # the parameters of others get names of ours
        assert_close(got, nnx.to_pure_dict(want), 1e-4)
    assert jax.tree.structure(cell.init(jax.random.key(1))) == jax.tree.structure(params)


@pytest.mark.parametrize("kind", [jaxrnn.elman, jaxrnn.lstm, jaxrnn.gru])
def test_there_and_back_again(kind):
    cell = kind(D, H)
    params = cell.init(jax.random.key(0))
    module, named = jaxrnn.interop.to_linen(cell, params)
    back = jaxrnn.interop.from_linen(module, named)[1]
    jax.tree.map(np.testing.assert_array_equal, back, params)
    made, back = jaxrnn.interop.from_nnx(jaxrnn.interop.to_nnx(cell, params))
    assert_close(jaxrnn.unroll(made, back, XS), jaxrnn.unroll(cell, params, XS), 1e-6)
    jax.tree.map(np.testing.assert_array_equal, jaxrnn.interop.from_nnx(jaxrnn.interop.to_nnx(made, back))[1], back)


def test_a_trained_hidden_bias_is_not_lost():
    """b_h of r and z joins b where Flax and Equinox have one bias."""
    cell = jaxrnn.gru(D, H)
    params = jax.tree.map(lambda x: x + 0.3, cell.init(jax.random.key(0)))
    module, named = jaxrnn.interop.to_linen(cell, params)
    want = jaxrnn.unroll(cell, params, XS)[1]
    assert_close(nn.RNN(module, time_major=True).apply({"params": {"cell": named}}, XS), want, 1e-5)
    cell = jaxrnn.lstm(D, H, hidden_bias=True)
    params = jax.tree.map(lambda x: x + 0.3, cell.init(jax.random.key(0)))
    made = jaxrnn.interop.to_nnx(cell, params)
    assert_close(nnx.RNN(made, time_major=True)(XS), jaxrnn.unroll(cell, params, XS)[1], 1e-5)


class Images(nnx.Module):
    """[*batch, 8, 8, 1] -> [*batch, 6]."""

    def __init__(self, rngs):
        self.conv, self.head = nnx.Conv(1, 2, (3, 3), strides=2, rngs=rngs), nnx.Linear(32, 6, rngs=rngs)

    def __call__(self, xs):
        return self.head(jnp.tanh(self.conv(xs)).reshape(*xs.shape[:-3], -1))


def test_images_in_front_with_resets_and_checked():
    model = jaxrnn.chain(jaxrnn.interop.nnx.layer(Images), jaxrnn.gru(6, H))
    params, xs = model.init(jax.random.key(0)), np.random.default_rng(0).standard_normal((4, 2, 8, 8, 1))
    assert jaxrnn.check_gradients(model, params, xs).ok
    resets = np.zeros((4, 2), bool)
    resets[2, 1] = True
    whole = model.apply(params, xs.astype(np.float32), resets=resets)[1]
    assert_close(whole[2:, 1], model.apply(params, xs[2:, 1:].astype(np.float32))[1][:, 0], 1e-5)


def test_symbols_in_front():
    front = jaxrnn.interop.nnx.layer(
        lambda rngs: nnx.Sequential(nnx.Embed(9, 4, rngs=rngs), nnx.Conv(4, 4, (3,), rngs=rngs)), sequence=True, axes=0
    )
    params, xs = front.init(jax.random.key(0)), np.arange(24, dtype=np.int32).reshape(T, 4) % 9
    ys = front.apply(params, xs)[1]
    for b in range(4):  # each row by itself
        assert_close(ys[:, b], front.apply(params, xs[:, b])[1], 1e-5)
    assert jaxrnn.interop.linen.layer(nn.Embed(9, 4), (), dtype=jnp.int32).init(jax.random.key(0))


def test_a_module_that_mixes_rows_is_refused():
    for make in (
        lambda rngs: nnx.Conv(D, 2, (3,), rngs=rngs),
        lambda rngs: nnx.Sequential(nnx.RNN(nnx.GRUCell(D, H, rngs=rngs))),
    ):
        with pytest.raises(ValueError, match="maps each step by itself"):
            jaxrnn.interop.nnx.layer(make)


def test_equal_models_are_equal_and_can_be_pickled():
    """So that one trace serves both, and a saved model is known in another process."""
    for make in (build, lambda: jaxrnn.interop.nnx.layer(nnx.Linear(D, 2, rngs=nnx.Rngs(3)))):
        a, b = make(), make()
        assert a == b
        assert hash(a) == hash(b)
        assert pickle.loads(pickle.dumps(a)) == a
        assert "0x" not in repr(a)
    a, b = (jaxrnn.interop.nnx.layer(nnx.Linear(D, 2, rngs=nnx.Rngs(seed))) for seed in (3, 4))
    assert a != b


def test_a_model_with_modules_is_saved_and_known_again(tmp_path):
    model = build()
    params = model.init(jax.random.key(0))
    jaxrnn.save(tmp_path / "net.safetensors", params, model)
    code = (
        "import sys; sys.path.insert(0, '.')\nimport jaxrnn\nfrom tests.interop.test_modules import build\n"
        f"print(jaxrnn.load({str(tmp_path / 'net.safetensors')!r}, build())['1']['0']['b'].shape)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.strip() == f"({3 * H},)", run.stderr


def changed(**parts):
    cell = nnx.GRUCell(D, H, rngs=nnx.Rngs(0))
    for name, part in parts.items():
        setattr(cell, name, part)
    return cell


@pytest.mark.parametrize(
    "cell",
    [
        changed(dense_h=nnx.Linear(H, 3 * H, bias_init=nnx.initializers.ones, rngs=nnx.Rngs(1))),
        changed(dense_h=nnx.LoRALinear(H, 3 * H, lora_rank=2, b_initializer=nnx.initializers.ones, rngs=nnx.Rngs(1))),
        nnx.GRUCell(D, H, gate_fn=jax.nn.hard_sigmoid, rngs=nnx.Rngs(0)),
    ],
    ids=["bias", "LoRA", "gate_fn"],
)
def test_a_cell_that_was_changed_runs_as_it_is(cell):
    xs = XS.swapaxes(0, 1)
    assert_close(jaxrnn.interop.nnx.RNN(cell)(xs), nnx.RNN(cell)(xs), 1e-6)


def test_initial_carries_and_sizes_of_linen_are_kept():
    module = nn.LSTMCell(H, carry_init=nn.initializers.ones)
    params = nn.RNN(module).init(jax.random.key(0), XS)["params"]["cell"]
    cell, params = jaxrnn.interop.from_linen(module, params)
    want = nn.RNN(module, time_major=True).apply({"params": {"cell": params}}, XS)
    assert_close(jaxrnn.unroll(cell, params, XS)[1], want, 1e-6)
    with pytest.raises(ValueError, match="expected shape"):
        jaxrnn.interop.from_linen(nn.LSTMCell(H + 1), params)
    with pytest.raises(ValueError, match="D: expected 4"):
        jaxrnn.interop.from_linen(nn.LSTMCell(H), params, D=7)
