"""`headstart rank`: which pretrained model suits this data?"""

import argparse
import math
from typing import TYPE_CHECKING

from headstart.cli.arguments import Verbs, duration, seed, verb
from headstart.cli.rows import add_rows, row_options

if TYPE_CHECKING:
    from headstart.selection.ranking import Standing
    from headstart.verbs.rank import Ranking


def add(verbs: Verbs) -> None:  # type: ignore[valid-type]
    """The parser of `headstart rank`."""
    parser = verb(verbs, "rank", about="which pretrained model, and which of its layers, suits labelled data")
    parser.add_argument("data", help="a folder or a table with labels; only its training part is looked at")
    parser.add_argument("--backbones", nargs="+", default=[], metavar="SOURCE:NAME", help="what to compare (default: all of "
                        "'headstart models' whose weights are on this machine)")  # fmt: skip
    parser.add_argument(
        "--layers", choices=["usual", "scan"], default="usual", help="scan: compare every block of each as well"
    )
    parser.add_argument(
        "--budget",
        type=duration,
        metavar="TIME",
        help="extract no longer than this, such as 90s or 5m; the answer is valid whenever it ends",
    )
    parser.add_argument(
        "--metric",
        default="linear",
        metavar="NAME",
        help="linear (a cross-validated head), knn, hscore or logme (default: linear)",
    )
    parser.add_argument("--seed", type=seed, default=0, help="decides subsets and folds (default: 0)")
    add_rows(parser, backbone=False)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Rank and show."""
    from headstart.cli.output import show
    from headstart.cli.watch import Watch
    from headstart.verbs.rank import RankOptions, rank

    chosen = RankOptions(
        backbones=tuple(options.backbones),
        each_layer=options.layers == "scan",
        metric=options.metric,
        budget=options.budget,
        seed=options.seed,
        **row_options(options),
    )
    with Watch(quiet=options.quiet) as progress:
        found = rank(options.data, options=chosen, progress=progress)
    show(found, _table, as_json=options.json)
    return 0


def _table(found: "Ranking") -> None:
    from rich.table import Table

    from headstart.cli.output import escape, new_console

    console = new_console()
    for note in found.notes:
        console.print(f"[dim]·[/] {escape(note)}")
    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("candidate", overflow="fold")
    headings = [found.figure, "neighbours", "samples", "s / 1,000", "parameters", "width"]
    if found.metric in {"hscore", "logme"}:
        headings.insert(0, found.metric)
    for heading in headings:
        table.add_column(heading, justify="right")
    table.add_column("", overflow="fold")
    for place, each in enumerate(found.standings):
        values = _values(each)
        if found.metric in {"hscore", "logme"}:
            values.insert(0, _number(each.score))
        told = each.note or ("chosen" if place == 0 else "cannot be told apart from the first" if each.tied else "")
        title = each.title + (f" at {each.layer}" if each.layer else "")
        table.add_row(escape(title), *values, escape(told), style="bold" if place == 0 else "")
    console.print(table)
    console.print(f"[bold]verdict[/]  {escape(found.sentence)}")


def _values(each: "Standing") -> list[str]:
    size = "" if each.parameters < 0 else f"{each.parameters / 1e6:.1f} M"
    figure = f"{_number(abs(each.figure))} ± {_number(each.figure_error)}" if each.n else ""
    return [figure, _number(each.neighbours), f"{each.n:,}", _number(each.seconds, 1), size, f"{each.width:,}"]


def _number(value: float, digits: int = 3) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"
