"""`headstart tune`: train a fitted model further, and keep what is better."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.cli.arguments import Verbs, duration, seed, verb

if TYPE_CHECKING:
    from headstart.verbs.tune import Tuning


def add(verbs: Verbs) -> None:  # type: ignore[valid-type]
    """The parser of `headstart tune`."""
    parser = verb(
        verbs, "tune", about="train a fitted model's network further, and ship it only where it measurably wins"
    )
    parser.add_argument("model", help="the directory of a fitted model")
    parser.add_argument("data", help="labelled data with a training part, laid out as for fit")
    parser.add_argument("--out", required=True, metavar="DIR", help="where the model is written: the tuned one, or the frozen one where that stays")  # fmt: skip
    parser.add_argument("--strategy", default="auto", metavar="NAME", help="auto, or last(blocks=1), bitfit, lora(rank=16), full(decay=0.8) (default: auto)")  # fmt: skip
    parser.add_argument("--budget", type=duration, default=600.0, metavar="TIME", help="for all of it, such as 90s or 10m (default: 10m)")  # fmt: skip
    parser.add_argument("--steps", type=int, metavar="N", help="steps of the long training, in place of what the budget affords")  # fmt: skip
    parser.add_argument("--smoothing", type=float, default=0.0, metavar="SHARE", help="label smoothing (default: 0)")
    parser.add_argument("--loss", default="cross_entropy", metavar="NAME", help="cross_entropy, or class_weights, effective_number or focal for classes of uneven size (default: cross_entropy)")  # fmt: skip
    parser.add_argument("--optimise", metavar="AIM", help="what decisions are to be good at, as for fit (default: what those of MODEL are)")  # fmt: skip
    flip = parser.add_mutually_exclusive_group()
    flip.add_argument("--flip", action="store_const", const=True, default=None, help="mirror pictures while training (default: found out)")  # fmt: skip
    flip.add_argument("--no-flip", dest="flip", action="store_const", const=False, help="never mirror pictures")
    parser.add_argument(
        "--new-labels", action="store_true", help="learn labels of the data that the model does not know"
    )
    parser.add_argument(
        "--doubted", action="store_true", help="let samples count less whose labels the data gate doubts"
    )
    parser.add_argument("--run", dest="folder", metavar="DIR", help="where checkpoints lie, so that the same command goes on after a kill (default: OUT.tuning)")  # fmt: skip
    parser.add_argument("--track", default="", metavar="TRACKER", help="tensorboard or mlflow, with =FOLDER where it is not runs or mlruns: they get the figures of each step")  # fmt: skip
    parser.add_argument("--seed", type=seed, default=0, help="decides what is set aside, order and augmentation (default: 0)")  # fmt: skip
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Tune, save and show."""
    from headstart.cli.training import deliver, places
    from headstart.cli.watch import Watch
    from headstart.verbs.tune import TuneOptions, tune

    out, folder = places(options, source=options.model)
    chosen = TuneOptions(
        strategy=options.strategy,
        budget=options.budget,
        steps=options.steps,
        flip=options.flip,
        smoothing=options.smoothing,
        loss=options.loss,
        optimise=options.optimise,
        new_labels=options.new_labels,
        doubted=options.doubted,
        seed=options.seed,
        offline=options.offline,
        run=folder,
        track=options.track,
    )
    with Watch(quiet=options.quiet) as progress:
        found = tune(options.model, options.data, options=chosen, progress=progress)
    return deliver(found, options, out=out, folder=folder, show=_show)


def _show(found: "Tuning", out: Path) -> None:
    from headstart.cli.output import escape, figure, new_console

    console = new_console()
    colour = "green" if found.shipped else "yellow"
    console.print(f"[{colour}]{escape(found.sentence)}[/]")
    if found.steps:
        how = f"{found.strategy}, {found.steps:,} steps at {found.rate:.3g}, the {found.point['weights']} weights"
        console.print(f"  [dim]how[/]      {escape(how)}, {found.point['share']:.0%} of the way from the frozen ones")
    for name, each in found.compared.items():
        told = f"{each.a:.4f} tuned, {each.b:.4f} frozen, difference {figure(each.difference)}, p = {each.p:.2g}"
        console.print(f"  [dim]{escape(found.part):<8}[/] {name.replace('_', '-')} {escape(told)}")
    for note in found.notes:
        console.print(f"  [dim]note[/]     {escape(note)}")
    console.print(f"  [dim]model[/]    {escape(str(out))}  ({found.seconds['total']:.0f} s)")
