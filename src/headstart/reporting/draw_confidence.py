"""Drawings of confidence: the reliability diagram, and coverage against the size of the sets of labels."""

import numpy as np
from jaxtyping import Float

from headstart.reporting.draw import INKS, axes, plot
from headstart.reporting.story import Plot
from headstart.reporting.words import percent

BINS = 10


def reliability(
    confidence: Float[np.ndarray, "m"], correct: Float[np.ndarray, "m"], *, name: str, title: str, error: str
) -> Plot:
    """How often predictions of a confidence are right, in bins of equal numbers.

    Args:
        confidence: of m predictions.
        correct: 1 where it was right, else 0.
        name: part of the drawing's ids.
        title: what it shows.
        error: its calibration error, in words.
    """
    stated, found, count = _bins(confidence, correct)
    spread = 1.96 * np.sqrt(np.maximum(found * (1 - found), 0.25 / np.maximum(count, 1)) / count)
    with axes(4.4, 4.0) as (figure, ax):
        ax.plot([0, 1], [0, 1], color=INKS["muted"], linewidth=1.2, linestyle=(0, (4, 3)))
        ax.vlines(
            stated,
            np.maximum(found - spread, 0),
            np.minimum(found + spread, 1),
            color=INKS["accent"],
            alpha=0.4,
            linewidth=2.4,
        )
        ax.plot(stated, found, color=INKS["accent"], linewidth=1.6, marker="o", markersize=5)
        ax.set(
            xlim=(0, 1.02),
            ylim=(0, 1.02),
            xlabel="how sure it says it is",
            ylabel="how often it is right",
            aspect="equal",
        )
        _percent(ax.xaxis)
        _percent(ax.yaxis)
        ax.grid(visible=True)
        worst = int(np.abs(found - stated).argmax())
        words = (
            f"Calibration error {error}. In {len(stated)} groups of about {round(float(count.mean())):,} predictions each, the largest gap "
            f"is where it says {percent(stated[worst], 0)} and is right {percent(found[worst], 0)} of the time. On the dashed line the two agree."
        )
        return plot(figure, name=name, title=title, words=words)


def coverage(size: Float[np.ndarray, "t"], share: Float[np.ndarray, "t"], *, marks: dict[float, float], k: int) -> Plot:
    """Coverage against the mean size of the sets.

    Args:
        size: mean number of labels that are named.
        share: of the items whose label is among them.
        marks: for some shares the mean size that reaches them.
        k: labels in all.
    """
    low = max(0.0, float(np.floor((share.min() - 0.02) * 20) / 20))
    with axes(5.6, 3.5) as (figure, ax):
        ax.plot(size, share, color=INKS["accent"], linewidth=2)
        for level, needed in marks.items():
            ax.plot([needed], [level], marker="o", markersize=7, color=INKS["accent"], markeredgecolor=INKS["surface"])
            ax.annotate(f"{level:.0%}", (needed, level), xytext=(7, -13), textcoords="offset points", fontsize=10)
        right = min(float(k), max([*marks.values(), 1.2]) * 1.25)
        ax.set(
            xlim=(0.98, max(right, 1.1)),
            ylim=(low, 1.01),
            xlabel="labels named on average",
            ylabel="the right one is among them",
        )
        _percent(ax.yaxis)
        ax.grid(visible=True)
        reached = "; ".join(f"for {percent(level, 0)} of the items, {needed:.2f}" for level, needed in marks.items())
        words = f"Labels to name on average so that the right one is among them: {reached}." if marks else ""
        return plot(figure, name="coverage", title="Coverage against the number of labels named", words=words)


def _bins(confidence: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean confidence, share of right ones and number in each bin of equal numbers; equal confidences share a bin."""
    order = np.sort(confidence)
    edges = np.unique(order[np.arange(BINS) * len(order) // BINS])
    place = np.searchsorted(edges, confidence, side="right") - 1
    count = np.bincount(place, minlength=len(edges)).astype(np.float64)
    kept = count > 0
    stated = np.bincount(place, confidence, minlength=len(edges))[kept] / count[kept]
    found = np.bincount(place, correct, minlength=len(edges))[kept] / count[kept]
    return stated, found, count[kept]


def _percent(axis: "object") -> None:
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1.0, decimals=0))  # type: ignore[attr-defined]
