"""`distil`: teach a small student what a fitted model knows, with its outputs on labelled and unlabelled samples."""

import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.backbones.backbone import Backbone
from headstart.backbones.network import NetworkBackbone
from headstart.core.errors import DataError, UsageError
from headstart.core.progress import Progress, silent
from headstart.data.samples import Samples
from headstart.evaluation.comparison import Difference
from headstart.model.loading import load
from headstart.model.model import Model, join
from headstart.tasks import TASKS
from headstart.tuning.gate import Gate
from headstart.verbs.distil_measure import Latency, against_teacher, evaluated, latencies
from headstart.verbs.distil_options import FROZEN, DistilOptions
from headstart.verbs.distil_teacher import Lesson, TeacherOutputs, lesson_of
from headstart.verbs.fit import fit
from headstart.verbs.fit_data import FitOptions
from headstart.verbs.tune_decisions import not_taken_over
from headstart.verbs.tune_ground import Ground, read_ground, tunable
from headstart.verbs.tune_ship import Candidate, gated, mirrored, run_folder, shipped_model

if TYPE_CHECKING:
    from headstart.heads.fitted import Head, Linear
    from headstart.tuning.loop import Material
    from headstart.tuning.runs import Place
    from headstart.tuning.soft_head import Rows

DISTILLED = "distilled"
_RIDGE = 1e-3
_MOST_LOOKS = 8


@dataclass(frozen=True)
class Distillation:
    """What a distillation came to.

    Attributes:
        model: the student: the distilled one where it won against the same backbone fitted on the labels, else that one.
        distilled: whether it is the distilled one.
        sentence: what happened, in one sentence.
        figure: the task's first figure.
        gate: samples it looked at, the figure of the student of labels alone and of the distilled one, and their paired difference.
        compared: on the evaluated part, the distilled student beside the student of labels alone; empty where it did not win.
        teacher: on the evaluated part, the shipped student beside its teacher.
        kept: the share of the teacher's first figure that the shipped student has, where higher is better; None without such a part.
        latency: seconds of one answer, the teacher's and the student's, measured side by side.
        part: the evaluated part, or empty.
        strategy: the recipe, or `frozen`.
        steps: of the long training; 0 for `frozen`.
        looks: at each sample.
        taught: samples that the teacher gave its outputs for, and how many of them have no label.
        curve: (step, loss, rate) of the long training.
        notes: what was decided or met on the way.
        seconds: what took how long.
    """

    model: Model = field(repr=False)
    distilled: bool
    sentence: str
    figure: str
    gate: Mapping[str, float]
    compared: Mapping[str, Difference]
    teacher: Mapping[str, Difference]
    kept: float | None
    latency: Latency
    part: str
    strategy: str
    steps: int
    looks: int
    taught: Mapping[str, int]
    curve: tuple[tuple[int, float, float], ...]
    notes: tuple[str, ...]
    seconds: Mapping[str, float]

    def to_json(self, model: str | None = None) -> dict[str, Any]:
        """The object that `headstart distil --json` prints (docs/json.md)."""
        plain = {each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.name != "model"}
        pairs = {
            title: {name: each.to_json() for name, each in getattr(self, title).items()}
            for title in ("compared", "teacher")
        }
        told = {"latency": dataclasses.asdict(self.latency), "curve": [list(each) for each in self.curve]}
        return {"model": model, **plain, **pairs, **told}


@dataclass(frozen=True)
class _Class:
    """All that a student learns from."""

    teacher: Model
    base: Model
    ground: Ground
    lesson: Lesson
    outputs: TeacherOutputs
    options: DistilOptions
    place: "Place"


@dataclass(frozen=True)
class _Learnt:
    """The student's weights, and how they were found."""

    candidate: Candidate
    steps: int
    curve: tuple[tuple[int, float, float], ...]
    notes: tuple[str, ...]


