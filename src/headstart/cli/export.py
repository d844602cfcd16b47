"""`headstart export`: a model for other runtimes, with the proof that it answers alike."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.cli.arguments import Verbs, verb
from headstart.exporting import FORMATS

if TYPE_CHECKING:
    from headstart.verbs.export import Export


def add(verbs: Verbs) -> None:  # type: ignore[valid-type]
    """The parser of `headstart export`."""
    parser = verb(verbs, "export", about="write a model for another runtime, with the program that runs it and the proof that it answers alike")  # fmt: skip
    parser.add_argument("model", help="the directory of a fitted or tuned model")
    parser.add_argument("--to", required=True, metavar="FORMAT", help=", ".join(FORMATS.names()))
    parser.add_argument("--out", metavar="DIR", help="where it is written (default: MODEL-FORMAT)")
    parser.add_argument("--with-data", metavar="DATA", help="labelled data, laid out as for evaluate: the export is run over all of its evaluated part, from the raw files, and refused where it answers otherwise")  # fmt: skip
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Export and show."""
    from headstart.cli.output import show
    from headstart.cli.watch import Watch
    from headstart.verbs.export import export

    model = Path(options.model)
    out = Path(options.out) if options.out else model.resolve().with_name(f"{model.resolve().name}-{options.to}")
    with Watch(quiet=options.quiet) as progress:
        found = export(model, to=options.to, out=out, with_data=options.with_data, progress=progress)
    show(found, _table, as_json=options.json)
    return 0


def _table(found: "Export") -> None:
    from headstart.cli.output import escape, new_console, size_text

    console = new_console()
    where = f"{found.path}  ({found.format}, {size_text(found.bytes)}, {found.seconds['total']:.0f} s)"
    console.print(f"[green]exported[/] {escape(where)}")
    if (each := found.parity) is not None:
        part = f" (part {each.part})" if each.part else ""
        told = f"{each.agreement:.2%} of {each.n:,} answers from raw files{part} are the model's, largest difference {each.difference:.2g}"
        console.print(f"  [dim]proof[/]    {escape(told)}")
        figure = f"{each.figure.replace('_', '-')} {each.exported:.4f} exported, {each.fitted:.4f} as fitted (in {each.fitted_in})"
        left = f", {each.left_out:,} samples left out because the model was fitted on them" if each.left_out else ""
        console.print(f"  [dim]figure[/]   {escape(figure + left)}")
    for note in found.notes:
        console.print(f"  [dim]note[/]     {escape(note)}")
    listed, program = (shlex.quote(str(found.path / name)) for name in ("requirements.txt", "predict.py"))
    console.print(f"  [dim]run it[/]   pip install -r {escape(listed)}", soft_wrap=True)
    console.print(f"           python {escape(program)} INPUT...", soft_wrap=True)
