"""Drawings of values: predicted against true, the errors, and the learning curve."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from headstart.reporting.draw import INKS, axes, plot
from headstart.reporting.inputs import Curve, CurvePoint
from headstart.reporting.story import Plot

MOST_POINTS = 2000


def against_truth(true: Float[np.ndarray, "n"], predicted: Float[np.ndarray, "n"], *, seed: int = 0) -> Plot:
    """Predicted against true values; past `MOST_POINTS` a random part of them."""
    rows = _some(len(true), seed)
    low, high = float(min(true.min(), predicted.min())), float(max(true.max(), predicted.max()))
    room = (high - low) * 0.04 or 1.0
    with axes(4.4, 4.0) as (figure, ax):
        ax.plot([low, high], [low, high], color=INKS["muted"], linewidth=1.2, linestyle=(0, (4, 3)))
        ax.plot(
            true[rows],
            predicted[rows],
            linestyle="none",
            marker="o",
            markersize=4,
            color=INKS["accent"],
            alpha=0.55,
            markeredgewidth=0,
        )
        ax.set(
            xlim=(low - room, high + room),
            ylim=(low - room, high + room),
            xlabel="true value",
            ylabel="predicted value",
        )
        ax.grid(visible=True)
        words = (
            f"{len(rows):,} of {len(true):,} items. True values lie from {true.min():.4g} to {true.max():.4g}, predicted ones from "
            f"{predicted.min():.4g} to {predicted.max():.4g}. On the dashed line a prediction is exact."
        )
        return plot(figure, name="truth", title="Predicted against true values", words=words)


def residuals(true: Float[np.ndarray, "n"], predicted: Float[np.ndarray, "n"]) -> Plot:
    """How the errors are spread."""
    from matplotlib.ticker import MaxNLocator

    error = predicted - true
    middle, (low, high) = float(np.median(error)), np.percentile(error, (5, 95))
    with axes(4.4, 4.0) as (figure, ax):
        ax.hist(
            error, bins=min(40, max(8, len(error) // 8)), color=INKS["accent"], alpha=0.75, edgecolor=INKS["surface"]
        )
        ax.axvline(0, color=INKS["muted"], linewidth=1.2, linestyle=(0, (4, 3)))
        ax.set(xlabel="predicted less true", ylabel="items")
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(visible=True, axis="y")
        words = f"Half of the errors lie below {middle:.3g}; nine in ten lie from {low:.3g} to {high:.3g}. At the dashed line there is none."
        return plot(figure, name="residuals", title="The errors", words=words)


def learning_curve(curve: Curve) -> Plot:
    """A figure against the number of labelled samples, as measured and as forecast."""
    with axes(5.6, 3.5) as (figure, ax):
        # The forecast goes on from the last point that was measured.
        expected = (*curve.points[-1:], *curve.forecast) if curve.forecast else ()
        for points, style, shade in ((curve.points, "-", 0.18), (expected, (0, (4, 3)), 0.10)):
            if not points:
                continue
            n, value, low, high = _columns(points)
            ax.fill_between(n, low, high, color=INKS["accent"], alpha=shade, linewidth=0)
            ax.plot(n, value, color=INKS["accent"], linewidth=1.8, linestyle=style, marker="o", markersize=4.5)
        ax.set(xscale="log", xlabel="labelled samples", ylabel=curve.metric.replace("_", " "))
        _plain_counts(ax, [point.n for point in (*curve.points, *curve.forecast)])
        ax.grid(visible=True)
        measured = "; ".join(f"{point.n:,}: {point.value:.4g}" for point in curve.points)
        forecast = "; ".join(f"{point.n:,}: {point.value:.4g}" for point in curve.forecast)
        words = f"Measured at {measured}." + (f" Forecast, dashed: {forecast}." if forecast else "")
        return plot(figure, name="curve", title="The figure against the number of labelled samples", words=words)


def _columns(points: Sequence[CurvePoint]) -> tuple[list[int], list[float], list[float], list[float]]:
    return (
        [point.n for point in points],
        [point.value for point in points],
        [point.low for point in points],
        [point.high for point in points],
    )


def _plain_counts(ax: "object", counts: list[int]) -> None:
    """Ticks at the counts themselves, as whole numbers, without those that would touch."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    kept: list[int] = []
    for count in sorted(set(counts)):
        if not kept or np.log(count / kept[-1]) > np.log(max(counts) / min(counts)) / 10:
            kept.append(count)
    axis = ax.xaxis  # type: ignore[attr-defined]
    axis.set_major_locator(FixedLocator(kept))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _some(n: int, seed: int) -> np.ndarray:
    return (
        np.arange(n) if n <= MOST_POINTS else np.sort(np.random.default_rng(seed).choice(n, MOST_POINTS, replace=False))
    )
