"""What is unlike the training rows is found, and what is like them is not, at the rate that the threshold states."""

import numpy as np
import pytest

from headstart.evaluation.outliers import MOST_QUERIES, OutlierStatistics, fit_outliers


def rows(n: int, rng: np.random.Generator, d: int = 24, k: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Rows of k classes along a few of d directions, with unequal variances."""
    labels = rng.integers(0, k, n)
    centres = np.zeros((k, d))
    centres[np.arange(k), np.arange(k)] = 6.0
    return (centres[labels] + rng.standard_normal((n, d)) * np.linspace(1.5, 0.2, d)).astype(np.float32), labels


def fitted(n: int, *, classes: bool = True, seed: int = 0) -> OutlierStatistics:
    x, labels = rows(n, np.random.default_rng(seed))
    found = fit_outliers(x, labels if classes else None, fold=np.arange(n) % 5)
    assert found is not None
    return found


@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize("n", [60, 400, 2500])
def test_false_alarms_are_as_rare_as_promised(n: int, classes: bool) -> None:
    alarms = []
    for seed in range(3 if n > 1000 else 12):
        statistics = fitted(n, classes=classes, seed=seed)
        scores = statistics.scores(rows(1000, np.random.default_rng(100 + seed))[0])
        assert ((scores >= 0) & (scores <= 1)).all()
        alarms.append((scores > statistics.threshold).mean())
    assert np.mean(alarms) < 0.075
    if n > 1000:
        assert np.mean(alarms) == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize("classes", [True, False])
def test_strangers_are_found(classes: bool) -> None:
    statistics = fitted(1000, classes=classes)
    rng = np.random.default_rng(7)
    ordinary = rows(300, rng)[0]
    far = ordinary + 8 * np.eye(24, dtype=np.float32)[20]
    assert (statistics.scores(far) > statistics.threshold).mean() > 0.98
    assert statistics.scores(ordinary).mean() < 0.6


def test_a_new_kind_between_the_known_ones_is_found() -> None:
    statistics = fitted(2000)
    middle = np.full(24, 0.0, np.float32)
    middle[:3] = 2.0
    between = middle + np.random.default_rng(8).standard_normal((300, 24)).astype(np.float32) * 0.3
    assert (statistics.scores(between) > statistics.threshold).mean() > 0.8


def test_copies_in_the_same_fold_are_no_neighbours() -> None:
    x, labels = rows(20, np.random.default_rng(0))
    many, own = np.repeat(x, 30, axis=0), np.repeat(labels, 30)
    apart = fit_outliers(many, own, fold=np.repeat(np.arange(20) % 5, 30))
    mixed = fit_outliers(many, own, fold=np.arange(600) % 5)
    assert apart is not None
    assert mixed is not None
    assert mixed.held_out[1].max() < 1e-3
    assert apart.held_out[1].min() > 0.1


def test_the_distances_are_those_of_the_formulas() -> None:
    x, labels = rows(3000, np.random.default_rng(3))
    statistics = fit_outliers(x, labels, fold=np.arange(3000) % 5)
    assert statistics is not None
    new = rows(50, np.random.default_rng(4))[0].astype(np.float64)
    total = np.cov(x, rowvar=False, ddof=0)
    means = np.stack([x[labels == c].mean(axis=0) for c in range(3)])
    rest = x - means[labels]
    within = rest.T @ rest / len(x)
    nearest = np.min([np.einsum("nd,de,ne->n", new - m, np.linalg.inv(within), new - m) for m in means], axis=0)
    offset = new - x.mean(axis=0)
    relative = nearest - np.einsum("nd,de,ne->n", offset, np.linalg.inv(total), offset)
    found = statistics.distances(new)
    # Both covariances are shrunk a little.
    assert found[0] == pytest.approx(nearest, rel=0.1)
    assert np.corrcoef(found[2], relative)[0, 1] > 0.98


def test_many_rows_are_held_out_as_a_sample_and_scored_in_blocks() -> None:
    statistics = fitted(2500)
    assert statistics.held_out.shape == (3, MOST_QUERIES)
    x = rows(1500, np.random.default_rng(5))[0]
    together, apart = statistics.scores(x), np.concatenate([statistics.scores(x[:700]), statistics.scores(x[700:])])
    assert np.array_equal(together, apart)
    assert statistics.scores(x[:0]).shape == (0,)


def test_a_row_alone_has_the_distances_that_it_has_among_others() -> None:
    statistics = fitted(500)
    x, _ = rows(20, np.random.default_rng(9))
    together = statistics.distances(x)
    for n in (1, 4, 5):
        np.testing.assert_allclose(statistics.distances(x[:n]), together[:, :n], rtol=1e-4, atol=1e-5)


def test_rows_that_do_not_vary_tell_nothing() -> None:
    same = np.full((40, 8), 3.3, np.float32)
    assert fit_outliers(same, np.arange(40) % 2, fold=np.arange(40) % 5) is None


def test_constant_columns_and_more_columns_than_rows_do_no_harm() -> None:
    rng = np.random.default_rng(6)
    x = rng.standard_normal((30, 300)).astype(np.float32)
    x[:, ::3] = 5.0
    statistics = fit_outliers(x, np.arange(30) % 3, fold=np.arange(30) % 5)
    assert statistics is not None
    assert np.isfinite(statistics.scores(rng.standard_normal((10, 300)))).all()


def test_a_class_in_one_fold_only_does_no_harm() -> None:
    x, labels = rows(50, np.random.default_rng(0))
    labels[7] = 9
    statistics = fit_outliers(x, labels, fold=np.arange(50) % 5)
    assert statistics is not None
    assert len(statistics.centres) == len(np.unique(labels))
