"""Which head: every candidate on the same folds, one temperature each, and the rule that decides."""

import time
from collections.abc import Iterator, Sequence
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
from headstart.heads.rows import arithmetic, slices
from headstart.heads.statistics import Study, make_study
from headstart.tasks.task import Targets

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


def check(recipe: HeadRecipe, task: str) -> None:
    """Refuse, before anything is extracted, a recipe that does not suit the task or has an option out of range.

    Raises:
        UsageError: it does not suit, or an option is out of range.
    """
    for family in _families(recipe, task)[0]:
        if isinstance(family, Family):
            family.check()


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
    groups: np.ndarray | None = None,
    progress: Progress = silent,
) -> Selection:
    """Try the candidates on the given folds, choose one, and fit it on all rows.

    Args:
        x: (n, d) raw rows, in memory or mapped from disk.
        y: n targets.
        fold: the fold in which each row is held out; rows of one group share a fold.
        recipe: one head recipe, whose open options are then chosen; None or `auto`: all that suit the task.
        seed: decides the rows on which candidates are compared, where there are very many.
        groups: (n,) names of what shares a fold, or None where each row stands alone; a recipe may then choose its options by a rule
            of its own, such as leave-one-out.
        progress: told after each candidate.

    Raises:
        FitError: no head can be fitted from these rows and targets.
        UsageError: the recipe does not suit the task, or an option has a value that it cannot have.
    """
    tried_families, automatic = _families(recipe, y.task)
    study = make_study(x, y, fold=fold, seed=seed)
    tried: list[_Tried] = []
    early = [one for one in tried_families if automatic and isinstance(one, Family) and len(study.rows) < one.fewest]
    notes = _too_few(early, len(study.rows))
    for done, family in enumerate(tried_families):
        progress(STAGE, done, len(tried_families))
        if family in early:
            continue
        reason = family.objection(study) if automatic and isinstance(family, Family) else ""
        if reason:
            notes.append(reason)
        else:
            tried += _walk(family, study, groups=groups, seed=seed)
    chosen = _choose(tried, automatic=automatic)
    if not automatic and groups is None:
        chosen = _alone(tried, study, chosen)
    head = _solve(chosen, study, groups=groups, seed=seed)
    scores = _scores(chosen.point, study, np.arange(len(study.rows)))
    progress(STAGE, len(tried_families), len(tried_families))
    candidates = tuple(_candidate(one, chosen) for one in tried)
    return Selection(head, chosen.temperature, title(chosen.point.recipe), scores, candidates, tuple(notes))


def _too_few(families: Sequence[Family], n: int) -> list[str]:
    """One sentence about all families that want more rows."""
    if not families:
        return []
    named = " and ".join(f"{one.name} (from {one.fewest:,} rows on)" for one in families)
    return [f"with {n:,} training samples, {named} {'is' if len(families) == 1 else 'are'} not tried"]


def fit_alone(
    x: Float[np.ndarray, "n d"], y: Targets, *, recipe: HeadRecipe, groups: np.ndarray | None, seed: int
) -> Head:
    """Fit one recipe; its open options, where it has any, are chosen by cross-validation within these rows.

    Raises:
        FitError: no head can be fitted from these rows and targets.
    """
    if isinstance(recipe, Family) and (recipe.settled or groups is None):
        _families(recipe, y.task)
        study = make_study(x, y, seed=seed)
        settled = recipe.alone(study)
        if settled.settled:
            return settled.solve(study)
    fold = folds(y.values, task=y.task, groups=groups, seed=seed)
    return select(x, y, fold=fold, recipe=recipe, groups=groups, seed=seed).head


class SelfFitting(HeadRecipe):
    """A recipe that is fitted as `select` fits it."""

    def fit(self, x: Float[np.ndarray, "n d"], y: Targets, *, groups: np.ndarray | None = None, seed: int = 0) -> Head:
        """Fit on raw rows; open options, where there are any, are chosen within these rows."""
        return fit_alone(x, y, recipe=self, groups=groups, seed=seed)


