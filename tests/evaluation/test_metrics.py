"""Figures against scikit-learn, intervals against the bootstrap done by hand, and what is undefined."""

import time
import tracemalloc

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from headstart.evaluation import intervals
from headstart.evaluation.intervals import confusion_draws, estimate, mean_draws
from headstart.evaluation.metrics import calibration_error, multi_label, regression, single_label


def guesses(n: int = 500, k: int = 4, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    p = rng.dirichlet(np.ones(k), n) + 0.5 * np.eye(k)[y]
    return y, p / p.sum(axis=1, keepdims=True), tuple(f"l{i}" for i in range(k))


def test_point_values_are_scikit_learns() -> None:
    y, p, labels = guesses()
    found = single_label(y, p, labels=labels)
    chosen = p.argmax(axis=1)
    assert found["accuracy"].value == sk.accuracy_score(y, chosen)
    assert found["balanced_accuracy"].value == pytest.approx(sk.balanced_accuracy_score(y, chosen))
    assert found["macro_f1"].value == pytest.approx(sk.f1_score(y, chosen, average="macro"))
    assert found["log_loss"].value == pytest.approx(sk.log_loss(y, p))
    for i, recall in enumerate(sk.recall_score(y, chosen, average=None)):
        assert found[f"recall.l{i}"].value == pytest.approx(recall)
    assert list(found)[:5] == ["accuracy", "balanced_accuracy", "macro_f1", "log_loss", "calibration_error"]


def test_balanced_accuracy_is_over_the_labels_that_occur() -> None:
    y, p, labels = guesses(200, 5)
    kept = y < 3
    found = single_label(y[kept], p[kept], labels=labels)
    recalls = [(p[kept].argmax(axis=1)[y[kept] == c] == c).mean() for c in range(3)]
    assert found["balanced_accuracy"].value == pytest.approx(np.mean(recalls))
    assert {name for name in found if name.startswith("recall.")} == {"recall.l0", "recall.l1", "recall.l2"}


def test_multi_label_values_are_scikit_learns_over_the_labels_that_occur() -> None:
    rng = np.random.default_rng(0)
    y = rng.random((300, 4)) < 0.3
    y[:, 3] = False
    p = np.clip(0.3 * rng.random((300, 4)) + 0.5 * y, 0, 1)
    found = multi_label(y, p, labels=("a", "b", "c", "never"))
    assert found["map"].value == pytest.approx(sk.average_precision_score(y[:, :3], p[:, :3], average="macro"))
    assert found["macro_f1"].value == pytest.approx(sk.f1_score(y[:, :3], p[:, :3] >= 0.5, average="macro"))
    assert found["log_loss"].value == pytest.approx(
        np.mean([sk.log_loss(y[:, j], p[:, j], labels=[False, True]) for j in range(4)])
    )
    assert "recall.never" not in found
    assert found["map"].low <= found["map"].value <= found["map"].high
    assert "map" not in multi_label(np.zeros((5, 2), bool), np.full((5, 2), 0.1), labels=("a", "b"))


def test_regression_values_are_scikit_learns_and_r2_needs_spread() -> None:
    rng = np.random.default_rng(0)
    y = 100 + rng.standard_normal(200)
    p = y + 0.3 * rng.standard_normal(200)
    found = regression(y, p)
    assert found["mae"].value == pytest.approx(sk.mean_absolute_error(y, p))
    assert found["r2"].value == pytest.approx(sk.r2_score(y, p))
    assert found["r2"].low < found["r2"].value < found["r2"].high
    assert set(regression(np.ones(5), np.ones(5))) == {"mae"}


def by_hand(y: np.ndarray, p: np.ndarray, figure, resamples: int = 1500) -> np.ndarray:
    rng = np.random.default_rng(5)
    rows = [rng.integers(0, len(y), len(y)) for _ in range(resamples)]
    return np.percentile([figure(y[i], p[i]) for i in rows], (2.5, 97.5))


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        ("accuracy", lambda y, p: (p.argmax(axis=1) == y).mean()),
        ("balanced_accuracy", lambda y, p: np.mean([(p[y == c].argmax(axis=1) == c).mean() for c in np.unique(y)])),
        ("log_loss", lambda y, p: -np.log(p[np.arange(len(y)), y]).mean()),
        ("recall.l1", lambda y, p: (p[y == 1].argmax(axis=1) == 1).mean()),
    ],
)
def test_intervals_are_those_of_resampling_rows(name: str, figure) -> None:
    y, p, labels = guesses(400)
    found = single_label(y, p, labels=labels)[name]
    low, high = by_hand(y, p, figure)
    assert found.low == pytest.approx(low, abs=0.15 * (high - low))
    assert found.high == pytest.approx(high, abs=0.15 * (high - low))


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (0, 4), (4, 4), (7, 10), (300, 300), (999, 1000)])
def test_a_share_has_wilsons_interval(hits: int, n: int) -> None:
    wanted = stats.binomtest(hits, n).proportion_ci(method="wilson")
    found = intervals.share(hits, n)
    assert (found.value, found.low, found.high) == pytest.approx((hits / n, wanted.low, wanted.high))
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_figures_without_a_mistake_are_not_certain() -> None:
    y = np.array([0, 0, 0, 0, 1, 1])
    found = single_label(y, np.eye(2)[y], labels=("a", "b"))
    assert found["accuracy"].value == found["recall.a"].value == 1.0
    assert found["recall.b"].low < found["recall.a"].low < found["accuracy"].low < 0.7
    several = multi_label(np.eye(2, dtype=bool)[y], np.eye(2)[y], labels=("a", "b"))
    assert several["recall.a"] == found["recall.a"]


