"""The choice among heads: its rule, its folds, its edges and its errors."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from headstart.core.errors import FitError, UsageError
from headstart.evaluation.calibration import log_losses, paired_standard_error
from headstart.heads import HEADS
from headstart.heads.family import Family, Point
from headstart.heads.fitted import Head, Linear, Neighbours, vote_scores
from headstart.heads.logistic import drawn
from headstart.heads.recipe import HeadRecipe
from headstart.heads.rows import arithmetic
from headstart.heads.selection import Selection, SelfFitting, parse, select, title
from headstart.heads.statistics import Study, make_study
from headstart.tasks.task import Targets
from support.planted import blobs, ring, tags, targets, turns, values


def loss(selection: Selection, y: Targets, link: str = "softmax") -> float:
    return float(log_losses(selection.oof_scores, y.values, temperature=selection.temperature, link=link).mean())


def test_neighbours_ship_where_no_line_will_do() -> None:
    x, y = ring()
    chosen = select(x, y, fold=turns(len(x)))
    assert isinstance(chosen.head, Neighbours)
    assert chosen.recipe.startswith("knn(")
    new, truth = ring(seed=1)
    assert (chosen.head.scores(new).argmax(axis=1) == truth.values).mean() > 0.9


@pytest.mark.parametrize("seed", range(5))
def test_neighbours_do_not_ship_on_gaussian_classes(seed: int) -> None:
    x, y = blobs(200, 10, gap=1.5, seed=seed)
    assert isinstance(select(x, y, fold=turns(200)).head, Linear)


def test_the_shipped_one_has_the_lowest_loss_but_for_ties_with_faster_ones() -> None:
    x, y = blobs(300, 10, gap=1.5)
    chosen = select(x, y, fold=turns(300))
    (shipped,) = [one for one in chosen.candidates if one.note == "shipped"]
    assert shipped.recipe == chosen.recipe
    assert shipped.log_loss == pytest.approx(loss(chosen, y))
    assert shipped.temperature == chosen.temperature
    assert shipped.standard_error == 0.0
    for one in chosen.candidates:
        if one.family != "knn":
            assert shipped.log_loss - one.log_loss <= one.standard_error + 1e-12
    assert {one.family for one in chosen.candidates} == {"prototype", "ridge", "lda", "logistic", "knn"}


def test_a_tie_goes_to_the_faster() -> None:
    x, y = blobs(60, 4, k=2, gap=12.0)
    assert select(x, y, fold=turns(60)).recipe == "prototype()"


def test_ridge_is_no_candidate_where_classes_are_uneven() -> None:
    x, y = blobs(300, 6)
    rare = np.flatnonzero(y.values == 0)[30:]
    kept = np.setdiff1d(np.arange(300), rare[: len(rare)])
    kept = np.concatenate([kept[y.values[kept] != 0], np.flatnonzero(y.values == 0)[:12]])
    chosen = select(x[kept], y.take(kept), fold=turns(len(kept)))
    assert "ridge" not in {one.family for one in chosen.candidates}
    assert any(note.startswith("ridge was left out: the largest class is") for note in chosen.notes)
    assert select(x[kept], y.take(kept), fold=turns(len(kept)), recipe=parse("ridge")).recipe.startswith(
        "ridge(penalty="
    )


def test_a_recipe_restricts_the_candidates() -> None:
    x, y = blobs()
    family = select(x, y, fold=turns(len(x)), recipe=parse("lda"))
    assert {one.family for one in family.candidates} == {"lda"}
    assert len(family.candidates) > 3
    one = select(x, y, fold=turns(len(x)), recipe=parse("ridge(penalty=0.5)"))
    assert [candidate.recipe for candidate in one.candidates] == ["ridge(penalty=0.5)"] == [one.recipe]


@pytest.mark.parametrize("make", [blobs, tags, values])
def test_a_shipped_recipe_string_fits_the_same_head_again(make) -> None:
    x, y = make()
    chosen = select(x, y, fold=turns(len(x)))
    again = parse(chosen.recipe).fit(x, y)
    np.testing.assert_allclose(again.scores(x), chosen.head.scores(x), rtol=1e-9, atol=1e-12)
    assert title(parse(chosen.recipe)) == chosen.recipe


def test_oof_scores_come_from_models_that_have_not_seen_the_row() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((120, 300)).astype(np.float32), targets(rng.integers(0, 2, 120))
    for name in ("ridge", "lda", "logistic", "prototype", "knn"):
        chosen = select(x, y, fold=turns(120), recipe=parse(name))
        assert (chosen.oof_scores.argmax(axis=1) == y.values).mean() < 0.7
        assert loss(chosen, y) > 0.6


def test_copies_of_a_row_in_one_fold_do_not_help_each_other() -> None:
    rng = np.random.default_rng(1)
    points, labels = rng.standard_normal((40, 60)), rng.integers(0, 2, 40)
    x, y = np.repeat(points, 4, axis=0).astype(np.float32), targets(np.repeat(labels, 4))
    leaky, sound = select(x, y, fold=turns(160)), select(x, y, fold=np.repeat(turns(40), 4))
    assert loss(leaky, y) < 0.2
    assert loss(sound, y) > 0.6


def test_a_class_of_one_row_is_fitted_and_its_loss_is_finite() -> None:
    x, y = blobs(60, 5)
    y = Targets(np.where(np.arange(60) == 7, 3, y.values), ("a", "b", "c", "lonely"), "single_label")
    chosen = select(x, y, fold=turns(60))
    assert np.isfinite(chosen.oof_scores).all()
    assert np.isfinite(loss(chosen, y))
    assert chosen.head.scores(x).shape == (60, 4)
    for name in ("ridge", "lda", "logistic", "prototype", "knn"):
        assert np.isfinite(select(x, y, fold=turns(60), recipe=parse(name)).oof_scores).all()


@pytest.mark.parametrize("make", [blobs, tags, values])
def test_more_features_than_rows(make) -> None:
    x, y = make(40, 200)
    chosen = select(x, y, fold=turns(40))
    assert chosen.head.scores(x).shape == chosen.oof_scores.shape
    assert np.isfinite(chosen.head.scores(x)).all()


def test_rows_mapped_from_disk_give_the_same_head(tmp_path: Path) -> None:
    x, y = blobs(150, 20)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    one, two = select(x, y, fold=turns(150)), select(mapped, y, fold=turns(150))
    np.testing.assert_array_equal(one.oof_scores, two.oof_scores)
    assert one.recipe == two.recipe
    del mapped, two


def test_rows_that_do_not_stay_in_memory_give_the_same_head(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs(150, 20)
    whole = select(x, y, fold=turns(150))
    monkeypatch.setattr("headstart.heads.rows.RESIDENT_BYTES", 0)
    monkeypatch.setattr("headstart.heads.rows.CHUNK_BYTES", 8 * 20 * 64)
    chunked = select(x, y, fold=turns(150))
    assert chunked.recipe == whole.recipe
    np.testing.assert_allclose(chunked.oof_scores, whole.oof_scores, atol=2e-3 * np.abs(whole.oof_scores).max())


def test_comparing_on_a_sample_of_the_rows_still_scores_all(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs(200, 8)
    monkeypatch.setattr("headstart.heads.statistics.SAMPLED_ROWS", (1, 60))
    for name in ("auto", "knn"):
        chosen = select(x, y, fold=turns(200), recipe=parse(name))
        assert chosen.oof_scores.shape == (200, 3)
        assert np.isfinite(chosen.oof_scores).all()


def test_past_its_budget_a_family_is_left_out_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs()
    monkeypatch.setattr("headstart.heads.logistic.FLOPS", {"cpu": 1.0, "cuda": 1.0})
    monkeypatch.setattr("headstart.heads.knn.FLOPS", {"cpu": 1.0, "cuda": 1.0})
    chosen = select(x, y, fold=turns(len(x)))
    assert {one.family for one in chosen.candidates} == {"prototype", "ridge", "lda"}
    assert [note.split(" was left out")[0] for note in chosen.notes[1:]] == ["logistic", "knn"]
    assert "random_features (from 2,000 rows on) and mlp (from 20,000 rows on) are not tried" in chosen.notes[0]
    assert "there is time for 0 rows only, and it is tried from 20 a label on" in chosen.notes[1]


@pytest.mark.parametrize("make", [blobs, tags])
def test_past_its_budget_logistic_is_fitted_on_drawn_rows_and_its_recipe_says_so(make, monkeypatch) -> None:
    x, y = make(600, 6)
    one = 4.0 * 6 * len(y.labels) * 5 * 100
    monkeypatch.setattr("headstart.heads.logistic.FLOPS", {"cpu": 100.5 * one, "cuda": 100.5 * one})
    chosen = select(x, y, fold=turns(600), recipe=parse("logistic"))
    assert chosen.recipe.endswith(", rows=100, loss='cross_entropy')")
    assert chosen.oof_scores.shape == (600, len(y.labels))
    again = parse(chosen.recipe).fit(x, y)
    np.testing.assert_allclose(again.scores(x), chosen.head.scores(x), rtol=1e-9, atol=1e-12)
    whole = parse(chosen.recipe.replace("rows=100", "rows=None")).fit(x, y)
    assert np.abs(whole.scores(x) - again.scores(x)).max() > 1e-3


def test_rows_are_drawn_evenly_from_each_label() -> None:
    y = np.repeat(np.arange(3), (500, 90, 3))
    study = make_study(np.random.default_rng(0).standard_normal((593, 4)).astype(np.float32), targets(y))
    rows = drawn(study, 60)
    assert rows is not None
    np.testing.assert_array_equal(np.bincount(y[rows]), [51, 10, 1])
    assert len(np.unique(rows)) == len(rows)
    assert drawn(study, 593) is None


def test_the_same_twice() -> None:
    x, y = blobs(100, 15)
    one, two = select(x, y, fold=turns(100)), select(x, y, fold=turns(100))
    np.testing.assert_array_equal(one.oof_scores, two.oof_scores)
    np.testing.assert_array_equal(one.head.scores(x), two.head.scores(x))


def test_constant_columns_and_equal_rows_are_no_trouble() -> None:
    x, y = blobs(60, 6, gap=8.0)
    x[:, 2] = 7.0
    assert (select(x, y, fold=turns(60)).head.scores(x).argmax(axis=1) == y.values).mean() > 0.8
    flat = select(np.full((60, 6), 3.0, np.float32), y, fold=turns(60))
    assert np.isfinite(flat.head.scores(x)).all()


def test_separable_rows_keep_a_finite_temperature_and_loss() -> None:
    x, y = blobs(100, 5, gap=100.0)
    chosen = select(x, y, fold=turns(100))
    assert 0 < chosen.temperature < np.inf
    wrong = log_losses(chosen.oof_scores, (y.values + 1) % 3, temperature=chosen.temperature, link="softmax")
    assert np.isfinite(wrong).all()


def test_progress_ends_whole() -> None:
    seen: list[tuple[str, int, int]] = []
    x, y = blobs(60, 5)
    select(x, y, fold=turns(60), progress=lambda stage, done, total: seen.append((stage, done, total)))
    assert seen[-1] == ("choosing a head", 7, 7)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_the_standard_error_is_of_the_mean_difference() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal(400)
    assert paired_standard_error(a, a + 1) == pytest.approx(0.0, abs=1e-12)
    assert paired_standard_error(a, np.zeros(400)) == pytest.approx(a.std(ddof=1) / 20)
    assert paired_standard_error(a[:1], a[:1]) == 0.0


@dataclass(frozen=True)
class Foreign(HeadRecipe):
    """Somebody else's recipe: it knows nothing of studies."""

    tasks: ClassVar[tuple[str, ...]] = ("single_label",)

    def fit(self, x, y, *, groups=None, seed=0) -> Head:
        return HEADS.get("ridge").fit(x, y, groups=groups, seed=seed)


