"""`headstart verify` and `headstart card`: whether a model directory is whole, and what it says of itself."""

import argparse
import sys
from typing import TYPE_CHECKING

from headstart.cli.arguments import Verbs, verb

if TYPE_CHECKING:
    from headstart.verbs.verify import Verification


def add(verbs: Verbs) -> None:  # type: ignore[valid-type]
    """The parsers of both."""
    checked = verb(verbs, "verify", about="whether a model directory is what was saved, file by file, and answers here as it did there")  # fmt: skip
    checked.add_argument("model", help="the model directory")
    checked.set_defaults(run=run)
    shown = verb(verbs, "card", about="the card of a model: what it is, what was measured and on what, and what to know before using it")  # fmt: skip
    shown.add_argument("model", help="the model directory")
    shown.set_defaults(run=_card)


def run(options: argparse.Namespace) -> int:
    """Verify and show."""
    from headstart.cli.output import show
    from headstart.verbs.verify import verify

    show(verify(options.model), _table, as_json=options.json)
    return 0


def _table(found: "Verification") -> None:
    from headstart.cli.output import escape, new_console, size_text

    console = new_console()
    console.print(
        f"[green]whole[/] {escape(str(found.path))}: format {found.format}, {escape(found.task)}, {escape(found.backbone)}"
    )
    console.print(f"  [dim]files[/]    {found.files} with their digests, {size_text(found.bytes)}")
    if found.drift is None:
        console.print(
            "  [dim]rows[/]     not computed: this export is for torch alone, as its files may hold code; its predict.py runs it"
        )
    else:
        console.print(f"  [dim]rows[/]     those of its probe differ here by {found.drift:.1g} (relative)")
    for each in found.saved_with:
        console.print(f"  [dim]saved with[/] {escape(each)}")


def _card(options: argparse.Namespace) -> int:
    """Print the card: Markdown, or in JSON as `card`."""
    from headstart.cli.output import plain, print_json
    from headstart.verbs.verify import card

    found = card(options.model)
    if options.json:
        print_json({"card": found})
    else:
        sys.stdout.write(plain(found, kept="\n\t"))
    return 0
