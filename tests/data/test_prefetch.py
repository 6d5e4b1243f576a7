"""Reading ahead: the same batches, errors where they belong, and a thread that ends."""

import gc
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest

import jaxrnn
from tests.training.setup import assert_same, batch_of, data_set, fit


def batches(count=7):
    data = data_set()
    return [batch_of(data, np.arange(i, i + 3)) for i in range(count)]


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "jaxrnn.prefetch"]


def assert_no_thread_is_left():
    end = time.monotonic() + 10
    while threads() and time.monotonic() < end:
        time.sleep(0.01)
    assert not threads()


def test_it_says_of_its_batches_what_they_say_of_themselves():
    assert not jaxrnn.data.prefetch(batches()).endless
    rows = {"xs": [np.zeros((3, 2), np.float32)] * 4}
    for epochs in (1, None):
        source = jaxrnn.data.bucketed(rows, batch_size=2, key=jax.random.key(0), epochs=epochs)
        ahead = jaxrnn.data.prefetch(source)
        assert (ahead.endless, ahead.run, ahead.identity) == (source.endless, source.run, source.identity)


@pytest.mark.parametrize("size", [1, 2, 20])
def test_the_batches_are_the_same_and_on_the_device(size):
    got = list(jaxrnn.data.prefetch(batches(), size))
    for a, b in zip(got, batches(), strict=True):
        jax.tree.map(np.testing.assert_array_equal, a, b)
        assert all(isinstance(x, jax.Array) for x in a.values())
    assert_no_thread_is_left()


def test_it_reads_ahead_as_far_as_it_may_and_no_further():
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            yield {"xs": np.zeros((2, 1, 1))}

    iterator = iter(jaxrnn.data.prefetch(endless(), 3))
    next(iterator)
    end = time.monotonic() + 10
    while len(taken) < 5 and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(taken) == 5  # one handed out, three ready, one in the thread's hands
    iterator.close()
    assert_no_thread_is_left()


def test_an_iterable_may_write_over_its_arrays():
    def reused():
        buffer = np.zeros((64, 64, 1), np.float32)
        for i in range(5):
            buffer[:] = i
            yield {"xs": buffer}

    got = list(jaxrnn.data.prefetch(reused(), 5))
    assert [float(batch["xs"].mean()) for batch in got] == [0, 1, 2, 3, 4]


def test_an_error_comes_in_its_place():
    def failing():
        yield from batches(2)
        raise OSError("the disk is gone")

    iterator = iter(jaxrnn.data.prefetch(failing()))
    next(iterator), next(iterator)
    with pytest.raises(OSError, match="the disk is gone"):
        next(iterator)
    with pytest.raises(StopIteration):
        next(iterator)
    assert_no_thread_is_left()


def test_abandoning_it_ends_the_thread():
    for batch in jaxrnn.data.prefetch(batches(), 1):
        assert batch["xs"].shape == (4, 3, 2)
        assert threads()
        break
    gc.collect()
    assert_no_thread_is_left()


def test_each_iteration_begins_anew():
    data = jaxrnn.data.prefetch(batches())
    for a, b in zip(data, data, strict=True):
        jax.tree.map(np.testing.assert_array_equal, a, b)


def test_fit_on_prefetched_batches_is_fit_on_the_batches():
    options = {"steps": 7, "block": 3}
    assert_same(fit(jaxrnn.data.prefetch(batches(), 3), **options).state, fit(batches(), **options).state)
    assert_no_thread_is_left()


def test_the_run_of_bucketed_passes_through():
    rows = {"xs": [np.zeros((n, 1), np.float32) for n in (1, 2, 3, 4)]}
    assert jaxrnn.data.prefetch(jaxrnn.data.bucketed(rows, batch_size=1, key=jax.random.key(0), run=5)).run == 5
    assert jaxrnn.data.prefetch(batches()).run is None


EXIT = """
import itertools, sys, time
import numpy as np
import jaxrnn

def endless():
    for i in itertools.count():
        if {slow} and i > 2:
            time.sleep(3600)
        yield {{"xs": np.zeros((2, 1, 1), np.float32)}}

iterator = iter(jaxrnn.data.prefetch(endless(), 2))
next(iterator), next(iterator)
print("done", flush=True)
{end}
"""


@pytest.mark.parametrize("slow", [False, True], ids=["ready", "reading"])
@pytest.mark.parametrize(("end", "code"), [("", 0), ("raise SystemExit(3)", 3)], ids=["end", "exit"])
def test_a_program_ends_with_an_iterator_open(slow, end, code):
    program = EXIT.format(slow=slow, end=end)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (code, "done\n", "")
