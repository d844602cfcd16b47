"""Paired comparisons: the tests are the published ones, a planted difference is found and chance is not."""

import numpy as np
import pytest
from scipy import stats

from headstart.evaluation.comparison import LEVEL, paired_difference


def test_it_is_mcnemars_exact_test_where_outcomes_are_right_or_wrong() -> None:
    a = np.r_[np.ones(12), np.zeros(3), np.ones(85)]
    b = np.r_[np.zeros(12), np.ones(3), np.ones(85)]
    found = paired_difference(a, b, higher_is_better=True)
    assert found.p == pytest.approx(stats.binomtest(12, 15).pvalue)
    assert (found.a, found.b, found.better) == (0.97, 0.88, "a")
    assert found.difference.value == pytest.approx(0.09)
    assert 0 < found.difference.low < 0.09 < found.difference.high
    assert paired_difference(b, a, higher_is_better=True).better == "b"


def test_it_is_the_paired_t_test_where_outcomes_are_losses() -> None:
    rng = np.random.default_rng(0)
    a = rng.exponential(size=300)
    b = a + 0.1 + 0.3 * rng.standard_normal(300)
    found = paired_difference(a, b, higher_is_better=False)
    assert found.p == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert found.better == "a", "the smaller loss"
    unpaired = stats.ttest_ind(a, b).pvalue
    assert found.p < LEVEL < unpaired, "what pairing is for"


def test_models_that_are_alike_cannot_be_told_apart() -> None:
    same = np.array([1.0, 0.0, 1.0])
    found = paired_difference(same, same, higher_is_better=True)
    assert (found.p, found.better, found.difference.value) == (1.0, "", 0.0)


def test_chance_is_taken_for_a_difference_as_seldom_as_is_said() -> None:
    rng = np.random.default_rng(1)
    for draw in (lambda: (rng.random((2, 200)) < 0.8).astype(float), lambda: rng.exponential(size=(2, 200))):
        told = sum(bool(paired_difference(*draw(), higher_is_better=True).better) for _ in range(200))
        assert told <= stats.binom.ppf(0.999, 200, LEVEL)


def test_a_difference_without_spread_is_judged_by_its_signs() -> None:
    found = paired_difference(np.zeros(2), np.full(2, 0.3), higher_is_better=False)
    assert found.p == pytest.approx(0.5)
    assert not found.better, "two samples prove nothing"
    assert paired_difference(np.zeros(1), np.full(1, 0.3), higher_is_better=False).p == 1.0
