"""jaxrnn's layers in the place of Flax's: equal results, and at home under everything that Flax does with a module."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint
import pytest
from flax import linen as nn
from flax import nnx
from flax.training.train_state import TrainState

import jaxrnn
from jaxrnn.interop import linen
from jaxrnn.interop.nnx import RNN, Bidirectional
from tests.helpers import assert_close, mostly_slow

T, B, D, H = 5, 3, 4, 6
LENGTHS = np.array([5, 1, 3])
VALID = np.arange(T) < LENGTHS[:, None]
CELLS = [nnx.SimpleCell, nnx.LSTMCell, nnx.OptimizedLSTMCell, nnx.GRUCell]
LINEN_CELLS = [nn.SimpleCell, nn.LSTMCell, nn.OptimizedLSTMCell, nn.GRUCell, nn.MGUCell]
OPTIONS = [
    {},
    {"return_carry": True, "time_major": True},
    {"reverse": True, "return_carry": True},
    {"reverse": True, "keep_order": True},
]


def inputs(dtype=np.float64, *, seed=0):
    return np.random.default_rng(seed).standard_normal((B, T, D)).astype(dtype)


def on_valid(out, options):
    """Outputs without what Flax's layers put out on padding; a carry stays."""
    ys = out[1] if options.get("return_carry") else out
    valid = VALID.T if options.get("time_major") else VALID
    return (out[0] if options.get("return_carry") else (), np.where(valid[..., None], 1.0, 0.0) * ys)


def both(flax_layer, our_layer, options, lengths):
    """Values and gradients of the two layers, functions (params, xs) -> out, at the same parameters."""
    ds = np.random.default_rng(1).standard_normal(2 * H)

    def value(layer):
        def total(params, xs):
            out = layer(params, xs, lengths)
            carry, ys = (
                on_valid(out, options) if lengths is not None else (out if options.get("return_carry") else ((), out))
            )
            return (ys * ds[: ys.shape[-1]]).sum() + sum(jnp.sin(c).sum() for c in jax.tree.leaves(carry)), (carry, ys)

        return jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True))

    return value(flax_layer), value(our_layer)


def of_nnx(layer, xs):
    """(params, the layer as a function (params, xs, lengths) -> out)."""
    graph, params, rest = nnx.split(layer, nnx.Param, ...)
    return params, lambda p, xs, lengths: nnx.merge(graph, p, jax.tree.map(jnp.asarray, rest))(xs, seq_lengths=lengths)


def of_linen(layer, xs):
    return layer.init(jax.random.key(0), xs), lambda p, xs, lengths: layer.apply(p, xs, seq_lengths=lengths)


def equal(theirs, ours, options, lengths):
    """Values and gradients of two layers, which draw equal parameters."""
    xs = inputs().swapaxes(0, 1) if options.get("time_major") else inputs()
    apart = of_linen if isinstance(theirs, nn.Module) else of_nnx
    (params, theirs), (drawn, ours) = (apart(layer, xs) for layer in (theirs, ours))
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(drawn), strict=True):
        np.testing.assert_array_equal(a, b)
    want, got = (run(params, xs) for run in both(theirs, ours, options, lengths))
    assert jax.tree.structure(got) == jax.tree.structure(want)
    assert_close(got, want, 1e-9)


@pytest.mark.parametrize("options", mostly_slow(OPTIONS, 0, len(OPTIONS) - 1), ids=str)
@pytest.mark.parametrize("kind", CELLS)
def test_nnx(x64, kind, options):
    cell = kind(D, H, param_dtype=jnp.float64, rngs=nnx.Rngs(1), **({"dtype": jnp.float64} if kind is CELLS[0] else {}))
    lengths = LENGTHS if "reverse" in options or options == {} else None
    equal(nnx.RNN(cell, **options), RNN(cell, **options), options, lengths)


