"""The verdict in one sentence, and the figures with what they mean."""

from collections.abc import Mapping

import numpy as np

from headstart.evaluation.intervals import Estimate
from headstart.reporting.evidence import IN_SAMPLE, OUT_OF_FOLD, Evidence
from headstart.reporting.story import Figure, Verdict
from headstart.reporting.words import FIGURES, ITEMS, SHARES, figure, interval, percent, several
from headstart.tasks import TASKS


def verdict(evidence: Evidence, metrics: Mapping[str, Estimate], *, modality: str) -> Verdict:
    """What was measured, on what, and how sure it is.

    Args:
        evidence: what it was measured on.
        metrics: the figures.
        modality: what the items are.
    """
    name = TASKS.get(evidence.targets.task).primary
    found = metrics.get(name) or next(iter(metrics.values()))
    name = name if name in metrics else next(iter(metrics))
    value, span = figure(name, found.value), interval(name, found)
    scale = (found.low, found.value, found.high) if name in SHARES or name == "map" else None
    words, at = _baseline(evidence, name)
    return Verdict(
        sentence=f"{_claim(evidence, found)}, measured on {_what(evidence, modality)} (95 % interval: {span}).",
        name=FIGURES[name][0],
        value=value,
        interval=span,
        span=scale,
        baseline=words,
        baseline_at=at if scale else None,
    )


def figures(metrics: Mapping[str, Estimate]) -> tuple[Figure, ...]:
    """The figures but the recalls, with their intervals, in words."""
    known = [name for name in metrics if name in FIGURES]
    return tuple(
        Figure(FIGURES[name][0], figure(name, metrics[name].value), interval(name, metrics[name]), FIGURES[name][1])
        for name in known
    )


def baseline_share(evidence: Evidence) -> float:
    """What always saying the most frequent label would reach, as a share of the items."""
    counts = np.bincount(evidence.targets.values)
    return float(counts.max() / counts.sum())


def _claim(evidence: Evidence, found: Estimate) -> str:
    k = len(evidence.targets.labels)
    if evidence.targets.task == "single_label":
        which = "the right one of two labels" if k == 2 else f"the right one of {k:,} labels"
        return f"The model gives {which} for {percent(found.value)} of the items"
    if evidence.targets.task == "multi_label":
        return f"The model ranks items by {several(k, 'label')} with a mean average precision of {found.value:.3f}"
    return f"The model's values are off by {found.value:.3g} on average"


def _what(evidence: Evidence, modality: str) -> str:
    items = ITEMS[modality]
    items = items.removesuffix("s") if len(evidence) == 1 else items
    if evidence.kind == IN_SAMPLE:
        return f"the very {len(evidence):,} {items} that it was fitted on"
    if evidence.kind == OUT_OF_FOLD:
        return f"{len(evidence):,} training {items}, each scored by a head that had not seen it"
    part = f" of {evidence.part}" if evidence.part else ""
    return f"{len(evidence):,} {items}{part} that it was not fitted on"


def _baseline(evidence: Evidence, name: str) -> tuple[str, float | None]:
    """What knowing nothing about the items would reach."""
    targets = evidence.targets
    if targets.task == "single_label" and name == "accuracy":
        share = baseline_share(evidence)
        label = targets.labels[int(np.bincount(targets.values).argmax())]
        return f"Always saying “{label}” would be right for {percent(share)}.", share
    if targets.task == "multi_label":
        share = float(targets.values.mean(axis=0)[targets.values.any(axis=0)].mean()) if targets.values.any() else 0.0
        return f"Ranking at random would reach about {share:.3f}.", share
    if targets.task == "regression":
        error = float(np.abs(targets.values - targets.values.mean()).mean())
        return f"Always saying their mean would be off by {error:.3g} on average.", None
    return "", None
