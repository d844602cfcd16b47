"""`headstart models`: the catalogue as a table, and one model in full."""

import argparse
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from headstart.cli.arguments import Verbs, verb

if TYPE_CHECKING:
    from headstart.backbones.backbone import CatalogueEntry


def add(verbs: Verbs) -> None:  # type: ignore[valid-type]
    """The parser of `models`."""
    about = "what pretrained models there are: size, input, licence, and what this machine knows of them"
    parser = verb(verbs, "models", about=about)
    parser.add_argument(
        "name", nargs="?", metavar="SOURCE:NAME", help="all about one model, also one that is not in the list"
    )
    parser.add_argument("--modality", choices=["image", "text", "audio"], help="only those for this modality")
    parser.add_argument("--installed", action="store_true", help="only those that are on this machine")
    parser.add_argument(
        "--forget",
        action="store_true",
        help="forget what this machine remembers of the model: the digest of its weights, its figures and its speed",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """`headstart models`."""
    from headstart.cli.output import print_json
    from headstart.cli.watch import Watch
    from headstart.verbs.models import models as models_verb

    if options.forget:
        return _forget(options)
    with Watch(quiet=options.quiet) as progress:
        entries = models_verb(options.name, modality=options.modality, installed=options.installed, progress=progress)
    if options.json:
        print_json({"models": [dataclasses.asdict(entry) for entry in entries]})
    elif options.name is not None and entries:
        _one(entries[0])
    else:
        _table(entries)
    return 0


def _forget(options: argparse.Namespace) -> int:
    from headstart.cli.output import escape, new_console, print_json
    from headstart.core.errors import CacheError, UsageError
    from headstart.verbs.models import forget_model

    if options.name is None:
        raise UsageError("--forget needs the model that is to be forgotten: headstart models SOURCE:NAME --forget")
    try:
        forgotten = forget_model(options.name)
    except OSError as error:
        raise CacheError(f"what this machine remembers of {options.name} cannot be removed: {error}") from error
    if options.json:
        print_json({"forgotten": forgotten})
    else:
        said = "forgotten: its next use takes the weights as they are then" if forgotten else "nothing was remembered"
        new_console().print(f"[bold]{escape(options.name)}[/]  {said}")
    return 0


def _table(entries: Sequence["CatalogueEntry"]) -> None:
    from rich.table import Table

    from headstart.cli.output import escape, new_console

    console = new_console()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("backbone", overflow="fold")
    for heading in ("parameters", "width"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("input", "here", "licence"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        table.add_row(
            f"{escape(entry.backbone)}\n[dim]  {escape(entry.description)}[/]",
            _parameters(entry),
            "" if entry.width is None else str(entry.width),
            escape(entry.input),
            _here(entry) + (f"\n{_speed(entry)}" if entry.speed else ""),
            _licence(entry),
        )
    console.print(table)
    console.print(
        "[dim]  blank: known once it has been used here. Any other name that timm, transformers or Keras accept works as well: timm:NAME,"
        " transformers:OWNER/NAME, keras:NAME; all about one: headstart models SOURCE:NAME[/]"
    )


def _one(entry: "CatalogueEntry") -> None:
    from headstart.cli.output import escape, new_console

    console = new_console()
    blank = "[dim]known once it has been used here[/]"
    speed = entry.speed
    lines = {
        "for": entry.modality or blank,
        "what it is": escape(entry.description),
        "parameters": _parameters(entry) or blank,
        "input": escape(entry.input) or blank,
        "width": blank if entry.width is None else f"{entry.width:,}",
        "licence": _licence(entry).replace("\n", ", "),
        "here": _here(entry),
        "weights": escape(entry.weights),
        "SHA-256": entry.digest or blank,
        "speed": f"{_speed(entry)}, {speed.items:,} samples with {escape(speed.engine)}, {speed.precision}, {escape(speed.device)}"
        if speed
        else "[dim]known once 64 samples have been extracted here[/]",
    }
    console.print(f"[bold]{escape(entry.backbone)}[/]")
    for name, value in lines.items():
        console.print(f"  [dim]{name:<11}[/] {value}", soft_wrap=True)


def _parameters(entry: "CatalogueEntry") -> str:
    return "" if entry.parameters is None else f"{entry.parameters / 1e6:,.1f} M"


def _here(entry: "CatalogueEntry") -> str:
    from headstart.cli.output import size_text

    return f"[green]yes[/], {size_text(entry.size_bytes)}" if entry.installed else "[dim]no[/]"


def _speed(entry: "CatalogueEntry") -> str:
    return "" if entry.speed is None else f"{entry.speed.per_second:,.3g}/s"


def _licence(entry: "CatalogueEntry") -> str:
    from headstart.cli.output import escape

    mark = "\n[yellow]no commercial use[/]" if entry.commercial is False else ""
    return escape(entry.licence or "look it up") + mark