@pytest.mark.parametrize("options", mostly_slow(OPTIONS, 0, len(OPTIONS) - 1), ids=str)
@pytest.mark.parametrize("kind", LINEN_CELLS)
def test_linen(x64, kind, options):
    types = {"param_dtype": jnp.float64} | ({"dtype": jnp.float64} if kind is nn.SimpleCell else {})
    lengths = LENGTHS if "reverse" in options or options == {} else None
    equal(*(layer(kind(H, **types), **options) for layer in (nn.RNN, linen.RNN)), options, lengths)


BOTH_WAYS = [{"return_carry": True}, {"merge_fn": lambda a, b: a * b}, {"return_carry": True, "time_major": True}]


@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("options", mostly_slow(BOTH_WAYS, 0), ids=["carry", "product", "time_major"])
def test_bidirectional(x64, options, lengths):
    types, shared = {"param_dtype": jnp.float64}, {k: x for k, x in options.items() if k == "time_major"}
    cells = [kind(D, H, rngs=nnx.Rngs(i), **types) for i, kind in enumerate((nnx.GRUCell, nnx.LSTMCell))]
    for theirs, ours, each, parts in (
        (nnx, jaxrnn.interop.nnx, {"rngs": nnx.Rngs(0)}, cells),
        (nn, linen, {}, [nn.LSTMCell(H, **types), nn.GRUCell(H, **types)]),
    ):
        layers = [
            library.Bidirectional(*(library.RNN(cell, **shared) for cell in parts), **options, **each)
            for library in (theirs, ours)
        ]
        equal(*layers, options, lengths)


class Own(nnx.nn.recurrent.RNNCellBase):
    """A cell that is in no library."""

    num_feature_axes = 1

    def __init__(self, in_features, hidden, *, rngs, noisy=False):
        self.in_features, self.hidden = in_features, hidden
        self.layers = nnx.List([nnx.Linear(in_features, hidden, rngs=rngs), nnx.Linear(hidden, hidden, rngs=rngs)])
        self.dropout = nnx.Dropout(0.5, rngs=rngs) if noisy else None

    def __call__(self, carry, x):
        read, recur = self.layers
        h = jnp.tanh(read(x) + recur(carry))
        h = h if self.dropout is None else self.dropout(h)
        return h, 2.0 * h

    def initialize_carry(self, input_shape, rngs=None, carry_init=None):
        return jnp.full((*input_shape[:-1], self.hidden), 0.5)


def test_any_nnx_cell():
    cell, xs = Own(D, H, rngs=nnx.Rngs(0)), inputs(np.float32)
    want = nnx.RNN(cell, return_carry=True)(xs)
    assert_close(RNN(cell, return_carry=True)(xs), want, 1e-6)
    assert_close(RNN(cell, return_carry=True, gradient=jaxrnn.checkpointed())(xs), want, 1e-6)
    split = np.zeros((B, T), bool)
    split[1, 2] = True
    assert_close(RNN(cell)(xs, resets=split)[1, 2:], nnx.RNN(cell)(xs[:, 2:])[1], 1e-6)


class Still(Own):
    """A cell that stays at a random initial carry."""

    def __call__(self, carry, x):
        return carry, carry

    def initialize_carry(self, input_shape, rngs=None, carry_init=None):
        return jax.random.normal(rngs.carry(), (*input_shape[:-1], self.hidden))


def test_random_initial_carries_of_both_directions_come_from_one_seed():
    xs, found = inputs(np.float32), []
    for seed in (0, 1):
        layer = Bidirectional(*(RNN(Still(D, H, rngs=nnx.Rngs(0))) for _ in range(2)), rngs=nnx.Rngs(seed))
        ys = np.asarray(layer(xs))
        np.testing.assert_array_equal(layer(xs), ys)  # the layer's own keys do not change
        found += [ys[:, 0, :H], ys[:, 0, H:]]
    assert len({x.tobytes() for x in found}) == 4