def test_a_recipe_of_a_third_party_is_cross_validated_by_refitting() -> None:
    x, y = blobs(90, 5)
    chosen = select(x, y, fold=turns(90), recipe=Foreign())
    assert chosen.recipe == "foreign()"
    assert chosen.oof_scores.shape == (90, 3)
    assert chosen.candidates[0].accuracy == pytest.approx((chosen.oof_scores.argmax(axis=1) == y.values).mean())


def test_what_cannot_be_fitted_is_one_sentence() -> None:
    x, y = blobs(30, 4)
    fold = turns(30)
    with pytest.raises(FitError, match="at least two labels are needed to tell apart, and there is class 0 only"):
        select(x, targets(np.zeros(30)), fold=fold)
    with pytest.raises(FitError, match="each label needs at least one sample to fit on, and there is none of gone"):
        select(x, Targets(y.values, ("a", "b", "c", "gone"), "single_label"), fold=fold)
    with pytest.raises(FitError, match="there are 30 rows, 29 targets"):
        select(x, y.take(np.arange(29)), fold=fold)
    with pytest.raises(FitError, match="at least two folds, and all rows are in one"):
        select(x, y, fold=np.zeros(30, dtype=int))
    with pytest.raises(FitError, match="at least two rows"):
        HEADS.get("ridge").fit(x[:1], Targets(np.zeros(1), (), "regression"))
    broken = x.copy()
    broken[17, 2] = np.nan
    with pytest.raises(FitError, match="row 17 holds NaN or an infinity"):
        select(broken, y, fold=fold)