def distil(
    teacher: Model | str | Path, data: str | Path | Samples, *, options: DistilOptions, progress: Progress = silent
) -> Distillation:
    """Teach a student what a model knows.

    The student first gets a head on its frozen rows, from the labels alone: that is what distillation has to beat. Then the teacher's
    outputs are computed once, on seeded looks at every training sample and at the unlabelled ones; the student's head learns from them on
    frozen rows, and its network then learns from them on the very same looks. What is shipped is decided as `tune` decides it.

    Args:
        teacher: a model, or the directory of one, of any backbone.
        data: labelled data with a training part, laid out as for `fit`; its labels are the teacher's, or some of them.
        options: the student, and everything else that can be chosen.
        progress: stages of `fit`; `teach`, in looks; `prepare`, in looks, and `tuning`, in steps.

    Raises:
        DataError: the data cannot be used, or has labels that the teacher does not know.
        UsageError: the student cannot be trained, an option is out of range, or the run's folder holds another run.
        FitError: training diverges at every rate. CacheError: a checkpoint cannot be written.
    """
    from headstart.tuning.choice import check_strategy
    from headstart.tuning.tracking import check_tracker

    options.check()
    check_tracker(options.track)
    began = time.perf_counter()
    knows = teacher if isinstance(teacher, Model) else load(Path(teacher))
    options.teaching.check(TASKS.get(knows.task).link)
    if options.strategy != FROZEN:
        check_strategy(options.strategy)
    asked = FitOptions(
        backbone=options.student,
        reading=replace(knows.reading, task=knows.task),
        optimise=knows.rule.name if knows.rule.offsets is not None else "",
        seed=options.seed,
        offline=options.offline,
    )
    base = fit(data, options=asked, progress=progress)
    _check(knows, base, options)
    ground = read_ground(base, data, asked=asked, new_labels=False, doubted=False, progress=progress)
    read = time.perf_counter()
    with run_folder(options.run) as folder:
        one, notes = _taught(knows, base, ground, options, folder=folder, progress=progress)
        known = evaluated(knows, ground, progress=progress)  # now, so that what it takes is no surprise at the end
        taught = time.perf_counter()
        learnt = _learn(one, began=began, progress=progress)
    trained = time.perf_counter()
    gate = gated(ground, learnt.candidate.scores)
    shipped: tuple[Model, Mapping[str, Difference]] = base, {}
    if gate.passed:
        shipped = shipped_model(base, ground, candidate=learnt.candidate, gate=gate, progress=progress)
    beside = against_teacher(shipped[0], knows, ground=ground, known=known, progress=progress)
    latency = latencies(knows, shipped[0], samples=ground.samples)
    ended = time.perf_counter()
    seconds = {"read": read - began, "teach": taught - read, "tune": trained - taught, "gate": ended - trained}
    seconds["total"] = ended - began
    return _told(one, learnt, gate=gate, shipped=shipped, beside=beside, latency=latency, notes=notes, seconds=seconds)


def _told(
    one: _Class,
    learnt: _Learnt,
    *,
    gate: Gate,
    shipped: tuple[Model, Mapping[str, Difference]],
    beside: tuple[Mapping[str, Difference], float | None],
    latency: Latency,
    notes: tuple[str, ...],
    seconds: Mapping[str, float],
) -> Distillation:
    lesson, ground = one.lesson, one.ground
    return Distillation(
        model=shipped[0],
        distilled=gate.passed,
        sentence=_sentence(gate, beside[1], latency, ground),
        figure=ground.figure,
        gate=dataclasses.asdict(gate),
        compared=shipped[1],
        teacher=beside[0],
        kept=beside[1],
        latency=latency,
        part=ground.prepared.evaluated,
        strategy=learnt.candidate.strategy,
        steps=learnt.steps,
        looks=lesson.k,
        taught={"samples": len(lesson.samples), "unlabelled": len(lesson.samples) - lesson.labelled},
        curve=learnt.curve,
        notes=(*ground.notes, *lesson.notes, *notes, *learnt.notes, *not_taken_over(one.teacher)),
        seconds=seconds,
    )