def test_a_cell_with_a_state_of_its_own_runs_by_flax():
    xs, layers = inputs(np.float32), []
    for layer in (nnx.RNN, RNN):
        layers.append(layer(Own(D, H, rngs=nnx.Rngs(0, dropout=1), noisy=True)))
    np.testing.assert_array_equal(*[layer(xs) for layer in layers])
    with pytest.raises(ValueError, match="resets: expected None for an nnx cell with a state"):
        layers[1](xs, resets=np.zeros((B, T), bool))


def test_a_jaxrnn_cell_under_all_that_nnx_does():
    """jit, grad, Optimizer, split and merge, vmap, scan over layers, remat: each equals the plain call."""
    xs, dys = inputs(np.float32), np.ones((B, T, H), np.float32)
    cell = jaxrnn.lstm(D, H)
    rnn = RNN(cell, rngs=nnx.Rngs(0))
    params = cell.init(nnx.Rngs(0).params())
    want = jaxrnn.unroll(cell, params, xs, time_major=False)[1]
    assert_close(rnn(xs), want, 1e-6)
    assert_close(nnx.jit(lambda m, xs: m(xs))(rnn, xs), want, 1e-6)
    graph, state = nnx.split(rnn)
    assert_close(jax.jit(lambda state, xs: nnx.merge(graph, state)(xs))(state, xs), want, 1e-6)
    assert_close(nnx.remat(lambda m, xs: m(xs))(rnn, xs), want, 1e-6)

    d_want = jax.jit(jax.grad(lambda p: (jaxrnn.unroll(cell, p, xs, time_major=False)[1] * dys).sum()))(params)
    for run in (lambda m, xs: m(xs), nnx.remat(lambda m, xs: m(xs))):
        grads = nnx.jit(nnx.grad(lambda m, run=run: (run(m, xs) * dys).sum()))(rnn)
        assert_close(nnx.to_pure_dict(grads)["params"], d_want, 1e-5)
    optimizer = nnx.Optimizer(rnn, optax.sgd(0.1), wrt=nnx.Param)
    nnx.jit(lambda m, o, g: o.update(m, g))(rnn, optimizer, grads)
    assert_close(rnn.params["w_h"][...], params["w_h"] - 0.1 * d_want["w_h"], 1e-5)

    @nnx.vmap(in_axes=0, out_axes=0)
    def ensemble(key):
        return RNN(cell, rngs=nnx.Rngs(key))

    members = ensemble(jax.random.split(jax.random.key(0), 2))
    ys = nnx.vmap(lambda m, xs: m(xs), in_axes=(0, None))(members, xs)
    assert ys.shape == (2, B, T, H)
    one = jax.tree.map(lambda x: x[1], nnx.to_pure_dict(nnx.state(members, nnx.Param))["params"])
    assert_close(ys[1], jaxrnn.unroll(cell, one, xs, time_major=False)[1], 1e-5)
    of_all = nnx.vmap(nnx.grad(lambda m, xs: (m(xs) * dys).sum()), in_axes=(0, None))(members, xs)
    d_one = jax.grad(lambda p: (jaxrnn.unroll(cell, p, xs, time_major=False)[1] * dys).sum())(one)
    assert_close(jax.tree.map(lambda x: x[1], nnx.to_pure_dict(of_all)["params"]), d_one, 1e-5)

    @nnx.vmap(in_axes=0, out_axes=0)
    def layers(key):
        return RNN(jaxrnn.gru(H, H), rngs=nnx.Rngs(key))

    deep = layers(jax.random.split(jax.random.key(0), 3))

    def scanned(deep):
        return nnx.scan(lambda hs, m: (m(hs), None), in_axes=(nnx.Carry, 0), out_axes=(nnx.Carry, 0))(want, deep)[0]

    def one_by_one(params):
        hs = want
        for i in range(3):
            own = jax.tree.map(lambda x, i=i: x[i], params)
            hs = jaxrnn.unroll(jaxrnn.gru(H, H), own, hs, time_major=False)[1]
        return hs

    own = nnx.to_pure_dict(nnx.state(deep, nnx.Param))["params"]
    assert_close(scanned(deep), one_by_one(own), 1e-5)
    grads = nnx.to_pure_dict(nnx.grad(lambda m: (scanned(m) * dys).sum())(deep))["params"]
    assert_close(grads, jax.grad(lambda p: (one_by_one(p) * dys).sum())(own), 1e-5)


