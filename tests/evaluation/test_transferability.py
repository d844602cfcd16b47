"""Scores of rows: the evidence is the Gaussian's own, neighbours leave themselves out, and no score changes with the unit of the rows."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.neighbors import KNeighborsClassifier

from headstart.evaluation.transferability import h_score, log_evidence, log_me, neighbour_hits


def made(n: int, d: int, *, classes: int = 3, gap: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian classes around means `gap` apart."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    return rng.standard_normal((n, d)) + gap * rng.standard_normal((classes, d))[y], y


@pytest.mark.parametrize(("n", "d"), [(40, 6), (12, 30), (20, 20)])
def test_the_evidence_is_the_density_of_the_target_at_its_maximum(n: int, d: int) -> None:
    x, y = made(n, d)
    target = (y == 0).astype(float)
    value, a, b = log_evidence(x, target)

    def exact(a: float, b: float) -> float:
        return multivariate_normal(np.zeros(n), x @ x.T / a + np.eye(n) / b).logpdf(target) / n

    assert value == pytest.approx(exact(a, b), abs=1e-7)
    # Where there are more features than rows the noise may vanish, and the evidence is flat in its precision.
    for factor in (0.8, 1.25):
        assert exact(a * factor, b) < value + 1e-7
        assert exact(a, b * factor) < value + (-1e-4 if n > d else 1e-7)


@pytest.mark.parametrize(("n", "d"), [(60, 8), (15, 40)])
@pytest.mark.parametrize("score", [log_me, h_score])
def test_no_score_changes_with_the_unit_of_the_rows(score, n: int, d: int) -> None:
    x, y = made(n, d)
    assert score(1000.0 * x, y) == pytest.approx(score(x, y), rel=1e-6)
    assert score(x / 1000.0, y) == pytest.approx(score(x, y), rel=1e-6)


@pytest.mark.parametrize("score", [log_me, h_score])
def test_rows_that_tell_the_classes_score_higher(score) -> None:
    noise, clear = made(200, 10, gap=0.0), made(200, 10, gap=2.0)
    assert score(*clear) > score(*noise)


def test_rows_without_any_spread_have_a_score() -> None:
    x, y = np.ones((10, 4)), np.arange(10) % 2
    assert h_score(x, y) == 0.0
    assert np.isfinite(log_me(x, y))
    assert np.isfinite(log_me(np.zeros((10, 4)), y))


def test_neighbours_vote_as_leave_one_out_does() -> None:
    x, y = made(90, 5)
    hits, k = neighbour_hits(x, y)
    assert k in (1, 5, 20)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)

    def weights(distances: np.ndarray) -> np.ndarray:
        return np.exp((1 - distances**2 / 2) / 0.07)

    wanted = []
    for i in range(len(x)):
        rest = np.arange(len(x)) != i
        found = KNeighborsClassifier(k, weights=weights).fit(unit[rest], y[rest])
        wanted.append(found.predict(unit[i : i + 1])[0] == y[i])
    assert hits.astype(bool).tolist() == wanted


def test_copies_do_not_vote_for_each_other() -> None:
    rng = np.random.default_rng(0)
    x, y = np.repeat(rng.standard_normal((30, 6)), 2, axis=0), np.repeat(rng.integers(0, 2, 30), 2)
    assert neighbour_hits(x, y)[0].mean() == 1.0
    assert neighbour_hits(x, y, groups=np.repeat(np.arange(30), 2))[0].mean() < 0.8


def test_two_rows_are_enough() -> None:
    assert neighbour_hits(np.eye(2), np.array([0, 1]))[0].tolist() == [0.0, 0.0]
