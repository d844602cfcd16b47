"""`headstart compress`: a faster model under a contract."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.cli.arguments import Verbs, duration, seed, verb
from headstart.compression import METHODS

if TYPE_CHECKING:
    from headstart.verbs.compress import Compression


def add(verbs: Verbs) -> None:  # type: ignore[valid-type]
    """The parser of `headstart compress`."""
    parser = verb(verbs, "compress", about="make a model faster: try what there is, measure it here, and keep the fastest that loses no more than allowed")  # fmt: skip
    parser.add_argument("model", help="the directory of a fitted or tuned model")
    parser.add_argument("data", help="the data that it was fitted on, with samples that it was not fitted on")
    parser.add_argument("--out", required=True, metavar="DIR", help="where the compressed model is written")
    parser.add_argument("--max-drop", type=float, default=0.5, metavar="POINTS", help="points of accuracy that may be lost, or percent of another figure; one standard error may be in any case (default: 0.5)")  # fmt: skip
    parser.add_argument("--min-speedup", type=float, default=1.2, metavar="TIMES", help="the least throughput, in times that of the fastest float32 engine (default: 1.2)")  # fmt: skip
    parser.add_argument("--target", default="cpu", metavar="DEVICE", help="what it is measured on: cpu, this machine's (default: cpu)")  # fmt: skip
    parser.add_argument("--tries", default="", metavar="NAMES", help=f"some of {', '.join(METHODS.names())}, separated by commas (default: all)")  # fmt: skip
    parser.add_argument(
        "--student",
        default="",
        metavar="SOURCE:NAME",
        help="a smaller backbone that the model teaches, and that is tried too",
    )
    parser.add_argument("--budget", type=duration, default=600.0, metavar="TIME", help="for teaching it (default: 10m)")
    parser.add_argument("--seed", type=seed, default=0, help="decides the folds of heads that are fitted anew (default: 0)")  # fmt: skip
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compress and show; status 1 where nothing keeps the contract."""
    from headstart.cli.output import show
    from headstart.cli.watch import Watch
    from headstart.compression.contract import Contract
    from headstart.verbs.compress import CompressOptions, compress

    chosen = CompressOptions(
        contract=Contract(options.max_drop, options.min_speedup),
        target=options.target,
        tries=tuple(name.strip() for name in options.tries.split(",") if name.strip()),
        student=options.student,
        budget=options.budget,
        seed=options.seed,
    )
    with Watch(quiet=options.quiet) as progress:
        found = compress(options.model, options.data, out=Path(options.out), options=chosen, progress=progress)
    show(found, _table, as_json=options.json)
    return 0 if found.chosen else 1


def _table(found: "Compression") -> None:
    from rich.table import Table

    from headstart.cli.output import escape, new_console, size_text

    console = new_console()
    console.print(f"[{'green' if found.chosen else 'yellow'}]{escape(found.sentence)}[/]")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("", found.figure.replace("_", "-"), "a second", "times", "batch", "alone ms", "p95 ms", "size", ""):
        table.add_column(name, justify="left" if not name else "right")
    for each, best in zip(found.table, found.best, strict=True):
        kept = "kept" if each.name == found.chosen else each.refused or "slower than what is kept"
        table.add_row(
            escape(each.name) + (" *" if best else ""),
            f"{abs(each.figure):.4f}\n{escape(_interval(each.low, each.high))}",
            f"{each.throughput:,.0f}",
            f"{each.speedup:.2f}",
            str(each.batch),
            f"{1000 * each.p50:.1f}",
            f"{1000 * each.p95:.1f}",
            size_text(each.bytes),
            escape(kept),
        )
    console.print(table)
    if (own := found.unseen) is not None:
        told = f"{abs(own.figure):.4f} {_interval(own.low, own.high)}, the model {abs(own.before):.4f}, on {own.n:,} samples that did not choose"
        console.print(f"  [dim]{own.part:<8}[/] {escape(told)}")
    console.print(
        "  [dim]*        nothing else is better in figure, speed and size at once; in brackets the 95 % interval[/]"
    )
    for note in found.notes:
        console.print(f"  [dim]note[/]     {escape(note)}")
    if found.path is not None:
        console.print(f"  [dim]model[/]    {escape(str(found.path))}  ({found.seconds['total']:.0f} s)")


def _interval(low: float, high: float) -> str:
    """The 95 % interval of a figure; of errors and losses, which are held as negative numbers, as what they are."""
    ends = sorted((abs(low), abs(high)))
    return f"[{ends[0]:.3f}, {ends[1]:.3f}]"