@pytest.mark.filterwarnings("ignore:carry_init is provided:UserWarning")
def test_no_call_changes_a_key():
    rnn = RNN(nnx.LSTMCell(D, H, carry_init=nnx.initializers.normal(), rngs=nnx.Rngs(0)), rngs=nnx.Rngs(3))

    def seen():
        return [str(x) for x in jax.tree.leaves(nnx.state(rnn))]

    before = seen()
    ys = nnx.jit(lambda m, xs: m(xs))(rnn, inputs(np.float32))
    np.testing.assert_array_equal(ys, nnx.jit(lambda m, xs: m(xs))(rnn, inputs(np.float32)))
    assert seen() == before


@pytest.mark.filterwarnings("ignore:keep_rngs argument is deprecated")
def test_keys_that_only_an_initial_carry_would_read_do_not_stand_in_the_way():
    cell = nnx.LSTMCell(D, H, rngs=nnx.Rngs(0), keep_rngs=True)
    resets = np.zeros((B, T), bool)
    resets[:, 2] = True
    ys = RNN(cell, gradient=jaxrnn.checkpointed())(inputs(np.float32), resets=resets)
    assert_close(ys[:, 2:], nnx.RNN(cell)(inputs(np.float32)[:, 2:]), 1e-5)


def test_all_arguments_of_flax_are_taken():
    """Constructors and calls with all of them give equal results."""
    xs, start = inputs(np.float32).swapaxes(0, 1), np.full((B, H), 0.5, np.float32)
    cell, made = nnx.GRUCell(D, H, rngs=nnx.Rngs(0)), []
    for layer in (nnx.RNN, RNN):
        names = {*inspect.signature(layer.__init__).parameters}
        options = {
            "time_major": True, "return_carry": False, "reverse": False, "keep_order": False, "unroll": 2,
            "state_axes": nnx.StateAxes({...: nnx.Carry}), "broadcast_rngs": None, "rngs": nnx.Rngs(0),
        }  # fmt: skip
        assert names - {"self", "cell", "gradient", "params"} == {*options}
        made.append(layer(cell, **options))
    call = {
        "initial_carry": start, "seq_lengths": LENGTHS, "return_carry": True, "time_major": True, "reverse": True,
        "keep_order": True, "rngs": nnx.Rngs(0),
    }  # fmt: skip
    assert {*inspect.signature(nnx.RNN.__call__).parameters} == {"self", "inputs", *call}
    (carry, ys), (got, found) = (layer(xs, **call) for layer in made)
    assert_close((got, found * VALID.T[..., None]), (carry, ys * VALID.T[..., None]), 1e-5)


@pytest.mark.parametrize("build", [lambda: jaxrnn.lstm(D, H), lambda: jaxrnn.ctrnn(D, H, dt=1.0, tau=5.0)])
def test_layers_of_jaxrnn_cells_are_saved_by_orbax(tmp_path, build):
    saved, other = (RNN(build(), rngs=nnx.Rngs(i)) for i in range(2))
    with orbax.checkpoint.StandardCheckpointer() as saver:
        saver.save(tmp_path / "state", nnx.state(saved))
        saver.wait_until_finished()
        nnx.update(other, saver.restore(tmp_path / "state", nnx.state(other)))
    np.testing.assert_array_equal(other(inputs(np.float32)), saved(inputs(np.float32)))


