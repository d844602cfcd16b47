"""`headstart search`: the nearest items of a collection."""

import argparse
from typing import TYPE_CHECKING

from headstart.cli.arguments import Verbs, count, verb
from headstart.cli.rows import add_rows, as_items, row_options

if TYPE_CHECKING:
    from headstart.verbs.search import Search

_TITLES = {
    "recall_at_1": "recall at 1",
    "recall_at_5": "recall at 5",
    "recall_at_10": "recall at 10",
    "map": "mean average precision",
}


def add(verbs: Verbs) -> None:  # type: ignore[valid-type]
    """The parser of `headstart search`."""
    parser = verb(verbs, "search", about="the nearest items of a collection to a file or a text")
    parser.add_argument("data", help="the collection: a folder, a table or a file list, labelled or not")
    parser.add_argument(
        "query",
        nargs="*",
        metavar="QUERY",
        help="files, a folder or a table; among texts also the text itself, in quotes",
    )
    parser.add_argument("--k", type=count, default=10, metavar="N", help="items to find for each query (default: 10)")
    parser.add_argument("--plain", action="store_true", help="plain cosine of the rows, not whitened")
    parser.add_argument(
        "--dimensions", type=count, default=256, metavar="N", help="whitened components to keep at most (default: 256)"
    )
    parser.add_argument("--evaluate", action=argparse.BooleanOptionalAction, default=None, help="how well labels are found again "
                        "(default: where there are labels and at most 20,000 items)")  # fmt: skip
    add_rows(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Search and show."""
    from headstart.cli.output import show
    from headstart.cli.watch import Watch
    from headstart.verbs.rows import labelled_if_it_can
    from headstart.verbs.search import SearchOptions, search

    chosen = SearchOptions(
        k=options.k,
        whiten=not options.plain,
        dimensions=options.dimensions,
        evaluate=options.evaluate,
        **row_options(options),
    )
    with Watch(quiet=options.quiet) as progress:
        collection = labelled_if_it_can(options.data, chosen.reading)
        queries = as_items(options.query, modality=collection.modality) if options.query else ()
        found = search(collection, queries, options=chosen, progress=progress)
    show(found, _table, as_json=options.json)
    return 0


def _table(result: "Search") -> None:
    from rich.table import Table

    from headstart.cli.output import escape, figure, new_console, short, skipped_inputs

    console = new_console()
    how = "whitened rows" if result.whitened else "plain rows"
    console.print(f"[bold]{result.n:,} items[/], {how} of {result.dimensions} dimensions, compared exactly")
    for each in result.found:
        copies = f" [dim]({each.copies} of its own content left out)[/]" if each.copies else ""
        console.print(
            f"\n[bold]{escape(short(each.query))}[/] {escape(short(each.input)) if each.query.startswith('text:') else ''}{copies}"
        )
        table = Table(box=None, padding=(0, 2), header_style="dim")
        for heading in ("", "score", "label", "item", ""):
            table.add_column(heading, justify="right" if heading in {"", "score"} else "left")
        for hit in each.hits:
            text = "" if hit.input.endswith(hit.id) else short(hit.input)
            table.add_row(
                str(hit.rank), f"{hit.score:.3f}", escape(hit.label or ""), escape(short(hit.id)), escape(text)
            )
        console.print(table)
    if result.figures:
        console.print(f"\n[bold]labels found again[/] by {result.asked:,} items that ask for the others")
        table = Table(box=None, padding=(0, 2), header_style="dim")
        table.add_column("figure")
        for way in result.figures:
            table.add_column(way, justify="right")
        for name, title in _TITLES.items():
            table.add_row(title, *(figure(figures[name]) for figures in result.figures.values()))
        console.print(table)
    for note in result.notes:
        console.print(f"[dim]·[/] {escape(note)}")
    skipped_inputs(console, result.skipped)
