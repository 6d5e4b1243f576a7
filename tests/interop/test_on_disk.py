"""Parameters on disk: names and sizes are looked at first, damage is found, and no pickle is ever read."""

import json
import tracemalloc

import jax
import numpy as np
import pytest
import safetensors.numpy

import jaxrnn

CELL = jaxrnn.gru(3, 4)
PARAMS = CELL.init(jax.random.key(0))


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "cell.safetensors"
    jaxrnn.save(found, PARAMS, CELL)
    return found


def test_the_header_says_version_model_and_sizes(path):
    with safetensors.safe_open(path, "numpy") as file:
        said = json.loads(file.metadata()["jaxrnn"])
    assert said["version"] == jaxrnn.__version__
    assert said["model"] == "GRU(D=3, H=4)"
    assert {name: shape for name, (shape, _) in said["arrays"].items()} == {
        name: ["float32", *x.shape] for name, x in PARAMS.items()
    }
    jax.tree.map(np.testing.assert_array_equal, jaxrnn.load(path, CELL), PARAMS)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (jaxrnn.gru(3, 4, bias=False), "expected parameters of GRU.*bias=False"),
        (jaxrnn.lstm(3, 4), r"expected parameters of LSTM\(D=3, H=4\), got those of GRU\(D=3, H=4\)"),
        (jaxrnn.gru(3, 8), r"GRU\(D=3, H=8\), got those of GRU\(D=3, H=4\)"),
        ("gru", "model: expected"),
    ],
)
def test_another_model_is_refused(path, model, reason):
    with pytest.raises((ValueError, TypeError), match=reason):
        jaxrnn.load(path, model)


def test_a_file_of_others_is_compared_entry_by_entry(tmp_path):
    path = tmp_path / "other.safetensors"
    safetensors.numpy.save_file({name: np.asarray(x) for name, x in PARAMS.items()}, path)
    jax.tree.map(np.testing.assert_array_equal, jaxrnn.load(path, CELL), PARAMS)
    with pytest.raises(ValueError, match=r"path\['b'\]: expected shape \(24,\), got float32\[12\]"):
        jaxrnn.load(path, jaxrnn.gru(3, 8))
    with pytest.raises(ValueError, match="b_h"):
        jaxrnn.load(path, jaxrnn.lstm(3, 4))


def test_another_dtype_is_refused(path, tmp_path):
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"F32"', b'"I32"', 1))
    with pytest.raises(ValueError, match="damaged header"):
        jaxrnn.load(path, CELL)
    other = tmp_path / "integers.safetensors"
    safetensors.numpy.save_file({name: np.ones(x.shape, np.int32) for name, x in PARAMS.items()}, other)
    with pytest.raises(ValueError, match="expected float32, got int32"):
        jaxrnn.load(other, CELL)


def test_scalars_64_bits_and_options_in_arrays_stay(tmp_path):
    path = tmp_path / "some.safetensors"
    jaxrnn.save(path, {"a": jax.numpy.float32(1), "b": np.zeros(2, np.float64)})
    with safetensors.safe_open(path, "numpy") as file:
        assert file.get_tensor("a").shape == ()
        assert file.get_tensor("b").dtype == np.float64
    slow, slower = (jaxrnn.ctrnn(3, 4, dt=1.0, tau=np.full(4, tau, np.float32)) for tau in (10.0, 90.0))
    jaxrnn.save(path, slow.init(jax.random.key(0)), slow)
    jaxrnn.load(path, slow)
    with pytest.raises(ValueError, match="expected parameters of"):
        jaxrnn.load(path, slower)


@pytest.mark.parametrize("names", [("a", "a/b"), ("", "b"), ("a//b", "c"), ("a/", "b")])
def test_names_that_make_no_nested_dict(tmp_path, names):
    path = tmp_path / "other.safetensors"
    safetensors.numpy.save_file({name: np.zeros(1, np.float32) for name in names}, path)
    with pytest.raises(ValueError, match="names that make a nested dict"):
        jaxrnn.load(path)


def test_100_damaged_files(path):
    """A flipped bit, bytes cut off, bytes added, a stretch of other bytes: none loads, and none costs memory."""
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    tracemalloc.start()
    for i in range(100):
        data = bytearray(whole)
        at = int(rng.integers(len(data)))
        if i % 4 == 0:
            data = data[:at]
        elif i % 4 == 1:
            data += bytes(1 + at % 64)
        elif i % 4 == 2:
            data[at : at + 16] = rng.bytes(16)
        else:
            data[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        with pytest.raises(ValueError, match="path"):
            jaxrnn.load(path, CELL)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_every_bit_of_the_numbers_is_watched(path):
    whole = path.read_bytes()
    with safetensors.safe_open(path, "numpy") as file:
        size = sum(file.get_tensor(name).nbytes for name in file.keys())  # noqa: SIM118
    for at in range(len(whole) - size, len(whole), 7):
        data = bytearray(whole)
        data[at] ^= 1 << (at % 8)
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"path\['\w+'\]: expected what was saved, got a damaged array"):
            jaxrnn.load(path)


def test_what_says_it_is_huge_is_not_allocated(tmp_path):
    path = tmp_path / "huge.safetensors"
    header = json.dumps({"w_x": {"dtype": "F32", "shape": [1 << 20, 1 << 20], "data_offsets": [0, 1 << 42]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    for read in (jaxrnn.load, jaxrnn.interop.from_torch):
        with pytest.raises(ValueError, match=r"expected a safetensors file"):
            read(path)


def test_torch_names_from_a_safetensors_file(tmp_path):
    state = jaxrnn.interop.to_torch(CELL, PARAMS)
    path = tmp_path / "torch.safetensors"
    safetensors.numpy.save_file({f"net.{name}": x for name, x in state.items()} | {"head": np.zeros(2)}, path)
    cell, params = jaxrnn.interop.from_torch(path, prefix="net.")
    assert cell == CELL
    jax.tree.map(np.testing.assert_array_equal, params, PARAMS)
    with pytest.raises(ValueError, match="weight_ih_l0"):
        jaxrnn.interop.from_torch(path)


@pytest.mark.parametrize("name", ["weights.pt", "weights.pth", "pytorch_model.bin"])
def test_pickles_are_never_read(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"\x80\x02cposix\nsystem\nq\x00.")
    with pytest.raises(ValueError, match="a pickle, which can run any code"):
        jaxrnn.interop.from_torch(path)
    with pytest.raises(ValueError, match="a pickle, which can run any code"):
        jaxrnn.load(path)
