"""Whether stated probabilities can be believed: calibration before and after the temperature, sets of labels, and the judge."""

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


def judged(judgement: Judgement | None, evidence: Evidence) -> tuple[str, ...]:
    """Sentences on what the model's judge says of the evidence, measured there; none without a judge.

    Args:
        judgement: of the n predictions of the evidence, or None.
        evidence: the samples with what they are.
    """
    if judgement is None:
        return ()
    sentences, n, targets = [], len(evidence), evidence.targets
    unsure = np.zeros(n, dtype=bool)
    if judgement.sets is not None and targets.task == "single_label":
        inside, sizes = judgement.sets[np.arange(n), targets.values], judgement.sets.sum(axis=1)
        what = (
            f"The sets of labels that the model gives name {sizes.mean():.2f} labels on average and hold the right one"
        )
        sentences.append(_covered(what, inside))
        unsure |= sizes != 1
    if judgement.intervals is not None and targets.task == "regression":
        low, high = judgement.intervals[:, 0], judgement.intervals[:, 1]
        inside = (low <= targets.values) & (targets.values <= high)
        what = f"The intervals that the model gives are {float((high - low).mean()):.3g} wide on average and hold the true value"
        sentences.append(_covered(what, inside))
    if judgement.outliers is not None:
        unsure |= judgement.outliers
        share = percent(float(judgement.outliers.mean()))
        sentences.append(f"It calls {share} of these items unlike its training data.")
    if unsure.any() and not unsure.all() and targets.task == "single_label":
        right, count = percent(float((~evidence.wrong)[~unsure].mean())), int(unsure.sum())
        sentences.append(
            f"With predict --abstain it would say “I don't know” to {several(count, 'item')} of {n:,}, and be right for {right} of the others."
        )
    return tuple(sentences)


def _covered(what: str, inside: np.ndarray) -> str:
    found = share(int(inside.sum()), len(inside))
    span = f"{percent(found.low).removesuffix(' %')} to {percent(found.high)}"
    return f"{what} for {percent(found.value)} of these items (95 % interval: {span})."
