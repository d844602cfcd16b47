"""`headstart report`: one HTML file that says whether a model's results can be believed."""

import argparse
from dataclasses import replace
from pathlib import Path
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
    report.add_argument(
        "--no-check", action="store_true", help="do not look for copies, wrong labels and other faults of the data"
    )
    report.add_argument("--no-curve", action="store_true", help="leave the learning curve away")
    add_engine(report)
    report.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check the data, draw the learning curve, write the report, and say where it lies and what its first screen says."""
    from headstart.cli.output import show
    from headstart.cli.watch import Watch
    from headstart.model.loading import load
    from headstart.reporting.evidence import Choice
    from headstart.reporting.report import report
    from headstart.verbs.companions import audit_of, curve_of

    choice = Choice(part=options.part, target=options.target, engine=options.engine, seed=options.seed)
    directory = Path(options.model)
    with Watch(quiet=options.quiet) as progress:
        model = load(directory)
        found, unchecked = (
            (None, "") if options.no_check else audit_of(model, options.data, target=options.target, progress=progress)
        )
        drawn, undrawn = (
            (None, "") if options.no_curve else curve_of(model, options.data, target=options.target, progress=progress)
        )
        page = report(
            model,
            options.data,
            out=options.out,
            choice=choice,
            audit=(unchecked or None) if found is None else found,
            curve=drawn,
            directory=directory,
            progress=progress,
        )
    page = replace(page, notes=tuple(note for note in (unchecked, undrawn) if note))
    show(page, _table, as_json=options.json)
    return 0


def _table(page: "Page") -> None:
    from headstart.cli.output import escape, new_console

    console = new_console()
    console.print(f"[bold]verdict[/]   {escape(page.verdict)}")
    console.print(f"[yellow]![/]         {escape(page.doubt)}")
    for note in page.notes:
        console.print(f"[yellow]![/]         {escape(note)}")
    console.print(f"[bold]report[/]    {escape(str(page.path))} [dim]({page.bytes / 1e6:.1f} MB)[/]")