def test_an_option_that_cannot_be_is_one_sentence() -> None:
    x, y = blobs(30, 4)
    for text, sentence in {
        "ridge(penalty=-1.0)": "ridge takes for 'penalty' a positive number, and got -1.0",
        "logistic(penalty='much')": "logistic takes for 'penalty' a positive number, and got 'much'",
        "lda(shrinkage=2.0)": "a number above 0 and at most 1, and got 2.0",
        "logistic(rows=-3)": "logistic takes for 'rows' a positive number, and got -3",
        "logistic(rows=2.5)": "logistic takes for 'rows' a whole number, and got 2.5",
        "knn(neighbours=2.5)": "a whole number, and got 2.5",
    }.items():
        with pytest.raises(UsageError, match=sentence):
            select(x, y, fold=turns(30), recipe=parse(text))
        with pytest.raises(UsageError, match=sentence):
            parse(text).fit(x, y)
    with pytest.raises(UsageError, match="the head 'lda' fits single_label, and the task is regression: try auto"):
        select(*values(30, 4), fold=turns(30), recipe=parse("lda"))
    with pytest.raises(UsageError, match="Did you mean 'ridge'"):
        parse("rigde")


def test_a_temperature_from_oof_scores_calibrates_new_rows() -> None:
    x, y = blobs(2000, 8, gap=1.2)
    train, new = np.arange(1000), np.arange(1000, 2000)
    for name in ("ridge", "lda", "logistic"):
        chosen = select(x[train], y.take(train), fold=turns(1000), recipe=parse(name))
        scores = chosen.head.scores(x[new])
        at = [
            log_losses(scores, y.values[new], temperature=chosen.temperature * t, link="softmax").mean()
            for t in (0.5, 1.0, 2.0)
        ]
        assert at[1] < min(at[0], at[2])


