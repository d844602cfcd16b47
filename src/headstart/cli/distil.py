"""`headstart distil`: teach a small student what a fitted model knows."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.cli.arguments import Verbs, assignment, duration, seed, verb

if TYPE_CHECKING:
    from headstart.verbs.distil import Distillation


def add(verbs: Verbs) -> None:  # type: ignore[valid-type]
    """The parser of `headstart distil`."""
    parser = verb(verbs, "distil", about="teach a small student what a fitted model knows, from its outputs")
    parser.add_argument("teacher", help="the directory of a fitted or tuned model")
    parser.add_argument("data", help="labelled data with a training part, laid out as for fit")
    parser.add_argument("--student", required=True, metavar="SOURCE:NAME", help="the backbone that learns; it may be of another family")  # fmt: skip
    parser.add_argument("--out", required=True, metavar="DIR", help="where the student is written: the distilled one, or the one of labels alone where that is as good")  # fmt: skip
    parser.add_argument("--unlabelled", metavar="DATA", help="more samples of the same kind, without labels")
    parser.add_argument("--layer", default="", metavar="LAYER", help="of the student, as for fit")
    parser.add_argument("--prepare", metavar="KEY=VALUE", action="append", default=[], help="change the student's own preparation, such as size=128; again for more")  # fmt: skip
    parser.add_argument("--strategy", default="auto", metavar="NAME", help="auto, full(...), last(...), lora(...), bitfit, or frozen: a head alone, in seconds (default: auto)")  # fmt: skip
    parser.add_argument("--budget", type=duration, default=600.0, metavar="TIME", help="for all of it, such as 90s or 10m (default: 10m)")  # fmt: skip
    parser.add_argument("--steps", type=int, metavar="N", help="steps of the long training, in place of what the budget affords")  # fmt: skip
    parser.add_argument("--looks", type=int, metavar="N", help="seeded looks at each sample (default: up to 8, as a fifth of the budget affords)")  # fmt: skip
    parser.add_argument("--loss", default="kd", choices=["kd", "dkd"], help="divergence from the teacher, or the decoupled one (default: kd)")  # fmt: skip
    parser.add_argument(
        "--temperature", type=float, default=2.0, metavar="T", help="of both sides' scores (default: 2)"
    )
    parser.add_argument("--features", type=float, default=0.0, metavar="WEIGHT", help="of matching the teacher's rows (default: 0)")  # fmt: skip
    flip = parser.add_mutually_exclusive_group()
    flip.add_argument("--flip", action="store_const", const=True, default=None, help="mirror pictures (default: found out)")  # fmt: skip
    flip.add_argument("--no-flip", dest="flip", action="store_const", const=False, help="never mirror pictures")
    parser.add_argument("--run", dest="folder", metavar="DIR", help="where the teacher's outputs and checkpoints lie, so that the same command goes on after a kill (default: OUT.tuning)")  # fmt: skip
    parser.add_argument("--track", default="", metavar="TRACKER", help="tensorboard or mlflow, with =FOLDER where it is not runs or mlruns: they get the figures of each step")  # fmt: skip
    parser.add_argument("--seed", type=seed, default=0, help="decides what is set aside, looks and order (default: 0)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Distil, save and show."""
    from dataclasses import replace

    from headstart.backbones.backbone import BackboneRequest
    from headstart.cli.training import deliver, places
    from headstart.cli.watch import Watch
    from headstart.verbs.distil import distil
    from headstart.verbs.distil_options import DistilOptions

    out, folder = places(options, source=options.teacher)
    asked = BackboneRequest.parse(options.student)
    student = replace(asked, layer=options.layer, prepare=dict(map(assignment, options.prepare)))
    chosen = DistilOptions(
        student=student,
        unlabelled=options.unlabelled,
        strategy=options.strategy,
        budget=options.budget,
        steps=options.steps,
        looks=options.looks,
        kind=options.loss,
        temperature=options.temperature,
        features=options.features,
        flip=options.flip,
        seed=options.seed,
        offline=options.offline,
        run=folder,
        track=options.track,
    )
    with Watch(quiet=options.quiet) as progress:
        found = distil(options.teacher, options.data, options=chosen, progress=progress)
    return deliver(found, options, out=out, folder=folder, show=_show)


def _show(found: "Distillation", out: Path) -> None:
    from headstart.cli.output import escape, figure, new_console

    console = new_console()
    colour = "green" if found.distilled else "yellow"
    console.print(f"[{colour}]{escape(found.sentence)}[/]")
    how = f"{found.strategy}, {found.steps:,} steps, " if found.steps else "a head on frozen rows, "
    samples = f"{found.looks} looks at {found.taught['samples']:,} samples"
    without = f", {found.taught['unlabelled']:,} of them without a label" if found.taught["unlabelled"] else ""
    console.print(f"  [dim]how[/]      {escape(how + samples + without)}")
    for titles, pairs in (("teacher", found.teacher), ("labels alone", found.compared)):
        for name, each in pairs.items():
            told = (
                f"{each.a:.4f} student, {each.b:.4f} {titles}, difference {figure(each.difference)}, p = {each.p:.2g}"
            )
            console.print(f"  [dim]{escape(found.part):<8}[/] {name.replace('_', '-')} {escape(told)}")
    latency = found.latency
    answer = f"{1000 * latency.student:.1f} ms an answer, the teacher's {1000 * latency.teacher:.1f} ms"
    console.print(f"  [dim]latency[/]  {escape(answer)}")
    for note in found.notes:
        console.print(f"  [dim]note[/]     {escape(note)}")
    console.print(f"  [dim]model[/]    {escape(str(out))}  ({found.seconds['total']:.0f} s)")
