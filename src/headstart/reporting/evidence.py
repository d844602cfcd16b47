"""Evidence: labelled samples with predictions of heads that had not seen them, wherever the data allows that."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from headstart.core.errors import DataError, FitError, Skipped
from headstart.core.progress import Progress, silent
from headstart.data.opening import open_samples
from headstart.data.samples import Samples
from headstart.data.splits import folds
from headstart.evaluation.metrics import THRESHOLD
from headstart.features.choosing import AUTO
from headstart.features.extraction import Extraction, extract
from headstart.heads.selection import parse, select
from headstart.model.items import Items
from headstart.model.model import Model, check_engine, first_reasons, join, truncation
from headstart.tasks import TASKS
from headstart.tasks.task import Targets
from headstart.verbs.fit_gate import together_again

HELD, OUT_OF_FOLD, IN_SAMPLE = "held", "out of fold", "in sample"


@dataclass(frozen=True)
class Choice:
    """Which data the report is about.

    Attributes:
        part: `train`, `val` or `test`; None: `test` where there is one, else `val`, else everything.
        target: the column with the labels, where it is called otherwise than in the training data.
        engine: what runs the backbone; `auto` chooses.
        seed: decides the folds where out-of-fold predictions have to be made, and what is drawn at random.
    """

    part: str | None = None
    target: str | None = None
    engine: str = AUTO
    seed: int = 0


@dataclass(frozen=True)
class Evidence:
    """n labelled samples, their rows, and what was predicted for them.

    Attributes:
        kind: `held` (the model was not fitted on them), `out of fold` (each was scored by a head that had not seen it) or
            `in sample` (the model was fitted on all of them, and nothing better could be made).
        samples: the n samples.
        part: the part of the data that they are, or empty.
        x: (n, d) their rows.
        targets: what they are.
        scores: (n, k) before temperature and link.
        predicted: (n, k) calibrated probabilities, or (n, 1) values.
        plain: (n, k) the probabilities before the temperature.
        chosen: (n,) the predicted class, (n, k) the predicted labels, or (n,) the predicted value.
        copies: samples whose very content the head was fitted on, though they stand in the evaluated part.
        left_out: samples that are left out because the model was fitted on them.
        skipped: inputs left out, each with its reason.
        notes: how the data was understood.
        warnings: what a person should read before trusting the figures.
        digest: of the contents of the n samples, in any order.
        seconds: what took how long.
    """

    kind: str
    samples: Samples
    part: str
    x: Float[np.ndarray, "n d"]
    targets: Targets
    scores: Float[np.ndarray, "n k"]
    predicted: Float[np.ndarray, "n k"]
    plain: Float[np.ndarray, "n k"]
    chosen: np.ndarray
    copies: int
    left_out: int
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    digest: str
    seconds: Mapping[str, float]

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def wrong(self) -> Bool[np.ndarray, "n"]:
        """Which predictions differ from the label (for several labels: from any of them); all False for values."""
        if self.targets.task == "single_label":
            return np.asarray(self.chosen != self.targets.values)
        if self.targets.task == "multi_label":
            return np.asarray((self.chosen != self.targets.values).any(axis=1))
        return np.zeros(len(self), dtype=bool)


def collect(model: Model, data: Items, *, choice: Choice = Choice(), progress: Progress = silent) -> Evidence:
    """The evidence that the data holds on a model, chosen as `Model.evaluate` chooses it.

    Where the samples are all that the model was fitted on, its recipe is fitted again without each of five folds, and scores the fold
    left out. Where they are some of them, nothing better can be made than the model's own scores, and `kind` says so.

    Raises:
        DataError: the data has no labels, is of another modality, or holds no sample that can be read.
    """
    began = time.perf_counter()
    check_engine(model.backbone, choice.engine)
    samples, part = model.labelled(data, part=choice.part, target=choice.target)
    extraction = extract(samples, model.backbone, engine=choice.engine, progress=progress)
    if not len(extraction.kept):
        raise DataError(f"{samples.source} has no sample that could be read; the reasons: {first_reasons(extraction)}")
    digests = extraction.features[0].digests
    known = model.split.fitted_on(digests)
    rows = np.arange(len(known)) if known.all() else np.flatnonzero(~known)
    used = samples.take(extraction.kept[rows])
    x = join(extraction.features)[rows]
    task = TASKS.get(model.task)
    targets = task.encode(used.table.column("target"), model.labels or None)
    kind, scores = HELD, model.head.scores(x)
    if known.all():
        kind, scores = _out_of_fold(model, data, used, x=x, targets=targets, digests=digests[rows], choice=choice)
    predicted = task.predict(scores, model.temperature)
    return Evidence(
        kind=kind,
        samples=used,
        part=part,
        x=x,
        targets=targets,
        scores=scores,
        predicted=predicted,
        plain=task.predict(scores, 1.0),
        chosen=decide(model, predicted),
        copies=int(model.split.in_train(digests[rows]).sum()) if kind == HELD else 0,
        left_out=len(known) - len(rows),
        skipped=samples.skipped + extraction.skipped,
        notes=samples.notes + extraction.notes,
        warnings=model.warnings + truncation(extraction),
        digest=_digest(extraction, rows),
        seconds={**extraction.seconds, "evidence": time.perf_counter() - began},
    )


def decide(model: Model, predicted: Float[np.ndarray, "n k"]) -> np.ndarray:
    """What the model answers: its decision rule's choice, the most probable label, the labels of one half and more, or the value."""
    if model.task == "regression":
        return np.asarray(predicted[:, 0])
    if model.task == "multi_label":
        return np.asarray(predicted >= THRESHOLD)
    return model.rule.choose(predicted)


def _out_of_fold(
    model: Model,
    data: Items,
    used: Samples,
    *,
    x: np.ndarray,
    targets: Targets,
    digests: np.ndarray,
    choice: Choice,
) -> tuple[str, Float[np.ndarray, "n k"]]:
    """Scores of heads of the model's own recipe, each fitted without the fold that it scores.

    Where a part of the training samples is missing, folds cannot be made, or the network itself was trained on them, the scores are the
    model's own.
    """
    if model.report.tuned or len(np.unique(digests, axis=0)) < int((model.split.parts & 1).sum()):
        return IN_SAMPLE, model.head.scores(x)
    given = _groups(model, data, used)
    groups = together_again(used, x, digests=digests, groups=given, seed=choice.seed)
    try:
        fold = folds(targets.values, task=targets.task, groups=groups, seed=choice.seed)
        selection = select(x, targets, fold=fold, recipe=parse(model.report.head), groups=groups, seed=choice.seed)
    except FitError:
        return IN_SAMPLE, model.head.scores(x)
    return OUT_OF_FOLD, selection.oof_scores


def _groups(model: Model, data: Items, used: Samples) -> np.ndarray | None:
    """The groups of the samples, read as the fit read them: `Model.labelled` does not need them and leaves them out."""
    if model.reading.group is None or isinstance(data, Samples):
        return used.groups
    read = open_samples(data, options=replace(model.reading, modality=model.modality))
    found = read.groups
    if found is None:
        return None
    named: dict[str, object] = dict(zip(read.ids, found.tolist(), strict=True))
    return np.asarray([named.get(name) for name in used.ids], dtype=object)


def _digest(extraction: Extraction, rows: Int[np.ndarray, "n"]) -> str:
    """32 hexadecimal digits that stand for the contents of the samples, whatever their order."""
    parts = sorted(digest.tobytes() for digest in extraction.features[0].digests[rows])
    return hashlib.blake2b(b"".join(parts), digest_size=16).hexdigest()
