"""Which head: every candidate on the same folds, one temperature each, and the rule that decides."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from headstart.core import recipes
from headstart.core.errors import FitError, UsageError
from headstart.core.progress import Progress, silent
from headstart.data.splits import folds
from headstart.evaluation.calibration import fit_temperature, log_losses, paired_standard_error
from headstart.heads import HEADS
from headstart.heads.family import Family, Point
from headstart.heads.fitted import Head
from headstart.heads.recipe import HeadRecipe
from headstart.heads.rows import arithmetic
from headstart.heads.statistics import Study, make_study
from headstart.tasks.task import Targets

AMONG = ("prototype", "ridge", "lda", "logistic", "knn")
"""What `auto` tries."""

STAGE = "choosing a head"


@dataclass(frozen=True)
class Candidate:
    """What one candidate was worth out of fold.

    Attributes:
        recipe: its string form, such as `ridge(penalty=0.1)`.
        family: the head recipe's name.
        log_loss: mean loss in nats at its own temperature (for multi-label the mean over labels; for values the squared error).
        accuracy: share of rows whose highest score is their label; None for multi-label and values.
        standard_error: of the mean difference between its losses and the shipped candidate's, on the same rows; 0 for that one.
        temperature: what its scores are divided by.
        seconds: what it added to the time of fitting.
        note: what a person should know, or empty.
    """

    recipe: str
    family: str
    log_loss: float
    accuracy: float | None
    standard_error: float
    temperature: float
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class Selection:
    """The head that ships, and what it was chosen from.

    Attributes:
        head: fitted on all rows.
        temperature: from the out-of-fold scores of the chosen candidate.
        recipe: the chosen candidate's string form.
        oof_scores: (n, k) its out-of-fold scores, before temperature and link.
        candidates: all that were tried, in the order in which they were tried.
        notes: what was left out and why, one sentence each.
    """

    head: Head
    temperature: float
    recipe: str
    oof_scores: Float[np.ndarray, "n k"]
    candidates: tuple[Candidate, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Tried:
    point: Point
    family: HeadRecipe
    losses: Float[np.ndarray, "s"]
    accuracy: float | None
    temperature: float
    seconds: float

    @property
    def loss(self) -> float:
        return float(self.losses.mean())


def parse(text: str) -> HeadRecipe:
    """The head recipe that a string such as `ridge(penalty=0.1)` stands for.

    Raises:
        UsageError: there is no such head or option.
    """
    name, options = recipes.split(text)
    return recipes.build(type(HEADS.get(name)), name, options=options)


def title(recipe: HeadRecipe) -> str:
    """The string form of a head recipe."""
    return recipes.to_string(_name(recipe), recipe)


def select(
    x: Float[np.ndarray, "n d"],
    y: Targets,
    *,
    fold: Int[np.ndarray, "n"],
    recipe: HeadRecipe | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Selection:
    """Try the candidates on the given folds, choose one, and fit it on all rows.

    Args:
        x: (n, d) raw rows, in memory or mapped from disk.
        y: n targets.
        fold: the fold in which each row is held out; rows of one group share a fold.
        recipe: one head recipe, whose open options are then chosen; None or `auto`: all that suit the task.
        seed: decides the rows on which candidates are compared, where there are very many.
        progress: told after each candidate.

    Raises:
        FitError: no head can be fitted from these rows and targets.
        UsageError: the recipe does not suit the task, or an option has a value that it cannot have.
    """
    tried_families, automatic = _families(recipe, y.task)
    study = make_study(x, y, fold=fold, seed=seed)
    tried: list[_Tried] = []
    notes: list[str] = []
    for done, family in enumerate(tried_families):
        progress(STAGE, done, len(tried_families))
        reason = family.objection(study) if automatic and isinstance(family, Family) else ""
        if reason:
            notes.append(reason)
        else:
            tried += _walk(family, study, seed=seed)
    chosen = _choose(tried, automatic=automatic)
    head = _solve(chosen, study, seed=seed)
    scores = _scores(chosen.point, study, np.arange(len(study.rows)))
    progress(STAGE, len(tried_families), len(tried_families))
    candidates = tuple(_candidate(one, chosen) for one in tried)
    return Selection(head, chosen.temperature, title(chosen.point.recipe), scores, candidates, tuple(notes))


def fit_alone(
    x: Float[np.ndarray, "n d"], y: Targets, *, recipe: HeadRecipe, groups: np.ndarray | None, seed: int
) -> Head:
    """Fit one recipe; its open options, where it has any, are chosen by cross-validation within these rows.

    Raises:
        FitError: no head can be fitted from these rows and targets.
    """
    if isinstance(recipe, Family) and all(value is not None for value in vars(recipe).values()):
        _families(recipe, y.task)
        return recipe.solve(make_study(x, y, seed=seed))
    return select(x, y, fold=folds(y.values, task=y.task, groups=groups, seed=seed), recipe=recipe, seed=seed).head


def _families(recipe: HeadRecipe | None, task: str) -> tuple[tuple[HeadRecipe, ...], bool]:
    """What to try, and whether headstart is free to choose."""
    if recipe is None or _name(recipe) == "auto":
        return tuple(head for head in map(HEADS.get, AMONG) if task in head.tasks), True
    if task not in recipe.tasks:
        raise UsageError(
            f"the head {_name(recipe)!r} fits {' and '.join(recipe.tasks)}, and the task is {task}: try auto"
        )
    return (recipe,), False


def _walk(family: HeadRecipe, study: Study, *, seed: int) -> list[_Tried]:
    """All candidates of one family, or those before its patience ends."""
    tried: list[_Tried] = []
    path = family.path(study) if isinstance(family, Family) else _foreign(family, study, seed=seed)
    patience = family.patience if isinstance(family, Family) else 0
    began = time.perf_counter()
    for point in path:
        losses, accuracy, temperature = _judge(point, study)
        tried.append(_Tried(point, family, losses, accuracy, temperature, time.perf_counter() - began))
        began = time.perf_counter()
        best = min(range(len(tried)), key=lambda i: tried[i].loss)
        if patience and len(tried) - 1 - best >= patience:
            break
    return tried


def _judge(point: Point, study: Study) -> tuple[np.ndarray, float | None, float]:
    """Out-of-fold losses at the candidate's own temperature, and accuracy, on the sampled rows."""
    scores, targets = _scores(point, study, study.sample), study.y.values[study.sample]
    if not np.isfinite(scores).all():
        return np.full(len(scores), np.inf), None, 1.0
    temperature = fit_temperature(scores, targets, link=study.link)
    losses = log_losses(scores, targets, temperature=temperature, link=study.link)
    accuracy = float((scores.argmax(axis=1) == targets).mean()) if study.link == "softmax" else None
    return losses, accuracy, temperature


