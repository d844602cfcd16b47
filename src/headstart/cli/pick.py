"""`headstart pick`: which items to label next."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.cli.arguments import Verbs, count, seed, verb
from headstart.cli.rows import add_rows, row_options

if TYPE_CHECKING:
    from headstart.verbs.pick import Picks

_SHOWN = 20


def add(verbs: Verbs) -> None:  # type: ignore[valid-type]
    """The parser of `headstart pick`."""
    parser = verb(verbs, "pick", about="which items to label next")
    parser.add_argument("data", help="unlabelled items: a folder, or a table in which some or all have no label")
    parser.add_argument("--n", type=count, default=100, metavar="N", help="items to pick (default: 100)")
    parser.add_argument(
        "--labelled",
        metavar="DATA|MODEL",
        help="what is labelled already: data, or the directory of a model fitted on it",
    )
    parser.add_argument("--csv", metavar="FILE", help="write a table with an empty label column, to fill in")
    parser.add_argument(
        "--seed", type=seed, default=0, help="decides where k-means starts and what is dropped (default: 0)"
    )
    add_rows(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Pick, write and show."""
    from headstart.cli.output import show
    from headstart.cli.watch import Watch
    from headstart.verbs.pick import PickOptions, pick, write_csv

    chosen = PickOptions(n=options.n, seed=options.seed, **row_options(options))
    with Watch(quiet=options.quiet) as progress:
        found = pick(options.data, labelled=_labelled(options.labelled), options=chosen, progress=progress)
    if options.csv:
        write_csv(found, options.csv)
    show(found, lambda picks: _table(picks, csv=options.csv), as_json=options.json)
    return 0


def _labelled(given: str | None) -> Any:
    """A model where the directory of one is named, else the data's path."""
    from headstart.model.loading import load

    return load(Path(given)) if given and (Path(given) / "manifest.json").is_file() else given


def _table(found: "Picks", *, csv: str | None) -> None:
    from rich.table import Table

    from headstart.cli.output import escape, new_console, short, skipped_inputs

    console = new_console()
    for note in found.notes:
        console.print(f"[dim]·[/] {escape(note)}")
    unsure = "" if found.uncertain is None else f", {found.uncertain:,} of them uncertain"
    console.print(
        f"[bold]{len(found.picks):,} to label[/] of {found.pool:,} unlabelled items{unsure}, by {found.strategy}; {found.labelled:,} labelled already"
    )
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for heading in ("", "item", "guess", "why"):
        table.add_column(heading, justify="left" if heading else "right")
    for pick in found.picks[:_SHOWN]:
        shown = pick.input if found.inline else pick.id
        table.add_row(str(pick.rank), escape(short(shown)), escape(pick.guess or ""), escape(pick.reason))
    console.print(table)
    if len(found.picks) > _SHOWN:
        console.print(f"  and {len(found.picks) - _SHOWN:,} more; --json and --csv list them all")
    if csv:
        console.print(f"[bold]table[/]  {escape(csv)}: fill in its column label")
    skipped_inputs(console, found.skipped)
