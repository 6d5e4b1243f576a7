"""Whatever ends a run, or goes wrong with its saves, what came out of the last whole block is kept."""

import contextlib
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import optax
import pytest

import jaxrnn
from jaxrnn.training import checkpoint, lock
from jaxrnn.training import run as running
from jaxrnn.training.lock import NAME, Lock
from tests.compiling import environment
from tests.training.setup import assert_same_run, batch_of, data_set, fit, saved_steps

OPTIONS = {"steps": 30, "block": 3, "validation": data_set(1)}


@pytest.fixture(scope="module")
def whole():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return fit(**OPTIONS)


def send(number, at=12):
    """A callback that sends this process a signal after a step."""
    return lambda end: os.kill(os.getpid(), number) if end.step == at else None


def fail(error, at=12):
    def callback(end):
        if end.step == at:
            raise error

    return callback


def batches(error=None, slow=False):
    rng = np.random.default_rng(5)
    for i in range(30):
        if i == 14 and error is not None:
            raise error
        if i == 14 and slow:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(100)
        yield batch_of(data_set(), rng.permutation(10)[:4])


ENDS = {
    "Ctrl-C": (KeyboardInterrupt, {"callback": send(signal.SIGINT)}),
    "SIGTERM": (SystemExit, {"callback": send(signal.SIGTERM)}),
    "callback": (RuntimeError, {"callback": fail(RuntimeError("mine"))}),
    "iterator": (OSError, {"data": batches(OSError("lost")), "block": 3}),
    "Ctrl-C in the iterator": (KeyboardInterrupt, {"data": batches(slow=True)}),
}


@pytest.mark.parametrize("end", ENDS)
def test_whatever_ends_a_run_it_is_saved_and_goes_on_bitwise(end, whole, tmp_path):
    error, options = ENDS[end]
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    start = time.monotonic()
    with pytest.raises(error) as raised:
        fit(run_dir=tmp_path, **OPTIONS | options)
    assert time.monotonic() - start < 90  # it does not wait for the data
    assert max(saved_steps(tmp_path)) == 12
    assert raised.value.__notes__ == [f"run_dir: saved after step 12 in {tmp_path}"]
    assert not isinstance(raised.value, SystemExit) or raised.value.code == 143
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    if "data" in options:
        assert_same_run(fit(batches(), run_dir=tmp_path, **OPTIONS), fit(batches(), **OPTIONS))
    else:
        assert_same_run(fit(run_dir=tmp_path, **OPTIONS), whole)