@pytest.mark.parametrize("recipe", ["ridge(penalty=0.01)", "knn(neighbours=3)"])
def test_values_far_from_zero_keep_their_differences(recipe: str) -> None:
    x, _ = values(300, 5)
    shift = 1.7e9
    near = 50 + 10 * x.astype(np.float64) @ np.ones(5)
    small, large = (parse(recipe).fit(x, Targets(near + add, (), "regression")) for add in (0.0, shift))
    np.testing.assert_allclose(large.scores(x) - shift, small.scores(x), atol=1e-3)


def test_ridge_alone_takes_the_penalty_of_leave_one_out_and_its_scores_are_of_the_folds() -> None:
    rng = np.random.default_rng(0)
    points, numbers = rng.standard_normal((30, 40)), rng.standard_normal(30)
    x = (np.repeat(points, 8, axis=0) + 0.01 * rng.standard_normal((240, 40))).astype(np.float32)
    y, groups = Targets(np.repeat(numbers, 8), (), "regression"), np.repeat(np.arange(30), 8)
    fold = groups % 5
    alone = select(x, y, fold=fold, recipe=parse("ridge"))
    grouped = select(x, y, fold=fold, recipe=parse("ridge"), groups=groups)
    assert alone.recipe == title(HEADS.get("ridge").alone(make_study(x, y)))
    assert alone.recipe != grouped.recipe
    again = select(x, y, fold=fold, recipe=parse(alone.recipe))
    np.testing.assert_allclose(alone.oof_scores, again.oof_scores)


