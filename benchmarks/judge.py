"""What a model's judge is worth on real data: calibration, conformal sets, and what it says of items from somewhere else.

Every classification set with at least 500 test items. The calibration error has 15 equal-mass bins, after the temperature. It is
held against what chance alone does: labels are drawn from the model's own probabilities, so that they are perfectly calibrated,
and the 95th percentile of their calibration error is printed. Coverage varies with the calibration rows, by the spread that a
fit prints, and with the test rows; both are in the standard deviation that is printed beside it. `plain LAC` is the peer of the sets'
mean size: the same sets without the most probable label where it is not probable enough. The recall of outliers from another
set is printed as AUROC, not bounded. Nothing here is tuned on a test part.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

import headstart as hs
from figures import DATA, Figure, arguments, present, show
from headstart.data.opening import open_samples
from headstart.data.reading import ReadOptions
from headstart.evaluation.conformal import prediction_sets
from headstart.evaluation.metrics import calibration_error
from headstart.model.judge import Judging
from headstart.tasks import TASKS

SETS = ("blood_cells", "cifar10", "sst2", "trec", "thucnews")
QUICK = ("trec", "sst2")
STRANGERS = (("blood_cells", "cifar10"), ("sst2", "trec"), ("spoken_digits", "yesno"))
"""A model's own set, and the one whose items it has never seen the like of."""
FEWEST = 500
SIMULATIONS = 1000
SEED = 0
LEAST_BOUND = 0.03
COVERAGE = 0.9


@dataclass(frozen=True)
class Tested:
    """A fitted model with its test rows.

    Attributes:
        model: the model.
        rows: (n, d) of the test items.
        truths: (n,) class indices.
        probabilities: (n, k) what it answers.
    """

    model: hs.Model
    rows: np.ndarray
    truths: np.ndarray
    probabilities: np.ndarray


def rows_of(model: hs.Model, samples: hs.Samples) -> tuple[np.ndarray, hs.Samples]:
    """Rows of samples by the model's backbone, and the samples that could be read."""
    extraction = hs.extract(samples, backbone=model.backbone)
    rows = np.concatenate([np.asarray(one.values) for one in extraction.features], axis=1)
    return rows, samples.take(extraction.kept)


@cache
def tested(name: str) -> Tested:
    """The model of a set, fitted with no option but the data."""
    model = hs.fit(str(DATA / name), options=hs.FitOptions(coverage=COVERAGE))
    rows, kept = rows_of(model, hs.read(str(DATA / name)).part(model.report.evaluated_on))
    task = TASKS.get(model.task)
    truths = task.encode(kept.table.column("target"), model.labels).values
    return Tested(model, rows, truths, task.predict(model.head.scores(rows), model.temperature))


def perfect(probabilities: np.ndarray) -> np.ndarray:
    """The calibration errors of labels that are drawn from the probabilities themselves."""
    rng = np.random.default_rng(SEED)
    confidence = probabilities.max(axis=1)
    return np.array(
        [calibration_error(confidence, rng.random(len(confidence)) < confidence)[0] for _ in range(SIMULATIONS)]
    )


def calibration(name: str, one: Tested) -> Iterator[Figure]:
    """The calibration error beside what chance alone does."""
    confidence, chosen = one.probabilities.max(axis=1), one.probabilities.argmax(axis=1)
    draws = perfect(one.probabilities)
    chance = float(np.percentile(draws, 95))
    bound = max(LEAST_BOUND, chance)
    error = calibration_error(confidence, chosen == one.truths)[0]
    yield Figure(f"{name}/n", len(one.truths), "test items", at_least=FEWEST)
    yield Figure(f"{name}/temperature", one.model.temperature, "divides scores")
    yield Figure(f"{name}/calibration_error_by_chance", chance, f"95th percentile, seed {SEED}")
    yield Figure(f"{name}/calibration_error", error, "15 equal-mass bins", at_most=bound)
    yield Figure(f"{name}/calibration_error_rank", float((draws < error).mean()), "share of perfect models below it")
    out_of_fold = one.model.report.out_of_fold["calibration_error"].value
    yield Figure(f"{name}/calibration_error_out_of_fold", out_of_fold, "15 equal-mass bins, training items")


