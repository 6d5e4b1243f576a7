"""Few shapes for many lengths: the best limits, and every row in its turn."""

import itertools

import jax
import numpy as np
import pytest

import jaxrnn
from jaxrnn.data.buckets import groups, limits
from tests.data.test_padding import ragged
from tests.training.setup import KEY, MODEL, O, assert_same_run, fit

LENGTHS = (2, 9, 3, 2, 7, 4, 9, 3, 8, 2, 5, 3, 6)
N, B = len(LENGTHS), 2


def rows():
    targets = ragged(*LENGTHS, features=(O,), seed=1)
    return {"xs": ragged(*LENGTHS), "targets": targets, "row": [np.int32(i) for i in range(N)]}


def bucketed(**options):
    return jaxrnn.data.bucketed(rows(), **{"batch_size": B, "key": KEY, "buckets": 3, "run": 2} | options)


def padding(lengths, bounds):
    """Padded steps, and the rows of each bucket."""
    places = np.searchsorted(bounds, lengths)
    return (np.asarray(bounds)[places] - lengths).sum(), np.bincount(places, minlength=len(bounds))


@pytest.mark.parametrize("smallest", [1, 3, 6])
@pytest.mark.parametrize("buckets", [1, 2, 3, 20])
def test_the_limits_are_the_best_of_all(buckets, smallest):
    for seed in range(5):
        lengths = np.random.default_rng(seed).integers(0, 9, 12)
        values, best = np.unique(lengths), np.inf
        for count in range(1, min(buckets, len(values)) + 1):
            for inner in itertools.combinations(values[:-1], count - 1):
                cost, sizes = padding(lengths, [*inner, values[-1]])
                if sizes.min() >= smallest:
                    best = min(best, cost)
        got = limits(lengths, buckets, smallest)
        cost, sizes = padding(lengths, got)
        assert cost == best
        assert sizes.min() >= smallest
        assert len(got) <= buckets
        assert got == sorted(set(got))
        assert got[-1] == lengths.max()


def test_of_equally_good_limits_the_fewest():
    assert limits(np.array([4, 4, 7, 7]), 4, 1) == [4, 7]


def test_each_batch_is_its_rows_padded_to_their_bucket():
    data, source = bucketed(epochs=1), rows()
    assert data.shapes == [(T, B) for T in limits(np.array(LENGTHS), 3, B)]
    for batch in data:
        T = batch["xs"].shape[0]
        assert (T, B) in data.shapes
        for b, row in enumerate(batch["row"]):
            n = LENGTHS[row]
            assert batch["lengths"][b] == n
            assert min(length for length, _ in data.shapes if length >= n) == T
            for name in ("xs", "targets"):
                np.testing.assert_array_equal(batch[name][:n, b], source[name][row])
                assert not batch[name][n:, b].any()


def test_every_row_comes_equally_often():
    """After 2 epochs of a batch size of 2 nothing is left over in any bucket."""
    for epochs in (2, 6):
        seen = np.concatenate([batch["row"] for batch in bucketed(epochs=epochs)])
        np.testing.assert_array_equal(np.bincount(seen, minlength=N), epochs)
    seen = np.concatenate([batch["row"] for batch in bucketed(epochs=1)])
    assert len(set(seen)) == len(seen) >= N - 3


def test_the_same_key_gives_the_same_batches_and_another_one_others():
    def order(data, count=30):
        return [tuple(batch["row"]) for batch in itertools.islice(data, count)]

    data = bucketed()
    assert order(data) == order(data) == order(bucketed())
    assert order(data) != order(bucketed(key=jax.random.key(1)))
    first, second = order(data, 12)[:6], order(data, 12)[6:]
    assert first != second


def test_batches_of_one_shape_come_in_runs():
    lengths = [2] * 40 + [5] * 40
    data = jaxrnn.data.bucketed({"xs": ragged(*lengths)}, batch_size=4, key=KEY, buckets=2, run=5, epochs=3)
    steps = [len(batch["xs"]) for batch in data]
    assert len(steps) == 60
    assert all(len(list(group)) % 5 == 0 for _, group in itertools.groupby(steps))
    assert data.run == 5


