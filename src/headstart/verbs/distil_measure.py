"""A student beside its teacher: the figures of both on the evaluated part, and how long each takes for an answer."""

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from headstart.core.progress import Progress
from headstart.data.samples import Samples
from headstart.evaluation.comparison import HIGHER_IS_BETTER, Difference, paired_difference
from headstart.features.choosing import settled
from headstart.features.extraction import Extraction, extract
from headstart.model.model import Model, join
from headstart.verbs.tune_ground import Ground

# Turns, answers of a turn, and how many of these come first and are not counted.
_TURNS, _ANSWERS, _WARM = 3, 14, 4


@dataclass(frozen=True)
class Latency:
    """Seconds of one answer, from the content to the probabilities, the median of several, measured in turns.

    Attributes:
        teacher: its seconds.
        student: its seconds.
        share: the student's of the teacher's.
    """

    teacher: float
    student: float
    share: float


def latencies(teacher: Model, student: Model, *, samples: Samples) -> Latency:
    """Let both answer the same samples, one sample at a time, each for a while and then the other.

    Each runs on the engine that a process settles on which goes on answering. To change turns after each answer would be measured wrong:
    the threads of one's engine go on for a while on the cores of the other's.
    """
    engines = {"teacher": settled(teacher.backbone), "student": settled(student.backbone)}
    took: dict[str, list[float]] = {"teacher": [], "student": []}
    places = np.linspace(0, len(samples) - 1, _TURNS * _ANSWERS).astype(int)
    for turn in np.split(places, _TURNS):
        for name, model in (("teacher", teacher), ("student", student)):
            for number, place in enumerate(turn):
                one = samples.take([int(place)])
                began = time.perf_counter()
                model.predict(one, engine=engines[name])
                if number >= _WARM:  # the first ones open what is opened once
                    took[name].append(time.perf_counter() - began)
    of_teacher, of_student = (statistics.median(took[name]) for name in ("teacher", "student"))
    return Latency(of_teacher, of_student, of_student / of_teacher)


def evaluated(teacher: Model, ground: Ground, *, progress: Progress) -> Extraction | None:
    """The teacher's rows of the evaluated part; None without such a part."""
    return extract(ground.samples.take(ground.held), teacher.backbone, progress=progress) if len(ground.held) else None


def against_teacher(
    student: Model, teacher: Model, *, ground: Ground, known: Extraction | None, progress: Progress
) -> tuple[Mapping[str, Difference], float | None]:
    """Student (A) beside teacher (B) on the evaluated part, and the share of the teacher's first figure that the student keeps.

    Args:
        student: which is shipped.
        teacher: which taught it.
        ground: of the student.
        known: the teacher's rows of the evaluated part, as `evaluated` gives them.
        progress: stage `extract`, in samples.
    """
    if known is None:
        return {}, None
    samples = ground.samples.take(ground.held)
    labels = ground.y.labels
    targets = ground.task.encode(samples.table.column("target"), labels or None)
    outcomes = []
    extractions = [extract(samples, student.backbone, progress=progress), known]
    both = np.intersect1d(extractions[0].kept, extractions[1].kept)
    for model, extraction in zip((student, teacher), extractions, strict=True):
        own = np.isin(extraction.kept, both)
        scores = model.head.scores(join(extraction.features)[own])
        order = [model.labels.index(label) for label in labels] if labels else [0]
        predicted = ground.task.predict(scores[:, order], model.temperature)
        outcomes.append(ground.task.outcomes(targets.take(both), predicted))
    compared = {
        name: paired_difference(
            np.asarray(ours), np.asarray(outcomes[1][name]), higher_is_better=name in HIGHER_IS_BETTER
        )
        for name, ours in outcomes[0].items()
    }
    first = next(iter(compared), "")
    kept = compared[first].a / compared[first].b if first in HIGHER_IS_BETTER and compared[first].b else None
    return compared, kept
