"""Search is exact, a block at a time, and never finds the query itself."""

from pathlib import Path

import numpy as np
import pytest

from headstart.retrieval import index as module
from headstart.retrieval.evaluation import leave_one_out
from headstart.retrieval.index import Whitening, build, fit_whitening


def rows(n: int = 300, d: int = 20, seed: int = 0) -> np.ndarray:
    return np.asarray(np.random.default_rng(seed).standard_normal((n, d)) + 3, dtype=np.float32)


@pytest.mark.parametrize("whiten", [True, False])
def test_blocks_give_what_brute_force_gives(whiten: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    x, queries = rows(), rows(7, seed=1)
    plain = build(x, whiten=whiten)
    scores = plain.way.apply(queries) @ plain.way.apply(x).T
    monkeypatch.setattr(module, "_CELLS", 500)
    monkeypatch.setattr(module, "_RESIDENT_BYTES", 0)
    blocked = build(x, whiten=whiten)
    assert blocked.resident is None
    found = blocked.nearest(queries, k=5)
    np.testing.assert_array_equal(found.positions, np.argsort(-scores, axis=1)[:, :5])
    np.testing.assert_allclose(found.scores, -np.sort(-scores, axis=1)[:, :5], rtol=1e-4, atol=1e-5)


def test_a_collection_mapped_from_disk_is_searched_alike(tmp_path: Path) -> None:
    x, queries = rows(), rows(3, seed=1)
    np.save(tmp_path / "x.npy", x)
    mapped = build(np.load(tmp_path / "x.npy", mmap_mode="r")).nearest(queries, k=4)
    np.testing.assert_array_equal(mapped.positions, build(x).nearest(queries, k=4).positions)


def test_what_has_the_number_of_the_query_is_left_out() -> None:
    x = rows(6)
    content = np.array([0, 1, 2, 0, 3, 4])
    found = build(x, whiten=False).nearest(x[:1], k=6, same=(content[:1], content))
    assert set(found.positions[0]) == {1, 2, 4, 5, -1}
    assert np.isneginf(found.scores[0, 4:]).all()


def test_whitening_makes_directions_count_alike_but_for_eps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RIDGE", 1e-9)
    rng = np.random.default_rng(0)
    x = (np.array([30.0, 0, 0, 0, 0]) + rng.standard_normal((4000, 5)) * [1, 3, 1, 0.3, 0.1]).astype(np.float32)
    way = fit_whitening(x)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    cov = np.cov(((unit - way.mean) @ way.matrix).T)
    np.testing.assert_allclose(np.diag(cov), 1.0, rtol=0.05)
    few = fit_whitening(x[:4])
    assert few.matrix.shape == (5, 1)


def test_few_rows_of_many_features_give_the_same_map_as_their_covariance() -> None:
    x = rows(40, 60)
    small = fit_whitening(x)
    mean, values, vectors = module._spectrum(x)
    kept = 40 // module.ROWS_A_COMPONENT
    floor = module.RIDGE * values[:kept].mean()
    large = Whitening(mean.astype(np.float32), (vectors[:, :kept] / np.sqrt(values[:kept] + floor)).astype(np.float32))
    np.testing.assert_allclose(small.apply(x) @ small.apply(x).T, large.apply(x) @ large.apply(x).T, atol=1e-3)


def test_labels_that_rows_tell_are_found_again_and_random_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 4
    x = (5 * np.eye(4)[labels] + 0.3 * rng.standard_normal((200, 4))).astype(np.float32)
    content = np.arange(200)
    good, asked = leave_one_out(build(x, whiten=False), labels, content=content)
    assert asked == 200
    assert good["recall_at_1"].value == 1.0
    assert good["map"].value > 0.99
    poor, _ = leave_one_out(build(x, whiten=False), rng.permutation(labels), content=content)
    assert poor["map"].value < 0.4
    assert poor["recall_at_1"].value <= poor["recall_at_5"].value <= poor["recall_at_10"].value


def test_a_copy_is_no_find() -> None:
    x = np.repeat(rows(10), 2, axis=0)
    labels, content = np.repeat(np.arange(10), 2), np.repeat(np.arange(10), 2)
    assert leave_one_out(build(x, whiten=False), labels, content=content) == ({}, 0)
