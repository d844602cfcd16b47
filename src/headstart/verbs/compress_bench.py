"""What candidates of a compression are measured on, how one is made, and how the one that is kept is written."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from headstart.backbones.backbone import Backbone
from headstart.backbones.precision import PRECISIONS
from headstart.compression.contract import Contract, Measured, broken
from headstart.compression.matching import matched
from headstart.compression.method import Candidate
from headstart.core.errors import DataError, ExportError
from headstart.core.files import whole_directory
from headstart.core.progress import Progress
from headstart.data.samples import Samples
from headstart.evaluation.comparison import HIGHER_IS_BETTER
from headstart.exporting.parity import Parity, prove
from headstart.features.contents import content_of
from headstart.features.extraction import embed
from headstart.features.hashing import digest_samples
from headstart.model.card import COMPRESSED
from headstart.model.items import to_evaluate
from headstart.model.model import Model, join
from headstart.model.reports import OUT_OF_FOLD, FitReport
from headstart.model.saving import refuse_if_not_ours, write
from headstart.tasks import TASKS
from headstart.tasks.task import Targets
from headstart.verbs.compress_table import Unseen, for_the_card

# Training samples that quantisation is calibrated on, and that the temperature is matched on.
_CALIBRATION = 300
_FEWEST = 20


@dataclass(frozen=True)
class Made:
    """A candidate that was made.

    Attributes:
        candidate: what it is.
        model: the compressed model; its network lies where it was written first.
        outcomes: (n,) what each held-out sample adds to the task's first figure; higher is better.
        coverage: the share of truths in its sets; None without any.
        size: bytes of the graph's files.
    """

    candidate: Candidate
    model: Model
    outcomes: Float[np.ndarray, "n"]
    coverage: float | None
    size: int


@dataclass(frozen=True)
class Shipped:
    """What was written.

    Attributes:
        parity: its program beside it, over the samples that chose.
        unseen: its figures on samples that did not; None where all did.
    """

    parity: Parity
    unseen: Unseen | None


class ContractBroken(ExportError):
    """What was chosen breaks the contract on samples that chose nothing. No other is tried in its place: those samples would choose it."""


@dataclass(frozen=True)
class Bench:
    """What every candidate is measured on.

    Attributes:
        model: the model itself.
        held: n samples that it was not fitted on: they choose among the candidates.
        part: the part of the data that they are; empty where it has none.
        unseen: samples of `test` that it was not fitted on either, where those of `val` choose; else None.
        figure: the task's first figure that is a mean over samples.
        outcomes: (n,) what each adds to it under the model itself; higher is better.
        trained: all samples that it was fitted on.
        calibration: some of them.
        known: its calibrated probabilities of these, under the training shares.
    """

    model: Model
    held: Samples
    part: str
    unseen: Samples | None
    figure: str
    outcomes: Float[np.ndarray, "n"]
    trained: Samples
    calibration: Samples
    known: Float[np.ndarray, "m k"]

    @property
    def scale(self) -> float | None:
        """The model's own figure, of which a drop is a part; None for an accuracy, whose drops are points."""
        return None if self.figure in HIGHER_IS_BETTER else abs(float(self.outcomes.mean()))

    def _scale_of(self, unseen: Unseen) -> float | None:
        return None if self.scale is None else abs(unseen.before)

    def views(self, backbone: Backbone) -> list[np.ndarray]:
        """Views of the samples that calibrate, as a backbone's preparation makes them."""
        read, preparation = content_of(self.calibration), backbone.preparation
        return [view for place in range(len(self.calibration)) for view in preparation.prepare(read(place)).views]

    def make(self, candidate: Candidate, folder: Path, *, refit: Callable[[Backbone, str], Model]) -> Made:
        """Write and open a candidate, fit its head or its temperature to its rows, and let it answer what chooses.

        Args:
            candidate: what it is.
            folder: where it is written.
            refit: fits a head anew on a backbone's rows.
        """
        backbone, own = candidate.write(candidate.model, folder), candidate.model
        if candidate.anew or (own is self.model and not own.report.tuned):
            own = self._refitted(refit(backbone, own.report.head))
        elif own is self.model or backbone.specs[0].precision != own.precision:
            own = self._tempered(own, backbone)
        own = _bound(replace(own, backbone=backbone))
        rows = join(embed(backbone, self.held).features)
        targets, predicted = _targets(own, self.held), own.predicted(rows)
        _, outcomes = _outcomes(own, targets, predicted)
        own = replace(own, report=self._report(own, targets, predicted, part=self.part))
        said, coverage = own.verdict(rows, predicted), None
        if said is not None and said.sets is not None:
            coverage = float(said.sets[np.arange(len(rows)), targets.values].mean())
        size = sum((folder / name).stat().st_size for name in backbone.graph.files)
        return Made(candidate, own, outcomes, coverage, size)

    def _tempered(self, own: Model, backbone: Backbone) -> Model:
        """With another temperature. The head stays: the network was trained on the training samples, whose rows look easier than they are."""
        known = self.known
        if own is not self.model:  # a student, which is to say what it said itself
            scores = own.head.scores(join(embed(own.backbone, self.calibration).features))
            known = TASKS.get(own.task).predict(scores, own.temperature)
        scores = own.head.scores(join(embed(backbone, self.calibration).features))
        temperature = matched(scores, known, temperature=own.temperature, link=own.head.link)
        return replace(own, temperature=temperature)

    def _refitted(self, again: Model) -> Model:
        """With the same kind of head, fitted on the compressed network's rows: what rounding did to them, it takes into account."""
        head, out_of_fold = again.report.head, again.report.out_of_fold
        report = replace(self.model.report, head=head, out_of_fold=out_of_fold, precision=None)
        taken = {name: getattr(again, name) for name in ("head", "temperature", "rule", "judge", "examples")}
        if again.fitted_precision in PRECISIONS:  # 8 bits are no precision of rows that a model could be fitted at
            taken["fitted_precision"] = again.fitted_precision
        return replace(self.model, report=report, **taken)

    def ship(self, made: Made, row: Measured, *, contract: Contract, out: Path, progress: Progress) -> Shipped:
        """Write what was chosen, with its own temperature in the graph, and prove the program that goes with it.

        Args:
            made: what was chosen.
            row: of the table.
            contract: what was asked for.
            out: where.
            progress: stages `extract` and `prove`, in samples.

        Raises:
            ContractBroken: on samples that chose nothing it loses more than it may.
            ExportError: its program answers otherwise. ModelError: something that is no model was put at `out`. OSError: it cannot be written.
        """
        own, unseen = made.model, None
        if self.unseen is not None:
            own, unseen = self._measured(made.model, self.unseen)
            if why := broken(unseen.drop, unseen.error, contract=contract, scale=self._scale_of(unseen)):
                where = f"on {unseen.n:,} samples of {unseen.part}, none of which chose it,"
                raise ContractBroken(f"{where} {why}")
        said = tuple(f"{COMPRESSED}{each}" for each in for_the_card(self, row, unseen=unseen, contract=contract))
        own = replace(own, report=replace(own.report, notes=(*own.report.notes, *said)))
        with whole_directory(out, refuse_if_not_ours) as folder:
            # Written again, as head, temperature and figures were known only when the first graph had made its rows.
            source = replace(own, backbone=made.candidate.model.backbone)
            final = _bound(replace(own, backbone=made.candidate.write(source, folder)))
            write(final, folder)
            parity = prove(folder, final, samples=self.held, part=self.part, progress=progress)
            parity.check()
            if broken(row.drop + parity.drop, row.error, contract=contract, scale=self.scale):
                raise ExportError(
                    f"its program's {parity.figure} of {parity.exported:.4f} is less than the contract allows; it was removed"
                )
        return Shipped(parity, unseen)

    def _report(self, own: Model, targets: Targets, predicted: np.ndarray, *, part: str) -> FitReport:
        """The report with the compressed model's own figures on a part of the data; where that has none they stay those of the model's samples."""
        known = part or self.model.report.evaluated_on
        if known == OUT_OF_FOLD:
            return replace(own.report, metrics=own.report.out_of_fold, evaluated_on=known)
        chosen, classes = own.decisions(predicted), own.report.classes
        found = TASKS.get(own.task).metrics(targets, predicted, chosen=chosen, classes=classes)
        return replace(own.report, metrics=found, evaluated_on=known)

    def _measured(self, own: Model, samples: Samples) -> tuple[Model, Unseen]:
        """What was chosen with its figures on samples that chose nothing, beside the model itself.

        Raises:
            ContractBroken: it cannot answer one that the model answers.
        """
        part = str(samples.table.column("split")[0])
        ours = embed(self.model.backbone, samples)
        samples = samples.take(ours.kept)
        targets, before = _targets(own, samples), self.model.predicted(join(ours.features))
        theirs = embed(own.backbone, samples)
        if len(theirs.kept) < len(samples):
            raise ContractBroken(f"it gives no row for {len(samples) - len(theirs.kept)} samples of {part}")
        after = own.predicted(join(theirs.features))
        outcomes = [_outcomes(each, targets, found)[1] for each, found in ((self.model, before), (own, after))]
        report = self._report(own, targets, after, part=part)
        return replace(own, report=report), Unseen.of(*outcomes, part=part, figure=self.figure)


