"""What `init` draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.registry import ENTRIES

KEY = jax.random.key(0)
WIDE = {  # name -> (cell, gates), H = 64 and D = 5 with orthogonal and Glorot draws
    "elman": (jaxrnn.elman(5, 64), 1),
    "lstm": (jaxrnn.lstm(5, 64), 4),
    "lstm_coupled": (jaxrnn.lstm(5, 64, coupled=True), 3),
    "gru": (jaxrnn.gru(5, 64), 3),
    "gru_before": (jaxrnn.gru(5, 64, reset_after=False), 3),
    "ctrnn": (jaxrnn.ctrnn(5, 64, 1.0, 4.0), 1),
}


def blocks(w, G):
    """Each gate's columns."""
    return np.split(np.asarray(w, np.float64), G, -1)


@pytest.mark.parametrize("name", WIDE)
def test_each_gates_recurrent_block_is_orthogonal_and_its_own(name):
    cell, G = WIDE[name]
    squares = blocks(cell.init(KEY)["w_h"], G)
    for q in squares:
        np.testing.assert_allclose(q.T @ q, np.eye(64), atol=1e-5)
    for a in range(G):
        for b in range(a):
            assert np.max(np.abs(squares[a] - squares[b])) > 0.1


@pytest.mark.parametrize("name", WIDE)
def test_each_gates_input_block_fills_glorots_bounds(name):
    """The fan-out is one gate's, not that of all gates together."""
    cell, G = WIDE[name]
    bound = np.sqrt(6.0 / (5 + 64))
    for w in blocks(cell.init(KEY)["w_x"], G):
        assert 0.97 * bound < np.max(np.abs(w)) <= bound
        assert abs(np.mean(w)) < 0.1 * bound
        assert abs(np.std(w) - bound / np.sqrt(3.0)) < 0.1 * bound


def test_biases_are_zero_but_for_the_forget_gate():
    H = 64
    zeros = np.zeros(H)
    for cell, want in (
        (jaxrnn.elman(5, H), [zeros]),
        (jaxrnn.gru(5, H), [zeros] * 3),
        (jaxrnn.ctrnn(5, H, 1.0, 4.0), [zeros]),
        (jaxrnn.lstm(5, H), [zeros, zeros + 1.0, zeros, zeros]),
        (jaxrnn.lstm(5, H, forget_bias=0.5), [zeros, zeros + 0.5, zeros, zeros]),
        (jaxrnn.lstm(5, H, coupled=True), [zeros - 1.0, zeros, zeros]),
        (jaxrnn.lstm(5, H, proj_size=7), [zeros, zeros + 1.0, zeros, zeros]),
    ):
        np.testing.assert_array_equal(cell.init(KEY)["b"], np.concatenate(want))
    np.testing.assert_array_equal(jaxrnn.gru(5, H).init(KEY)["b_h"], np.zeros(3 * H))


def test_layer_norm_starts_as_plain_normalisation_with_the_forget_bias_in_its_shift():
    params = jaxrnn.lstm(5, 8, layer_norm=True).init(KEY)
    assert set(params) == {"w_x", "w_h", "norm"}
    shift = np.zeros((4, 8))
    shift[1] = 1.0
    np.testing.assert_array_equal(params["norm"]["shift"], shift)
    for name, value in (("scale_x", 1.0), ("scale_h", 1.0), ("scale_c", 1.0), ("shift_c", 0.0)):
        np.testing.assert_array_equal(params["norm"][name], np.full_like(params["norm"][name], value))


def test_chrono_biases_of_lstm():
    """b_f = log(u), u ~ U(1, 99); b_i = -b_f; the others are zero."""
    i, f, g, o = blocks(jaxrnn.lstm(5, 2000, chrono=100.0, recurrent_init=jax.nn.initializers.zeros).init(KEY)["b"], 4)
    np.testing.assert_array_equal(i, -f)
    np.testing.assert_array_equal([g, o], 0.0)
    u = np.exp(f)
    assert 1.0 <= np.min(u) < 1.5
    assert 98.5 < np.max(u) <= 99.0 + 1e-4
    assert abs(np.mean(u) - 50.0) < 2.0


def test_chrono_biases_of_the_coupled_lstm_and_the_gru():
    """Where the memory is kept by 1 - i, and by z: h[t] = (1 - z) n + z h[t-1]."""
    zeros = jax.nn.initializers.zeros
    i, g, o = blocks(jaxrnn.lstm(5, 2000, coupled=True, chrono=100.0, recurrent_init=zeros).init(KEY)["b"], 3)
    r, z, n = blocks(jaxrnn.gru(5, 2000, chrono=100.0, recurrent_init=zeros).init(KEY)["b"], 3)
    np.testing.assert_array_equal([g, o, r, n], 0.0)
    for u in (np.exp(-i), np.exp(z)):
        assert 1.0 <= np.min(u) < 1.5
        assert 98.5 < np.max(u) <= 99.0 + 1e-4
        assert abs(np.mean(u) - 50.0) < 2.0


def test_torch_uniform_fills_its_bounds_for_all_parameters():
    H = 100
    uniform = jaxrnn.initializers.torch_uniform(H)
    cell = jaxrnn.gru(5, H, input_init=uniform, recurrent_init=uniform, bias_init=uniform)
    for name, value in cell.init(KEY).items():
        assert 0.095 < np.max(np.abs(value)) <= 0.1, name
        assert abs(np.mean(value)) < 0.02, name
    assert jaxrnn.initializers.torch_uniform(H) is uniform  # equal cells hold the same function
    bias = jaxrnn.lstm(5, H, bias_init=uniform).init(KEY)["b"]
    i, f, g, o = blocks(bias, 4)
    assert 0.9 <= np.min(f) <= np.max(f) <= 1.1  # the forget bias is added to what is drawn
    for b in (i, g, o):
        assert 0.05 < np.max(np.abs(b)) <= 0.1


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_param_dtype_is_that_of_all_parameters(dtype):
    for cell in (
        jaxrnn.lstm(3, 4, peephole=True, learn_carry=True, param_dtype=dtype),
        jaxrnn.gru(3, 4, param_dtype=dtype),
    ):
        assert {x.dtype for x in jax.tree.leaves(cell.init(KEY))} == {jnp.dtype(dtype)}
        ys = jax.eval_shape(lambda p, cell=cell: jaxrnn.unroll(cell, p, jnp.zeros((2, 3), dtype))[1], cell.init(KEY))
        assert ys.dtype == np.float32


def test_keys_decide_what_is_drawn():
    for entry in ENTRIES:
        cell = entry.build()
        a, b, c = (cell.init(jax.random.key(k)) for k in (0, 0, 1))
        jax.tree.map(np.testing.assert_array_equal, a, b)
        name = "w" if entry.builder is jaxrnn.cell else "w_x"
        assert np.all(a[name] != c[name]), entry.name


def test_many_orthogonal_matrices_are_drawn_one_after_the_other():
    """Several batched decompositions in one program wait for each other for ever; see `initializers.orthogonal`."""
    keys = jax.random.split(KEY, 4)
    cell = jaxrnn.gru(8, 3)
    program = jax.jit(jax.vmap(cell.init)).lower(keys).as_text()
    assert "tensor<3x3xf32>" in program
    assert "tensor<4x3x3xf32>" not in "".join(line for line in program.splitlines() if "geqrf" in line)
    assert any("geqrf" in line for line in program.splitlines())
    for member, w_h in enumerate(jax.vmap(cell.init)(keys)["w_h"]):
        np.testing.assert_allclose(w_h, cell.init(keys[member])["w_h"], atol=1e-6)
