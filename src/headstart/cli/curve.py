"""`headstart curve`: will more labels help?"""

import argparse
from typing import TYPE_CHECKING

from headstart.cli.arguments import Verbs, count, seed, share, verb
from headstart.cli.rows import add_rows, row_options

if TYPE_CHECKING:
    from headstart.verbs.curve import Curve

_BAR = 32


def add(verbs: Verbs) -> None:  # type: ignore[valid-type]
    """The parser of `headstart curve`."""
    parser = verb(verbs, "curve", about="accuracy against the number of labels: will more data help?")
    parser.add_argument("data", help="labelled data, as for fit")
    parser.add_argument(
        "--metric", default="", help="such as macro_f1 or log_loss (default: accuracy, map or mae, by the task)"
    )
    parser.add_argument("--points", type=count, default=10, metavar="N", help="sizes to try (default: 10)")
    parser.add_argument("--hold-out", type=share, default=0.0, metavar="SHARE", help="set aside this share as a test part (default: none; "
                        "the figures are then out-of-fold ones)")  # fmt: skip
    parser.add_argument("--seed", type=seed, default=0, help="decides subsets and folds (default: 0)")
    add_rows(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure and show."""
    from headstart.cli.output import show
    from headstart.cli.watch import Watch
    from headstart.verbs.curve import CurveOptions, curve

    chosen = CurveOptions(
        metric=options.metric,
        points=options.points,
        hold_out=options.hold_out,
        seed=options.seed,
        **row_options(options),
    )
    with Watch(quiet=options.quiet) as progress:
        found = curve(options.data, options=chosen, progress=progress)
    show(found, _table, as_json=options.json)
    return 0


def _table(found: "Curve") -> None:
    from rich.table import Table

    from headstart.cli.output import escape, figure, new_console, skipped_inputs
    from headstart.evaluation.intervals import Estimate

    console = new_console()
    for note in found.notes:
        console.print(f"[dim]·[/] {escape(note)}")
    console.print(
        f"[bold]{found.metric.replace('_', ' ')}[/] of {found.head}, scored on {found.scored_on} ({found.scored:,})"
    )
    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("labels", justify="right")
    table.add_column(found.metric.replace("_", " "), justify="right")
    table.add_column("")
    shown = [*((point, "") for point in found.points), *((point, "forecast") for point in found.forecast)]
    values = [point.value for point, _ in shown]
    low, high = min(values), max(values)
    for point, kind in shown:
        bar = "█" * (1 + round((_BAR - 1) * (point.value - low) / (high - low or 1.0)))
        table.add_row(
            f"{point.n:,}",
            figure(Estimate(point.value, point.low, point.high)),
            f"[{'dim' if kind else 'green'}]{bar}[/] {kind}",
        )
    console.print(table)
    if found.fitted is not None:
        console.print(
            "[dim]  fitted: {a:.4f} - {b:.4g} n^-{c:.3f}; in brackets: 95 % intervals[/]".format(**found.fitted)
        )
    skipped_inputs(console, found.skipped)
    console.print(f"[bold]Will more data help?[/] {escape(found.sentence)}")