def _bound(model: Model) -> Model:
    """The model, its judge taken over: it was fitted for probabilities that the temperature was matched to."""
    return model if model.judge is None else replace(model, judge=replace(model.judge, bond=model.bond))


def open_bench(model: Model, data: Any, *, progress: Progress) -> Bench:
    """What chooses, what is measured in the end and what calibrates: by content, those that the model was not fitted on, and those that it was.

    Raises:
        DataError: there are too few of either.
    """
    whole = to_evaluate(data, modality=model.modality, reading=model.reading, target=None, grouped=True)
    held, part, unseen = _held(model, whole)
    met = np.flatnonzero(model.split.fitted_on(digest_samples(whole).digests))
    if len(held) < _FEWEST or len(met) < _FEWEST:
        raise DataError(
            f"{whole.source} holds {len(held)} samples that the model was not fitted on and {len(met)} that it was, and compression takes at"
            f" least {_FEWEST} of each: the first to see what is lost, the others to calibrate"
        )
    trained = whole.take(met).with_column("split", pa.array(["train"] * len(met), pa.string()))
    calibration = trained.take(np.linspace(0, len(met) - 1, min(_CALIBRATION, len(met))).astype(int))
    rows = embed(model.backbone, held, progress=progress)
    held = held.take(rows.kept)
    known = embed(model.backbone, calibration, progress=progress)
    calibration = calibration.take(known.kept)
    task = TASKS.get(model.task)
    probabilities = task.predict(model.head.scores(join(known.features)), model.temperature)
    name, outcomes = _outcomes(model, _targets(model, held), model.predicted(join(rows.features)))
    return Bench(model, held, part, unseen, name, outcomes, trained, calibration, probabilities)