def test_the_interval_of_mean_average_precision_is_that_of_resampling_rows() -> None:
    rng = np.random.default_rng(0)
    y = rng.random((250, 3)) < 0.3
    p = np.round(np.clip(0.6 * rng.random((250, 3)) + 0.3 * y, 0, 1), 2)
    found = multi_label(y, p, labels=("a", "b", "c"))["map"]
    low, high = by_hand(y, p, lambda a, b: sk.average_precision_score(a, b, average="macro"), 300)
    assert found.low == pytest.approx(low, abs=0.25 * (high - low))
    assert found.high == pytest.approx(high, abs=0.25 * (high - low))


def test_past_the_exact_size_the_normal_limit_gives_the_same_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    columns = np.stack([rng.exponential(size=3000), rng.standard_normal(3000)], axis=1)
    exact = mean_draws(columns)
    monkeypatch.setattr(intervals, "EXACT_ROWS", 100)
    limit = mean_draws(columns)
    assert exact.shape == limit.shape == (1000, 2)
    np.testing.assert_allclose(exact.std(axis=0), limit.std(axis=0), rtol=0.1)
    np.testing.assert_allclose(exact.mean(axis=0), limit.mean(axis=0), atol=0.01)


def test_draws_of_the_confusion_matrix_keep_its_total_and_its_empty_cells() -> None:
    true, chosen = np.array([0] * 5 + [1] * 5), np.array([0] * 5 + [0, 0, 1, 1, 1])
    draws = confusion_draws((true, chosen), lambda *sums: np.stack(sums, axis=1), k=2)
    hits, trues, told = draws.transpose(1, 0, 2)
    assert draws.shape == (1000, 3, 2)
    assert (trues.sum(axis=1) == 10).all()
    assert (told.sum(axis=1) == 10).all()
    assert (trues[:, 0] == hits[:, 0]).all(), "nothing of label 0 was told wrong"
    np.testing.assert_allclose(draws.mean(axis=0), [[5, 3], [5, 5], [7, 3]], atol=0.3)


def test_many_labels_do_not_take_their_square_of_memory() -> None:
    k, rng = 20_000, np.random.default_rng(0)
    true, chosen = rng.integers(0, k, 500), rng.integers(0, k, 500)
    tracemalloc.start()
    confusion_draws((true, chosen), lambda hits, trues, told: hits.sum(axis=1), k=k, resamples=20)
    assert tracemalloc.get_traced_memory()[1] < 300e6
    tracemalloc.stop()


def test_the_calibration_error_of_many_labels_takes_memory_of_the_rows_only() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.random((2000, 100))
    correct = (rng.random((2000, 100)) < confidence).astype(float)
    tracemalloc.start()
    value, columns = calibration_error(confidence, correct)
    assert tracemalloc.get_traced_memory()[1] < 5 * confidence.nbytes
    tracemalloc.stop()
    assert columns.shape == (2000, 15)
    assert value == pytest.approx(calibration_error(confidence.reshape(-1), correct.reshape(-1))[0])


