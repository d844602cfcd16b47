"""What a prediction is worth: figures with intervals. Point values come from scikit-learn where it has the metric.

A figure that the targets leave undefined (the recall of a label that never occurs, R² of one row) is left out, never made up.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from headstart.evaluation.intervals import (
    EXACT_ROWS,
    Estimate,
    confusion_draws,
    estimate,
    mean_draws,
    row_weights,
    share,
)

BINS = 15
"""Equal-mass bins of the calibration error."""

PRECISION_RESAMPLES = 200
"""Mean average precision sorts, so it is resampled less often."""

UNEVEN = 5
"""Labels are uneven where the most frequent one has more than so many times the training samples of the rarest."""

MOST_PRECISIONS = 100
"""Past so many labels of one a sample, average precisions would take longer than everything else."""

THRESHOLD = 0.5
"""A label is predicted from this probability up."""


def single_label(
    targets: Int[np.ndarray, "n"],
    predicted: Float[np.ndarray, "n k"],
    *,
    labels: tuple[str, ...],
    chosen: Int[np.ndarray, "n"] | None = None,
    counts: Int[np.ndarray, "k"] | None = None,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Accuracy, balanced accuracy, macro-F1, log-loss, calibration error and the recall of each label that occurs.

    Balanced accuracy is the mean recall over the labels that occur in the targets; macro-F1 the mean over those that occur or
    are predicted, as in scikit-learn. Log-loss and calibration error are of the probabilities, whatever was answered.

    Args:
        targets: class indices.
        predicted: probabilities.
        labels: the k names.
        chosen: the class indices that were answered; None: the most probable ones.
        counts: training samples of each label. Where they are uneven, or of two labels, the figures of `_uneven` are there too.
        seed: decides the resamples.
    """
    from sklearn import metrics as sk

    k = predicted.shape[1]
    best = predicted.argmax(axis=1)
    chosen = best if chosen is None else chosen
    occurring = np.unique(targets)
    draws = confusion_draws((targets, chosen), _of_confusion, k=k, seed=seed)
    recalls = sk.recall_score(targets, chosen, labels=occurring, average=None, zero_division=0)
    values = {
        "balanced_accuracy": recalls.mean(),
        "macro_f1": sk.f1_score(targets, chosen, average="macro", zero_division=0),
    }
    hits, occurrences = np.bincount(targets[targets == chosen], minlength=k), np.bincount(targets, minlength=k)
    figures = {"accuracy": share(int(hits.sum()), len(targets))}
    figures |= {name: estimate(value, draws[:, i]) for i, (name, value) in enumerate(values.items())}
    losses = surprise(predicted[np.arange(len(targets)), targets])
    confidence = predicted[np.arange(len(targets)), best]
    figures |= _probability_figures(losses, confidence, (best == targets).astype(np.float64), seed=seed)
    if counts is not None and (k == 2 or counts.max() > UNEVEN * max(1, counts.min())):
        figures |= _uneven(targets, predicted, chosen=chosen, counts=counts, labels=labels, seed=seed)
    for label in occurring:
        figures[f"recall.{labels[label]}"] = share(int(hits[label]), int(occurrences[label]))
    return figures


def multi_label(
    targets: Bool[np.ndarray, "n k"], predicted: Float[np.ndarray, "n k"], *, labels: tuple[str, ...], seed: int = 0
) -> dict[str, Estimate]:
    """Mean average precision over the labels that occur, macro-F1 at 0.5, log-loss, calibration error and recall by label.

    The log-loss is the mean over labels; the calibration error pools the n k probabilities.

    Args:
        targets: which labels each row carries.
        predicted: a probability for each.
        labels: the k names.
        seed: decides the resamples.
    """
    chosen = predicted >= THRESHOLD
    occurring = np.flatnonzero(targets.any(axis=0))
    figures: dict[str, Estimate] = {}
    if len(occurring):
        columns = targets[:, occurring]
        figures["map"] = _mean_average_precision(columns, predicted[:, occurring], seed=seed)
    hit, wrong, missed = (targets & chosen), (~targets & chosen), (targets & ~chosen)
    counted = np.flatnonzero((targets | chosen).any(axis=0))
    sums = np.concatenate([part[:, counted] for part in (hit, wrong, missed)], axis=1).astype(np.float64)
    if len(counted):
        draws = np.maximum(mean_draws(sums, seed=seed), 0.0).reshape(-1, 3, len(counted))
        value = sums.mean(axis=0).reshape(1, 3, len(counted))
        figures["macro_f1"] = estimate(float(_f1(*value[0]).mean()), _mean(_f1(*draws.transpose(1, 0, 2)), 1))
    likelihood = np.where(targets, predicted, 1.0 - predicted)
    figures |= _probability_figures(surprise(likelihood).mean(axis=1), predicted, targets.astype(np.float64), seed=seed)
    for label in counted:
        if label in occurring:
            figures[f"recall.{labels[label]}"] = share(int(hit[:, label].sum()), int(targets[:, label].sum()))
    return figures


