"""Whether stated probabilities can be believed: calibration before and after the temperature, sets of labels, and the judge."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from headstart.evaluation.intervals import share
from headstart.evaluation.metrics import calibration_error
from headstart.reporting import draw_confidence
from headstart.reporting.evidence import Evidence
from headstart.reporting.inputs import Judgement
from headstart.reporting.story import Plot
from headstart.reporting.words import percent, several

LEVELS = (0.9, 0.95, 0.99)
TOLERATED = 0.03
"""A calibration error below this is small whatever chance would give."""

_THRESHOLDS = 80
_MOST_ROWS = 20_000
_DRAWS = 200


def pooled(evidence: Evidence, predicted: Float[np.ndarray, "n k"]) -> tuple[np.ndarray, np.ndarray]:
    """What is stated and whether it came true: for one label the answer's probability, for several each label's."""
    if evidence.targets.task == "multi_label":
        return predicted.reshape(-1), evidence.targets.values.reshape(-1).astype(np.float64)
    best = predicted.argmax(axis=1)
    return predicted[np.arange(len(best)), best], (best == evidence.targets.values).astype(np.float64)


def reliability(evidence: Evidence) -> tuple[Plot, ...]:
    """The reliability diagrams before and after the temperature; none for values."""
    if evidence.targets.task == "regression":
        return ()
    drawn = []
    for name, title, predicted in (
        ("before", "Before the temperature", evidence.plain),
        ("after", "After the temperature", evidence.predicted),
    ):
        confidence, correct = pooled(evidence, predicted)
        error = calibration_error(confidence, correct)[0]
        drawn.append(draw_confidence.reliability(confidence, correct, name=name, title=title, error=percent(error)))
    return tuple(drawn)


def error_and_chance(evidence: Evidence, *, seed: int = 0) -> tuple[float, float]:
    """The calibration error, and the one that a perfectly calibrated model with these probabilities stays under 95 times in 100."""
    confidence, correct = pooled(evidence, evidence.predicted)
    error = calibration_error(confidence, correct)[0]
    rng = np.random.default_rng(seed)
    if len(confidence) > _MOST_ROWS:
        # The error of chance shrinks with the root of the number, so it is simulated on a part and scaled.
        part = rng.choice(confidence, _MOST_ROWS, replace=False)
        scale = np.sqrt(_MOST_ROWS / len(confidence))
    else:
        part, scale = confidence, 1.0
    draws = [calibration_error(part, (rng.random(len(part)) < part).astype(np.float64))[0] for _ in range(_DRAWS)]
    return error, float(np.percentile(draws, 95) * scale)


def coverage(evidence: Evidence, *, seed: int = 0) -> Plot | None:
    """Coverage against the mean size of sets that hold every label from a probability up, and the most probable one always.

    None for tasks other than one label, and where the answer alone is right so often that no level of `LEVELS` is left to reach.
    """
    if evidence.targets.task != "single_label":
        return None
    rows = np.arange(len(evidence))
    if len(rows) > _MOST_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, _MOST_ROWS, replace=False))
    predicted, targets = evidence.predicted[rows], evidence.targets.values[rows]
    own = predicted[np.arange(len(rows)), targets]
    first = predicted.argmax(axis=1) == targets
    if first.all():
        return None
    thresholds = np.unique(np.append(np.quantile(own[~first], np.linspace(0, 1, _THRESHOLDS)), 1.0))[::-1]
    size = np.array([np.maximum((predicted >= t).sum(axis=1), 1).mean() for t in thresholds])
    covered = np.array([(first | (own >= t)).mean() for t in thresholds])
    marks = {level: float(size[np.argmax(covered >= level)]) for level in LEVELS if covered[0] < level <= covered[-1]}
    if not marks:
        return None
    return draw_confidence.coverage(size, covered, marks=marks, k=predicted.shape[1])


def judged(verdict: Callable[[], Judgement] | None, evidence: Evidence) -> tuple[str, ...]:
    """Sentences on the sets of labels and the abstentions of the model's judge, measured on the evidence; none without a judge."""
    if verdict is None:
        return ()
    judgement, sentences, n = verdict(), [], len(evidence)
    if judgement.sets is not None and evidence.targets.task == "single_label":
        inside = judgement.sets[np.arange(n), evidence.targets.values]
        found = share(int(inside.sum()), n)
        sentences.append(
            f"The sets of labels that the model carries hold the right one for {percent(found.value)} of these items"
            f" (95 % interval {percent(found.low)} to {percent(found.high)}) and name {judgement.sets.sum(axis=1).mean():.2f} labels on average."
        )
    abstained = np.array([bool(reason) for reason in judgement.reasons], dtype=bool)
    if len(abstained) == n and evidence.targets.task == "single_label":
        kept = ~abstained
        sure = (
            f", and is right for {percent(float((~evidence.wrong)[kept].mean()))} of the others" if kept.any() else ""
        )
        sentences.append(
            f"Allowed to say “I don't know”, it does so for {several(int(abstained.sum()), 'item')} of {n:,}{sure}."
        )
    return tuple(sentences)
