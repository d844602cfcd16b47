"""What every command prints with: one JSON object, or tables on standard output in which a text of the data can do no harm."""

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from rich.console import Console
from rich.markup import escape as escape_markup

from headstart.core.errors import Skipped
from headstart.evaluation.intervals import Estimate

_MOST_SKIPPED = 10


class Shown(Protocol):
    """What a verb returns: it says itself as JSON."""

    def to_json(self) -> dict[str, Any]:
        """The object of docs/json.md."""


_S = TypeVar("_S", bound=Shown)


def show(found: _S, table: Callable[[_S], None], *, as_json: bool) -> None:
    """Print what a verb found: as one JSON object, or as a table."""
    if as_json:
        print_json(found.to_json())
    else:
        table(found)


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object in one line."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")


def new_console() -> Console:
    """A console on standard output."""
    # Into a file or a pipe, where there is no width to fit, lines are as wide as a wide terminal.
    return Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 120)


def escape(text: str) -> str:
    """A text of the data as it may stand in the terminal: no markup, and nothing that moves the cursor or changes colours."""
    return escape_markup(plain(text, kept=""))


def plain(text: str, *, kept: str) -> str:
    """A text as it may stand in the terminal: nothing that moves the cursor elsewhere, or changes colours or titles, but for the marks that are kept."""
    return "".join(mark if mark.isprintable() or mark in kept else "\N{REPLACEMENT CHARACTER}" for mark in text)


def short(text: str) -> str:
    """At most 80 characters in one line. What tells paths apart stands at their end, so the middle goes."""
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= 80 else f"{one_line[:30]} ... {one_line[-45:]}"


def figure(estimate: Estimate | None) -> str:
    """A figure with its interval in brackets, as markup; empty where there is none."""
    return "" if estimate is None else f"{estimate.value:.4f} [dim]\\[{estimate.low:.3f}, {estimate.high:.3f}][/]"


def size_text(size: int | None) -> str:
    """A size in megabytes; empty where it is not known."""
    return "" if size is None else f"{size / 1e6:,.0f} MB" if size >= 10**7 or not size else f"{size / 1e6:,.1f} MB"


def skipped_inputs(console: Console, skipped: tuple[Skipped, ...]) -> None:
    """How many inputs were left out, and the first of them with their reasons."""
    if not skipped:
        return
    console.print(f"[yellow]![/] left out, {len(skipped):,} in all:")
    for each in skipped[:_MOST_SKIPPED]:
        console.print(f"    {escape(each.input)}: {escape(each.reason)}")
    if len(skipped) > _MOST_SKIPPED:
        console.print(f"    and {len(skipped) - _MOST_SKIPPED:,} more; --json lists them all")
