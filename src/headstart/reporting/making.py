"""How the model was made, what that cost in time, and how to get the same again."""

import re
import shlex
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from headstart.backbones.exported import ExportedBackbone
from headstart.backbones.precision import FLOAT32
from headstart.model.manifest import Manifest
from headstart.model.model import Model
from headstart.model.reports import FitReport
from headstart.reporting.evidence import Evidence
from headstart.reporting.story import Candidate, Reproduction, Stage
from headstart.reporting.words import seconds

MOST_CANDIDATES = 40
_STAGES = {
    "open": "opening the backbone",
    "features": "features of all items",
    "check": "checking the data",
    "head": "choosing and fitting the head",
    "measure": "measuring it",
    "judge": "fitting the judge",
    "precision": "comparing precisions",
}
_SET_ASIDE = re.compile(
    r"(?P<part>\d+) of (?P<all>\d+) samples of train are set aside as the part test \(seed (?P<seed>\d+)\)"
)
_LIBRARIES = ("numpy", "scipy", "scikit-learn", "torch", "timm", "transformers", "matplotlib")


def candidates(report: FitReport) -> tuple[Candidate, ...]:
    """The heads that were compared, by their out-of-fold loss: the best of each family first, then the others."""
    finite = [each for each in report.candidates if each["log_loss"] is not None]
    finite.sort(key=lambda each: float(each["log_loss"]))
    best = {str(each["family"]): each for each in reversed(finite)}
    ordered = sorted(best.values(), key=lambda each: float(each["log_loss"]))
    ordered += [each for each in finite if each not in ordered]
    own = next((float(each["log_loss"]) for each in finite if each["recipe"] == report.head), None)
    return tuple(
        Candidate(
            recipe=str(each["recipe"]),
            loss=f"{each['log_loss']:.4f}",
            accuracy="" if each["accuracy"] is None else f"{100 * each['accuracy']:.1f} %",
            against=_against(float(each["log_loss"]), own, float(each["standard_error"] or 0.0)),
            seconds=seconds(float(each["seconds"])),
            chosen=each["recipe"] == report.head,
        )
        for each in ordered[:MOST_CANDIDATES]
    )


def families(report: FitReport) -> int:
    """How many families of heads were compared."""
    return len({each["family"] for each in report.candidates if each["log_loss"] is not None})


def stages(report: FitReport) -> tuple[Stage, ...]:
    """The stages of the fit in their order, and the total last."""
    total = max(
        float(report.seconds.get("total", 0.0)), sum(v for k, v in report.seconds.items() if k != "total"), 1e-9
    )
    every = tuple(
        Stage(_STAGES.get(name, name), seconds(value), min(value / total, 1.0))
        for name, value in report.seconds.items()
        if name != "total"
    )
    return (*every, Stage("in all", seconds(total), 1.0))


def reproduction(model: Model, evidence: Evidence, *, directory: Path | None, seed: int) -> Reproduction:
    """Commands that make the same again, and what has to be the same for that."""
    name = Path(evidence.samples.source).name or evidence.samples.source
    manifest = Manifest.read(directory) if directory is not None else None
    out = directory.name if directory is not None else "MODEL"
    commands = [_fit(model, name, out)]
    commands.append(shlex.join(["headstart", "report", out, name, "--out", "report.html"]))
    spec = model.backbone.specs[0]
    facts = {
        "Backbone": model.report.backbone,
        "Its weights": spec.weights,
        "Fingerprint of its rows": ", ".join(each.fingerprint for each in model.backbone.specs),
        "Preparation": spec.prepare,
        "Precision": model.precision,
        "Head": model.report.head,
        "Temperature": f"{model.temperature:.6g}",
        "Evaluated items": f"{len(evidence):,}, contents {evidence.digest}",
        "Seed": f"{seed} for what this page drew at random; {_seed_of(model.report.notes)}",
    }
    if manifest is not None:
        facts["Model made"] = f"{manifest.created} on {manifest.machine}, {_versions(manifest.libraries)}"
    facts["This page made with"] = f"{_versions(installed())} on Python {sys.version.split()[0]}"
    return Reproduction(tuple(commands), facts)


def installed() -> Mapping[str, str]:
    """The versions of headstart and of what decides its numbers, as far as they are installed."""
    found = {"headstart": metadata.version("headstart")}
    for library in _LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found


def _against(loss: float, own: float | None, error: float) -> str:
    if own is None or loss == own:
        return "chosen" if own is not None else ""
    if abs(loss - own) <= error:
        return "a tie with the chosen one"
    return f"{loss - own:+.4f} ± {error:.4f}"


def _fit(model: Model, name: str, out: str) -> str:
    spec, reading = model.backbone.specs[0], model.reading
    tuned, exported = model.report.tuned, isinstance(model.backbone, ExportedBackbone)
    made = f"{out}-fitted" if exported else out
    frozen = f"{made}-frozen" if tuned else made
    words = ["headstart", "fit", name, "--out", frozen, "--backbone", f"{spec.source}:{spec.name}"]
    for option, value in (
        ("--layer", ",".join(each.layer for each in model.backbone.specs)),
        ("--head", "" if tuned else model.report.head),
        ("--precision", model.fitted_precision),
        ("--target", reading.target),
        ("--input", reading.input),
        ("--group", reading.group),
        ("--separator", reading.separator),
    ):
        words += [option, value] if value else []
    if model.task != "single_label":
        words += ["--task", model.task]
    words += _held_out(model.report.notes)
    commands = [words]
    if tuned:
        commands.append(["headstart", "tune", frozen, name, "--out", made, "--strategy", tuned])
    if isinstance(model.backbone, ExportedBackbone):
        commands.append(_written(model.backbone, made, name, out))
    return " && ".join(map(shlex.join, commands))


def _written(backbone: ExportedBackbone, made: str, name: str, out: str) -> list[str]:
    """The command that wrote an export: in another precision than float32 it is a compressed model."""
    if backbone.graph.precision != FLOAT32:
        return ["headstart", "compress", made, name, "--out", out]
    return ["headstart", "export", made, "--to", backbone.graph.runtime, "--out", out, "--with-data", name]


def _seed_of(notes: tuple[str, ...]) -> str:
    said = _said(notes)
    return f"{said['seed']} for the fit" if said else "for the fit 0, unless --seed said another"


def _said(notes: tuple[str, ...]) -> re.Match[str] | None:
    """The note that a part was set aside, which names the seed."""
    return next((found for note in notes if (found := _SET_ASIDE.match(note))), None)


def _held_out(notes: tuple[str, ...]) -> list[str]:
    """The options that set a part aside, found in the note that says so."""
    said = _said(notes)
    if said is None:
        return []
    share = f"{int(said['part']) / int(said['all']):.3g}"
    return ["--hold-out", share, *([] if said["seed"] == "0" else ["--seed", said["seed"]])]


def _versions(libraries: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in libraries.items())
