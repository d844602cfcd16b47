"""The contract: what a compressed model may lose, and how much faster it has to be."""

from collections.abc import Sequence
from dataclasses import dataclass

FEWEST_POINTS = 100.0
"""Points in one: a share of 0.5 % is half a point."""


ROUNDING = 1e-12
"""What a drop may lie above what is allowed: means and their standard errors are sums of floats, and two of them that are equal need not look so."""


@dataclass(frozen=True)
class Contract:
    """What is asked for.

    Attributes:
        max_drop: percentage points of accuracy that may be lost; of another first figure, such as an error of values, percent of the
            model's own. One standard error of the paired difference may be lost in any case, as no evaluation can tell less.
        min_speedup: the least throughput, in parts of that of the fastest float32 engine.
    """

    max_drop: float = 0.5
    min_speedup: float = 1.2

    def allowed(self, error: float, *, scale: float | None = None) -> float:
        """The drop that is allowed, in the figure's own unit.

        Args:
            error: the standard error of the paired difference.
            scale: the model's own figure where it is no accuracy, of which a drop is a part.
        """
        return max(self.max_drop / FEWEST_POINTS * (1.0 if scale is None else scale), error)


@dataclass(frozen=True)
class Measured:
    """A candidate in the table.

    Attributes:
        name: such as `bfloat16`, or `float32, openvino` for what the others are compared with.
        how: what was done.
        figure: the task's first figure on the evaluated part.
        low: of its 95 % interval.
        high: likewise.
        drop: how much lower than the model's it is.
        error: standard error of that paired difference.
        throughput: samples a second at its best batch size.
        batch: that batch size.
        p50: seconds of one sample alone, the median.
        p95: the 95th of a hundred.
        bytes: of the graph's files.
        speedup: throughput in parts of the fastest float32 engine's.
        coverage: the share of truths in its sets or intervals on the evaluated part; None without any.
        scale: the model's own figure where it is no accuracy, of which a drop is a part; None for an accuracy.
        refused: why it is not chosen; empty where it keeps the contract.
    """

    name: str
    how: str
    figure: float
    low: float
    high: float
    drop: float
    error: float
    throughput: float
    batch: int
    p50: float
    p95: float
    bytes: int
    speedup: float
    coverage: float | None
    scale: float | None = None
    refused: str = ""


def verdict(each: Measured, contract: Contract) -> str:
    """Why a candidate breaks the contract; empty where it keeps it."""
    if reason := broken(each.drop, each.error, contract=contract, scale=each.scale):
        return reason
    if each.speedup < contract.min_speedup:
        return f"it is {each.speedup:.2f} times as fast as float32, and {contract.min_speedup:g} times is asked for"
    return ""


def broken(drop: float, error: float, *, contract: Contract, scale: float | None) -> str:
    """Why a drop is too large; empty where it is not.

    Args:
        drop: how much lower the figure is than the model's.
        error: the standard error of that paired difference.
        contract: what may be lost.
        scale: the model's own figure where it is no accuracy, of which a drop is a part.
    """
    allowed, unit = contract.allowed(error, scale=scale), FEWEST_POINTS / (scale or 1.0)
    if drop <= allowed + ROUNDING:
        return ""
    what = "points" if scale is None else "% of the model's own"
    return f"it loses {unit * drop:.2f} {what}, and {unit * allowed:.2f} are allowed"


def chosen(table: Sequence[Measured]) -> int | None:
    """The fastest that keeps the contract; None where none does."""
    kept = [place for place, each in enumerate(table) if not each.refused]
    return max(kept, key=lambda place: table[place].throughput, default=None)


def front(table: Sequence[Measured]) -> tuple[bool, ...]:
    """Which of the table none of the others is better than in figure, throughput and size at once (Pareto)."""

    def beaten(one: Measured, other: Measured) -> bool:
        pairs = ((one.figure, other.figure), (one.throughput, other.throughput), (-one.bytes, -other.bytes))
        return all(b >= a for a, b in pairs) and any(b > a for a, b in pairs)

    return tuple(not any(beaten(one, other) for other in table) for one in table)
