"""Callbacks and loggers."""

import csv
import json
import types
import warnings

import numpy as np
import optax
import pytest

from jaxrnn.training import CSVLogger, JSONLLogger, Logger, TensorBoardLogger, WandbLogger
from tests.training.setup import assert_same_run, data_set, fit

OPTIONS = {"block": 4, "validation": data_set(1)}


def test_a_callback_sees_each_block_and_may_end_the_run():
    seen = []

    def callback(end):
        seen.append((end.step, len(end.train["loss"]), end.validation, int(end.state.step)))
        return end.step >= 12

    result = fit(steps=30, callback=callback, **OPTIONS)
    assert result.history.stopped == "callback"
    assert [(step, count, state) for step, count, _, state in seen] == [(4, 4, 4), (8, 4, 8), (12, 4, 12)]
    np.testing.assert_array_equal([v["loss"] for _, _, v, _ in seen], result.history.validation["loss"])


def rows(path):
    with (path / "metrics.csv").open() as file:
        table = [*csv.DictReader(file)]
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    for row, line in zip(table, lines, strict=True):
        assert {name: float(x) for name, x in row.items()} == line
    return lines


def test_a_run_folder_has_a_row_for_each_block_however_often_the_run_goes_on(tmp_path):
    """Also where rows are ahead of the newest save, or were cut off, as a killed process leaves them."""
    fit(steps=12, run_dir=tmp_path, **OPTIONS)
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("16,1.0,2.0,3.0,4.0\n20,1.0")
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 16, "loss": 1.0}\n{"step": 20, "lo')
    result = fit(steps=24, run_dir=tmp_path, **OPTIONS)
    found = rows(tmp_path)
    assert [row["step"] for row in found] == [4, 8, 12, 16, 20, 24]
    blocks = result.history.train["loss"].reshape(6, 4).mean(1)
    np.testing.assert_allclose([row["loss"] for row in found], blocks, rtol=1e-6)
    np.testing.assert_allclose([row["validation_loss"] for row in found], result.history.validation["loss"], rtol=1e-6)


@pytest.mark.parametrize("name", ["metrics.csv", "metrics.jsonl"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.replace(b"8", b"\xff", 1),  # in a step
        lambda data: data.replace(b"step", b"stop", 1),
        lambda data: data[:30] + bytes(5) + b"\n[1]\n{}\n" + data[30:],
        lambda data: bytes(100),
        lambda data: b"",
        lambda data: None,
    ],
)
def test_damaged_rows_do_not_end_a_run_and_are_kept(name, damage, tmp_path):
    fit(steps=12, run_dir=tmp_path, **OPTIONS)
    path = tmp_path / name
    intact = path.read_bytes()
    data = damage(intact)
    path.unlink() if data is None else path.write_bytes(data)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fit(steps=16, run_dir=tmp_path, **OPTIONS)
    last = path.read_bytes().splitlines()[-1]
    assert last.startswith((b"16,", b'{"step": 16'))
    told = [str(each.message) for each in said if "callback" in str(each.message)]
    if told:
        assert str(path) in told[0]
        assert (tmp_path / f"{name}.1").read_bytes() == data
    else:
        assert data is None or not data.strip(b"\0")


def test_a_metric_whose_name_has_a_comma_is_a_column(tmp_path):
    options = OPTIONS | {"metrics": {"a, b": lambda ys, batch: ys.mean()}, "run_dir": tmp_path}
    fit(steps=8, **options)
    fit(steps=16, **options)
    assert [row["step"] for row in rows(tmp_path)] == [4, 8, 12, 16]


def test_columns_that_come_later_get_a_place(tmp_path):
    """The first rows, of looks at the gradient between validations, have no validation."""
    fit(steps=8, run_dir=tmp_path, diagnose_every=2, callback=CSVLogger(tmp_path / "mine.csv"), **OPTIONS)
    with (tmp_path / "mine.csv").open() as file:
        table = [*csv.DictReader(file)]
    assert [(row["step"], bool(row["validation_loss"])) for row in table] == [
        ("2", False), ("4", True), ("6", False), ("8", True)
    ]  # fmt: skip


def test_the_learning_rate_is_written_where_there_is_one(tmp_path):
    schedule = optax.linear_schedule(0.1, 0.0, 10)
    injected = optax.inject_hyperparams(optax.adam)(learning_rate=schedule)
    fit(steps=8, optimizer=injected, callback=JSONLLogger(tmp_path / "a"), block=4)
    fit(steps=8, optimizer=optax.adam(schedule), callback=JSONLLogger(tmp_path / "b", schedule), block=4)
    read = [[json.loads(x)["learning_rate"] for x in (tmp_path / f).read_text().splitlines()] for f in "ab"]
    np.testing.assert_allclose(read, [[0.07, 0.03], [0.06, 0.02]], rtol=1e-5)  # of the last step; of the next one


class Failing(Logger):
    def write(self, step, values):
        raise OSError("no network")


def test_a_logger_that_fails_is_left_out_with_one_warning(tmp_path):
    with pytest.warns(UserWarning, match="callback: Failing failed and is left out: OSError: no network") as said:
        result = fit(steps=12, callback=Failing(), **OPTIONS)
    assert len(said) == 1
    assert_same_run(result, fit(steps=12, **OPTIONS))


def test_tensorboard_gets_scalars(tmp_path):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    fit(steps=8, callback=TensorBoardLogger(tmp_path), **OPTIONS)
    (path,), found = tmp_path.iterdir(), []
    data = path.read_bytes()
    while data:
        size = int.from_bytes(data[:8], "little")
        event, data = Event.FromString(data[12 : 12 + size]), data[16 + size :]
        found += [(event.step, value.tag) for value in event.summary.value]
    assert {(4, "loss"), (8, "validation/loss"), (8, "gradient_norm")} <= set(found)


def test_weights_and_biases_gets_them_by_log():
    logged = []
    run = types.SimpleNamespace(log=lambda values, step: logged.append((step, sorted(values))))
    fit(steps=8, callback=WandbLogger(run), **OPTIONS)
    assert logged == [(step, ["gradient_norm", "loss", "seconds", "validation_loss"]) for step in (4, 8)]
    with pytest.raises(TypeError, match=r"^run: expected what wandb\.init"):
        WandbLogger(3)
