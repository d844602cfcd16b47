"""`compare`: two models on the very same samples, with a paired test."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.errors import DataError, Skipped, UsageError
from headstart.core.progress import Progress, silent
from headstart.data.samples import Samples
from headstart.evaluation.comparison import HIGHER_IS_BETTER, Difference, paired_difference
from headstart.features.choosing import AUTO
from headstart.features.extraction import Extraction, extract
from headstart.model.items import Items
from headstart.model.loading import load
from headstart.model.model import Model, check_engine, first_reasons, truncation
from headstart.model.reports import skipped_json
from headstart.tasks import TASKS


@dataclass(frozen=True)
class Comparison:
    """What two models, A and B, came to on the same samples.

    Attributes:
        a: A's name, such as its directory.
        b: B's.
        n: samples that the figures are of: those that both could read and neither was fitted on.
        part: the part of the data that was compared on, or empty where it has none.
        figures: every figure that is a mean over samples, the deciding one first.
        left_out: samples that one of the models was fitted on, and that the figures therefore leave out.
        in_sample: whether nothing else was left, so that the figures are no evidence.
        skipped: inputs left out, each with its reason.
        notes: how the data was understood, one sentence each.
        warnings: what a person should read before trusting the figures.
        seconds: what took how long.
    """

    a: str
    b: str
    n: int
    part: str
    figures: Mapping[str, Difference]
    left_out: int
    in_sample: bool
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """One sentence: which model is better by the deciding figure, or that they cannot be told apart."""
        name, found = next(iter(self.figures.items()))
        title = name.replace("_", "-")
        low, high = found.difference.low, found.difference.high
        figures = f"{title} {found.a:.4f} against {found.b:.4f}, a difference of {found.difference.value:+.4f} [{low:+.4f}, {high:+.4f}]"
        chance = f"p {found.p:.2g}, {self.n:,} samples"
        if self.in_sample:
            return f"no evidence: the models were fitted on all of these samples ({figures})"
        if not found.better:
            return f"{self.a} and {self.b} cannot be told apart: {figures} ({chance})"
        better, other = (self.a, self.b) if found.better == "a" else (self.b, self.a)
        return f"{better} is better than {other}: {figures} ({chance})"

    def to_json(self) -> dict[str, Any]:
        """The object that `headstart compare --json` prints (docs/json.md)."""
        return {
            "a": self.a,
            "b": self.b,
            "verdict": self.verdict,
            "n": self.n,
            "part": self.part,
            "figures": {name: found.to_json() for name, found in self.figures.items()},
            "left_out": self.left_out,
            "in_sample": self.in_sample,
            "skipped": skipped_json(self.skipped),
            "notes": list(self.notes),
            "warnings": list(self.warnings),
            "seconds": dict(self.seconds),
        }


def compare(
    a: Model | str | Path,
    b: Model | str | Path,
    *,
    data: Items,
    part: str | None = None,
    target: str | None = None,
    engine: str = AUTO,
    progress: Progress = silent,
) -> Comparison:
    """Compare two models sample by sample on labelled data that neither was fitted on.

    Two intervals that overlap say little, since both models meet the same easy and hard samples; the difference on each sample says
    much more. Accuracy is tested by McNemar's exact test, losses and errors by Student's paired one.

    Args:
        a: a model or the directory of one.
        b: another one, of the same task and the same labels; backbone, layer and head may differ.
        data: labelled data, laid out like A's training data or one part of it.
        part: `train`, `val` or `test`; None: `test` where there is one, else `val`, else everything.
        target: the column with the labels, where it is called otherwise than in A's training data.
        engine: what runs the backbones, such as `openvino`; `auto` chooses.
        progress: stages `read` and `extract`, in samples, for each model.

    Raises:
        UsageError: the models are of different tasks, modalities or labels.
        DataError: the data cannot be used, or no sample could be read by both.
    """
    began = time.perf_counter()
    first, second = (each if isinstance(each, Model) else load(Path(each)) for each in (a, b))
    names = _names(a, b)
    _check_alike(first, second)
    for model in (first, second):
        check_engine(model.backbone, engine)
    samples, chosen_part = first.labelled(data, part=part, target=target)
    found = [extract(samples, model.backbone, engine=engine, progress=progress) for model in (first, second)]
    both = np.intersect1d(found[0].kept, found[1].kept)
    if not len(both):
        raise DataError(f"{samples.source} has no sample that both models could read: {first_reasons(found[0])}")
    known = _known(first, found[0], both) | _known(second, found[1], both)
    in_sample = bool(known.all())
    chosen = both if in_sample else both[~known]
    outcomes = [_outcomes(*each, samples, chosen) for each in zip((first, second), found, strict=True)]
    figures = {
        name: paired_difference(ours, outcomes[1][name], higher_is_better=name in HIGHER_IS_BETTER)
        for name, ours in outcomes[0].items()
    }
    return Comparison(
        *names,
        n=len(chosen),
        part=chosen_part,
        figures=figures,
        left_out=len(both) - len(chosen),
        in_sample=in_sample,
        skipped=_distinct(samples.skipped + found[0].skipped + found[1].skipped),
        notes=tuple(dict.fromkeys(samples.notes + found[0].notes + found[1].notes)),
        warnings=tuple(dict.fromkeys(first.warnings + second.warnings + truncation(found[0]) + truncation(found[1]))),
        seconds={"total": time.perf_counter() - began},
    )


def _names(a: Model | str | Path, b: Model | str | Path) -> tuple[str, str]:
    """What the two are called: their directories, or `A` and `B`."""
    return tuple(letter if isinstance(each, Model) else str(each) for letter, each in (("A", a), ("B", b)))  # type: ignore[return-value]


def _check_alike(a: Model, b: Model) -> None:
    for what, ours, theirs in (("tasks", a.task, b.task), ("modalities", a.modality, b.modality)):
        if ours != theirs:
            raise UsageError(f"two models of one kind were expected, and these are of the {what} {ours} and {theirs}")
    if only := sorted(set(a.labels) ^ set(b.labels)):
        shown = ", ".join(only[:5]) + (" and more" if len(only) > 5 else "")
        raise UsageError(f"two models of the same labels were expected, and only one of these knows {shown}")


def _known(model: Model, extraction: Extraction, positions: np.ndarray) -> np.ndarray:
    """Which of the samples at these positions the model was fitted on, found by their content."""
    return model.split.fitted_on(extraction.features[0].digests[np.isin(extraction.kept, positions)])


def _outcomes(model: Model, extraction: Extraction, samples: Samples, chosen: np.ndarray) -> dict[str, np.ndarray]:
    """What a model made of each chosen sample."""
    task = TASKS.get(model.task)
    targets = task.encode(samples.take(chosen).table.column("target"), model.labels or None)
    predicted = model.probabilities(extraction.features)[np.isin(extraction.kept, chosen)]
    return task.outcomes(targets, predicted, chosen=model.decisions(predicted))


def _distinct(skipped: tuple[Skipped, ...]) -> tuple[Skipped, ...]:
    """Each input once, with the first reason."""
    found: dict[str, Skipped] = {}
    for each in skipped:
        found.setdefault(each.input, each)
    return tuple(found.values())
