"""The ground of a tuning: what is trained on, what chooses, what decides, and the frozen head that has to be beaten."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headstart.audit.labels import NEIGHBOURS, doubt_labels
from headstart.audit.neighbours import nearest
from headstart.backbones.choice import tokenizer_warning
from headstart.backbones.network import NetworkBackbone
from headstart.core.errors import DataError, UsageError
from headstart.core.progress import Progress
from headstart.data.samples import Samples
from headstart.data.splits import folds
from headstart.evaluation.calibration import fit_temperature
from headstart.features.extraction import Extraction, extract
from headstart.heads.fitted import Linear
from headstart.heads.selection import Selection, select
from headstart.heads.selection import parse as parse_head
from headstart.model.model import Model, join
from headstart.tasks.task import Targets, Task
from headstart.tuning.gate import decide
from headstart.verbs.fit_data import FitData, FitOptions, prepare
from headstart.verbs.fit_gate import open_gate

if TYPE_CHECKING:
    from headstart.tuning.ladder import Choosing

ASIDE = 5
"""One in so many training samples is set aside, while these are few: half of them choose, the others decide."""

# So many are enough of few, one in so many of more, and never more than the last: whatever is set aside is not trained on.
_ENOUGH_ASIDE, _ASIDE_OF_MANY, _MOST_ASIDE = 500, 10, 2000

VALIDATION = "val"
"""The part that chooses and decides in their place, where it is not the evaluated one and holds enough."""

# So many samples of it, or one for every so many training samples.
_ENOUGH = 200

# Fewer that choose, or that decide, tell nothing.
_LEAST = 4
_LEAST_WEIGHT = 0.05


@dataclass(frozen=True)
class Ground:
    """The samples of a tuning and the frozen head. Rows are positions in what is labelled for it, places are positions among the samples.

    Attributes:
        prepared: the data as `fit` reads it.
        samples: those that have a row.
        extraction: their rows.
        task: what the targets are.
        y: targets of the training part, and of the part that chooses and decides where there is one.
        fit_rows: what is trained on.
        aside_rows: what is set aside.
        train: places of what is trained on.
        aside: places of what is set aside.
        chooses: (aside,) whether it chooses; the others decide.
        start: the linear head that tuning begins with, its temperature in its weights.
        frozen: the best frozen head.
        frozen_outcomes: (aside,) what each sample that is set aside adds to its first figure; higher is better.
        aside_groups: (aside,) what has to share a fold of these; None where each stands alone.
        name: the figure that the gate compares.
        far: whether the network hardly knows such data.
        weights: (fit,) how much each sample that is trained on counts.
        notes: how the data was understood, one sentence each.
    """

    prepared: FitData
    samples: Samples
    extraction: Extraction
    task: Task
    y: Targets
    fit_rows: np.ndarray
    aside_rows: np.ndarray
    train: np.ndarray
    aside: np.ndarray
    chooses: np.ndarray
    start: Linear
    frozen: Selection
    frozen_outcomes: np.ndarray
    aside_groups: np.ndarray | None
    name: str
    far: bool
    weights: np.ndarray
    notes: tuple[str, ...]

    @property
    def figure(self) -> str:
        """The figure that the gate compares: the first that is a mean over samples."""
        return self.name

    @property
    def winnable(self) -> bool:
        """Whether a model that is right about everything would pass the gate: not where the frozen one is wrong on one sample that decides, or on none."""
        deciding = self.frozen_outcomes[~self.chooses]
        return decide(deciding, np.full(len(deciding), 1.0 if self.name == "accuracy" else 0.0)).passed

    @cached_property
    def held(self) -> np.ndarray:
        """Places of the evaluated part."""
        part = np.asarray(self.samples.table.column("split").to_pylist(), dtype=object)
        return np.flatnonzero(part == self.prepared.evaluated)

    @cached_property
    def classes(self) -> Mapping[str, int]:
        """How many samples of each label are trained on; empty for values."""
        return self.task.summary(self.y.take(self.fit_rows))

    @property
    def after(self) -> int:
        """Samples that are looked at under the tuned weights when these are found: what was set aside, and the evaluated part."""
        return len(self.aside) + len(self.held)

    @property
    def identity(self) -> str:
        """Of what is trained on, what is set aside, and their targets."""
        digests, parts = self.extraction.features[0].digests, hashlib.blake2b(digest_size=16)
        for each in (digests[self.train], digests[self.aside], self.y.values, np.array(self.y.labels, dtype=str)):
            parts.update(np.ascontiguousarray(each).tobytes() + len(each).to_bytes(8, "little"))
        return parts.hexdigest()

    def choosing(self, start: Linear) -> "Choosing":
        """What the ladder chooses by: nothing of it decides.

        Args:
            start: the head that tuning begins with.
        """
        from headstart.tuning.ladder import Choosing

        places, rows = self.aside[self.chooses], self.aside_rows[self.chooses]
        at_start = start.scores(join(self.extraction.features)[places])
        return Choosing(self.samples.take(places), self.y.take(rows), at_start, self.far)


def check_length(budget: float, steps: int | None) -> None:
    """Refuse a budget or a number of steps that allows none.

    Raises:
        UsageError: as said.
    """
    if not budget > 0:
        raise UsageError(f"a budget is longer than 0 s, and got {budget:g} s")
    if steps is not None and steps < 1:
        raise UsageError(f"tuning takes 1 step or more, and got {steps}")


def tunable(model: Model) -> NetworkBackbone:
    """The model's network.

    Raises:
        UsageError: it has none that torch could train.
    """
    backbone = model.backbone
    if not isinstance(backbone, NetworkBackbone):
        raise UsageError(
            f"{model.report.backbone} is no network of torch, and only those can be tuned: fit with one of 'headstart models'"
        )
    return backbone


def read_ground(
    model: Model, data: Any, *, asked: FitOptions, new_labels: bool, doubted: bool, progress: Progress
) -> Ground:
    """Read, extract, set aside, and fit the frozen head that has to be beaten.

    Args:
        model: whose backbone is tuned.
        data: labelled, as for `fit`.
        asked: how the data is read, and the seed that decides what is set aside.
        new_labels: whether labels are learnt that the model does not know.
        doubted: whether samples count less whose labels the data gate doubts.
        progress: stages `read` and `extract`, in samples.

    Raises:
        DataError: the data cannot be used, has labels that the model does not know, or too few samples to set some aside.
    """
    prepared = prepare(data, asked, kept=VALIDATION)
    labels = _labels(model, prepared, new_labels=new_labels)
    extraction = extract(prepared.samples, model.backbone, progress=progress)
    gate, prepared = open_gate(prepared, extraction, options=asked)
    samples = prepared.samples.take(extraction.kept)
    samples, prepared = _held_back(model, samples, prepared, extraction)
    part = np.asarray(samples.table.column("split").to_pylist(), dtype=object)
    places = np.flatnonzero((part == "train") | ((part == VALIDATION) & (prepared.evaluated != VALIDATION)))
    y = prepared.task.encode(samples.table.column("target").take(pa.array(places)), labels)
    groups = gate.together(np.isin(np.arange(len(part)), places))
    digests = extraction.features[0].digests[places]
    met = model.split.taught_on(digests) if model.report.tuned else np.zeros(len(places), bool)
    fit_rows, aside_rows, chooses, how = _set_aside(y, groups, part[places] == VALIDATION, met, seed=asked.seed)
    x = join(extraction.features)[places]
    of_fit = None if groups is None else groups[fit_rows]
    frozen, start = _frozen(x[fit_rows], y.take(fit_rows), of_fit, seed=asked.seed)
    weights, told = _weights(x[fit_rows], y.take(fit_rows), frozen, of_fit, prepared.task, doubted=doubted)
    predicted = prepared.task.predict(frozen.head.scores(x[aside_rows]), frozen.temperature)
    name, outcomes = prepared.task.figure(y.take(aside_rows), predicted)
    return Ground(
        prepared=prepared,
        samples=samples,
        extraction=extraction,
        task=prepared.task,
        y=y,
        fit_rows=fit_rows,
        aside_rows=aside_rows,
        train=places[fit_rows],
        aside=places[aside_rows],
        chooses=chooses,
        start=start,
        frozen=frozen,
        aside_groups=None if groups is None else groups[aside_rows],
        name=name,
        frozen_outcomes=outcomes,
        far=_far(extraction, model),
        weights=weights,
        notes=(*prepared.notes, how, *told),
    )


def _held_back(model: Model, samples: Samples, prepared: FitData, extraction: Extraction) -> tuple[Samples, FitData]:
    """Data without parts gets those that the model was fitted with: what was held out then is not trained on now."""
    if prepared.evaluated:
        return samples, prepared
    known = model.split.parts_of(extraction.features[0].digests)
    held = (known > 1) & (known & 1 == 0)
    if not held.any() or held.all():
        return samples, prepared
    part = "test" if (known[held] & 4).any() else VALIDATION
    split = pa.array(np.where(held, part, "train").tolist(), pa.string())
    note = f"{int(held.sum()):,} samples were held out when the model was fitted, and stay the part {part}"
    return samples.with_column("split", split), replace(prepared, evaluated=part, notes=(*prepared.notes, note))


def _set_aside(
    y: Targets, groups: np.ndarray | None, validation: np.ndarray, met: np.ndarray, *, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """What is trained on, what is set aside, which of that chooses, and where it is from; groups stay together.

    Args:
        y: of all.
        groups: what has to stay together, or None.
        validation: whether each is of the part that chooses and decides.
        met: whether an earlier tuning trained the network on it, which can neither choose nor decide now.
        seed: decides the rest.

    Raises:
        DataError: too few could be set aside.
    """
    met = met if groups is None else np.isin(groups, groups[met])
    validation = validation & ~met
    fit = np.flatnonzero(~validation)
    if y.task == "single_label":  # a label that is never trained on says nothing of either model
        validation = validation & np.isin(y.values, y.values[fit])
    aside = np.flatnonzero(validation if groups is None else validation & ~np.isin(groups, groups[fit]))
    if len(aside) >= min(_ENOUGH, len(fit) // ASIDE) and len(aside) >= 2 * _LEAST:
        how = f"{len(aside):,} samples of the part {VALIDATION} choose and decide"
    else:
        away = _away(y.take(fit), None if groups is None else groups[fit], met[fit], seed=seed)
        how = f"{int(away.sum()):,} of {len(fit):,} training samples are set aside to choose and to decide"
        if met.any():
            how += "; the network was tuned before, and not on these"
        fit, aside = _split(fit, away, y)
    of_aside = None if groups is None else groups[aside]
    half = np.zeros(len(aside), int)
    if len(aside) >= 2 * _LEAST:
        half = folds(y.take(aside).values, task=y.task, groups=of_aside, n_folds=2, seed=seed)
    if min(int((half == 0).sum()), int((half != 0).sum())) < _LEAST:
        few = f"{len(fit) + len(aside):,} training samples are"
        if met.any():
            few = f"the network was tuned before on {int(met.sum()):,} of these {len(fit) + len(aside):,} training samples, and the rest are"
        raise DataError(
            f"{few} too few to set some aside that choose and others that decide: stay with the model as it is"
        )
    return fit, aside, half == 0, how


def _away(y: Targets, groups: np.ndarray | None, met: np.ndarray, *, seed: int) -> np.ndarray:
    """Whether each sample is set aside: one in so many, of those that the network was not trained on; all of these where they are few."""
    free, away = np.flatnonzero(~met), ~met
    n_folds = _one_in(len(met)) * len(free) // len(met)
    if n_folds > 1:
        of_free = None if groups is None else groups[free]
        away[free] = folds(y.take(free).values, task=y.task, groups=of_free, n_folds=n_folds, seed=seed) == 0
    return away


def _one_in(n: int) -> int:
    """Of n training samples one in so many is set aside."""
    return max(ASIDE, min(n // _ENOUGH_ASIDE, _ASIDE_OF_MANY), -(-n // _MOST_ASIDE))


def _split(rows: np.ndarray, away: np.ndarray, y: Targets) -> tuple[np.ndarray, np.ndarray]:
    """What stays and what is set aside; a label keeps its rows where none of them would stay."""
    if y.task == "single_label":
        away = away & np.isin(y.values[rows], y.values[rows[~away]])
    return rows[~away], rows[away]


def _labels(model: Model, prepared: FitData, *, new_labels: bool) -> tuple[str, ...] | None:
    """The labels that are learnt.

    Raises:
        DataError: the data is of another modality, or has other labels than the model.
    """
    if prepared.samples.modality != model.modality:
        raise DataError(
            f"the model takes {model.modality}, and {prepared.samples.source} holds {prepared.samples.modality}"
        )
    parts = {"train", VALIDATION} - ({VALIDATION} & {prepared.evaluated})
    split = prepared.samples.table.column("split")
    used = prepared.samples.table.filter(pc.is_in(split, pa.array(sorted(parts), split.type)))
    found = prepared.task.encode(used.column("target"), None).labels
    absent = [label for label in model.labels if label not in found]
    if absent:
        some = ", ".join(absent[:5]) + (" and more" if len(absent) > 5 else "")
        raise DataError(
            f"{prepared.samples.source} has no sample of {len(absent)} of the labels that the model knows ({some}): fit a model on it first, and tune that one"
        )
    fresh = [label for label in found if label not in model.labels]
    if not fresh or new_labels:
        return None if not model.labels else (*model.labels, *fresh)
    names = ", ".join(fresh[:5]) + (" and more" if len(fresh) > 5 else "")
    raise DataError(
        f"the model does not know {len(fresh)} of the labels of {prepared.samples.source} ({names}): say --new-labels to learn them, or mend the labels"
    )


def _frozen(x: np.ndarray, y: Targets, groups: np.ndarray | None, *, seed: int) -> tuple[Selection, Linear]:
    """The frozen head that has to be beaten, and the linear one that tuning begins with, its temperature in its weights."""
    fold = folds(y.values, task=y.task, groups=groups, seed=seed)
    best = select(x, y, fold=fold, recipe=parse_head("auto"), groups=groups, seed=seed)
    linear = best
    if not isinstance(best.head, Linear):
        name = "logistic" if y.task != "regression" else "ridge"
        linear = select(x, y, fold=fold, recipe=parse_head(name), groups=groups, seed=seed)
    head = linear.head
    assert isinstance(head, Linear)
    warm = Linear((head.weight / linear.temperature).astype(np.float32), head.bias / linear.temperature, head.link)
    return best, warm


def _weights(
    x: np.ndarray, y: Targets, frozen: Selection, groups: np.ndarray | None, task: Task, *, doubted: bool
) -> tuple[np.ndarray, tuple[str, ...]]:
    """1 for a sample whose label is not doubted, else the probability that a head which has not seen it gives that label."""
    weights = np.ones(len(x))
    if not doubted or task.link != "softmax":
        return weights, ()
    probabilities = task.predict(frozen.oof_scores, frozen.temperature)
    near = nearest(x, max(1, min(NEIGHBOURS, int(np.sqrt(len(x))))), apart=groups)
    doubts = doubt_labels(probabilities, y.values, near=near)
    weights[doubts.flagged] = np.maximum(_LEAST_WEIGHT, 1.0 - doubts.scores[doubts.flagged])
    return weights, (f"{int(doubts.flagged.sum()):,} of {len(x):,} samples count less, as their labels are doubted",)


def _far(extraction: Extraction, model: Model) -> bool:
    tokens, unknown, single = (int(extraction.facts.get(name, 0)) for name in ("tokens", "unknown", "single"))
    name = model.report.backbone
    return bool(tokens and tokenizer_warning(tokens=tokens, unknown=unknown, single=single, backbone=name))


def temperature_of(scores: np.ndarray, targets: Targets, *, task: Task) -> float:
    """The temperature that calibrates scores of samples that no weights were trained on."""
    return fit_temperature(scores, targets.values, link=task.link)
