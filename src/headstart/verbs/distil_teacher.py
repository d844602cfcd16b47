"""What a distillation teaches: which samples, and the teacher's outputs on seeded looks at them, computed once and kept in the run's folder."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float

from headstart.backbones.backbone import Backbone
from headstart.core.errors import CacheError, DataError, SampleError
from headstart.core.files import write_whole
from headstart.core.progress import Progress, silent
from headstart.data.decoding import text_of
from headstart.data.opening import open_samples
from headstart.data.reading import ReadOptions
from headstart.data.samples import Samples
from headstart.features.contents import content_of
from headstart.features.extraction import embed, extract
from headstart.features.hashing import digest_samples
from headstart.model.model import Model, join
from headstart.tuning.runs import TEACHER
from headstart.verbs.tune_ground import Ground

if TYPE_CHECKING:
    from headstart.tuning.looks import Looks
    from headstart.tuning.runs import Place


@dataclass(frozen=True)
class Lesson:
    """The samples that are taught: those that are trained on, then those without a label.

    Attributes:
        samples: n of them.
        labels: (n, l) as a taught loss takes them.
        labelled: how many have a label; they come first.
        k: looks at each.
        seed: decides the looks.
        flip: whether pictures may be mirrored.
        added: the content digests of those without a label, one after the other.
        notes: what was left out.
    """

    samples: Samples
    labels: Float[np.ndarray, "n l"]
    labelled: int
    k: int
    seed: int
    flip: bool
    added: bytes = field(default=b"", repr=False)
    notes: tuple[str, ...] = ()

    @property
    def looks(self) -> "Looks":
        """The looks."""
        from headstart.tuning.looks import Looks

        return Looks(self.samples, self.k, self.seed, self.flip)

    def labels_of_looks(self, ground: Ground) -> Float[np.ndarray, "nk l"]:
        """The label of each look: its sample's, but none where a text has lost words, which may be those that the label is about."""
        from headstart.tuning.materials import unlabelled as no_labels

        found = np.repeat(self.labels, self.k, axis=0)
        if self.samples.modality == "text":
            others = np.flatnonzero(np.arange(len(found)) % self.k)
            found[others] = no_labels(len(others), task=ground.task, k=max(1, len(ground.y.labels)))
        return found

    def plain_rows(
        self, ground: Ground, student: Backbone, *, progress: Progress = silent
    ) -> tuple[np.ndarray, np.ndarray]:
        """Which samples can be read, and the student's frozen rows of them."""
        rows = join(ground.extraction.features)[ground.train]
        if self.labelled == len(self.samples):
            return np.arange(self.labelled), rows
        rest = np.arange(self.labelled, len(self.samples))
        extraction = extract(self.samples.take(rest), student, progress=progress)
        return np.concatenate([np.arange(self.labelled), rest[extraction.kept]]), np.concatenate(
            [rows, join(extraction.features)]
        )


def lesson_of(
    ground: Ground, unlabelled: str | Path | Samples | None, *, reading: ReadOptions, k: int, seed: int, flip: bool
) -> Lesson:
    """The lesson of a student.

    Args:
        ground: of the student.
        unlabelled: more samples, or None; those of the data, whatever part they are in, and copies of each other are left out.
        reading: how the data was read, and how they are read alike.
        k: looks at each sample.
        seed: decides the looks.
        flip: whether pictures may be mirrored.

    Raises:
        DataError: the unlabelled samples cannot be read, or are of another modality.
    """
    from headstart.tuning.materials import unlabelled as no_labels

    train, y = ground.samples.take(ground.train), ground.y.take(ground.fit_rows)
    labels = np.asarray(y.values, np.float64).reshape(len(train), -1)
    lesson = Lesson(_bare(train), labels, len(train), k, seed, flip)
    if unlabelled is None:
        return lesson
    more = open_samples(unlabelled, options=replace(reading, target=None, task=None, group=None, labelled=False))
    if more.modality != ground.samples.modality:
        raise DataError(f"the data holds {ground.samples.modality}, and {more.source} holds {more.modality}")
    if more.inline != ground.samples.inline:
        more, lesson = _inline(more), replace(lesson, samples=_inline(lesson.samples))
    known = {row.tobytes() for row in ground.extraction.features[0].digests}
    digested = digest_samples(more)
    fresh = []
    for place, (digest, reason) in enumerate(zip(digested.digests, digested.reasons, strict=True)):
        if reason is None and digest.tobytes() not in known:
            known.add(digest.tobytes())
            fresh.append(place)
    note = f"{len(fresh):,} unlabelled samples are taught as well" + (
        f"; {len(more) - len(fresh):,} were left out: they are in the data, come twice, or cannot be read"
        if len(fresh) < len(more)
        else ""
    )
    if not fresh:
        return replace(lesson, notes=(note,))
    added = _bare(more.take(fresh))
    table = pa.concat_tables([lesson.samples.table, added.table.cast(lesson.samples.table.schema)])
    empty = no_labels(len(fresh), task=ground.task, k=max(1, len(y.labels)))
    return replace(
        lesson,
        samples=replace(lesson.samples, table=table),
        labels=np.concatenate([labels, empty]),
        added=digested.digests[fresh].tobytes(),
        notes=(note,),
    )


