"""Sets and intervals hold the truth as often as they promise, and vary by as much as is printed."""

import numpy as np
import pytest

from headstart.evaluation.conformal import (
    Conformal,
    coverage_spread,
    fit_conformal,
    fit_interval,
    prediction_sets,
)


def drawn(n: int, rng: np.random.Generator, k: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and labels that are drawn from them."""
    logits = 1.5 * rng.standard_normal((n, k))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (rng.random(n)[:, None] > probabilities.cumsum(axis=1)).sum(axis=1)
    return probabilities, np.minimum(labels, k - 1)


def test_coverage_and_its_spread_are_those_of_many_draws() -> None:
    rng = np.random.default_rng(0)
    new, truths = drawn(20_000, rng)
    found = []
    for _ in range(300):
        fitted = fit_conformal(*drawn(100, rng))
        found.append((1 - new[np.arange(len(new)), truths] <= fitted.quantile).mean())
    assert np.mean(found) == pytest.approx(91 / 101, abs=0.006)
    assert np.std(found) == pytest.approx(fitted.spread, rel=0.15)
    assert fitted.spread == pytest.approx(0.03, abs=0.001)


def test_the_quantile_is_the_order_statistic_of_the_paper() -> None:
    right = np.linspace(0.05, 0.95, 19)
    probabilities = np.stack([right, 1 - right], axis=1)
    fitted = fit_conformal(probabilities, np.zeros(19, int), coverage=0.9)
    assert fitted.quantile == pytest.approx(np.sort(1 - right)[17])
    assert (fitted.n, fitted.coverage) == (19, 0.9)


def test_too_few_rows_let_every_label_in() -> None:
    fitted = fit_conformal(np.full((8, 3), 1 / 3), np.zeros(8, int))
    assert (fitted.quantile, fitted.spread) == (1.0, 0.0)
    assert prediction_sets(np.array([[0.98, 0.02, 0.0]]), fitted).all()
    assert fit_conformal(np.full((9, 3), 1 / 3), np.zeros(9, int)).quantile == pytest.approx(2 / 3)


def test_no_set_is_empty_where_lac_leaves_it_so() -> None:
    sets = prediction_sets(np.array([[0.5, 0.3, 0.2], [0.97, 0.02, 0.01]]), Conformal(0.9, 0.05, None, 100, 0.03))
    assert sets.tolist() == [[True, False, False], [True, False, False]]


def test_by_label_each_label_is_covered() -> None:
    rng = np.random.default_rng(1)
    probabilities, labels = drawn(4000, rng)
    probabilities = probabilities**2 / (probabilities**2).sum(axis=1, keepdims=True)
    # One label looks less probable than it is, and its truths are left out of many sets.
    probabilities[:, 3] *= 0.03
    fitted = fit_conformal(probabilities[:2000], labels[:2000])
    own = labels[2000:] == 3
    marginal, each = (prediction_sets(probabilities[2000:], fitted, by_label=by) for by in (False, True))
    assert marginal[own, 3].mean() < 0.8
    assert each[own, 3].mean() == pytest.approx(0.9, abs=0.05)


def test_a_label_with_few_rows_is_served_by_all() -> None:
    rng = np.random.default_rng(2)
    probabilities, labels = drawn(400, rng)
    keep = (labels != 2) | (np.cumsum(labels == 2) <= 10)
    fitted = fit_conformal(probabilities[keep], labels[keep])
    assert fitted.by_label is not None
    assert [each is None for each in fitted.by_label] == [False, False, True, False]
    third = prediction_sets(probabilities, fitted, by_label=True)[:, 2]
    assert np.array_equal(third, prediction_sets(probabilities, fitted)[:, 2])


def test_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(3)
    fitted = fit_interval(np.zeros(5000), rng.standard_normal(5000))
    assert fitted is not None
    assert fitted.quantile == pytest.approx(1.645, abs=0.05)
    assert fitted.by_label is None
    assert fit_interval(np.zeros(8), np.ones(8)) is None


def test_the_spread_narrows_with_the_rows() -> None:
    assert coverage_spread(100, 0.9) > coverage_spread(1000, 0.9) > 0
    assert coverage_spread(5, 0.9) == 0
