"""Logistic regression against scikit-learn at the same penalty, its gradient against differences, and its path."""

import numpy as np
import pytest

from headstart.core.errors import UsageError
from headstart.evaluation.calibration import softmax
from headstart.heads.logistic import PENALTIES, Logistic, Problem
from headstart.heads.losses import LOSSES
from headstart.heads.selection import parse, select
from headstart.heads.statistics import make_study
from headstart.tasks.task import Targets
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


def thinned() -> tuple[np.ndarray, Targets]:
    """Three classes, of which one has a tenth of its rows."""
    x, y = blobs(600, 6, gap=1.5)
    kept = np.concatenate([np.flatnonzero(y.values), np.flatnonzero(y.values == 0)[:20]])
    return x[kept], y.take(kept)


def test_class_weights_are_scikit_learns_balanced_ones() -> None:
    from sklearn.linear_model import LogisticRegression

    x, y = thinned()
    theirs = LogisticRegression(C=1 / (1e-2 * len(x)), class_weight="balanced", tol=1e-10, max_iter=10_000)
    expected = theirs.fit(scaled(x), y.values).decision_function(scaled(x))
    ours = Logistic(penalty=1e-2, loss="class_weights").fit(x, y).scores(x)
    np.testing.assert_allclose(
        ours - ours.mean(axis=1, keepdims=True), expected - expected.mean(axis=1, keepdims=True), atol=5e-3
    )


def test_balanced_softmax_is_cross_entropy_but_for_the_bias_and_keeps_the_training_prior() -> None:
    # Its bias is free, so the prior's shift is taken up by it: both have one minimum.
    x, y = thinned()
    plain, balanced = (Logistic(penalty=1e-2, loss=loss).fit(x, y) for loss in ("cross_entropy", "balanced_softmax"))
    np.testing.assert_allclose(softmax(balanced.scores(x)), softmax(plain.scores(x)), atol=1e-3)
    shares = softmax(balanced.scores(x)).mean(axis=0)
    np.testing.assert_allclose(shares, np.bincount(y.values) / len(x), atol=1e-3)


@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_is_chosen_along_its_path_and_its_string_fits_the_same_head_again(loss: str) -> None:
    x, y = thinned()
    chosen = select(x, y, fold=turns(len(x)), recipe=parse(f"logistic(loss='{loss}')"))
    assert chosen.recipe.endswith(f"loss='{loss}')")
    np.testing.assert_allclose(parse(chosen.recipe).fit(x, y).scores(x), chosen.head.scores(x), rtol=1e-6)
    study = make_study(x, y, fold=turns(len(x)))
    problem = Problem(study, (None, 0), None, loss)
    at = problem.start()
    slope = problem.value_and_gradient(at, 0.01)[1]
    step = at.new_tensor(np.random.default_rng(0).standard_normal(at.shape))
    ahead, behind = (problem.value_and_gradient(at + sign * 1e-2 * step, 0.01)[0] for sign in (1, -1))
    np.testing.assert_allclose((slope * step.flatten(1)).sum(dim=1), (ahead - behind) / 2e-2, rtol=5e-3, atol=5e-3)


def test_another_loss_is_for_one_label_of_several() -> None:
    with pytest.raises(UsageError, match="logistic takes another loss where each sample has one label of several only"):
        Logistic(penalty=1e-2, loss="focal").fit(*tags())
    with pytest.raises(UsageError, match="there is none called 'fokal'"):
        Logistic(penalty=1e-2, loss="fokal").fit(*blobs())


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
