"""Logistic regression against scikit-learn at the same penalty, its gradient against differences, and its path."""

import numpy as np
import pytest

from headstart.heads.logistic import PENALTIES, Logistic, Problem
from headstart.heads.statistics import make_study
from support.planted import blobs, tags, turns


def scaled(x: np.ndarray) -> np.ndarray:
    centred = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    return centred / np.sqrt((centred**2).sum(axis=1).mean())


@pytest.mark.parametrize(("n", "d"), [(300, 8), (40, 60)])
@pytest.mark.parametrize("penalty", [1e-2, 1e-3])
def test_softmax_is_scikit_learns_at_the_same_penalty(n: int, d: int, penalty: float) -> None:
    from sklearn.linear_model import LogisticRegression

    x, y = blobs(n, d, gap=1.5)
    theirs = LogisticRegression(C=1 / (penalty * n), tol=1e-10, max_iter=10_000).fit(scaled(x), y.values)
    ours = Logistic(penalty=penalty).fit(x, y).scores(x)
    expected = theirs.decision_function(scaled(x))
    np.testing.assert_allclose(
        ours - ours.mean(axis=1, keepdims=True), expected - expected.mean(axis=1, keepdims=True), atol=5e-3
    )


def test_sigmoid_is_one_regression_a_label() -> None:
    from sklearn.linear_model import LogisticRegression

    x, y = tags()
    ours = Logistic(penalty=1e-3).fit(x, y).scores(x)
    for j in range(4):
        theirs = LogisticRegression(C=1 / (1e-3 * len(x)), tol=1e-10, max_iter=10_000).fit(scaled(x), y.values[:, j])
        np.testing.assert_allclose(ours[:, j], theirs.decision_function(scaled(x)), atol=1e-2)


def test_the_gradient_is_that_of_the_value() -> None:
    import torch

    for x, y in (blobs(50, 4), tags(50, 4)):
        problem = Problem(make_study(x, y, fold=turns(50)), (None, 0, 3))
        torch.manual_seed(0)
        at = problem.start().flatten(1)
        at = at + torch.randn_like(at)
        gradient = problem.value_and_gradient(at, 0.01)[1]
        for _ in range(5):
            step = torch.randn_like(at)
            ahead, behind = (problem.value_and_gradient(at + sign * 1e-2 * step, 0.01)[0] for sign in (1, -1))
            expected = ((ahead - behind) / 2e-2).numpy()
            np.testing.assert_allclose((gradient * step).sum(dim=1).numpy(), expected, rtol=2e-3, atol=2e-3)


def test_the_folds_side_by_side_are_the_folds_one_by_one() -> None:
    x, y = blobs(150, 6, gap=1.5)
    fold = turns(150)
    (point,) = Logistic(penalty=1e-2).path(make_study(x, y, fold=fold))
    together = point.scores(np.arange(150))
    for number in range(5):
        study = make_study(x, y, fold=fold)
        problem = Problem(study, (number,))
        ((weight, bias),) = problem.solutions(problem.solve(1e-2, problem.start(), steps=500, tolerance=1e-10))
        z = study.rows.take(np.flatnonzero(fold == number)).numpy()
        alone = z @ weight + bias
        np.testing.assert_allclose(together[fold == number], alone, atol=0.02 * np.abs(alone).max())


def test_the_path_starts_strong_and_rows_that_a_line_separates_stay_finite() -> None:
    x, y = blobs(80, 6, gap=30.0)
    assert tuple(sorted(PENALTIES, reverse=True)) == PENALTIES
    head = Logistic(penalty=1e-7).fit(x, y)
    assert np.isfinite(head.weight).all()
    assert (head.scores(x).argmax(axis=1) == y.values).all()