def test_it_says_what_it_does():
    data = jaxrnn.data.bucketed({"xs": ragged(*[2] * 4, *[5] * 8)}, batch_size=4, key=KEY, buckets=2)
    assert repr(data) == "Bucketed(12 rows in batches of 4: 4 of T = 2, 8 of T = 5; padding 0.0%, 20.0% in one bucket)"
    assert data.padding == 0.0
    assert data.sizes == [4, 8]
    both = {"xs": ragged(*[2] * 4, *[5] * 8), "y": [np.zeros(n, np.int32) for n in [1] * 8 + [3] * 4]}
    data = jaxrnn.data.bucketed(both, batch_size=4, key=KEY, buckets=3, own_lengths=["y"])
    kinds = "4 of T = 2 (y 1), 4 of T = 5 (y 1), 4 of T = 5 (y 3)"
    assert repr(data) == f"Bucketed(12 rows in batches of 4: {kinds}; padding 0.0%, 29.2% in one bucket)"


def test_lengths_of_their_own_have_one_maximal_length_in_a_bucket():
    words = [np.arange(n % 4 + 1) for n in range(N)]
    data = jaxrnn.data.bucketed(rows() | {"words": words}, batch_size=B, key=KEY, own_lengths=["words"], epochs=2)
    seen = {}
    for batch in data:
        seen.setdefault((len(batch["xs"]), *batch["words"].shape), set()).update(batch["row"].tolist())
        for b, row in enumerate(batch["row"]):
            np.testing.assert_array_equal(batch["words"][: batch["words_lengths"][b], b], words[row])
    assert 1 < len(seen) <= 4
    for (T, L, _), found in seen.items():
        assert (max(LENGTHS[i] for i in found), max(len(words[i]) for i in found)) == (T, L)
    count = sum(LENGTHS) + sum(map(len, words))
    padded = sum((T + L) * len(found) for (T, L, _), found in seen.items())
    assert data.padding == pytest.approx(1 - count / padded)


@pytest.mark.parametrize("smallest", [1, 2, 4])
@pytest.mark.parametrize("buckets", [1, 2, 5])
def test_groups_of_several_lengths(buckets, smallest):
    """A group is split where it saves the most steps; every row is in one group."""
    for seed in range(5):
        lengths = np.random.default_rng(seed).integers(0, 9, (14, 2))
        found = groups(lengths, buckets, smallest)
        assert sorted(np.concatenate(found).tolist()) == list(range(14))
        assert len(found) <= buckets
        assert min(map(len, found)) >= smallest
        cost = [
            sum(len(rows) * int(lengths[rows].max(0).sum()) for rows in groups(lengths, n, smallest))
            for n in (1, buckets)
        ]
        assert cost[1] <= cost[0]
        if buckets == 2:
            best = cost[0]
            for entry, limit in itertools.product(range(2), range(9)):
                below = lengths[:, entry] <= limit
                parts = [lengths[below], lengths[~below]]
                if min(map(len, parts)) >= smallest:
                    best = min(best, sum(len(part) * int(part.max(0).sum()) for part in parts))
            assert cost[1] == best


def test_training_in_pieces_is_training_at_once(tmp_path):
    options = {"steps": 24, "model": MODEL, "block": 6}
    fit(bucketed(), **options | {"steps": 11}, run_dir=tmp_path)
    resumed = fit(bucketed(), **options, run_dir=tmp_path)
    assert_same_run(resumed, fit(bucketed(), **options))


def test_an_array_a_row_stays_one():
    about = ragged(*[3] * N, features=())
    for batch in jaxrnn.data.bucketed(rows() | {"about": about}, batch_size=B, key=KEY, epochs=1, per_row=["about"]):
        np.testing.assert_array_equal(batch["about"], np.stack([about[i] for i in batch["row"]]))