def test_what_flax_saved_fits(tmp_path):
    """The state of Flax's layer, through orbax, into ours in its place."""
    theirs, ours = (layer(nnx.GRUCell(D, H, rngs=nnx.Rngs(i))) for i, layer in enumerate((nnx.RNN, RNN)))
    with orbax.checkpoint.StandardCheckpointer() as saver:
        saver.save(tmp_path / "state", nnx.state(theirs, nnx.Param))
        saver.wait_until_finished()
        nnx.update(ours, saver.restore(tmp_path / "state", nnx.state(ours, nnx.Param)))
    assert_close(ours(inputs(np.float32)), theirs(inputs(np.float32)), 1e-5)


def test_linen_under_vmap_and_in_a_train_state():
    class Network(nn.Module):
        rnn: type

        @nn.compact
        def __call__(self, xs):
            members = nn.vmap(
                self.rnn,
                in_axes=None,
                out_axes=0,
                axis_size=2,
                variable_axes={"params": 0},
                split_rngs={"params": True},
            )
            return nn.Dense(1)(members(nn.GRUCell(H))(xs).mean(0))

    xs, losses = inputs(np.float32), []
    for rnn in (nn.RNN, linen.RNN):
        network = Network(rnn)
        state = TrainState.create(
            apply_fn=network.apply, params=network.init(jax.random.key(0), xs)["params"], tx=optax.adam(1e-2)
        )

        @jax.jit
        def step(state):
            loss, grads = jax.value_and_grad(lambda p: jnp.square(state.apply_fn({"params": p}, xs) - 1.0).mean())(
                state.params
            )
            return state.apply_gradients(grads=grads), loss

        curve = []
        for _ in range(5):
            state, loss = step(state)
            curve.append(float(loss))
        losses.append(curve)
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_a_jaxrnn_cell_in_linen():
    xs, cell = inputs(np.float32), jaxrnn.lstm(D, H, recurrent_dropout=0.5)
    rnn = linen.RNN(cell, return_carry=True, gradient=jaxrnn.checkpointed())
    variables = rnn.init(jax.random.key(0), xs)
    carry, ys = rnn.apply(variables, xs, seq_lengths=LENGTHS)
    want = jaxrnn.unroll(cell, variables["params"]["cell"], xs, lengths=LENGTHS, time_major=False)
    assert_close((carry, ys), want, 1e-6)
    assert float(abs(rnn.apply(variables, xs, key=jax.random.key(1))[1] - rnn.apply(variables, xs)[1]).max()) > 0.0


def test_axes_of_space():
    """A convolutional LSTM, whose features have three axes, with rows of different lengths."""
    xs = np.random.default_rng(0).standard_normal((B, T, 4, 4, 2)).astype(np.float32)
    theirs, ours = (layer(nn.ConvLSTMCell(3, (3, 3)), return_carry=True) for layer in (nn.RNN, linen.RNN))
    params = theirs.init(jax.random.key(0), xs)
    want, got = (layer.apply(params, xs, seq_lengths=LENGTHS) for layer in (theirs, ours))
    assert_close(got[0], want[0], 1e-5)
    assert_close(got[1] * VALID[..., None, None, None], want[1] * VALID[..., None, None, None], 1e-5)


def test_rows_of_no_step_keep_the_initial_carry_and_padding_is_zero():
    cell = nnx.GRUCell(D, H, rngs=nnx.Rngs(0))
    start = np.random.default_rng(0).standard_normal((B, H)).astype(np.float32)
    carry, ys = RNN(cell, return_carry=True)(inputs(np.float32), seq_lengths=np.array([0, 5, 2]), initial_carry=start)
    np.testing.assert_array_equal(carry[0], start[0])
    assert not np.any(ys[0])
    assert not np.any(ys[2, 2:])


def test_no_name_of_flax_is_hidden():
    """A program that imports from here finds Flax's own names, but for what stands in their place."""
    for ours, theirs in ((jaxrnn.interop.nnx, nnx), (jaxrnn.interop.linen, nn)):
        other = {n for n in dir(theirs) if not n.startswith("_") and getattr(ours, n) is not getattr(theirs, n)}
        assert other == {"RNN", "Bidirectional"}


