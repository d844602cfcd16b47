"""The section of a tuned or distilled model: what its network had to beat, by a paired test, and how its loss went."""

from headstart.model.tuning_record import TuningRecord
from headstart.reporting.draw import INKS, axes, plot
from headstart.reporting.story import Paired, Plot, TuningSection
from headstart.reporting.words import SHARES, figure, percent


def section(record: TuningRecord) -> TuningSection:
    """What the page tells of it."""
    gate, name = record.gate, record.figure.replace("_", "-")
    kept = (
        "The student's network was taught by its teacher"
        if record.title != "tuned"
        else "The network was trained further"
    )
    ours, theirs = (figure(record.figure, abs(gate[which])) for which in ("tuned", "frozen"))
    won = (
        f"{kept}, and is shipped because it beat {record.beaten} by more than one standard error on {int(gate['n']):,} samples that had"
        f" chosen nothing: {name} {ours} against {theirs}."
    )
    sentences = [won]
    if record.steps:
        sentences.append(
            f"It took {record.steps:,} steps at a rate of {record.rate:.3g}; the shipped weights lie {percent(record.share)} of the way from"
            " the frozen to the trained ones."
        )
    return TuningSection(
        sentences=tuple(sentences),
        beaten=record.beaten,
        part=record.part,
        pairs=_pairs(record),
        plot=_curve(record) if record.curve else None,
    )


def _pairs(record: TuningRecord) -> tuple[Paired, ...]:
    return tuple(
        Paired(
            name=name.replace("_", " "),
            ours=figure(name, each.a),
            theirs=figure(name, each.b),
            difference=_difference(name, each.difference.value, each.difference.low, each.difference.high),
            p=f"{each.p:.2g}",
        )
        for name, each in record.compared.items()
    )


def _difference(name: str, value: float, low: float, high: float) -> str:
    if name in SHARES:
        return f"{100 * value:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f})"


def _curve(record: TuningRecord) -> Plot:
    """The loss by step, and the rate beside it."""
    steps, losses, rates = zip(*record.curve, strict=True)
    with axes(5.6, 3.2) as (drawing, ax):
        ax.plot(steps, losses, color=INKS["accent"], linewidth=1.8)
        ax.set(xlabel="steps", ylabel="loss, smoothed", ylim=(0, None))
        ax.grid(visible=True)
        beside = ax.twinx()
        beside.plot(steps, rates, color=INKS["muted"], linewidth=1.0, linestyle=(0, (4, 3)))
        beside.set(ylabel="rate (dashed)", ylim=(0, None))
        words = (
            f"The loss goes from {losses[0]:.3g} at step {steps[0]:,} to {losses[-1]:.3g} at step {steps[-1]:,}; the rate rises to"
            f" {max(rates):.3g} and falls to {rates[-1]:.2g}."
        )
        return plot(drawing, name="tuning", title="The loss while training", words=words)