class Signals:
    """Sends SIGTERM where Python drops the exception that its handler raises."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_whose_exception_python_drops_ends_the_run_after_the_next_block(tmp_path):
    def data():
        for i, batch in enumerate(batches()):
            if i == 13:
                Signals()
            yield batch

    with pytest.raises(SystemExit) as raised:
        fit(data(), run_dir=tmp_path, **OPTIONS)
    assert raised.value.code == 143
    assert raised.value.__notes__ == [f"run_dir: saved after step 15 in {tmp_path}"]
    assert_same_run(fit(batches(), run_dir=tmp_path, **OPTIONS), fit(batches(), **OPTIONS))


def test_without_a_folder_signals_are_left_alone():
    ours = []
    fit(steps=2, callback=lambda end: ours.append(signal.getsignal(signal.SIGTERM)))
    assert ours == [signal.SIG_DFL]


def test_a_second_process_is_told_who_has_the_folder(tmp_path):
    program = (
        "import sys, time\nfrom tests.training.setup import fit\n"
        "fit(steps=4, block=2, run_dir=sys.argv[1], callback=lambda end: print('there', flush=True) or time.sleep(60))"
    )
    command, streams = [sys.executable, "-c", program, str(tmp_path)], {"stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=environment(), cwd=os.getcwd(), **streams)
    try:
        assert process.stdout.readline() == "there\n"
        with pytest.raises(RuntimeError, match=rf"^run_dir: .*{tmp_path}, which process {process.pid} on .* has$"):
            fit(steps=4, run_dir=tmp_path)
    finally:
        process.kill()
        process.communicate()
    with pytest.warns(UserWarning, match="has measurements of a run, but no save; it begins anew"):
        assert_same_run(fit(steps=4, run_dir=tmp_path), fit(steps=4))  # the lock went with it
    assert (tmp_path / NAME).read_text() == ""


def disturbed(happens):
    """A loss that lets something happen in the middle of the fifth block."""
    calls = []

    def look(x):
        calls.append(x)
        if len(calls) == 14:
            happens()
        return np.zeros((), np.float32)

    @jax.custom_jvp
    def nothing(x):
        return jax.pure_callback(look, jax.ShapeDtypeStruct((), np.float32), x)

    nothing.defjvp(lambda primals, tangents: (nothing(*primals), 0.0 * tangents[0]))
    return lambda ys, batch: jaxrnn.losses.mean_squared_error(ys, batch) + nothing(ys.mean())


def test_two_kinds_of_signals_in_a_block_wait_for_its_end(tmp_path):
    both = lambda: [os.kill(os.getpid(), number) for number in (signal.SIGINT, signal.SIGTERM)]  # noqa: E731
    with pytest.raises((SystemExit, KeyboardInterrupt)) as raised:
        fit(steps=30, block=3, run_dir=tmp_path, loss=disturbed(both))
    assert raised.value.__notes__ == [f"run_dir: saved after step 15 in {tmp_path}"]


def test_a_signal_while_a_run_compiles_waits(tmp_path, monkeypatch):
    """The block that follows is taken: Python crashes where it ends in the midst of compiling."""
    compiled = running.Run._program

    def signalled(self, data):
        if self.history.steps == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return compiled(self, data)

    monkeypatch.setattr(running.Run, "_program", signalled)
    with pytest.raises(SystemExit) as raised:
        fit(steps=30, block=3, run_dir=tmp_path)
    assert raised.value.code == 143
    assert raised.value.__notes__ == [f"run_dir: saved after step 3 in {tmp_path}"]


def test_an_error_of_the_program_loses_its_block_alone(tmp_path):
    def fails():
        raise RuntimeError("inside")

    with pytest.raises(Exception, match="inside") as raised:
        fit(steps=30, block=3, run_dir=tmp_path, loss=disturbed(fails))
    assert raised.value.__notes__[-1] == f"run_dir: saved after step 12 in {tmp_path}"


def test_saves_that_can_not_be_seen_are_no_start_from_the_beginning(tmp_path):
    fit(steps=4, run_dir=tmp_path)
    (tmp_path / "checkpoints").rename(tmp_path / "elsewhere")
    with pytest.warns(UserWarning, match="has measurements of a run, but no save; it begins anew"):
        fit(steps=4, run_dir=tmp_path)
    shutil.rmtree(tmp_path / "checkpoints")
    (tmp_path / "checkpoints").symlink_to(tmp_path / "not mounted")
    with pytest.raises(
        ValueError, match=r"^run_dir: expected a folder of saves that can be read, got .*checkpoints: No"
    ):
        fit(steps=4, run_dir=tmp_path)


def test_a_folder_that_another_run_has_made_again_is_left_to_it(tmp_path):
    def other(end):
        if end.step == 2:
            shutil.rmtree(tmp_path)
            tmp_path.mkdir()
            held.enter_context(Lock(tmp_path))

    with contextlib.ExitStack() as held, pytest.warns(UserWarning, match="failed after step 4: .*no other process is"):
        result = fit(steps=4, block=2, run_dir=tmp_path, callback=other)
    assert "no other process" in result.history.not_saved
    assert not saved_steps(tmp_path)


def test_a_disk_that_is_full_from_the_start_costs_nothing(tmp_path, monkeypatch):
    class Full(io.FileIO):
        write = full

    monkeypatch.setattr(lock.io, "FileIO", Full)
    assert fit(steps=4, run_dir=tmp_path).history.steps == 4


def test_an_optimizer_that_is_not_finite_at_some_step_resumes(tmp_path):
    def optimizer():
        return optax.sgd(lambda count: 0.1 * jax.numpy.sqrt(1 - count / 1000))

    fit(steps=2, run_dir=tmp_path, optimizer=optimizer())
    assert fit(steps=4, run_dir=tmp_path, optimizer=optimizer()).history.steps == 4


def test_anyway_ranks_anew_and_measures_anew(tmp_path):
    def worse(ys, batch):
        return 100 + jaxrnn.losses.mean_squared_error(ys, batch)

    options = {"block": 3, "validation": data_set(1), "run_dir": tmp_path}
    fit(steps=6, **options)
    with pytest.warns(UserWarning, match="monitor = min worse"):
        result = fit(
            steps=12, metrics={"worse": worse}, monitor="worse", mode="min", patience=3, resume="anyway", **options
        )
    assert result.best_step in (9, 12)
    assert result.history.train["worse"].shape == (12,)
    assert np.isnan(result.history.train["worse"]).sum() == 6
    assert result.history.validation["worse"].shape == (4,)


def test_batches_that_are_none_or_fewer_than_before_are_errors(tmp_path):
    with pytest.raises(TypeError, match=r"^data: expected a dict of arrays as each batch, got None"):
        fit((data_set() if i < 3 else None for i in range(9)), steps=9, block=1)
    fit((data_set() for _ in range(9)), steps=6, block=3, run_dir=tmp_path)
    with pytest.raises(ValueError, match=r"^data: expected the 6 batches that the run in run_dir has taken.*after 4$"):
        fit((data_set() for _ in range(4)), steps=12, block=3, run_dir=tmp_path)


def test_a_folder_that_is_in_use_in_this_process_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match="run_dir: expected a folder that no other process is using"):
        fit(steps=4, run_dir=tmp_path, callback=lambda end: fit(steps=2, run_dir=tmp_path))


def full(*arguments):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_costs_nothing(whole, tmp_path, monkeypatch):
    """In the middle of the run, and at its end: it is said, and the result is there."""
    monkeypatch.setattr(running, "SAVE_SECONDS", -1.0)
    write = checkpoint.write_save
    for when, said in ((range(12, 19), "tried again later"), (range(30, 31), "nowhere on disk")):
        path = tmp_path / str(when[0])
        monkeypatch.setattr(checkpoint, "write_save", lambda *a, w=when: (full if a[1] in w else write)(*a))
        with pytest.warns(UserWarning, match=f"run_dir: saving into .* failed after step .*No space.*{said}"):
            result = fit(run_dir=path, **OPTIONS)
        assert_same_run(result, whole)
        assert bool(result.history.not_saved) == (30 in when)
        assert max(saved_steps(path)) == (27 if 30 in when else 30)


def test_a_write_that_fails_leaves_the_save_before_it(tmp_path, monkeypatch):
    fit(steps=6, run_dir=tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(UserWarning, match="No space left"):
        fit(steps=12, run_dir=tmp_path)
    assert [*(tmp_path / "checkpoints").iterdir()] == [tmp_path / "checkpoints" / "6"]


def test_a_folder_that_is_deleted_is_made_again(whole, tmp_path):
    path = tmp_path / "run"
    with pytest.warns(UserWarning, match=rf"^run_dir: {path} was deleted, and is made again$") as said:
        result = fit(run_dir=path, callback=lambda end: shutil.rmtree(path) if end.step == 12 else None, **OPTIONS)
    assert len(said) == 1
    assert_same_run(result, whole)
    assert saved_steps(path) == [30]
    steps = [json.loads(line)["step"] for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert steps == [*range(15, 31, 3)]


def test_what_is_looked_at_in_the_block_of_a_signal_is_not_lost(tmp_path):
    """The signal comes while the block runs: its look at the gradient and its row are there, and history is bitwise."""
    options = OPTIONS | {"diagnose_every": 3}
    with pytest.raises(KeyboardInterrupt):
        fit(run_dir=tmp_path, callback=send(signal.SIGINT, 6), **options)
    resumed, whole = fit(run_dir=tmp_path, **options), fit(**options)
    assert_same_run(resumed, whole)
    np.testing.assert_array_equal(resumed.history.diagnostic_steps, whole.history.diagnostic_steps)
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == [*range(3, 31, 3)]


def test_what_could_not_be_read_is_put_aside(tmp_path):
    for steps in (6, 12):
        fit(steps=steps, run_dir=tmp_path)
    saves = tmp_path / "checkpoints"
    (saves / "12" / "arrays.safetensors").write_bytes(b"")
    (saves / "99").write_text("")
    (saves / "98").symlink_to("nowhere")
    with pytest.warns(
        UserWarning, match="going on from save 6, since .*99.* is damaged .*98.* is missing.*12.* is damaged"
    ):
        fit(steps=18, run_dir=tmp_path)
    assert {path.name for path in saves.iterdir()} == {"6", "12.damaged", "18", "98.damaged", "99.damaged"}


@pytest.mark.always
def test_anyway_goes_on_with_a_validation_that_was_not_there(tmp_path):
    fit(steps=6, run_dir=tmp_path)
    with pytest.warns(UserWarning, match="going on although it differs"):
        result = fit(steps=12, block=3, run_dir=tmp_path, validation=data_set(1), resume="anyway")
    np.testing.assert_array_equal(result.history.validation_steps, [9, 12])


def test_what_can_not_be_written_is_an_error_before_anything_is_compiled(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match=r"^run_dir: expected a directory that can be written, got "):
            fit(steps=2, run_dir=path)


def test_another_models_save_names_the_first_array_that_differs(tmp_path):
    """As after a change that the comparison of identities lets pass."""
    fit(steps=2, run_dir=tmp_path)
    model = jaxrnn.chain(jaxrnn.stack([jaxrnn.elman(2, 4)]), jaxrnn.dense(4, 2))
    match = r"^run_dir: state/params/0/0/b: expected f32\[4\], got f32\[3\] in .*2$"
    with (
        pytest.warns(UserWarning, match="run: going on although it differs: .* model = "),
        pytest.raises(ValueError, match=match),
    ):
        fit(steps=4, run_dir=tmp_path, model=model, resume="anyway")
    said = json.loads((tmp_path / "checkpoints" / "2" / "manifest.json").read_text())
    assert said["number"] == 2
