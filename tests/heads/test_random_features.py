"""Random features against ridge on the same features, what they can tell apart, and what they refuse."""

from functools import reduce

import numpy as np
import pytest
import torch

from headstart.core.errors import FitError, UsageError
from headstart.heads.fitted import Mlp
from headstart.heads.random_features import Lift, RandomFeatures, lifted, ridge
from headstart.heads.selection import parse, select
from headstart.heads.statistics import Statistics, make_study
from support.planted import blobs, sectors, tags, turns, values


def test_the_statistics_of_folds_give_the_ridge_of_their_rows() -> None:
    from sklearn.linear_model import Ridge

    x, y = blobs(300, 10)
    study = make_study(x, y, fold=turns(300))
    lift = Lift.draw(study, count=64, seed=0)
    parts = lifted(study, lift)
    total = reduce(Statistics.__add__, parts)
    h, one_hot = lift(study.rows.take(np.arange(300))).double().numpy(), np.eye(3)[y.values]
    outside = turns(300) != 2
    weight, bias = ridge(total - parts[2], 0.1)
    spread = ((h[outside] - h[outside].mean(axis=0)) ** 2).sum() / 64
    theirs = Ridge(alpha=0.1 * spread).fit(h[outside], one_hot[outside])
    np.testing.assert_allclose(h @ weight + bias, theirs.predict(h), atol=1e-4)


@pytest.mark.parametrize("make", [blobs, tags, values])
@pytest.mark.parametrize("d", [10, 300])
def test_the_head_of_raw_rows_scores_as_the_features_do(make, d: int) -> None:
    x, y = make(150, d)
    recipe = RandomFeatures(features=100, penalty=0.1, seed=3)
    head = recipe.fit(x, y)
    assert isinstance(head, Mlp)
    assert (head.activation, head.hidden[0].weight.shape) == ("relu", (d, 100))
    study = make_study(x, y)
    lift = Lift.draw(study, count=100, seed=3)
    weight, bias = ridge(reduce(Statistics.__add__, lifted(study, lift)), 0.1)
    h = torch.relu(study.rows.take(np.arange(150)) @ lift.weight + lift.bias) - lift.centre
    expected = (h.double().numpy() @ weight + bias) * study.unit + study.offset
    np.testing.assert_allclose(head.scores(x), expected, atol=1e-5 * np.abs(expected).max())


def test_three_times_two_sectors_are_told_apart_which_no_line_can() -> None:
    x, y = sectors(1200, 6)
    new, truth = sectors(1200, 6, seed=1)
    for text, least, most in (("random_features", 0.93, 1.0), ("logistic", 0.0, 0.7)):
        chosen = select(x, y, fold=turns(1200), recipe=parse(text))
        assert least < (chosen.head.scores(new).argmax(axis=1) == truth.values).mean() <= most


def test_the_seed_decides_and_a_shipped_string_fits_the_same_head_again() -> None:
    x, y = blobs(90, 6)
    chosen = select(x, y, fold=turns(90), recipe=parse("random_features(features=50)"))
    np.testing.assert_allclose(parse(chosen.recipe).fit(x, y).scores(x), chosen.head.scores(x), rtol=1e-9, atol=1e-12)
    other = parse(chosen.recipe.replace("seed=0", "seed=1")).fit(x, y)
    assert not np.allclose(other.scores(x), chosen.head.scores(x))


def test_numbers_far_from_zero_and_rows_far_from_zero_keep_their_differences() -> None:
    x, y = values(200, 5)
    near = parse("random_features(features=60, penalty=0.1)").fit(x, y)
    far = parse("random_features(features=60, penalty=0.1)").fit(x + 1000, y)
    np.testing.assert_allclose(far.scores(x + 1000), near.scores(x), atol=1e-2 * y.values.std())


def test_penalties_that_rounding_drowns_end_the_path_and_alone_are_refused() -> None:
    x, y = sectors(300, 2)
    with pytest.raises(FitError, match="at the penalty 1e-30 have no solution that rounding leaves: take a stronger"):
        parse("random_features(penalty=1e-30)").fit(x, y)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headstart.heads.random_features.PENALTIES", (1e-2, 1e-30, 1e-3))
        chosen = select(x, y, fold=turns(300), recipe=parse("random_features"))
    assert ["penalty=0.01" in one.recipe for one in chosen.candidates] == [True]


def test_equal_rows_and_a_class_of_one_row_stay_finite() -> None:
    x, y = blobs(60, 5)
    flat = select(np.full((60, 5), 3.0, np.float32), y, fold=turns(60), recipe=parse("random_features"))
    assert np.isfinite(flat.head.scores(x)).all()
    lonely = np.where(np.arange(60) == 7, 3, y.values)
    y = type(y)(lonely, ("a", "b", "c", "lonely"), "single_label")
    chosen = select(x, y, fold=turns(60), recipe=parse("random_features"))
    assert np.isfinite(chosen.oof_scores).all()
    assert chosen.oof_scores[7].argmax() != 3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("random_features(features=0)", "'features' a whole number from 1 up, and got 0"),
        ("random_features(features=2.5)", "'features' a whole number from 1 up, and got 2.5"),
        ("random_features(penalty=-1.0)", "'penalty' a positive number, and got -1.0"),
        ("random_features(seed=-1)", "'seed' a whole number from 0 up, and got -1"),
    ],
)
def test_an_option_that_cannot_be_is_one_sentence(text: str, sentence: str) -> None:
    x, y = blobs(30, 4)
    with pytest.raises(UsageError, match=sentence):
        select(x, y, fold=turns(30), recipe=parse(text))
    with pytest.raises(UsageError, match=sentence):
        parse(text).fit(x, y)


def test_auto_says_why_it_leaves_them_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def objection(x, y) -> str:
        return RandomFeatures().objection(make_study(x, y))

    x, y = blobs(200, 4)
    assert (
        "with 200 training samples, random_features (from 2,000 rows on) and mlp (from 20,000 rows on) are not tried"
        in select(x, y, fold=turns(200)).notes
    )
    x, y = blobs(2000, 4)
    assert objection(x, y) == ""
    monkeypatch.setattr("headstart.heads.random_features.FLOPS", {"cpu": 1.0, "cuda": 1.0})
    assert "it would take about" in objection(x, y)
    rare = np.concatenate([np.flatnonzero(y.values), np.flatnonzero(y.values == 0)[:80]])
    monkeypatch.setattr(RandomFeatures, "fewest", 100)
    assert "the largest class is" in objection(x[rare], y.take(rare))
