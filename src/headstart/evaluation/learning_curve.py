"""A figure against the number of labels: nested subsets, the power law through the points, and what it says of more labels.

The law is `value = a - b n^-c`, which learning curves of many tasks follow once n is past a few labels a class. Source: Hestness and
others, Deep Learning Scaling is Predictable, Empirically, 2017; Viering and Loog, The Shape of Learning Curves, 2023.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from headstart.evaluation.intervals import Estimate, estimate

LEAST_POINTS = 4
"""Three numbers are fitted, so fewer points than this say nothing."""

RECENT = 8
"""The law is fitted to sizes from an eighth of the largest on: it holds for stretches of real curves only, and their beginnings bend more.

Fitted from a sixty-fourth on, it promised thucnews more than twice the gain that came. Between an eighth, a sixteenth and a thirty-second
there is little to choose: within the training rows of four real sets, forecasts for a doubling missed by 0.7 points each.
"""

DRAWS = 500
_Z = 1.959963984540054
# Powers that are tried: under 0.05 a curve cannot be told from a logarithm, and none of a real task was found to fall faster than 1 / n.
_POWERS = np.geomspace(0.05, 1.0, 100)


def nested_order(y: np.ndarray | None, groups: np.ndarray | None, *, seed: int) -> Int[np.ndarray, "n"]:
    """An order of n rows whose every beginning is a stratified subset, so that subsets are nested.

    First comes one row of each class, then each class in proportion to its size. Where rows come in groups, whole groups follow one
    another, as labels do that are gathered patient by patient, and nothing is stratified.

    Args:
        y: (n,) class indices, or None where there are no classes.
        groups: (n,) names of what belongs together, or None.
        seed: decides the order.
    """
    rng = np.random.default_rng(seed)
    if groups is not None:
        members = np.unique(groups.astype(str), return_inverse=True)[1].reshape(-1)
        place = rng.permutation(int(members.max()) + 1)[members]
        return np.lexsort((rng.random(len(members)), place))
    if y is None:
        raise ValueError("classes or groups decide an order; without either it is a permutation")
    shuffled = rng.permutation(len(y))
    by_class = shuffled[np.argsort(y[shuffled], kind="stable")]
    sizes = np.bincount(y)
    rank = np.arange(len(y)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    size = sizes[y[by_class]]
    due = np.where(rank == 0, rng.random(len(y)) - 2.0, (rank + rng.random(len(y))) / size)
    return np.asarray(by_class[np.argsort(due, kind="stable")])


def sizes_up_to(most: int, *, least: int, points: int) -> tuple[int, ...]:
    """About `points` sizes in even steps of a ratio, from a thirty-second of `most` but at least `least`, up to `most`."""
    first = max(least, most // 32)
    if first >= most or points < 2:
        return (most,)
    return tuple(int(size) for size in np.unique(np.rint(np.geomspace(first, most, points))).astype(int))


@dataclass(frozen=True)
class PowerLaw:
    """`value = a - b n^-c`.

    Attributes:
        a: what the figure comes to with endless labels.
        b: at least 0 where a higher figure is better, at most 0 where a lower one is.
        c: how fast, from 0.05 to 1.
    """

    a: float
    b: float
    c: float

    def at(self, n: Float[np.ndarray, "m"] | float) -> Float[np.ndarray, "m"]:
        """The figure at n labels."""
        return np.asarray(self.a - self.b * np.asarray(n, dtype=np.float64) ** -self.c)


def fit_power_laws(
    n: Int[np.ndarray, "p"],
    values: Float[np.ndarray, "m p"],
    *,
    errors: Float[np.ndarray, "p"],
    best: float,
    higher_is_better: bool,
) -> tuple[Float[np.ndarray, "m 3"], Float[np.ndarray, "m"]]:
    """The law of least weighted squares through each of m curves, and the weighted sum of squares that it leaves.

    Given c the law is linear in a and b, so c is scanned and a and b are solved for within their bounds: no start, and no minimum
    that is only a local one.

    Args:
        n: p sizes.
        values: m curves.
        errors: standard error of each point.
        best: what no figure can exceed (1 for shares), or fall below (0 for losses); the bound of a.
        higher_is_better: the sign of b.

    Returns:
        a, b and c of each curve, and the sums.
    """
    weight = 1.0 / np.maximum(errors, 1e-12) ** 2
    weight = weight / weight.sum()
    sign = 1.0 if higher_is_better else -1.0
    y, top = sign * np.asarray(values, dtype=np.float64), sign * best
    laws, least = np.zeros((len(y), 3)), np.full(len(y), np.inf)
    for c in _POWERS:
        x = np.asarray(n, dtype=np.float64) ** -c
        middle, level = weight @ x, y @ weight
        spread = weight @ (x - middle) ** 2
        b = np.maximum(-((y - level[:, None]) * (x - middle)) @ weight / spread, 0.0)
        a = level + b * middle
        over = a > top
        b = np.where(over, np.maximum((top - y) @ (weight * x) / (weight @ x**2), 0.0), b)
        a = np.minimum(a, top)
        left = ((y - a[:, None] + b[:, None] * x) ** 2) @ weight
        better = left < least
        laws[better] = np.stack([sign * a, sign * b, np.full(len(y), c)], axis=1)[better]
        least = np.minimum(least, left)
    return laws, least * (1.0 / np.maximum(errors, 1e-12) ** 2).sum()


@dataclass(frozen=True)
class Extrapolation:
    """A fitted law with its uncertainty.

    Attributes:
        law: through the points.
        forecasts: the figure at each size that was asked for.
        gains: what each adds to the figure at `now`, both by the law.
    """

    law: PowerLaw
    forecasts: tuple[Estimate, ...]
    gains: tuple[Estimate, ...]


@dataclass(frozen=True)
class Measured:
    """The points of a curve, and what is uncertain about them.

    Attributes:
        n: p sizes, rising.
        values: the figure at each.
        spread: standard error of each that comes from which rows the subsets hold.
        level: standard error, common to all, that comes from which rows they are scored on.
        best: the figure of a perfect model: 1 or 0.
        higher_is_better: whether more of it is better.
    """

    n: Int[np.ndarray, "p"]
    values: Float[np.ndarray, "p"]
    spread: Float[np.ndarray, "p"]
    level: float
    best: float
    higher_is_better: bool


def extrapolate(measured: Measured, *, at: tuple[int, ...], now: int, seed: int = 0) -> Extrapolation | None:
    """Fit the law and say what it forecasts; None where there are too few points.

    The band is a parametric bootstrap: every point is moved by its own spread, widened where the law leaves more than that
    explains, and the law is fitted again. What all points share, as they are scored on the same rows, moves the forecasts and not
    the gains.

    Args:
        measured: the points.
        at: sizes to forecast.
        now: the size that gains are counted from.
        seed: decides the draws.
    """
    if len(measured.n) < LEAST_POINTS:
        return None
    recent = (RECENT * measured.n >= measured.n[-1]) | (np.arange(len(measured.n))[::-1] < LEAST_POINTS)
    p, n, y, spread = int(recent.sum()), measured.n[recent], measured.values[recent], measured.spread[recent]
    how = {"best": measured.best, "higher_is_better": measured.higher_is_better}
    (law,), (left,) = fit_power_laws(n, y[None], errors=spread, **how)  # type: ignore[arg-type]
    errors = spread * max(1.0, np.sqrt(left / (p - 3)))
    rng = np.random.default_rng(seed)
    moved = y + errors * rng.standard_normal((DRAWS, p))
    laws, _ = fit_power_laws(n, moved, errors=errors, **how)  # type: ignore[arg-type]
    fitted = PowerLaw(*map(float, law))
    sizes = np.array([now, *at], dtype=np.float64)
    drawn = laws[:, :1] - laws[:, 1:2] * sizes ** -laws[:, 2:]
    values = fitted.at(sizes)
    shaken = drawn + measured.level * rng.standard_normal((DRAWS, 1))
    limit = (-np.inf, measured.best) if measured.higher_is_better else (measured.best, np.inf)
    forecasts = tuple(estimate(float(values[i]), np.clip(shaken[:, i], *limit)) for i in range(1, len(sizes)))
    gains = tuple(estimate(float(values[i] - values[0]), drawn[:, i] - drawn[:, 0]) for i in range(1, len(sizes)))
    return Extrapolation(fitted, forecasts, gains)


def point_estimate(value: float, error: float, *, best: float, higher_is_better: bool) -> Estimate:
    """A point with its 95 % interval by the normal law, which never passes the figure of a perfect model."""
    low, high = value - _Z * error, value + _Z * error
    return Estimate(value, low, min(high, best)) if higher_is_better else Estimate(value, max(low, best), high)
