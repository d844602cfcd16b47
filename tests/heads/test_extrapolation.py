"""The temperature of the head that saw all rows lies nearer to the best one than that of heads which saw four fifths."""

import numpy as np
import pytest

from headstart.data.splits import folds
from headstart.evaluation.calibration import fit_temperature
from headstart.heads import extrapolation
from headstart.heads.extrapolation import shipped_temperature
from headstart.heads.selection import Selection, parse, select
from headstart.tasks.task import Targets

LABELS = ("a", "b", "c")


def rows(n: int, rng: np.random.Generator, d: int = 40) -> tuple[np.ndarray, Targets]:
    labels = rng.integers(0, 3, n)
    x = rng.standard_normal((n, d)).astype(np.float32)
    x[np.arange(n), labels] += 1.5
    return x, Targets(labels, LABELS, "single_label")


def chosen(x: np.ndarray, y: Targets, recipe: str) -> tuple[Selection, np.ndarray]:
    fold = folds(y.values, task=y.task, groups=None)
    return select(x, y, fold=fold, recipe=parse(recipe)), fold


@pytest.mark.parametrize("recipe", ["lda(shrinkage=0.01)", "logistic(penalty=0.001)"])
def test_it_lies_nearer_to_the_best(recipe: str) -> None:
    plain, carried = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        (x, y), (new, truths) = rows(200, rng), rows(4000, rng)
        selection, fold = chosen(x, y, recipe)
        best = fit_temperature(selection.head.scores(new), truths.values, link="softmax")
        plain.append(np.log(selection.temperature / best))
        carried.append(np.log(shipped_temperature(x, y, selection=selection, fold=fold) / best))
    assert np.mean(plain) > 0.05
    assert abs(np.mean(carried)) < 0.6 * np.mean(plain)


def test_where_the_step_cannot_be_taken_the_temperature_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = rows(60, np.random.default_rng(0))
    selection, fold = chosen(x, y, "lda(shrinkage=0.1)")
    assert shipped_temperature(x, y, selection=selection, fold=fold) != selection.temperature
    lonely = Targets(np.where(fold == 4, 2, y.values % 2), LABELS, "single_label")
    assert shipped_temperature(x, lonely, selection=selection, fold=fold) == selection.temperature
    assert shipped_temperature(x, y, selection=selection, fold=fold % 2) == selection.temperature
    values = Targets(y.values.astype(float), (), "regression")
    assert shipped_temperature(x, values, selection=selection, fold=fold) == selection.temperature
    monkeypatch.setattr(extrapolation, "MOST_ROWS", 59)
    assert shipped_temperature(x, y, selection=selection, fold=fold) == selection.temperature


def test_several_labels_have_one_too() -> None:
    x, y = rows(200, np.random.default_rng(1))
    tags = Targets(np.eye(3, dtype=bool)[y.values], LABELS, "multi_label")
    selection, fold = chosen(x, tags, "logistic(penalty=0.001)")
    assert 0 < shipped_temperature(x, tags, selection=selection, fold=fold) < selection.temperature