def regression(
    targets: Float[np.ndarray, "n"], predicted: Float[np.ndarray, "n"], *, seed: int = 0
) -> dict[str, Estimate]:
    """Mean absolute error in the target's unit, and R² where the targets vary.

    Args:
        targets: true values.
        predicted: predicted values.
        seed: decides the resamples.
    """
    from sklearn import metrics as sk

    error = np.abs(predicted - targets)
    offset = targets - targets.mean()
    draws = mean_draws(np.stack([error, error**2, offset, offset**2], axis=1), seed=seed)
    figures = {"mae": estimate(sk.mean_absolute_error(targets, predicted), draws[:, 0])}
    if len(targets) > 1 and np.ptp(targets) > 0:
        spread = draws[:, 3] - draws[:, 2] ** 2
        r2 = 1.0 - _ratio(draws[:, 1], np.where(spread > 1e-12 * (offset**2).mean(), spread, 0.0))
        figures["r2"] = estimate(sk.r2_score(targets, predicted), r2)
    return figures


def calibration_error(
    confidence: Float[np.ndarray, "n k"], correct: Float[np.ndarray, "n k"], *, bins: int = BINS
) -> tuple[float, Float[np.ndarray, "n bins"]]:
    """The expected calibration error in equal-mass bins, and the columns whose mean absolute sums it is.

    The error is `sum_b |mean_i column[i, b]|`, where a column holds the mean of confidence - correct over the row's k probabilities,
    those of other bins counting 0. Equal confidences share a bin, so their order does not matter.

    Args:
        confidence: the probabilities of n rows, k of each, or (n,) one of each.
        correct: 1 where what is as probable as that is so, else 0.
        bins: how many.
    """
    n = len(confidence)
    confidence, correct = confidence.reshape(n, -1), correct.reshape(n, -1)
    order = np.sort(confidence, axis=None)
    edges = np.unique(order[np.arange(bins) * len(order) // bins])
    columns, rows = np.zeros((n, bins)), np.arange(n)
    for own, truth in zip(confidence.T, correct.T, strict=True):
        columns[rows, np.searchsorted(edges, own, side="right") - 1] += (own - truth) / confidence.shape[1]
    return float(np.abs(columns.mean(axis=0)).sum()), columns


def _probability_figures(
    losses: np.ndarray, confidence: np.ndarray, correct: np.ndarray, *, seed: int
) -> dict[str, Estimate]:
    """Log-loss and calibration error, resampled over rows; several probabilities of one row are resampled together."""
    value, columns = calibration_error(confidence, correct)
    draws = mean_draws(np.column_stack([losses, columns]), seed=seed)
    return {
        "log_loss": estimate(float(losses.mean()), draws[:, 0]),
        "calibration_error": estimate(value, np.abs(draws[:, 1:]).sum(axis=1), centred=True),
    }


def _uneven(
    targets: np.ndarray,
    predicted: np.ndarray,
    *,
    chosen: np.ndarray,
    counts: np.ndarray,
    labels: tuple[str, ...],
    seed: int,
) -> dict[str, Estimate]:
    """What the mean over labels hides: the lowest recall, the mean recall of frequent and rare labels, and areas under precision-recall.

    `recall_head`, `_middle` and `_tail` are of the most frequent third of the labels in training, the next and the last; with two
    labels there are none. `pr_auc` is the mean of the average precisions of the labels that occur; past `MOST_PRECISIONS` of them
    these are left out.
    """
    k, occurring = predicted.shape[1], np.unique(targets)
    thirds = np.array_split(np.argsort(-counts, kind="stable"), 3) if k > 2 else []
    groups = {
        name: np.intersect1d(third, occurring) for name, third in zip(("head", "middle", "tail"), thirds, strict=False)
    }
    groups = {name: group for name, group in groups.items() if len(group)}

    def of_recalls(hits: np.ndarray, true: np.ndarray, _: np.ndarray) -> np.ndarray:
        recalls = _ratio(hits, true)
        lowest = np.where(np.isfinite(recalls), recalls, np.inf).min(axis=1)
        return np.column_stack([lowest, *(_mean(recalls[:, group], 1) for group in groups.values())])

    draws = confusion_draws((targets, chosen), of_recalls, k=k, seed=seed)
    recalls = (
        np.bincount(targets[targets == chosen], minlength=k)[occurring] / np.bincount(targets, minlength=k)[occurring]
    )
    figures = {"worst_recall": estimate(recalls.min(), draws[:, 0])}
    for i, (name, group) in enumerate(groups.items(), 1):
        figures[f"recall_{name}"] = estimate(recalls[np.isin(occurring, group)].mean(), draws[:, i])
    if len(occurring) <= MOST_PRECISIONS:
        columns = targets[:, None] == occurring
        values, spread = _average_precisions(columns, predicted[:, occurring], seed=seed)
        figures["pr_auc"] = _shrunk(float(values.mean()), _mean(spread, 0), n=len(targets))
        for label, value, own in zip(occurring, values, spread, strict=True):
            figures[f"average_precision.{labels[label]}"] = _shrunk(float(value), own, n=len(targets))
    return figures


def _of_confusion(
    hits: Float[np.ndarray, "b k"], true: Float[np.ndarray, "b k"], chosen: Float[np.ndarray, "b k"]
) -> Float[np.ndarray, "b 2"]:
    """Balanced accuracy and macro-F1 of each resample."""
    return np.column_stack([_mean(_ratio(hits, true), 1), _mean(_ratio(2 * hits, true + chosen), 1)])


def _mean_average_precision(targets: np.ndarray, predicted: np.ndarray, *, seed: int) -> Estimate:
    """Macro mean average precision, with all labels of a row resampled together."""
    values, spread = _average_precisions(targets, predicted, seed=seed)
    return _shrunk(float(values.mean()), _mean(spread, 0), n=len(targets))


def _average_precisions(targets: np.ndarray, predicted: np.ndarray, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Average precision of each column, and of each resample of the rows, (k, b).

    Past `EXACT_ROWS` rows the spread is taken from resamples of a random part of that size; `_shrunk` makes an interval of it.
    """
    from sklearn.metrics import average_precision_score

    values = np.atleast_1d(average_precision_score(targets, predicted, average=None))
    n, rng = len(targets), np.random.default_rng(seed)
    if n > EXACT_ROWS:
        part = rng.choice(n, EXACT_ROWS, replace=False)
        targets, predicted = targets[part], predicted[part]
    orders = [_ranking(predicted[:, j]) for j in range(targets.shape[1])]
    draws = []
    for weights in row_weights(len(targets), rng=rng, resamples=PRECISION_RESAMPLES):
        each = [_average_precision(weights, targets[:, j], *orders[j]) for j in range(targets.shape[1])]
        draws.append(np.stack(each))
    return values, np.concatenate(draws, axis=1)


def _shrunk(value: float, spread: np.ndarray, *, n: int) -> Estimate:
    """The estimate from resamples of at most `EXACT_ROWS` of n rows, whose spread is shrunk by the root of their share."""
    if n > EXACT_ROWS:
        spread = value + (spread - _mean(spread, 0)) * np.sqrt(EXACT_ROWS / n)
    return estimate(value, spread)


def _ranking(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows from the highest score down, and the positions in that order at which a run of equal scores ends."""
    order = np.argsort(-scores, kind="stable")
    return order, np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))


def _average_precision(weights: np.ndarray, targets: np.ndarray, order: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """`sum_i (recall_i - recall_(i-1)) precision_i` over the distinct scores, for each resample of weighted rows."""
    ranked = weights[:, order]
    hits = np.cumsum(ranked * targets[order], axis=1)[:, ends]
    seen = np.cumsum(ranked, axis=1)[:, ends]
    precision = hits / np.maximum(seen, 1.0)
    gained = np.diff(hits, axis=1, prepend=0.0)
    return _ratio((gained * precision).sum(axis=1), hits[:, -1])


def _f1(hit: np.ndarray, wrong: np.ndarray, missed: np.ndarray) -> np.ndarray:
    return _ratio(2 * hit, 2 * hit + wrong + missed)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The quotient, and NaN where below is 0."""
    return np.asarray(np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below != 0))


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    """The mean of what is defined; NaN where nothing is."""
    defined = np.isfinite(values)
    return _ratio(np.where(defined, values, 0.0).sum(axis=axis), defined.sum(axis=axis))


def surprise(likelihood: np.ndarray) -> np.ndarray:
    """-log p, with p kept from 0 as scikit-learn keeps it."""
    return np.asarray(-np.log(np.clip(likelihood, np.finfo(np.float64).eps, 1.0)))
