"""The rows of a compression's table, what is measured where nothing chose, and the sentences that tell of both."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from headstart.compression.contract import Contract, Measured, verdict
from headstart.compression.measuring import Speed
from headstart.evaluation.calibration import paired_standard_error
from headstart.evaluation.comparison import HIGHER_IS_BETTER
from headstart.evaluation.intervals import Estimate, estimate, mean_draws, share

if TYPE_CHECKING:
    from headstart.verbs.compress_bench import Bench, Made

BASE = "float32"


@dataclass(frozen=True)
class Unseen:
    """What was kept, on samples that chose nothing: measured once, when all was chosen.

    Attributes:
        part: of the data.
        n: samples.
        before: the model's own figure.
        figure: that of what was kept.
        low: of its 95 % interval.
        high: likewise.
        drop: how much lower than the model's it is.
        error: standard error of that paired difference.
    """

    part: str
    n: int
    before: float
    figure: float
    low: float
    high: float
    drop: float
    error: float

    @classmethod
    def of(cls, before: Float[np.ndarray, "n"], after: Float[np.ndarray, "n"], *, part: str, figure: str) -> "Unseen":
        """From what each sample adds to the figure under the model and under what was kept.

        Args:
            before: under the model.
            after: under what was kept.
            part: of the data.
            figure: the figure's name.
        """
        told, own = interval(figure, after), float(before.mean())
        error = paired_standard_error(before, after)
        return cls(part, len(after), own, told.value, told.low, told.high, own - told.value, error)


def interval(figure: str, outcomes: Float[np.ndarray, "n"]) -> Estimate:
    """A mean over samples with the interval that the figure has everywhere: Wilson's for an accuracy, the bootstrap's for others."""
    if figure in HIGHER_IS_BETTER:
        return share(int(outcomes.sum()), len(outcomes))
    return estimate(float(outcomes.mean()), mean_draws(outcomes[:, None])[:, 0])


def table_of(
    bench: "Bench", made: "Sequence[Made]", *, measured: Sequence[Speed], contract: Contract, names: Sequence[str]
) -> tuple[Measured, ...]:
    """Float32 at its fastest engine, then the candidates.

    Args:
        bench: what is held out.
        made: the candidates.
        measured: the speeds of float32 at each engine, then of the candidates.
        contract: what is asked for.
        names: of those engines.
    """
    plain = max(range(len(names)), key=lambda place: measured[place].throughput)
    base, weights = measured[plain], sum(each.nbytes for each in bench.model.backbone.tensors().values())
    first = _row(bench, bench.outcomes, speed=base, base=base)
    how = "the model itself, at its fastest engine"
    rows = [
        replace(first, name=f"{BASE}, {names[plain]}", how=how, bytes=weights, refused="it is what has to be beaten")
    ]
    for each, speed in zip(made, measured[len(names) :], strict=True):
        row = _row(bench, each.outcomes, speed=speed, base=base)
        told = {"name": each.candidate.name, "how": each.candidate.how, "bytes": each.size, "coverage": each.coverage}
        row = replace(row, **told)  # type: ignore[arg-type]
        rows.append(replace(row, refused=verdict(row, contract)))
    return tuple(rows)


def _row(bench: "Bench", outcomes: np.ndarray, *, speed: Speed, base: Speed) -> Measured:
    """A row of the table, without what its candidate says of itself."""
    told = interval(bench.figure, outcomes)
    return Measured(
        name="",
        how="",
        figure=told.value,
        low=told.low,
        high=told.high,
        drop=float(bench.outcomes.mean()) - told.value,
        error=paired_standard_error(bench.outcomes, outcomes),
        throughput=speed.throughput,
        batch=speed.batch,
        p50=speed.p50,
        p95=speed.p95,
        bytes=0,
        speedup=speed.throughput / base.throughput,
        coverage=None,
        scale=bench.scale,
    )


def sentence(bench: "Bench", kept: Measured | None, *, unseen: Unseen | None) -> str:
    """What a compression came to.

    Args:
        bench: what is held out.
        kept: the row of what is kept; None where nothing is.
        unseen: what that is worth where nothing chose; None where all samples chose.
    """
    if kept is None:
        name, before = _spelt(bench), abs(float(bench.outcomes.mean()))
        return f"nothing that was tried keeps the contract, so nothing is written: the model stays as it is, {name} {before:.4f}"
    return f"{kept.name} is kept: {_worth(bench, kept, unseen)}"


def for_the_card(bench: "Bench", kept: Measured, *, unseen: Unseen | None, contract: Contract) -> tuple[str, ...]:
    """What the card says of what was kept, one sentence each.

    Args:
        bench: what is held out.
        kept: its row.
        unseen: what it is worth where nothing chose; None where all samples chose.
        contract: what was asked for.
    """
    unit = "points" if bench.scale is None else "%"
    contracted = f"a loss of at most {contract.max_drop:g} {unit}, or of one standard error, and at least {contract.min_speedup:g} times the speed"
    speed = f"{kept.throughput:,.1f} samples a second in batches of {kept.batch}, one alone in {1000 * kept.p50:.1f} ms"
    return (
        f"{kept.name}: {kept.how}",
        _worth(bench, kept, unseen),
        f"measured on the machine that it was made on: {speed}",
        f"asked for were {contracted}",
    )


def _worth(bench: "Bench", kept: Measured, unseen: Unseen | None) -> str:
    figure, before, n = kept.figure, float(bench.outcomes.mean()), len(bench.held)
    where = f"{n:,} held-out samples, which chose it as well"
    if unseen is not None:
        figure, before = unseen.figure, unseen.before
        where = f"{unseen.n:,} samples of {unseen.part}, none of which chose it ({n:,} of {bench.part} did)"
    return (
        f"{kept.speedup:.2f} times as fast as float32 at its fastest, {_spelt(bench)} {abs(figure):.4f} where the model has"
        f" {abs(before):.4f} on {where}"
    )


def _spelt(bench: "Bench") -> str:
    return bench.figure.replace("_", "-")