def _taught(
    teacher: Model, base: Model, ground: Ground, options: DistilOptions, *, folder: Path, progress: Progress
) -> tuple[_Class, tuple[str, ...]]:
    """The samples and the teacher's outputs for them, and what was found out about mirroring."""
    from headstart.tuning.runs import Place, opened

    flip, notes = mirrored(base.backbone, ground, flip=options.flip)
    k = _looks(options)
    lesson = lesson_of(ground, options.unlabelled, reading=base.reading, k=k, seed=options.seed, flip=flip)
    place = Place(folder, _identity(teacher, ground, lesson, options))
    opened(place)  # refuses another run's folder before anything of it is written over
    most = options.budget / 5 if options.looks is None else None
    outputs = TeacherOutputs.of(teacher, lesson, labels=ground.y.labels, place=place, most=most, progress=progress)
    return _Class(teacher, base, ground, replace(lesson, k=outputs.k), outputs, options, place), notes


def _check(teacher: Model, student: Model, options: DistilOptions) -> None:
    """Refuse what cannot learn, or cannot be taught.

    Raises:
        UsageError: the student's network cannot be trained, or it takes another modality.
        DataError: the data has labels that the teacher does not know.
    """
    if teacher.modality != student.modality:
        raise UsageError(f"the teacher takes {teacher.modality}, and the student {student.modality}")
    if options.strategy != FROZEN:
        tunable(student)
    unknown = [label for label in student.labels if label not in teacher.labels]
    if unknown:
        names = ", ".join(unknown[:5]) + (" and more" if len(unknown) > 5 else "")
        raise DataError(
            f"the teacher does not know {len(unknown)} of the labels of the data ({names}): it cannot teach them"
        )


def _looks(options: DistilOptions) -> int:
    if options.strategy == FROZEN:
        return 1
    return _MOST_LOOKS if options.looks is None else options.looks


def _learn(one: _Class, *, began: float, progress: Progress) -> _Learnt:
    """First the head on frozen rows, then, unless that is all, the network."""
    ground, options, lesson = one.ground, one.options, one.lesson
    if options.strategy == FROZEN:
        head, how = _frozen_head(one, progress=progress)
        rows = join(ground.extraction.features)[ground.aside]
        told = f"a head ({how}) taught by the outputs of {one.outputs.title} on {len(lesson.samples):,} samples"
        return _Learnt(Candidate(one.base.backbone, head, rows, FROZEN, told, DISTILLED), 0, (), ())
    from headstart.tuning.ladder import Plan, climb, rows_of
    from headstart.tuning.tracking import tracked

    network, start = tunable(one.base), _start(one, progress=progress)
    facts = {"teacher": one.outputs.title, "student": network.specs[0].title, "strategy": options.strategy}
    material = _material(one, network, progress=progress)
    plan = Plan(options.strategy, options.budget, options.steps, options.seed, began, ground.after)
    with tracked(progress, options.track, title=f"distil-{one.place.identity[:8]}", facts=facts) as both:
        found = climb(
            network,
            start,
            material=material,
            choosing=ground.choosing(start),
            task=ground.task,
            plan=replace(plan, n=len(lesson.samples)),
            place=one.place,
            progress=both,
        )
    rows = rows_of(found.state, network, samples=ground.samples.take(ground.aside))
    candidate = Candidate(
        found.state.backbone(network),
        found.head,
        rows,
        found.run.strategy,
        f"taught by the outputs of {one.outputs.title} on {lesson.k} looks at {len(lesson.samples):,} samples; {found.told}",
        DISTILLED,
        found,
    )
    return _Learnt(candidate, found.run.steps, found.trained.curve, (found.plan, *found.trained.notes))


def _rows(one: _Class, *, progress: Progress) -> "Rows":
    """What a head is taught on: the student's frozen rows of the samples themselves."""
    import torch

    from headstart.tuning.interpolation import judged
    from headstart.tuning.soft_head import Rows
    from headstart.tuning.teaching import taught_loss

    ground, lesson = one.ground, one.lesson
    choosing = ground.choosing(ground.start)
    at = join(ground.extraction.features)[ground.aside[ground.chooses]]
    kept, x = _known_rows(one, one.base.backbone, progress=progress)
    scores = one.outputs.scores[kept * lesson.k]
    k, teaching = scores.shape[1], replace(one.options.teaching, features=0.0)
    return Rows(
        x,
        torch.from_numpy(np.concatenate([lesson.labels[kept], scores], axis=1).astype(np.float32)),
        taught_loss(ground.task.link, teaching, k=k),
        k,
        ground.task.link,
        judge=lambda head: float(judged(head.scores(at), choosing.targets, task=ground.task)[0].mean()),
    )


