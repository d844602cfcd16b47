"""Properties of extraction: whatever the sizes of the samples, each comes out once, in order, and little waits."""

import threading
import time
from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.backbones.choice import open_backbone
from headstart.data.preparation import Prepared
from headstart.features import pipeline
from headstart.features.ahead import Ahead
from headstart.features.pipeline import _Gathered, _View

QUICK = settings(max_examples=40, deadline=None)


def prepared(size: int) -> Prepared:
    return Prepared((np.zeros(size, np.uint8),), (1.0,))


@QUICK
@given(sizes=st.lists(st.integers(0, 5000), max_size=60), most=st.integers(0, 20_000), threads=st.integers(1, 4))
def test_each_sample_comes_once_and_in_order(sizes: list[int], most: int, threads: int) -> None:
    ahead = Ahead(lambda i: prepared(sizes[i]), range(len(sizes)), threads=threads, most_bytes=most)
    found = [(i, outcome.views[0].nbytes) for i, outcome in ahead.handed_out() if isinstance(outcome, Prepared)]
    assert found == list(enumerate(sizes))


def test_long_samples_do_not_pile_up() -> None:
    lock, made, most = threading.Lock(), [0], 8_000_000
    peak = 0

    def prepare(position: int) -> Prepared:
        with lock:
            made[0] += 1
        return prepared(1_000_000)

    for taken, _ in enumerate(Ahead(prepare, range(60), threads=4, most_bytes=most).handed_out(), start=1):
        time.sleep(0.002)
        peak = max(peak, made[0] - taken)
    assert made[0] == 60
    assert 1 <= peak <= 8 + 4


def test_an_error_in_a_thread_comes_out_and_the_threads_end() -> None:
    def prepare(position: int) -> Prepared:
        if position == 20:
            raise ZeroDivisionError
        return prepared(10)

    before = threading.active_count()
    found = []
    try:
        for position, _ in Ahead(prepare, range(5000), threads=2, most_bytes=1000).handed_out():
            found.append(position)
    except ZeroDivisionError:
        pass
    assert found == list(range(20))
    assert threading.active_count() == before


def _views(lengths: Sequence[int]) -> list[_View]:
    return [
        _View(i, np.zeros(length, np.uint8), 1.0, max(length / 4096, 1 / 64), whole=True)
        for i, length in enumerate(lengths)
    ]


@QUICK
@given(lengths=st.lists(st.integers(1, 3000), max_size=300), keys=st.integers(1, 50), most=st.integers(2000, 200_000))
def test_every_view_is_in_one_batch_and_what_waits_is_bounded(lengths: list[int], keys: int, most: int) -> None:
    kept, pipeline._GATHERED_BYTES = pipeline._GATHERED_BYTES, most
    try:
        gathered, batches = _Gathered(), []
        for view in _views(lengths):
            for cut in gathered.add(view.position % keys, view):
                batches += cut
            assert gathered.size == sum(bucket.size for bucket in gathered._buckets.values()) <= most
        for cut in gathered.rest():
            batches += cut
    finally:
        pipeline._GATHERED_BYTES = kept
    assert gathered.size == 0
    assert sorted(view.position for batch in batches for view in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len({view.position % keys for view in batch}) == 1
        assert len(batch) * max(view.cost for view in batch) <= 1 + 1e-6


def test_a_bucket_is_even_again_after_it_was_given_out() -> None:
    gathered = _Gathered()
    uneven = _views([1000, 2000] * 2000)
    assert sum(1 for view in uneven for _ in gathered.add("text", view)) > 0
    for _ in gathered.rest():
        pass
    even = _views([4096])
    assert [len(batch) for cut in gathered.add("text", even[0]) for batch in cut] == [1]
    left = gathered._buckets.setdefault("x", pipeline._Bucket())
    for view in _views([4096, 100]):
        left.add(view)
    assert len(left.batches(last=False)) == 1
    assert left.even


def test_a_short_view_does_not_keep_a_long_recording_in_memory() -> None:
    whole = np.zeros(100_000, np.float32)
    assert pipeline._own(whole[:1000]).base is None
    assert pipeline._own(whole) is whole


def test_the_toy_goes_through_with_hardly_any_memory_allowed() -> None:
    backbone = open_backbone("toy:text")
    texts = ["word " * (1 + i % 7) for i in range(300)]
    kept = pipeline._AHEAD_BYTES, pipeline._GATHERED_BYTES
    from headstart.data.opening import texts_as_samples
    from headstart.features.extraction import embed

    free = embed(backbone, texts_as_samples(texts)).features[0].values
    pipeline._AHEAD_BYTES = pipeline._GATHERED_BYTES = 3000
    try:
        tight = embed(backbone, texts_as_samples(texts)).features[0].values
    finally:
        pipeline._AHEAD_BYTES, pipeline._GATHERED_BYTES = kept
    np.testing.assert_allclose(tight, free, rtol=1e-3, atol=1e-3)
