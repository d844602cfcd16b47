"""`tune`: train a fitted model's network further, and ship it only where it measurably wins."""

import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.backbones.network import NetworkBackbone
from headstart.core.errors import UsageError
from headstart.core.progress import Progress, silent
from headstart.data.samples import Samples
from headstart.evaluation.comparison import Difference
from headstart.evaluation.conformal import COVERAGE
from headstart.model import aim as aims
from headstart.model.loading import load
from headstart.model.model import Model
from headstart.tuning.gate import Gate, decide
from headstart.verbs.fit import fit
from headstart.verbs.fit_data import FitOptions
from headstart.verbs.tune_decisions import check_aim
from headstart.verbs.tune_ground import Ground, check_length, read_ground, tunable
from headstart.verbs.tune_ship import Candidate, gated, mirrored, run_folder, shipped_model

if TYPE_CHECKING:
    from headstart.tuning.ladder import Climbed
    from headstart.tuning.loop import Material
    from headstart.tuning.losses import LossOptions
    from headstart.tuning.runs import Place


@dataclass(frozen=True)
class TuneOptions:
    """What a person may choose of a tuning.

    Attributes:
        strategy: `auto`, or `full(...)`, `last(...)`, `lora(...)`, `bitfit`.
        budget: seconds for all of it.
        steps: of the long training, in place of what the budget affords; None: the budget decides.
        flip: whether pictures may be mirrored; None: found out.
        smoothing: of labels, as a share of their probability.
        loss: what is lowered: `cross_entropy`, `class_weights`, `effective_number` or `focal`.
        optimise: what decisions are to be good at, as `fit` takes it; None: what the frozen model's are.
        new_labels: learn labels of the data that the model does not know.
        doubted: let samples count less whose labels the data gate doubts.
        seed: decides what is set aside, order and augmentation.
        offline: open no socket.
        run: the folder in which the tuning keeps what it has settled and its checkpoints, so that the same call goes on after a kill;
            None: a temporary one.
        track: `tensorboard` or `mlflow`, and `=FOLDER` where it is not `runs` or `mlruns`, which get the figures of each step; empty: none.
    """

    strategy: str = "auto"
    budget: float = 600.0
    steps: int | None = None
    flip: bool | None = None
    smoothing: float = 0.0
    loss: str = "cross_entropy"
    optimise: str | None = None
    new_labels: bool = False
    doubted: bool = False
    seed: int = 0
    offline: bool = False
    run: Path | None = None
    track: str = ""

    def check(self) -> None:
        """Refuse what cannot be, before anything is read.

        Raises:
            UsageError: an option is out of range, or there is no such aim.
        """
        if not 0 <= self.smoothing < 1:
            raise UsageError(f"label smoothing is a share from 0 to below 1, and got {self.smoothing:g}")
        self.losses.check()
        aims.parse(self.optimise or "")
        check_length(self.budget, self.steps)

    @property
    def losses(self) -> "LossOptions":
        """How samples count."""
        from headstart.tuning.losses import LossOptions

        return LossOptions(self.smoothing, self.loss)

    def without_effect(self, link: str) -> tuple[str, ...]:
        """Options that do nothing for a task, a sentence each."""
        given = {"smoothing": self.smoothing, "loss": self.loss != TuneOptions.loss, "doubted": self.doubted}
        idle = [f"--{name}" for name, value in given.items() if value and link != "softmax"]
        return (f"{' and '.join(idle)} did nothing: it is for samples that have one label of several",) if idle else ()


@dataclass(frozen=True)
class Tuning:
    """What a tuning came to.

    Attributes:
        model: the tuned one where it won, else the one that was given, with a new head where it was to learn new labels.
        shipped: whether it is the tuned one.
        sentence: what happened, in one sentence.
        figure: the task's first figure, which the gate compares.
        gate: samples it looked at, both figures, their difference and its standard error.
        compared: on the evaluated part, what each figure that is a mean over samples is for both; empty without such a part.
        part: the evaluated part, or empty.
        strategy: the recipe.
        steps: of the long training.
        rate: its base rate.
        point: which weights won: `raw` or `average`, and how far from the start.
        curve: (step, loss, rate) of the long training.
        points: loss and figure of every point that was looked at, on the samples that choose.
        tries: by rate, the loss that a short try came to.
        notes: what was decided or met on the way.
        seconds: what took how long.
    """

    model: Model = field(repr=False)
    shipped: bool
    sentence: str
    figure: str
    gate: Mapping[str, float]
    compared: Mapping[str, Difference]
    part: str
    strategy: str
    steps: int
    rate: float
    point: Mapping[str, Any]
    curve: tuple[tuple[int, float, float], ...]
    points: tuple[Mapping[str, Any], ...]
    tries: Mapping[str, float]
    notes: tuple[str, ...]
    seconds: Mapping[str, float]

    def to_json(self, model: str | None = None) -> dict[str, Any]:
        """The object that `headstart tune --json` prints (docs/json.md)."""
        plain = {each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.name != "model"}
        compared = {name: each.to_json() for name, each in self.compared.items()}
        return {"model": model, **plain, "compared": compared, "curve": [list(each) for each in self.curve]}