def _held(model: Model, whole: Samples) -> tuple[Samples, str, Samples | None]:
    """The samples that choose, their part, and those that what is kept is measured on in the end.

    `val` chooses where there is a `test` part as well, and enough of both; else one part does both.
    """
    held, part = _unmet(model, whole, part=None)
    if part != "test" or "val" not in whole.parts:
        return held, part, None
    choosing, _ = _unmet(model, whole, part="val")
    known = {each.tobytes() for each in digest_samples(choosing).digests}
    others = [each.tobytes() not in known for each in digest_samples(held).digests]
    unseen = held.take(np.flatnonzero(others))
    if len(choosing) < _FEWEST or len(unseen) < _FEWEST:
        return held, part, None
    return choosing, "val", unseen


def _unmet(model: Model, whole: Samples, *, part: str | None) -> tuple[Samples, str]:
    """The samples of a part that the model was not fitted on, and its name."""
    found, name = model.labelled(whole, part=part, target=None)
    return found.take(np.flatnonzero(~model.split.fitted_on(digest_samples(found).digests))), name


def _targets(model: Model, samples: Samples) -> Targets:
    return TASKS.get(model.task).encode(samples.table.column("target"), model.labels or None)


def _outcomes(model: Model, targets: Targets, predicted: np.ndarray) -> tuple[str, Float[np.ndarray, "n"]]:
    """The task's first figure that is a mean over samples, and what each adds to it; higher is better."""
    return TASKS.get(model.task).figure(targets, predicted, chosen=model.decisions(predicted))
