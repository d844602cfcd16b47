"""`headstart explain`: why a model says what it says of one item."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.cli.arguments import Verbs, add_running, count, verb

if TYPE_CHECKING:
    from rich.console import Console

    from headstart.model.saliency import Saliency
    from headstart.verbs.explain import Explanation

_SHADES = " ░▒▓█"
_BAR = 40


def add(verbs: Verbs) -> None:  # type: ignore[valid-type]
    """The parser of `headstart explain`."""
    parser = verb(verbs, "explain", about="one prediction: the parts it hangs on and the nearest training examples")
    parser.add_argument("model", help="the model directory")
    parser.add_argument("item", help="a file; for a text model also the text itself, in quotes")
    parser.add_argument(
        "--data", metavar="DATA", help="the training data, to show its nearest items (default: those the model carries)"
    )
    parser.add_argument(
        "--target", metavar="COLUMN", help="the column with the labels, where it has another name than in training"
    )
    parser.add_argument("--label", default="", help="the label to explain (default: the predicted one)")
    parser.add_argument("--k", type=count, default=5, metavar="N", help="training examples to show (default: 5)")
    parser.add_argument("--out", metavar="FILE.png", help="for an image: write it with the map over it")
    add_running(parser, "what the model was fitted at")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Explain and show."""
    from headstart.cli.output import show
    from headstart.cli.rows import as_items
    from headstart.cli.watch import Watch
    from headstart.core.errors import UsageError
    from headstart.model.loading import load
    from headstart.model.model import check_engine_name
    from headstart.verbs.explain import ExplainOptions, explain

    check_engine_name(options.engine)
    with Watch(quiet=options.quiet) as progress:
        model = load(Path(options.model), precision=options.precision)
        if options.out and (model.modality != "image" or Path(options.out).suffix.lower() != ".png"):
            raise UsageError(f"--out draws over an image into a .png file, and got {options.out} for {model.modality}")
        items: Any = as_items([options.item], modality=model.modality)
        found = explain(
            model,
            items[0] if isinstance(items, list) else items,
            data=options.data,
            options=ExplainOptions(label=options.label, k=options.k, target=options.target, engine=options.engine),
            progress=progress,
        )
    if options.out:
        _draw(found, Path(options.out))
    show(found, lambda each: _table(each, out=options.out), as_json=options.json)
    return 0


def _draw(found: "Explanation", out: Path) -> None:
    from headstart.model.saliency import overlay

    assert isinstance(found.content, bytes), "an image is a file's bytes"
    overlay(found.saliency, found.content).save(out, "PNG")


def _table(found: "Explanation", *, out: str | None) -> None:
    from rich.table import Table

    from headstart.cli.output import escape, new_console, short

    console = new_console()
    answer = found.prediction
    said = answer.get("label") or ", ".join(answer.get("labels", ())) or f"{answer.get('value', 0.0):.4g}"
    console.print(f"[bold]{escape(short(str(answer['input'])))}[/]: [bold]{escape(str(said))}[/]")
    one = found.saliency
    what = f"probability of {one.label}" if one.label else "value"
    console.print(f"{escape(what)} {one.whole:.4f}; what it loses where a part is hidden ({one.unit}):")
    {"words": _words, "seconds": _seconds, "patches": _patches}[one.unit](console, one, found.content)
    if found.nearest:
        table = Table(box=None, padding=(0, 2), header_style="dim")
        for heading in ("", "similarity", "label", "nearest training examples"):
            table.add_column(heading, justify="right" if heading in {"", "similarity"} else "left")
        for each in found.nearest:
            table.add_row(str(each.rank), f"{each.similarity:.3f}", escape(each.label), escape(short(each.id)))
        console.print(table)
    for note in found.notes:
        console.print(f"[dim]·[/] {escape(note)}")
    if out:
        console.print(f"[bold]map[/]  {escape(out)}")


def _shade(score: float, most: float) -> str:
    return _SHADES[round((len(_SHADES) - 1) * max(0.0, score) / most)] if most > 0 else _SHADES[0]


def _words(console: "Console", one: "Saliency", content: bytes | str) -> None:
    """The text with its words on red or blue ground, and the weightiest ones with their scores."""
    from rich.text import Text

    from headstart.cli.output import escape
    from headstart.data.decoding import text_of

    text = text_of(content)
    shown = Text("".join(mark if mark.isprintable() else " " for mark in text))
    most = max((abs(part.score) for part in one.parts), default=0.0)
    for part in one.parts:
        weight = round(200 * abs(part.score) / most) if most > 0 else 0
        if weight > 20:
            ground = f"{weight},0,0" if part.score > 0 else f"0,0,{weight}"
            shown.stylize(f"white on rgb({ground})", int(part.start), int(part.end))
    console.print(shown)
    for part in sorted(one.parts, key=lambda each: -abs(each.score))[:8]:
        console.print(f"  {part.score:+.4f}  {escape(part.text)}")


def _seconds(console: "Console", one: "Saliency", content: bytes | str) -> None:  # noqa: ARG001  (a sound has no screen)
    """A bar for each span."""
    most = max((part.score for part in one.parts), default=0.0)
    for part in one.parts:
        bar = "█" * round(_BAR * max(0.0, part.score) / most) if most > 0 else ""
        console.print(f"  {part.start:7.2f} to {part.end:.2f} s  {part.score:+.4f}  [red]{bar}[/]")


def _patches(console: "Console", one: "Saliency", content: bytes | str) -> None:  # noqa: ARG001  (the map is coarse)
    """A coarse map, darkest where most is lost."""
    if one.grid is None:
        return
    rows, columns = one.grid
    most = float(one.scores.max(initial=0.0))
    for r in range(rows):
        line = "".join(_shade(part.score, most) * 2 for part in one.parts[r * columns : (r + 1) * columns])
        console.print(f"  [red]{line}[/]│")
    console.print(f"  [dim]{_SHADES[-1]} = {most:.4f}[/]")
