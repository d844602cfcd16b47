"""Figures, intervals and temperatures on whatever comes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from headstart.evaluation.calibration import TEMPERATURES, fit_temperature, log_losses, probabilities
from headstart.evaluation.metrics import multi_label, regression, single_label

QUICK = settings(max_examples=25, deadline=None)
SIZES = st.tuples(st.integers(1, 40), st.integers(2, 5))


@QUICK
@given(size=SIZES, seed=st.integers(0, 10_000), sharp=st.floats(0.01, 50))
def test_single_label_figures_lie_in_their_intervals_and_ranges(size: tuple[int, int], seed: int, sharp: float) -> None:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, size[1], size[0])
    p = probabilities(rng.standard_normal(size), temperature=1 / sharp, link="softmax")
    for name, one in single_label(y, p, labels=tuple(f"l{i}" for i in range(size[1]))).items():
        assert np.isfinite([one.low, one.value, one.high]).all(), name
        assert one.low <= one.value <= one.high, name
        assert name == "log_loss" or (one.low >= 0 and one.value <= 1 + 1e-9), name


@QUICK
@given(size=SIZES, seed=st.integers(0, 10_000), rate=st.floats(0, 1))
def test_multi_label_figures_lie_in_their_intervals(size: tuple[int, int], seed: int, rate: float) -> None:
    rng = np.random.default_rng(seed)
    found = multi_label(
        rng.random(size) < rate, np.round(rng.random(size), 1), labels=tuple(f"l{i}" for i in range(size[1]))
    )
    for name, one in found.items():
        assert np.isfinite([one.low, one.value, one.high]).all(), name
        assert one.low <= one.value <= one.high, name


@QUICK
@given(values=arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e6, 1e6)), seed=st.integers(0, 100))
def test_regression_figures_lie_in_their_intervals(values: np.ndarray, seed: int) -> None:
    predicted = values + np.random.default_rng(seed).standard_normal(len(values))
    for one in regression(values, predicted).values():
        assert np.isfinite([one.low, one.value, one.high]).all()
        assert one.low <= one.value <= one.high


@QUICK
@given(size=SIZES, seed=st.integers(0, 10_000), scale=st.floats(1e-3, 1e3))
def test_the_temperature_follows_the_scale_and_its_loss_is_no_worse_than_a_guess(
    size: tuple[int, int], seed: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    scores, y = rng.standard_normal(size), rng.integers(0, size[1], size[0])
    one, two = fit_temperature(scores, y, link="softmax"), fit_temperature(scores * scale, y, link="softmax")
    assert TEMPERATURES[0] <= one <= TEMPERATURES[1]
    if 1e-3 < one < 1e3:
        assert abs(np.log(two / (one * scale))) < 1e-3
    assert log_losses(scores, y, temperature=one, link="softmax").mean() <= np.log(size[1]) + 1e-4
