"""`headstart check`: what is wrong with the data?"""

import argparse
import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.cli.arguments import Verbs, count, seed, verb
from headstart.cli.rows import add_rows, row_options

if TYPE_CHECKING:
    from rich.console import Console

    from headstart.audit.findings import Audit, Suspect
    from headstart.core.progress import Progress
    from headstart.verbs.check import CheckOptions

_MARKS = {"error": "[red]✗[/]", "warning": "[yellow]![/]", "note": "[dim]·[/]"}
_SHOWN = 5
# What a spreadsheet program takes for the beginning of a formula, and what it takes for a number all the same.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?", re.IGNORECASE)


def add(verbs: Verbs) -> None:  # type: ignore[valid-type]
    """The parser of `headstart check`."""
    parser = verb(
        verbs, "check", about="copies, leaks between parts, wrong labels, outliers and other faults of the data"
    )
    parser.add_argument("data", help="a folder or a table, with or without labels; nothing in it is changed")
    parser.add_argument(
        "--csv", metavar="FILE", help="write all suspects to a table, with an empty column 'action' to fill in"
    )
    parser.add_argument(
        "--page",
        metavar="FILE",
        help="write an HTML page that shows the suspects: photos, texts, or recordings to play",
    )
    parser.add_argument("--most", type=count, default=0, metavar="N", help="of more items than this, a random part of so many is compared "
                        "with each other (default: 100,000)")  # fmt: skip
    parser.add_argument("--seed", type=seed, default=0, help="decides folds and what is sampled (default: 0)")
    add_rows(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check, write what was asked for, and show; a status of 0 also where something is found."""
    from headstart.audit.neighbours import MOST_ROWS
    from headstart.cli.output import show
    from headstart.cli.watch import Watch
    from headstart.verbs.check import CheckOptions, check

    written = _places(options)
    chosen = CheckOptions(most=options.most or MOST_ROWS, seed=options.seed, **row_options(options))
    with Watch(quiet=options.quiet) as progress:
        if options.page:
            found = _with_page(options, chosen, progress)
        else:
            found = check(options.data, options=chosen, progress=progress)
    if options.csv:
        _write(found, Path(options.csv))
    show(found, lambda audit: _table(audit, written), as_json=options.json)
    return 0


def _places(options: argparse.Namespace) -> dict[str, Path]:
    """The files that are asked for, by their options. What cannot be written is refused before the work begins.

    Raises:
        ExtraMissing: the page is asked for, and jinja2 is not installed.
        UsageError: a place lies inside the data or is a folder, or both are one.
    """
    from headstart.core.errors import UsageError
    from headstart.core.files import check_place

    written = {name: Path(given) for name, given in (("--csv", options.csv), ("--page", options.page)) if given}
    for name, target in written.items():
        check_place(target, outside=options.data, what=name)
    if len({target.resolve() for target in written.values()}) < len(written):
        raise UsageError(f"--csv and --page both name {options.page}: name two files")
    if options.page:
        from headstart.reporting.markup import check_installed

        check_installed("jinja2", purpose="the page of suspects")
    return written


def _with_page(options: argparse.Namespace, chosen: "CheckOptions", progress: "Progress") -> "Audit":
    """Check, and write the page; the data is read and the backbone opened once for both."""
    from headstart.reporting.suspects import suspects_page
    from headstart.verbs.check import check
    from headstart.verbs.rows import labelled_if_it_can, opened

    samples = labelled_if_it_can(options.data, chosen.reading)
    chosen = replace(chosen, backbone=opened(samples.modality, chosen))
    found = check(samples, options=chosen, progress=progress)
    suspects_page(samples, found, out=options.page, options=chosen, progress=progress)
    return found


def _write(found: "Audit", target: Path) -> None:
    from headstart.audit.findings import COLUMNS
    from headstart.core.files import write_whole

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow([*COLUMNS, "action"])
    for suspect in found.suspects:
        writer.writerow([*(_cell(getattr(suspect, column)) for column in COLUMNS), ""])
    write_whole(target, text.getvalue().encode("utf-8"))


def _cell(value: str | float) -> str:
    """A value as a cell. Names come from the data: one that a spreadsheet program would run as a formula gets a single quote before it.

    Source: OWASP, "CSV Injection". Cells are quoted too, as some programs take a semicolon for the end of a cell.
    """
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"'{value}" if value.startswith(_FORMULA) and not _NUMBER.fullmatch(value) else value


def _table(found: "Audit", written: Mapping[str, Path]) -> None:
    from headstart.audit.findings import KINDS, parts_in_words
    from headstart.cli.output import escape, new_console

    console = new_console()
    for sentence in found.understood:
        console.print(f"[dim]·[/] {escape(sentence)}")
    console.print(
        f"[bold]data[/]  {found.modality}, {found.n:,} items: {escape('; '.join(parts_in_words(found.parts)))}"
    )
    for finding in found.findings:
        console.print(f"{_MARKS[finding.severity]} {escape(finding.sentence)}")
    if not found.findings:
        console.print("[green]✓[/] nothing was found: no copies, no odd files, no labels that look wrong")
    for kind in KINDS:
        own = [each for each in found.suspects if each.kind == kind]
        if own:
            _suspects(console, kind, own)
    table = written.get("--csv")
    where = (
        f"; all {len(found.suspects):,} suspects are in {table}" if table else "; --csv writes all suspects to a table"
    )
    console.print(f"[dim]nothing was changed{escape(where) if found.suspects else ''}[/]")
    if page := written.get("--page"):
        console.print(f"[bold]page[/]  {escape(str(page))} [dim]({page.stat().st_size / 1000:,.0f} kB)[/]")


def _suspects(console: "Console", kind: str, own: Sequence["Suspect"]) -> None:
    from rich.table import Table

    from headstart.audit.findings import heading as heading_of
    from headstart.cli.output import escape, short

    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column(heading_of(kind, len(own)), overflow="fold")
    for heading in ("label", "why"):
        table.add_column(heading, overflow="fold")
    for each in own[:_SHOWN]:
        table.add_row(escape(short(each.input)), escape(each.label), escape(each.why))
    console.print(table)
    if len(own) > _SHOWN:
        console.print(f"[dim]    and {len(own) - _SHOWN:,} more[/]")
