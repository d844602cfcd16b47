"""The law of a learning curve is found where it is planted, and subsets are nested and stratified."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.evaluation.learning_curve import (
    Measured,
    extrapolate,
    fit_power_laws,
    nested_order,
    point_estimate,
    sizes_up_to,
)


@given(seed=st.integers(0, 1000), rare=st.integers(1, 4))
def test_every_beginning_of_an_order_is_stratified(seed: int, rare: int) -> None:
    y = np.repeat([0, 1, 2], [60, 30, rare])
    order = nested_order(y, None, seed=seed)
    assert sorted(order) == list(range(len(y)))
    assert set(y[order[:3]]) == {0, 1, 2}
    for n in (12, 45):
        share = np.bincount(y[order[:n]], minlength=3) / n
        assert abs(share[0] - 60 / len(y)) < 0.2


def test_whole_groups_follow_one_another() -> None:
    groups = np.repeat(np.array(["a", "b", "c", "d"], dtype=object), 5)
    ordered = groups[nested_order(np.arange(20) % 2, groups, seed=1)]
    assert sum(a != b for a, b in pairwise(ordered)) == 3


def test_sizes_rise_in_even_steps_to_the_whole() -> None:
    assert sizes_up_to(3200, least=10, points=6) == (100, 200, 400, 800, 1600, 3200)
    assert sizes_up_to(40, least=30, points=6)[-1] == 40
    assert sizes_up_to(20, least=30, points=6) == (20,)
    assert sizes_up_to(3200, least=10, points=1) == (3200,)


@pytest.mark.parametrize(("a", "b", "c"), [(0.9, 1.2, 0.4), (0.3, -2.0, 0.5)], ids=["accuracy", "loss"])
def test_a_planted_law_is_found(a: float, b: float, c: float) -> None:
    n = np.array([50, 100, 200, 400, 800])
    values = (a - b * n**-c)[None]
    found, left = fit_power_laws(n, values, errors=np.full(5, 0.01), best=float(b > 0), higher_is_better=b > 0)
    assert found[0] == pytest.approx([a, b, c], rel=0.05)
    assert left[0] < 0.01


def test_no_law_promises_more_than_a_perfect_model() -> None:
    n = np.array([50, 100, 200, 400])
    found, _ = fit_power_laws(n, np.log(n)[None] / 6.2, errors=np.ones(4), best=1.0, higher_is_better=True)
    assert found[0, 0] <= 1.0


def measured(values: np.ndarray, n: np.ndarray, *, spread: float = 0.004) -> Measured:
    return Measured(n, values, np.full(len(n), spread), 0.01, 1.0, higher_is_better=True)


def test_forecasts_and_gains_of_a_planted_law_hold_the_truth_nearly_always() -> None:
    n = np.array([100, 147, 215, 316, 464, 681, 1000])
    law = 0.95 - 1.5 * np.array([*n, 2000, 4000]) ** -0.45
    inside = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        shaken = law[:7] + 0.004 * rng.standard_normal(7)
        found = extrapolate(measured(shaken, n), at=(2000, 4000), now=1000, seed=seed)
        assert found is not None
        gain = law[7] - law[6]
        inside.append(found.gains[0].low <= gain <= found.gains[0].high)
        assert found.forecasts[1].low <= found.forecasts[1].value <= found.forecasts[1].high <= 1.0
    assert np.mean(inside) >= 0.8


def test_a_flat_curve_promises_nothing() -> None:
    n = np.array([100, 200, 400, 800, 1600])
    found = extrapolate(measured(np.full(5, 0.9), n, spread=0.001), at=(3200,), now=1600)
    assert found is not None
    assert found.gains[0].high < 0.004


def test_three_points_say_nothing() -> None:
    assert extrapolate(measured(np.array([0.1, 0.2, 0.3]), np.array([1, 2, 3])), at=(6,), now=3) is None


def test_a_point_never_passes_a_perfect_model() -> None:
    assert point_estimate(0.99, 0.02, best=1.0, higher_is_better=True).high == 1.0
    assert point_estimate(0.01, 0.02, best=0.0, higher_is_better=False).low == 0.0