def _inline(samples: Samples) -> Samples:
    """Texts as a column of texts, where they are files; a file that is no text stands as an empty one."""
    if samples.inline:
        return samples
    read, texts = content_of(samples), []
    for place in range(len(samples)):
        try:
            texts.append(text_of(read(place)))
        except (SampleError, OSError):
            texts.append("")
    return replace(samples.with_column("input", pa.array(texts, pa.string())), inline=True)


def _bare(samples: Samples) -> Samples:
    """Samples with what is read of them, and nothing else."""
    return replace(samples, table=samples.table.select(["id", "input"]))


@dataclass(frozen=True)
class TeacherOutputs:
    """The teacher's, by look.

    Attributes:
        scores: (n k, c) calibrated scores, in the order of the student's labels.
        rows: (n k, d) its rows, standardised.
        known: (n k,) 1 where the teacher could read the look, else 0.
        k: looks at each sample.
        title: the teacher's backbone.
    """

    scores: Float[np.ndarray, "nk c"]
    rows: Float[np.ndarray, "nk d"] = field(repr=False)
    known: Float[np.ndarray, "nk"]
    k: int
    title: str

    @classmethod
    def of(
        cls,
        teacher: Model,
        lesson: Lesson,
        *,
        labels: tuple[str, ...],
        place: "Place",
        most: float | None,
        progress: Progress = silent,
    ) -> "TeacherOutputs":
        """Compute them, or take them from the run's folder.

        Args:
            teacher: any model.
            lesson: what is looked at.
            labels: the student's, which the teacher knows.
            place: of the run.
            most: seconds that looks past the first may take, as the first one tells; None: as many looks as the lesson says.
            progress: stage `teach`, in looks.

        Raises:
            CacheError: they cannot be written.
        """
        known = _kept(place)
        if known is not None:
            return cls(known["scores"], known["rows"], known["known"], int(known["k"][0]), teacher.report.backbone)
        columns = [teacher.labels.index(label) for label in labels] if labels else [0]
        made = _computed(teacher, lesson, most=most, progress=progress)
        k, rows, has_row = made
        scores = teacher.head.scores(rows)[:, columns] / teacher.temperature
        spread = rows[has_row].std(axis=0)
        standard = (rows - rows[has_row].mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        found = cls(
            scores.astype(np.float32),
            standard.astype(np.float32),
            has_row.astype(np.float32),
            k,
            teacher.report.backbone,
        )
        _keep(place, found)
        return found


def _computed(
    teacher: Model, lesson: Lesson, *, most: float | None, progress: Progress
) -> tuple[int, np.ndarray, Bool[np.ndarray, "nk"]]:
    """How many looks, the teacher's rows of them, and which it could read; the first look of all samples comes first and tells the time."""
    n = len(lesson.samples)
    began = time.perf_counter()
    first = _embedded(teacher, replace(lesson, k=1), np.arange(n), progress=progress)
    took = time.perf_counter() - began
    k = lesson.k if most is None else max(1, min(lesson.k, 1 + int(most / max(took, 1e-9))))
    rows = np.zeros((n, k, first[0].shape[1]), np.float32)
    has_row = np.zeros((n, k), bool)
    rows[:, 0], has_row[:, 0] = first
    if k > 1:
        own = replace(lesson, k=k)
        others = np.setdiff1d(np.arange(n * k), np.arange(n) * k)
        more = _embedded(teacher, own, others, progress=progress)
        rows.reshape(n * k, -1)[others], has_row.reshape(-1)[others] = more
    return k, rows.reshape(n * k, -1), has_row.reshape(-1)


def _embedded(
    teacher: Model, lesson: Lesson, positions: np.ndarray, *, progress: Progress
) -> tuple[np.ndarray, np.ndarray]:
    looks = lesson.looks
    content = looks.content

    def told(stage: str, done: int, total: int) -> None:
        progress("teach" if stage == "extract" else stage, done, total)

    extraction = embed(
        teacher.backbone,
        looks.repeated.take(positions),
        content=lambda place: content(int(positions[place])),
        progress=told,
    )
    found = join(extraction.features)
    rows = np.zeros((len(positions), found.shape[1]), np.float32)
    has_row = np.zeros(len(positions), bool)
    rows[extraction.kept], has_row[extraction.kept] = found, True
    return rows, has_row


def _keep(place: "Place", outputs: TeacherOutputs) -> None:
    from safetensors.numpy import save

    named = {"scores": outputs.scores, "rows": outputs.rows, "known": outputs.known, "k": np.array([outputs.k])}
    tensors = {
        name: np.ascontiguousarray(each) for name, each in named.items()
    }  # another order is written as if it were this one
    try:
        place.folder.mkdir(parents=True, exist_ok=True)
        write_whole(place.folder / TEACHER, save(tensors, metadata={"identity": place.identity}))
    except OSError as error:
        raise CacheError(
            f"the teacher's outputs cannot be written to {place.folder}: {error.strerror or error}"
        ) from error


def _kept(place: "Place") -> dict[str, np.ndarray] | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(place.folder / TEACHER), framework="np") as file:
            if (file.metadata() or {}).get("identity") != place.identity:
                return None
            return {name: file.get_tensor(name) for name in ("scores", "rows", "known", "k")}
    except (OSError, SafetensorError):
        return None