def sets(name: str, one: Tested) -> Iterator[Figure]:
    """The conformal sets, marginal and by label."""
    judge = one.model.judge
    if judge is None or judge.conformal is None:
        raise SystemExit(f"the model of {name} carries no conformal sets, which every fit of labels makes")
    found, n = judge.conformal, len(one.truths)
    inside = prediction_sets(one.probabilities, found)
    plain = 1.0 - one.probabilities <= found.quantile
    hit = inside[np.arange(n), one.truths]
    deviation = float(np.sqrt(found.spread**2 + COVERAGE * (1 - COVERAGE) / n))
    yield Figure(f"{name}/calibration_samples", found.n, "items, out of fold")
    yield Figure(f"{name}/spread", found.spread, "standard deviation by the calibration samples")
    yield Figure(f"{name}/standard_deviation", deviation, "by calibration samples and test items")
    yield Figure(f"{name}/coverage", float(hit.mean()), "share", at_least=COVERAGE - 2 * deviation)
    yield Figure(f"{name}/smallest_set", float(inside.sum(axis=1).min()), "labels", at_least=1)
    yield Figure(f"{name}/mean_size", float(inside.sum(axis=1).mean()), "labels", peer=float(plain.sum(axis=1).mean()))
    yield Figure(f"{name}/empty_by_plain_lac", float((~plain.any(axis=1)).mean()), "share")
    by_label = prediction_sets(one.probabilities, found, by_label=True)
    for title, each in (("marginal", inside), ("by_label", by_label)):
        own = each[np.arange(n), one.truths]
        rarest = min(float(own[one.truths == label].mean()) for label in np.unique(one.truths))
        yield Figure(f"{name}/lowest_coverage_{title}", rarest, "share, of the label that is covered least")
    yield Figure(f"{name}/mean_size_by_label", float(by_label.sum(axis=1).mean()), "labels")


def abstaining(name: str, one: Tested) -> Iterator[Figure]:
    """What abstaining costs and brings."""
    verdict = one.model.verdict(one.rows, one.probabilities, judging=Judging(abstain="any"))
    if verdict is None or verdict.outliers is None:
        raise SystemExit(f"the model of {name} cannot tell outliers, which every fit of rows that vary makes it")
    hit = one.probabilities.argmax(axis=1) == one.truths
    answered = np.array([not reason for reason in verdict.reasons])
    yield Figure(f"{name}/outliers", float(verdict.outliers.mean()), "share of test items; 0.05 is expected")
    yield Figure(f"{name}/abstained", float((~answered).mean()), "share")
    rest = float(hit[answered].mean()) if answered.any() else float("nan")
    yield Figure(f"{name}/accuracy_of_answers", rest, "share", peer=float(hit.mean()))
    seconds = one.model.report.seconds
    yield Figure(f"{name}/seconds_judge", seconds["judge"], "s", peer=seconds["total"])


def strangers(own: str, other: str) -> Iterator[Figure]:
    """Items of another set, among the test items of the model's own."""
    from sklearn.metrics import roc_auc_score

    one = tested(own)
    source = str(DATA / other) if other != "yesno" else str(DATA / other / "audio")
    samples = open_samples(source, options=ReadOptions(labelled=other != "yesno", modality=one.model.modality))
    part = samples.evaluated_part
    strange = rows_of(one.model, samples.part(part) if part else samples)[0]
    judge = one.model.judge
    if judge is None or judge.outliers is None:
        raise SystemExit(f"the model of {own} cannot tell outliers, which every fit of rows that vary makes it")
    known, found = judge.outliers.scores(one.rows), judge.outliers.scores(strange)
    truth = np.repeat([0, 1], [len(known), len(found)])
    area = roc_auc_score(truth, np.concatenate([known, found]))
    yield Figure(f"{own}/auroc_{other}", float(area), f"{len(found)} items of {other} among {len(known)} of {own}")
    caught = float((found > judge.outliers.threshold).mean())
    yield Figure(f"{own}/caught_{other}", caught, "share of them past the threshold")


def measure(*, quick: bool) -> Iterator[Figure]:
    """All figures."""
    names = present(QUICK if quick else SETS)
    for name in names:
        for part in (calibration, sets, abstaining):
            yield from part(name, tested(name))
    for own, other in STRANGERS:
        if (not quick or own in QUICK) and len(present((own, other))) == 2:
            yield from strangers(own, other)


def main() -> int:
    """Measure and print."""
    called = arguments(__doc__ or "")
    return show("judge", measure(quick=called.quick), keep=called.keep)


if __name__ == "__main__":
    sys.exit(main())