def test_calibration_error_is_zero_for_the_calibrated_and_the_gap_for_the_confident() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1.0, 200_000)
    assert calibration_error(confidence, (rng.random(200_000) < confidence).astype(float))[0] < 0.01
    assert calibration_error(confidence, (rng.random(200_000) < confidence - 0.2).astype(float))[0] == pytest.approx(
        0.2, abs=0.01
    )
    assert calibration_error(np.full(7, 0.9), np.ones(7))[0] == pytest.approx(0.1)


def test_fifteen_bins_of_equal_mass() -> None:
    rng = np.random.default_rng(0)
    confidence, correct = np.sort(rng.random(150)), (rng.random(150) < 0.5).astype(float)
    by_bin = [abs((confidence[i : i + 10] - correct[i : i + 10]).sum()) for i in range(0, 150, 10)]
    assert calibration_error(confidence, correct)[0] == pytest.approx(sum(by_bin) / 150)


def test_an_interval_holds_its_value() -> None:
    assert estimate(0.5, np.array([0.7, 0.8, np.nan])).low == 0.5
    assert estimate(0.5, np.full(3, np.nan)).to_json() == {"value": 0.5, "low": 0.5, "high": 0.5}
    centred = estimate(0.01, np.array([0.02, 0.03, 0.04]), centred=True)
    assert 0 <= centred.low < 0.01 < centred.high


def test_the_same_seed_gives_the_same_interval() -> None:
    y, p, labels = guesses()
    assert single_label(y, p, labels=labels, seed=3) == single_label(y, p, labels=labels, seed=3)
    assert single_label(y, p, labels=labels, seed=3) != single_label(y, p, labels=labels, seed=4)


def test_ten_thousand_rows_take_about_a_second() -> None:
    y, p, labels = guesses(10_000, 10)
    single_label(y[:50], p[:50], labels=labels)
    began = time.process_time()
    single_label(y, p, labels=labels)
    assert time.process_time() - began < 3.0  # under a second on an idle machine; others share this one


def test_uneven_classes_tell_what_the_mean_hides() -> None:
    rng = np.random.default_rng(0)
    counts = np.array([3, 600, 40, 90, 30, 500])
    y = np.repeat(np.arange(6), [4, 60, 10, 20, 10, 50])
    p = rng.dirichlet(np.ones(6), len(y)) + 0.6 * np.eye(6)[y] * rng.random((len(y), 1))
    p /= p.sum(axis=1, keepdims=True)
    chosen = (p / np.sqrt(counts)).argmax(axis=1)
    labels = tuple("abcdef")
    found = single_label(y, p, labels=labels, chosen=chosen, counts=counts)
    recalls = sk.recall_score(y, chosen, average=None)
    assert found["worst_recall"].value == pytest.approx(recalls.min())
    assert found["recall_head"].value == pytest.approx(recalls[[1, 5]].mean())
    assert found["recall_middle"].value == pytest.approx(recalls[[2, 3]].mean())
    assert found["recall_tail"].value == pytest.approx(recalls[[0, 4]].mean())
    assert found["pr_auc"].value == pytest.approx(sk.average_precision_score(np.eye(6)[y], p, average="macro"))
    for label in range(6):
        own = sk.average_precision_score(y == label, p[:, label])
        assert found[f"average_precision.{labels[label]}"].value == pytest.approx(own)
    assert found["accuracy"].value == pytest.approx((chosen == y).mean())
    plain = single_label(y, p, labels=labels)
    assert found["calibration_error"] == plain["calibration_error"], "it is of the probabilities, whatever was answered"
    assert all(one.low <= one.value <= one.high for one in found.values())


def test_even_classes_have_no_further_figures_and_two_labels_have() -> None:
    y, p = np.array([0, 1, 2, 0]), np.eye(3)[[0, 1, 2, 1]]
    assert "worst_recall" not in single_label(y, p, labels=("a", "b", "c"), counts=np.array([50, 10, 20]))
    assert "worst_recall" in single_label(y, p, labels=("a", "b", "c"), counts=np.array([51, 10, 20]))
    two = single_label(y[:2], np.array([[0.9, 0.1], [0.2, 0.8]]), labels=("a", "b"), counts=np.array([10, 10]))
    assert two["pr_auc"].value == two["average_precision.a"].value == two["worst_recall"].value == 1.0
    assert "recall_head" not in two
    one = single_label(y[:1], np.array([[0.9, 0.1]]), labels=("a", "b"), counts=np.array([10, 10]))
    assert "average_precision.b" not in one, "a label that does not occur has no figure"