def test_cells_with_arrays_as_options_and_cells_without_parameters():
    xs = inputs(np.float32)
    tau = np.linspace(5.0, 9.0, H).astype(np.float32)
    cell = jaxrnn.ctrnn(D, H, dt=1.0, tau=tau)
    rnn = RNN(cell, rngs=nnx.Rngs(0))
    want = jaxrnn.unroll(cell, cell.init(nnx.Rngs(0).params()), xs, time_major=False)[1]
    assert_close(nnx.jit(lambda m, xs: m(xs))(rnn, xs), want, 1e-6)

    class Sum(nnx.Module):
        num_feature_axes = 1

        def __call__(self, carry, x):
            return carry + x, carry + x

        def initialize_carry(self, input_shape, rngs=None):
            return jnp.zeros(input_shape)

    assert_close(RNN(Sum())(xs), np.cumsum(xs, 1), 1e-6)


CELL = nnx.GRUCell(D, H, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("call", "error", "reason"),
    [
        (lambda: RNN(jaxrnn.lstm(D, H)), ValueError, "rngs: expected nnx.Rngs, to draw the parameters"),
        (lambda: RNN(nnx.Linear(D, H, rngs=nnx.Rngs(0))), TypeError, "cell: expected a"),
        (
            lambda: RNN(jaxrnn.lstm(D, H), rngs=nnx.Rngs(0))(np.ones((D,), np.float32)),
            ValueError,
            "inputs: expected axes",
        ),
        (lambda: RNN(jaxrnn.lstm(D, H), rngs=nnx.Rngs(0), gradient="bptt"), TypeError, "gradient: expected"),
        (lambda: RNN(nnx.GRUCell(D, H, rngs=nnx.Rngs(0)), params={}), ValueError, "params: expected None"),
        (lambda: RNN(jaxrnn.lstm(D, H), params={"w": np.ones(3)})(inputs(np.float32)), ValueError, "params: expected"),
        (lambda: jaxrnn.interop.from_nnx(nnx.Linear(D, H, rngs=nnx.Rngs(0))), TypeError, "cell"),
        (
            lambda: jaxrnn.interop.from_nnx(Own(D, H, rngs=nnx.Rngs(0), noisy=True)),
            ValueError,
            "no state beside nnx.Param",
        ),
        (lambda: RNN(CELL)(inputs(np.float32), resets=np.ones((B, 1), bool)), ValueError, "resets: expected shape"),
        (lambda: RNN(CELL)(inputs(np.float32), seq_lengths=np.ones(T, int)), ValueError, "seq_lengths: expected shape"),
        (lambda: RNN(CELL)(inputs(np.float32)[..., :2]), ValueError, "inputs: expected 4 features"),
        (lambda: RNN(CELL)(inputs(np.float32), initial_carry=np.ones(3)), ValueError, "initial_carry"),
        (lambda: RNN(CELL)(inputs(np.float32), reverse="no"), TypeError, "reverse: expected True or False"),
        (lambda: jaxrnn.interop.from_nnx(nnx.RNN(CELL)), TypeError, "of an nnx.RNN, its cell"),
        (lambda: jaxrnn.interop.from_linen(nn.RNN(nn.LSTMCell(4)), {}), TypeError, "module: expected"),
        (lambda: jaxrnn.interop.from_linen(nn.LSTMCell(4), {}), ValueError, "params: expected 'ii'"),
        (lambda: jaxrnn.interop.nnx.layer(lambda rngs: nnx.BatchNorm(3, rngs=rngs)), ValueError, "BatchStat"),
        (lambda: jaxrnn.interop.nnx.layer(3), TypeError, "module: expected"),
    ],
)
def test_mistakes(call, error, reason):
    with pytest.raises(error, match=reason):
        call()