def tune(
    model: Model | str | Path,
    data: str | Path | Samples,
    *,
    options: TuneOptions = TuneOptions(),
    progress: Progress = silent,
) -> Tuning:
    """Train the network of a fitted model on labelled data, beginning with the fitted head, and keep the result only if it is better.

    A fifth of the training samples, of thousands a tenth, is set aside, groups and copies kept together: rates and the best point between the frozen and the
    tuned weights are chosen on half of them, and the other half, which chose nothing, decides: the tuned weights are shipped only if they
    beat the frozen head, fitted on the same training samples, by more than one standard error of the paired difference.

    Args:
        model: a model, or the directory of one; its backbone has to be a network of torch.
        data: labelled data with a training part, laid out as for `fit`.
        options: everything else that can be chosen.
        progress: stages `read`, `extract` and `prepare`, in samples, and `tuning`, in steps.

    Raises:
        DataError: the data cannot be used, or has labels that the model does not know.
        UsageError: the backbone cannot be tuned, the budget is too short for a step, or the run's folder holds another run.
        FitError: training diverges at every rate. CacheError: a checkpoint cannot be written.
    """
    from headstart.tuning.choice import check_strategy
    from headstart.tuning.runs import Place
    from headstart.tuning.tracking import check_tracker

    options.check()
    check_tracker(options.track)
    check_strategy(options.strategy)
    began = time.perf_counter()
    opened = model if isinstance(model, Model) else load(Path(model))
    frozen = tunable(opened)
    reading = replace(opened.reading, task=opened.task)
    asked = FitOptions(reading=reading, seed=options.seed, offline=options.offline)
    ground = read_ground(
        opened, data, asked=asked, new_labels=options.new_labels, doubted=options.doubted, progress=progress
    )
    check_aim(opened, ground, optimise=options.optimise)
    read = time.perf_counter()
    if not ground.winnable:
        seconds = {"read": read - began, "tune": 0.0, "gate": 0.0, "total": read - began}
        return _with_new_labels(_untried(opened, ground, seconds=seconds), ground, asked)
    with run_folder(options.run) as folder:
        place = Place(folder, _identity(opened, ground, options))
        flip, notes = _flips(frozen, ground, options, place)
        found = _climbed(frozen, ground, options, flip=flip, place=place, began=began, progress=progress)
    tuned = time.perf_counter()
    candidate = _candidate(found, frozen, ground)
    gate = gated(ground, candidate.scores)
    shipped: tuple[Model, Mapping[str, Difference]] = opened, {}
    if gate.passed:
        shipped = shipped_model(
            opened, ground, candidate=candidate, gate=gate, optimise=options.optimise, progress=progress
        )
    ended = time.perf_counter()
    seconds = {"read": read - began, "tune": tuned - read, "gate": ended - tuned, "total": ended - began}
    notes += options.without_effect(ground.task.link)
    return _with_new_labels(_tuning(ground, found, gate, shipped, notes=notes, seconds=seconds), ground, asked)


def _flips(
    frozen: NetworkBackbone, ground: Ground, options: TuneOptions, place: "Place"
) -> tuple[bool, tuple[str, ...]]:
    """Whether pictures are mirrored, as the run has settled it or as is found out now, and a note that says so."""
    from headstart.tuning import runs

    settled = runs.opened(place)
    return mirrored(frozen, ground, flip=options.flip) if settled is None else (settled.flip, ())


def _with_new_labels(tuning: Tuning, ground: Ground, asked: FitOptions) -> Tuning:
    """Where the frozen model stays and does not know all labels of the data, its head is fitted anew, as that is what was asked for."""
    given = tuning.model
    if tuning.shipped or given.labels == ground.y.labels:
        return tuning
    sets = None if given.judge is None else given.judge.conformal
    coverage = COVERAGE if sets is None else sets.coverage
    again = replace(asked, backbone=given.backbone, coverage=coverage, with_examples=given.examples is not None)
    new = ", ".join(repr(label) for label in ground.y.labels if label not in given.labels)
    return replace(
        tuning,
        model=fit(ground.samples, options=again),
        sentence=f"{tuning.sentence}; its head was fitted anew, and knows {new} as well",
    )