@dataclass(frozen=True)
class Strict(HeadRecipe):
    """Somebody else's recipe that refuses labels without rows, and wants groups."""

    tasks: ClassVar[tuple[str, ...]] = ("single_label",)

    def fit(self, x, y, *, groups=None, seed=0) -> Head:
        assert groups is not None
        assert len(groups) == len(x)
        return parse("ridge(penalty=0.1)").fit(x, y)


def test_a_recipe_of_a_third_party_gets_its_groups_and_no_label_without_rows() -> None:
    x, y = blobs(60, 5)
    y = Targets(np.where(np.arange(60) == 7, 3, y.values), ("a", "b", "c", "lonely"), "single_label")
    chosen = select(x, y, fold=turns(60), recipe=Strict(), groups=turns(60))
    assert chosen.oof_scores[7].argmax() != 3
    assert np.isfinite(chosen.oof_scores).all()


def test_memory_of_a_vote_does_not_grow_with_neighbours_times_labels() -> None:
    rng = np.random.default_rng(0)
    votes = np.eye(500, dtype=np.float32)[rng.integers(0, 500, 1000)]
    near = rng.integers(0, 1000, (400, 50)), rng.random((400, 50))
    tracemalloc.start()
    scores = vote_scores(near, votes, prior=votes.mean(axis=0), sharpness=1.0, link="softmax")
    assert tracemalloc.get_traced_memory()[1] < 8 * scores.nbytes
    tracemalloc.stop()


def test_auto_tries_every_family_of_the_registry_in_the_order_of_cost() -> None:
    tried = [one.family for one in select(*blobs(60, 5), fold=turns(60)).candidates]
    assert list(dict.fromkeys(tried)) == ["prototype", "ridge", "lda", "logistic", "knn"]


@dataclass(frozen=True)
class Planted(SelfFitting, Family):
    """Candidates whose score of the right label is raised in all rows, in the first one and in the second one."""

    number: int = 1

    name: ClassVar[str] = "planted"
    tasks: ClassVar[tuple[str, ...]] = ("single_label",)
    linear: ClassVar[bool] = True
    cost: ClassVar[int] = 0
    patience: ClassVar[int] = 2
    raised: ClassVar[tuple[tuple[float, float, float], ...]] = ()

    def objection(self, study: Study) -> str:
        return ""

    def path(self, study: Study) -> Iterator[Point]:
        common = np.random.default_rng(0).standard_normal((len(study.rows), 3))
        for number, (everywhere, first, second) in enumerate(self.raised):
            own = np.full(len(study.rows), everywhere)
            own[:2] += first, second
            scores = common + own[:, None] * np.eye(3)[study.y.values]
            yield Point(Planted(number + 1), lambda positions, scores=scores: scores[positions])

    def solve(self, study: Study) -> Head:
        return parse("prototype").fit(study.rows.x, study.y)


@pytest.mark.parametrize(
    ("raised", "walked"),
    [
        (((0.1, 0, 0), (0.4, 0, 0), (0.7, 0, 0), (1.0, 0, 0)), 4),
        (((0.7, 0, 0), (0.1, 0, 0), (1.0, 0, 0)), 2),
        (((0.7, 0, 0), (0.7, 0.5, -1.0), (0.7, 0.5, -1.1), (1.0, 0, 0)), 3),
        (((0.7, 0, 0), (0.7, 0.5, -1.0), (1.0, 0, 0)), 3),
    ],
)
def test_a_path_is_left_after_one_that_is_clearly_worse_or_two_that_are_worse(
    monkeypatch: pytest.MonkeyPatch, raised: tuple[tuple[float, float, float], ...], walked: int
) -> None:
    monkeypatch.setattr(Planted, "raised", raised)
    x, y = blobs(300, 5)
    assert len(select(x, y, fold=turns(300), recipe=Planted()).candidates) == walked


@pytest.mark.parametrize("before", [False, True])
def test_arithmetic_puts_the_treatment_of_denormals_back(before: bool) -> None:
    import torch

    torch.set_flush_denormal(before)
    try:
        with arithmetic(1.0):
            pass
        assert (float(torch.tensor([1e-310], dtype=torch.float64) * 1.0) == 0.0) is before
    finally:
        torch.set_flush_denormal(False)
