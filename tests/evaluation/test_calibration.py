"""Temperatures: the optimum, its edges, and losses that do not overflow."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from headstart.evaluation.calibration import fit_temperature, log_losses, probabilities, sigmoid, softmax


def objective(scores: np.ndarray, targets: np.ndarray, temperature: float, link: str) -> float:
    """The documented objective: all rows, and one more with average scores and a label drawn evenly."""
    total = log_losses(scores, targets, temperature=temperature, link=link).sum()
    if link == "softmax":
        k = scores.shape[1]
        each = [log_losses(scores, np.full(len(scores), c), temperature=temperature, link=link) for c in range(k)]
    else:
        each = [log_losses(scores, np.full(scores.shape, c), temperature=temperature, link=link) for c in (False, True)]
    return float(total + np.mean(each))


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_temperature_is_the_optimum(link: str, scale: float) -> None:
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((200, 4)) * 3
    targets = (
        (scores + 3 * rng.standard_normal((200, 4))).argmax(axis=1)
        if link == "softmax"
        else scores + 3 * rng.logistic(size=(200, 4)) > 0
    )
    found = fit_temperature(scores * scale, targets, link=link)
    best = minimize_scalar(
        lambda t: objective(scores * scale, targets, scale * np.exp(t), link),
        bounds=(-5, 5),
        method="bounded",
        options={"xatol": 1e-8},
    )
    assert np.log(found / scale) == pytest.approx(best.x, abs=1e-4)


def test_scores_that_are_logits_times_a_factor_give_back_the_factor() -> None:
    rng = np.random.default_rng(1)
    logits = 2 * rng.standard_normal((20_000, 3))
    targets = (softmax(logits).cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
    assert fit_temperature(5 * logits, targets, link="softmax") == pytest.approx(5, rel=0.05)


def test_rows_that_are_all_right_do_not_make_a_mistake_infinite() -> None:
    scores = np.eye(3)[np.arange(300) % 3] * 40
    temperature = fit_temperature(scores, np.arange(300) % 3, link="softmax")
    assert temperature > 0
    mistake = log_losses(scores[:1], np.array([1]), temperature=temperature, link="softmax")[0]
    assert np.log(100) < mistake < np.log(3000)  # about as rare as one in a few hundred


def test_rows_that_are_all_wrong_are_flattened() -> None:
    scores = np.eye(2)[np.arange(100) % 2]
    assert fit_temperature(scores, 1 - np.arange(100) % 2, link="softmax") > 1e3


def test_where_there_is_nothing_to_fit_the_temperature_is_one() -> None:
    assert fit_temperature(np.zeros((5, 3)), np.zeros(5, int), link="softmax") == 1.0
    assert fit_temperature(np.ones((5, 1)), np.zeros(5, int), link="softmax") == 1.0
    assert fit_temperature(np.ones((5, 1)), np.zeros(5), link="identity") == 1.0


def test_nothing_overflows() -> None:
    scores = np.array([[1e5, -1e5], [-1e5, 1e5]])
    np.testing.assert_array_equal(softmax(scores), [[1, 0], [0, 1]])
    np.testing.assert_array_equal(sigmoid(scores), [[1, 0], [0, 1]])
    assert log_losses(scores, np.array([1, 1]), temperature=1.0, link="softmax") == pytest.approx([2e5, 0])
    assert log_losses(scores, scores < 0, temperature=1.0, link="sigmoid") == pytest.approx([1e5, 1e5])


def test_probabilities_by_link() -> None:
    scores = np.array([[1.0, 2.0, 4.0]])
    assert probabilities(scores, temperature=2.0, link="softmax").sum() == pytest.approx(1)
    np.testing.assert_allclose(probabilities(scores, temperature=2.0, link="sigmoid"), 1 / (1 + np.exp(-scores / 2)))
    np.testing.assert_array_equal(probabilities(scores, temperature=2.0, link="identity"), scores)
    assert log_losses(np.array([[3.0]]), np.array([1.0]), temperature=1.0, link="identity") == pytest.approx([4.0])