def _families(recipe: HeadRecipe | None, task: str) -> tuple[tuple[HeadRecipe, ...], bool]:
    """What to try, and whether headstart is free to choose."""
    if recipe is None or _name(recipe) == "auto":
        listed = [head for head in map(HEADS.get, HEADS.names()) if isinstance(head, Family) and head.unasked]
        families = [family for family in listed if task in family.tasks]
        return tuple(sorted(families, key=lambda family: family.cost)), True
    if task not in recipe.tasks:
        raise UsageError(
            f"the head {_name(recipe)!r} fits {' and '.join(recipe.tasks)}, and the task is {task}: try auto"
        )
    return (recipe,), False


def _walk(family: HeadRecipe, study: Study, *, groups: np.ndarray | None, seed: int) -> list[_Tried]:
    """All candidates of one family, or those before its patience ends."""
    tried: list[_Tried] = []
    path = family.path(study) if isinstance(family, Family) else _foreign(family, study, groups=groups, seed=seed)
    patience = family.patience if isinstance(family, Family) else 0
    began = time.perf_counter()
    for point in path:
        losses, accuracy, temperature = _judge(point, study)
        tried.append(_Tried(point, family, losses, accuracy, temperature, time.perf_counter() - began))
        began = time.perf_counter()
        if patience and _is_over(tried, patience):
            break
    return tried


def _is_over(tried: list[_Tried], patience: int) -> bool:
    """Whether a path has passed its best: the last one is clearly worse, or as many as its patience are worse at all."""
    best = min(range(len(tried)), key=lambda i: tried[i].loss)
    lost = tried[-1].loss - tried[best].loss
    clearly = lost > paired_standard_error(tried[-1].losses, tried[best].losses)
    return best < len(tried) - 1 and (clearly or len(tried) - 1 - best >= patience)


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


def _alone(tried: list[_Tried], study: Study, chosen: _Tried) -> _Tried:
    """The candidate that the one recipe asked for chooses by a rule of its own, where it has one; else the one chosen by the folds."""
    if not isinstance(chosen.family, Family):
        return chosen
    settled = chosen.family.alone(study)
    return next((one for one in tried if one.point.recipe == settled and np.isfinite(one.loss)), chosen)


def _solve(chosen: _Tried, study: Study, *, groups: np.ndarray | None, seed: int) -> Head:
    recipe = chosen.point.recipe
    if isinstance(recipe, Family):
        return recipe.solve(study)
    return recipe.fit(study.rows.x, study.y, groups=groups, seed=seed)


def _foreign(recipe: HeadRecipe, study: Study, *, groups: np.ndarray | None, seed: int) -> Iterator[Point]:
    """One candidate from a recipe that knows nothing of studies: fitted anew without each fold, with the labels that occur there."""
    x, heads = study.rows.x, []
    for number in range(len(study.parts)):
        training = np.flatnonzero(study.fold != number)
        own, present = _occurring(study.y.take(training), study.link)
        inside = None if groups is None else groups[training]
        heads.append((recipe.fit(np.asarray(x[training]), own, groups=inside, seed=seed), present))

    def scores(positions: np.ndarray) -> np.ndarray:
        out = np.empty((len(positions), study.k))
        for number, (head, present) in enumerate(heads):
            inside = np.flatnonzero(study.fold[positions] == number)
            for part in slices(len(inside), study.d + study.k):
                own = head.scores(np.asarray(x[positions[inside[part]]]))
                out[inside[part]] = own.min(axis=1, keepdims=True)
                out[np.ix_(inside[part], present)] = own
        return out

    yield Point(recipe, scores)


def _occurring(y: Targets, link: str) -> tuple[Targets, np.ndarray]:
    """The targets with the labels that occur among them, and the positions of these among all labels."""
    if link != "softmax":
        return y, np.arange(max(1, len(y.labels)))
    present, index = np.unique(y.values, return_inverse=True)
    return Targets(index.reshape(-1).astype(np.int64), tuple(y.labels[i] for i in present), y.task), present


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