def _known_rows(one: _Class, student: Backbone, *, progress: Progress) -> tuple[np.ndarray, np.ndarray]:
    """Which samples both can read, and the student's frozen rows of them."""
    kept, x = one.lesson.plain_rows(one.ground, student, progress=progress)
    known = one.outputs.known[kept * one.lesson.k] > 0
    return kept[known], x[known]


def _frozen_head(one: _Class, *, progress: Progress) -> tuple["Head", str]:
    """The best head that learns from the teacher on frozen rows: a linear one, or one with a hidden layer."""
    from headstart.tuning.soft_head import fit_linear, fit_mlp

    rows = _rows(one, progress=progress)
    best = min(fit_linear(rows), fit_mlp(rows, seed=one.options.seed), key=lambda found: found.loss)
    return best.head, best.told


def _start(one: _Class, *, progress: Progress) -> "Linear":
    """The linear head that the network begins with: the taught one, or that of the labels where it is the better one."""
    from headstart.heads.fitted import Linear
    from headstart.tuning.soft_head import fit_linear

    rows = _rows(one, progress=progress)
    soft, own = fit_linear(rows), one.ground.start
    return soft.head if isinstance(soft.head, Linear) and soft.loss <= rows.judge(own) else own


def _material(one: _Class, network: NetworkBackbone, *, progress: Progress) -> "Material":
    from headstart.tuning.materials import taught
    from headstart.tuning.views import Views

    lesson, outputs, teaching = one.lesson, one.outputs, one.options.teaching
    looks = lesson.looks
    views = Views.of(looks.repeated, network.preparation, content=looks.content, progress=progress)
    match = _match(one, network, progress=progress) if teaching.features else None
    return taught(
        views,
        lesson.labels_of_looks(one.ground),
        scores=outputs.scores,
        task=one.ground.task,
        options=teaching,
        rows=outputs.rows,
        match=match,
        weights=outputs.known,
    )


def _match(one: _Class, network: NetworkBackbone, *, progress: Progress) -> np.ndarray:
    """The linear map from the student's frozen rows to the teacher's, by least squares with a little ridge."""
    kept, x = _known_rows(one, network, progress=progress)
    own = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    gram = own.T @ own + _RIDGE * len(own) * float((own**2).mean()) * np.eye(own.shape[1])
    return np.asarray(np.linalg.solve(gram, own.T @ one.outputs.rows[kept * one.lesson.k]))


def _identity(teacher: Model, ground: Ground, lesson: Lesson, options: DistilOptions) -> str:
    """Of the teacher, the student, the data and the options."""
    given = {
        name: str(value)
        for name, value in dataclasses.asdict(replace(options, student="", unlabelled=None)).items()
        if name not in {"run", "offline", "student", "track"}
    }
    told = {
        "teacher": dataclasses.asdict(teacher.bond),
        "labels": list(teacher.labels),
        "student": [each.spec.to_json() for each in ground.extraction.features],
        "data": ground.identity,
        "unlabelled": hashlib.blake2b(lesson.added, digest_size=16).hexdigest(),
        "flip": lesson.flip,
        "options": given,
    }
    return hashlib.blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=16).hexdigest()


def _sentence(gate: Gate, kept: float | None, latency: Latency, ground: Ground) -> str:
    name = ground.figure.replace("_", "-")
    figures = f"{name} {abs(gate.tuned):.4f} against {abs(gate.frozen):.4f} on {gate.n:,} samples that chose nothing"
    share = (
        "" if kept is None else f"; it keeps {kept:.1%} of the teacher's {name} at {latency.share:.0%} of its latency"
    )
    if gate.passed:
        return f"the distilled student beats the one of labels alone and is shipped: {figures}{share}"
    return f"distilling did not win by more than one standard error ({gate.error:.4f}), so the student of labels alone is shipped: {figures}{share}"
