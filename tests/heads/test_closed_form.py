"""Ridge, LDA and prototypes against their definitions, computed the long way."""

import numpy as np
import pytest

from headstart.heads.fitted import Linear
from headstart.heads.lda import Lda, Within
from headstart.heads.prototype import Prototype
from headstart.heads.ridge import Ridge, leave_one_out
from headstart.heads.statistics import make_study
from headstart.tasks.task import Targets
from support.planted import blobs, tags, targets, turns, values

SHAPES = [(60, 8), (30, 50)]


def ridge_by_hand(x: np.ndarray, y: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias for an absolute penalty, with a free bias."""
    mean, level = x.mean(axis=0), y.mean(axis=0)
    centred = x - mean
    weight = np.linalg.solve(centred.T @ centred + penalty * np.eye(x.shape[1]), centred.T @ (y - level))
    return weight, level - mean @ weight


def unit(x: np.ndarray, penalty: float) -> float:
    centred = x - x.mean(axis=0)
    return float(penalty * (centred**2).sum() / x.shape[1])


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_ridge_is_its_definition(n: int, d: int) -> None:
    x, y = blobs(n, d)
    wide = x.astype(np.float64)
    head = Ridge(penalty=0.1).fit(x, y)
    weight, bias = ridge_by_hand(wide, np.eye(3)[y.values], unit(wide, 0.1))
    np.testing.assert_allclose(head.scores(x), wide @ weight + bias, atol=2e-5)
    assert head.link == "softmax"


def test_ridge_codes_labels_around_zero_and_values_in_their_unit() -> None:
    x, y = tags()
    weight, bias = ridge_by_hand(x.astype(np.float64), np.where(y.values, 1.0, -1.0), unit(x.astype(np.float64), 0.1))
    np.testing.assert_allclose(Ridge(penalty=0.1).fit(x, y).scores(x), x @ weight + bias, atol=2e-5)
    x, y = values()
    weight, bias = ridge_by_hand(x.astype(np.float64), y.values[:, None], unit(x.astype(np.float64), 0.1))
    np.testing.assert_allclose(Ridge(penalty=0.1).fit(x, y).scores(x), x @ weight + bias, rtol=1e-6)


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_leave_one_out_equals_leaving_each_row_out(n: int, d: int) -> None:
    x, y = blobs(n, d, gap=1.0)
    wide, one_hot = x.astype(np.float64), np.eye(3)[y.values]
    penalties = (1e-3, 0.1, 10.0)
    found = leave_one_out(make_study(x, y), penalties)
    for penalty, (error, squared) in zip(penalties, found, strict=True):
        scores = np.empty((n, 3))
        for i in range(n):
            rest = np.arange(n) != i
            weight, bias = ridge_by_hand(wide[rest], one_hot[rest], unit(wide, penalty))
            scores[i] = wide[i] @ weight + bias
        assert error == pytest.approx((scores.argmax(axis=1) != y.values).mean())
        assert squared == pytest.approx(((scores - one_hot) ** 2).sum(axis=1).mean(), rel=1e-4)


def test_leave_one_out_of_values_is_in_squares() -> None:
    x, y = values(40, 5)
    (error, squared), *_ = leave_one_out(make_study(x, y), (0.1,))
    assert error == squared
    wide = x.astype(np.float64)
    residuals = []
    for i in range(40):
        rest = np.arange(40) != i
        weight, bias = ridge_by_hand(wide[rest], y.values[rest, None], unit(wide, 0.1))
        residuals.append((wide[i] @ weight + bias)[0] - y.values[i])
    assert squared * y.values.var() == pytest.approx(np.mean(np.square(residuals)), rel=1e-4)


def test_a_penalty_at_which_a_row_decides_its_own_fit_is_dropped() -> None:
    x, y = blobs(20, 60)
    assert np.isinf(leave_one_out(make_study(x, y), (1e-12, 1.0))[0]).all()
    assert np.isfinite(leave_one_out(make_study(x, y), (1e-12, 1.0))[1]).all()


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_ridge_without_each_fold_equals_fitting_without_it(n: int, d: int) -> None:
    x, y = blobs(n, d)
    fold = turns(n)
    (point,) = Ridge(penalty=1.0).path(make_study(x, y, fold=fold))
    found = point.scores(np.arange(n))
    wide = x.astype(np.float64)
    for number in range(5):
        rest = fold != number
        weight, bias = ridge_by_hand(wide[rest], np.eye(3)[y.values[rest]], unit(wide[rest], 1.0))
        np.testing.assert_allclose(found[~rest], wide[~rest] @ weight + bias, atol=2e-5)


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_lda_is_its_definition_in_and_out_of_folds(n: int, d: int) -> None:
    x, y = blobs(n, d)
    fold = turns(n)
    (point,) = Lda(shrinkage=0.3).path(make_study(x, y, fold=fold))
    found = point.scores(np.arange(n))
    for rest, scores in [(fold != f, found[fold == f]) for f in range(5)] + [(fold >= 0, None)]:
        wide, own = x[rest].astype(np.float64), y.values[rest]
        means = np.stack([wide[own == c].mean(axis=0) for c in range(3)])
        within = (wide - means[own]).T @ (wide - means[own]) / (len(wide) - 3)
        inverse = np.linalg.inv(0.7 * within + 0.3 * np.trace(within) / d * np.eye(d))
        centre = x.astype(np.float64).mean(
            axis=0
        )  # scores differ by a term that all classes share, so compare differences
        weight = inverse @ (means - centre).T
        bias = np.log(np.bincount(own) / len(own)) - 0.5 * ((means - centre) @ weight).diagonal()
        at = x[~rest] if scores is not None else x
        expected = (at.astype(np.float64) - centre) @ weight + bias
        got = Lda(shrinkage=0.3).fit(x, y).scores(x) if scores is None else scores
        scale = np.abs(expected).max()
        np.testing.assert_allclose(got - got[:, :1], expected - expected[:, :1], atol=1e-4 * scale)


def test_lda_decides_as_scikit_learn_does() -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    x, y = blobs(400, 6, gap=1.0)
    wide = (x - x.mean(axis=0)).astype(np.float64)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.2).fit(wide, y.values)
    ours = Lda(shrinkage=0.2).fit(x, y).scores(x).argmax(axis=1)
    # scikit-learn standardises the features of each class before it shrinks, so near decisions may differ.
    assert (ours == theirs.predict(wide)).mean() > 0.95


def test_the_prototype_is_the_nearest_mean() -> None:
    x, y = blobs(90, 20)
    means = np.stack([x[y.values == c].astype(np.float64).mean(axis=0) for c in range(3)])
    distance = ((x[:, None].astype(np.float64) - means) ** 2).sum(axis=2)
    head = Prototype().fit(x, y)
    scores = head.scores(x)
    np.testing.assert_array_equal(scores.argmax(axis=1), distance.argmin(axis=1))
    gap, theirs = scores[:, 0] - scores[:, 1], distance[:, 1] - distance[:, 0]
    assert np.corrcoef(gap, theirs)[0, 1] > 1 - 1e-6


def test_one_row_a_class_is_enough_for_every_closed_form() -> None:
    x, _ = blobs(3, 5)
    y = targets(np.arange(3))
    for recipe in (Prototype(), Lda(shrinkage=0.9), Ridge(penalty=1.0)):
        np.testing.assert_array_equal(recipe.fit(x, y).scores(x).argmax(axis=1), np.arange(3))
    within = Within.of(make_study(x, y).spectrum)
    assert within.trace > 0
    assert not within.counts.any()


def test_ridge_alone_chooses_by_leave_one_out_and_by_folds_where_there_are_groups() -> None:
    rng = np.random.default_rng(0)
    # Each group is one point met 8 times with almost no noise, and its value says nothing: leave-one-out finds a copy, the folds none.
    points, numbers = rng.standard_normal((30, 40)), rng.standard_normal(30)
    x = (np.repeat(points, 8, axis=0) + 0.01 * rng.standard_normal((240, 40))).astype(np.float32)
    y, groups = Targets(np.repeat(numbers, 8), (), "regression"), np.repeat([f"g{i}" for i in range(30)], 8)
    alone, grouped = Ridge().fit(x, y), Ridge().fit(x, y, groups=groups)
    assert isinstance(alone, Linear)
    assert isinstance(grouped, Linear)
    assert np.linalg.norm(alone.weight) > 3 * np.linalg.norm(grouped.weight)
