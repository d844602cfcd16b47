"""Numbers and names as a person reads them."""

from datetime import UTC, datetime

from headstart.evaluation.intervals import Estimate

ITEMS = {"image": "images", "text": "texts", "audio": "recordings"}
KINDS = {"single_label": "classifier", "multi_label": "tagger", "regression": "regressor"}
FIGURES = {
    "accuracy": ("Accuracy", "the share of items whose label it gets right"),
    "balanced_accuracy": (
        "Balanced accuracy",
        "the mean of the labels' recalls: what accuracy would be if every label were equally frequent",
    ),
    "macro_f1": ("Macro F1", "the mean over labels of F1, which is high only where both recall and precision are"),
    "log_loss": (
        "Log-loss",
        "the mean surprise at the true label, in nats; lower is better, and being sure of something wrong costs most",
    ),
    "calibration_error": (
        "Calibration error",
        "how far stated probabilities lie from how often they come true, on average; lower is better",
    ),
    "map": (
        "Mean average precision",
        "for each label, how well items that carry it are ranked before those that do not; 1 is perfect",
    ),
    "mae": ("Mean absolute error", "how far off a prediction is on average, in the target's own unit; lower is better"),
    "r2": ("R²", "the share of the targets' variation that is explained; 0 is no better than always saying their mean"),
}
SHARES = frozenset({"accuracy", "balanced_accuracy"})
"""Figures that are written in per cent."""


def percent(value: float, digits: int = 1) -> str:
    """A share in per cent: 95.4 %. Only what is exactly all or nothing is written as 100 % or 0 %."""
    text = f"{100 * value:.{digits}f}"
    edge = 10.0**-digits
    if value < 1 and float(text) >= 100:
        return f"over {100 - edge:.{digits}f} %"
    if value > 0 and float(text) <= 0:
        return f"under {edge:.{digits}f} %"
    return f"{text.rstrip('0').rstrip('.') if digits and float(text) in {0.0, 100.0} else text} %"


def figure(name: str, value: float) -> str:
    """The value of a figure as it is written for that name."""
    return percent(value) if name in SHARES else f"{value:.3g}" if name == "mae" else f"{value:.3f}"


def interval(name: str, found: Estimate) -> str:
    """The interval of a figure: from its low to its high end."""
    low, high = figure(name, found.low), figure(name, found.high)
    return (
        f"{low.removesuffix(' %')} to {high}" if name in SHARES and not low.startswith("under") else f"{low} to {high}"
    )


def seconds(value: float) -> str:
    """A time: 4 ms, 3.2 s, 2 min 5 s, 1 h 12 min."""
    if value < 1:
        return f"{1000 * value:.0f} ms" if value >= 0.0005 else "under 1 ms"
    if value < 60:
        return f"{value:.1f} s"
    if value < 3600:
        return f"{int(value // 60)} min {int(value % 60)} s"
    return f"{int(value // 3600)} h {int(value % 3600 // 60)} min"


def several(count: int, one: str) -> str:
    """A count with its noun: 1 item, 2,000 items."""
    return f"{count:,} {one if count == 1 else one + 's'}"


def sentence(text: str) -> str:
    """A remark as a sentence: with a capital at its start, unless that is a name or a path, and a full stop at its end."""
    whole = text.strip()
    first = whole.split(" ", 1)[0]
    start = whole[:1].upper() if first.isalpha() and first.islower() else whole[:1]
    return start + whole[1:] + ("" if whole.endswith((".", "!", "?")) else ".")


def tidy(text: str) -> str:
    """The text with per cent signs held to their numbers, for the page alone."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def now() -> str:
    """This moment: 3 May 2026, 14:05 UTC."""
    moment = datetime.now(UTC)
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"