def _scores(point: Point, study: Study, positions: np.ndarray) -> np.ndarray:
    with arithmetic(2.0 * len(positions) * study.rows.width * study.k / len(study.parts)):
        return point.scores(positions)


def _choose(tried: list[_Tried], *, automatic: bool) -> _Tried:
    """The rule: lowest loss; between families a tie goes to the faster; neighbours only where they clearly win.

    Raises:
        FitError: no candidate gave finite scores.
    """
    finite = [one for one in tried if np.isfinite(one.loss)]
    if not finite:
        raise FitError("no head could be fitted: every candidate gave scores that are not finite")
    if not automatic:
        return min(finite, key=lambda one: one.loss)
    best: dict[str, _Tried] = {}
    for one in sorted(finite, key=lambda one: one.loss):
        best.setdefault(_name(one.family), one)
    linear = [one for one in best.values() if isinstance(one.family, Family) and one.family.linear]
    others = [one for one in best.values() if one not in linear]
    if not linear:
        return min(others, key=lambda one: one.loss)
    lowest = min(linear, key=lambda one: one.loss)
    ties = [one for one in linear if one.loss - lowest.loss <= paired_standard_error(one.losses, lowest.losses)]
    chosen = min(ties, key=lambda one: one.family.cost if isinstance(one.family, Family) else 0)
    wins = [one for one in others if chosen.loss - one.loss > paired_standard_error(one.losses, chosen.losses)]
    return min(wins, key=lambda one: one.loss, default=chosen)


def _solve(chosen: _Tried, study: Study, *, seed: int) -> Head:
    recipe = chosen.point.recipe
    if isinstance(recipe, Family):
        return recipe.solve(study)
    return recipe.fit(study.rows.x, study.y, seed=seed)


def _foreign(recipe: HeadRecipe, study: Study, *, seed: int) -> Iterator[Point]:
    """One candidate from a recipe that knows nothing of studies: fitted anew without each fold."""
    x, heads = study.rows.x, []
    for number in range(len(study.parts)):
        training = np.flatnonzero(study.fold != number)
        heads.append(recipe.fit(np.asarray(x[training]), study.y.take(training), seed=seed))

    def scores(positions: np.ndarray) -> np.ndarray:
        out = np.empty((len(positions), study.k))
        for number, head in enumerate(heads):
            inside = np.flatnonzero(study.fold[positions] == number)
            out[inside] = head.scores(np.asarray(x[positions[inside]]))
        return out

    yield Point(recipe, scores)


def _candidate(one: _Tried, chosen: _Tried) -> Candidate:
    note = "shipped" if one is chosen else ""
    if not np.isfinite(one.loss):
        note = "its scores are not finite"
    return Candidate(
        title(one.point.recipe),
        _name(one.family),
        one.loss,
        one.accuracy,
        0.0 if one is chosen or note else paired_standard_error(one.losses, chosen.losses),
        one.temperature,
        one.seconds,
        note,
    )


def _name(recipe: HeadRecipe) -> str:
    """The name of a recipe's plug-in."""
    return str(getattr(recipe, "name", type(recipe).__name__.lower()))
