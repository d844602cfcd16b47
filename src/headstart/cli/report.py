"""`headstart report`: one HTML file that says whether a model's results can be believed."""

import argparse
from typing import TYPE_CHECKING

from headstart.cli.arguments import Verbs, add_engine, add_labelled, seed, verb

if TYPE_CHECKING:
    from headstart.reporting.report import Page


def add(verbs: Verbs) -> None:  # type: ignore[valid-type]
    """The parser of `headstart report`."""
    report = verb(verbs, "report", about="one HTML file that says whether to believe a model's results, and why")
    report.add_argument("model", help="the model directory")
    add_labelled(report)
    report.add_argument(
        "--out",
        default="report.html",
        metavar="FILE",
        help="the file to write (default: report.html); one that is there is replaced",
    )
    report.add_argument(
        "--seed", type=seed, default=0, help="decides the folds and what is drawn at random (default: 0)"
    )
    add_engine(report)
    report.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the report, and say where it lies and what its first screen says."""
    from headstart.cli.output import show
    from headstart.cli.watch import Watch
    from headstart.reporting.evidence import Choice
    from headstart.reporting.report import report

    choice = Choice(part=options.part, target=options.target, engine=options.engine, seed=options.seed)
    with Watch(quiet=options.quiet) as progress:
        page = report(options.model, options.data, out=options.out, choice=choice, progress=progress)
    show(page, _table, as_json=options.json)
    return 0


def _table(page: "Page") -> None:
    from headstart.cli.output import escape, new_console

    console = new_console()
    console.print(f"[bold]verdict[/]   {escape(page.verdict)}")
    console.print(f"[yellow]![/]         {escape(page.doubt)}")
    console.print(f"[bold]report[/]    {escape(str(page.path))} [dim]({page.bytes / 1e6:.1f} MB)[/]")