def _candidate(found: "Climbed", frozen: NetworkBackbone, ground: Ground) -> Candidate:
    """What the ladder ended with, and its rows of what was set aside."""
    from headstart.tuning.ladder import rows_of

    rows = rows_of(found.state, frozen, samples=ground.samples.take(ground.aside))
    told = f"tuned by {found.told}"
    return Candidate(found.state.backbone(frozen), found.head, rows, found.run.strategy, told, found=found)


def _climbed(
    frozen: NetworkBackbone,
    ground: Ground,
    options: TuneOptions,
    *,
    flip: bool,
    place: "Place",
    began: float,
    progress: Progress,
) -> "Climbed":
    from headstart.tuning.ladder import Plan, climb
    from headstart.tuning.tracking import tracked

    material = _material(frozen, ground, options, flip=flip, progress=progress)
    facts = dataclasses.asdict(options) | {"backbone": frozen.specs[0].title}
    with tracked(progress, options.track, title=f"tune-{place.identity[:8]}", facts=facts) as both:
        return climb(
            frozen,
            ground.start,
            material=material,
            choosing=ground.choosing(ground.start),
            task=ground.task,
            plan=Plan(options.strategy, options.budget, options.steps, options.seed, began, ground.after),
            place=place,
            progress=both,
        )


def _tuning(
    ground: Ground,
    found: "Climbed",
    gate: Gate,
    shipped: tuple[Model, Mapping[str, Difference]],
    *,
    notes: tuple[str, ...],
    seconds: Mapping[str, float],
) -> Tuning:
    return Tuning(
        model=shipped[0],
        shipped=gate.passed,
        sentence=_sentence(gate, ground),
        figure=ground.figure,
        gate=dataclasses.asdict(gate),
        compared=shipped[1],
        part=ground.prepared.evaluated,
        strategy=found.run.strategy,
        steps=found.run.steps,
        rate=found.rate,
        point={"weights": found.point.title, "share": found.point.share},
        curve=found.trained.curve,
        points=tuple(dataclasses.asdict(each) for each in found.points),
        tries={f"{rate:.3g}": loss for rate, loss in found.tries.items()},
        notes=(*ground.notes, *notes, found.plan, *found.trained.notes),
        seconds=seconds,
    )


def _untried(model: Model, ground: Ground, *, seconds: Mapping[str, float]) -> Tuning:
    """Where not even a model without an error would be better by more than one standard error, nothing is trained."""
    right = ground.frozen_outcomes[~ground.chooses]
    gate = decide(right, right)
    name = ground.figure.replace("_", "-")
    return Tuning(
        model=model,
        shipped=False,
        sentence=f"nothing was trained, so the frozen model stays: no model could win by more than one standard error, as the frozen one has {name} {abs(gate.frozen):.4f}"
        f" on the {gate.n:,} samples that would decide",
        figure=ground.figure,
        gate=dataclasses.asdict(gate),
        compared={},
        part=ground.prepared.evaluated,
        strategy="",
        steps=0,
        rate=0.0,
        point={"weights": "start", "share": 0.0},
        curve=(),
        points=(),
        tries={},
        notes=ground.notes,
        seconds=seconds,
    )


def _material(
    frozen: NetworkBackbone, ground: Ground, options: TuneOptions, *, flip: bool, progress: Progress
) -> "Material":
    from headstart.tuning.augmentation import Augmentation
    from headstart.tuning.materials import labelled
    from headstart.tuning.views import Views

    return labelled(
        Views.of(ground.samples.take(ground.train), frozen.preparation, progress=progress),
        ground.y.take(ground.fit_rows),
        task=ground.task,
        options=options.losses,
        augmentation=Augmentation(ground.samples.modality, flip=flip),
        weights=ground.weights,
    )


def _identity(model: Model, ground: Ground, options: TuneOptions) -> str:
    """Of the model, the data and the options."""
    told = {
        "specs": [spec.to_json() for spec in model.backbone.specs],
        "data": ground.identity,
        "options": {
            name: value
            for name, value in dataclasses.asdict(options).items()
            if name not in {"run", "offline", "track"}
        },
    }
    return hashlib.blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=16).hexdigest()


def _sentence(gate: Gate, ground: Ground) -> str:
    name = ground.figure.replace("_", "-")
    figures = f"{name} {abs(gate.tuned):.4f} against {abs(gate.frozen):.4f} on {gate.n:,} samples that chose nothing"
    if gate.passed:
        return f"tuning won and is shipped: {figures}"
    return (
        f"tuning did not win by more than one standard error ({gate.error:.4f}), so the frozen model stays: {figures}"
    )
