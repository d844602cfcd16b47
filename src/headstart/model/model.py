"""`Model`: backbone, head, labels, preparation, and what is needed to judge a prediction."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from jaxtyping import Float, Int

from headstart.backbones.backbone import Backbone
from headstart.backbones.runtimes import INT8, INT8_BFLOAT16
from headstart.core.errors import DataError, ModelError, UsageError, suggest
from headstart.core.features import Features
from headstart.core.progress import Progress, silent
from headstart.data.reading import ReadOptions
from headstart.data.samples import Samples
from headstart.evaluation.decision import shift_prior
from headstart.evaluation.judgement import NOTHING, Judgement
from headstart.features.choosing import AUTO, choose
from headstart.features.engines import ENGINES
from headstart.features.extraction import Extraction, embed, extract
from headstart.heads.fitted import Head
from headstart.model.deployment import AT_OWN_SHARES
from headstart.model.examples import Examples
from headstart.model.items import Items, to_evaluate, to_predict
from headstart.model.judge import Bond, Judge, Judging, Verdict, judged
from headstart.model.precision import run_at
from headstart.model.reports import EvaluationReport, FitReport
from headstart.model.rule import Rule
from headstart.model.saving import save
from headstart.model.split_record import SplitRecord
from headstart.tasks import TASKS
from headstart.tasks.task import Decision


@dataclass(frozen=True)
class Model:
    """A fitted model. It is a directory: `save` writes it, `headstart.load` reads it.

    Attributes:
        backbone: what makes the rows.
        head: what scores them.
        labels: the k label names, in the order of the head's scores; empty for regression.
        temperature: what scores are divided by before the link.
        prior: (k,) share of each label in the training rows; None for regression.
        reading: how the training data was read, so that other data is read alike.
        split: which samples it was fitted and evaluated on, by content digest.
        report: what the fit understood, chose and measured.
        fitted_precision: the precision of the rows that the head was fitted on. `backbone` may run at another one.
        judge: what judges its predictions; None for a model that carries none.
        deployment_prior: (k,) share of each label where the model is used, under which its probabilities are; None: the training shares.
        examples: small copies of the training items whose rows the judge carries; None where it was not asked to have them.
        rule: how a label is decided from the probabilities; other tasks than `single_label` have no use for it.
    """

    backbone: Backbone
    head: Head
    labels: tuple[str, ...]
    temperature: float
    prior: tuple[float, ...] | None
    reading: ReadOptions
    split: SplitRecord
    report: FitReport
    fitted_precision: str
    judge: Judge | None = None
    rule: Rule = field(default_factory=Rule)
    deployment_prior: tuple[float, ...] | None = None
    examples: Examples | None = None

    @property
    def task(self) -> str:
        """The task's name."""
        return self.report.task

    @property
    def modality(self) -> str:
        """`image`, `text` or `audio`."""
        return self.backbone.specs[0].modality

    @property
    def precision(self) -> str:
        """The precision that it runs at."""
        return self.backbone.specs[0].precision

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should read before trusting its answers here: that it runs at another precision than it was fitted at."""
        if self.precision in {self.fitted_precision, INT8, INT8_BFLOAT16}:  # compression measures what 8 bits change
            return ()
        change = self.report.precision
        measured = change is not None and change.other == self.precision
        what = change.sentence if change is not None and measured else "what that changes was not measured"
        return (f"this model was fitted at {self.fitted_precision} and runs at {self.precision}: {what}",)

    def at(self, precision: str) -> "Model":
        """The same model run at another precision; `warnings` then says what that changes. Saved, it is the model that was fitted.

        Raises:
            UsageError: there is no such precision, or the backbone has its own only.
        """
        return replace(self, backbone=run_at(self.backbone, precision))

    def probabilities(self, features: Features | tuple[Features, ...]) -> Float[np.ndarray, "n k"]:
        """Calibrated probabilities of rows that this model's backbone made; values (n, 1) for regression.

        Raises:
            DataError: the rows come from another backbone, layer, precision or preparation.
        """
        several = features if isinstance(features, tuple) else (features,)
        expected = [spec.fingerprint for spec in self.backbone.specs]
        if [each.fingerprint for each in several] != expected:
            got = ", ".join(f"{each.spec.title} in {each.spec.precision}" for each in several)
            raise DataError(
                f"this model scores rows of {self.report.backbone} in {self.precision}, and got rows of {got} made another way:"
                " extract them with this model's own backbone"
            )
        return self.predicted(join(several))

    def predicted(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        """Calibrated probabilities of rows that are known to be this model's, under its deployment prior where it has one."""
        found = TASKS.get(self.task).predict(self.head.scores(x), self.temperature)
        if self.prior is None or self.deployment_prior is None:
            return found
        return shift_prior(found, prior=np.array(self.prior), deployed=np.array(self.deployment_prior))

    def decisions(self, predicted: Float[np.ndarray, "n k"]) -> Int[np.ndarray, "n"] | None:
        """The class indices that the model's rule answers with; None where the task decides otherwise, or nothing.

        Args:
            predicted: as `probabilities` returns it.
        """
        return self.rule.choose(predicted) if self.head.link == "softmax" else None

    def prediction(self, predicted: Float[np.ndarray, "k"], *, judgement: Judgement = NOTHING) -> Mapping[str, Any]:
        """The JSON of one prediction, as the task states it, with the label that the model's rule answers."""
        chosen = self.decisions(predicted[None])
        decision = None if chosen is None else Decision(int(chosen[0]), self.rule.name)
        return TASKS.get(self.task).prediction(predicted, self.labels, judgement=judgement, decision=decision)

    def answers(self, x: Float[np.ndarray, "n d"], *, judging: Judging = Judging()) -> list[Mapping[str, Any]]:
        """The JSON of the predictions of rows that are known to be this model's, each with what the judge says of it.

        Args:
            x: rows that this model's backbone made.
            judging: when to abstain, and how sets are made.

        Raises:
            ModelError: the judge was fitted for another head, temperature or backbone.
            UsageError: there is no such occasion to abstain.
        """
        predicted = self.predicted(x)
        verdict = self.verdict(x, predicted, judging=judging)
        said = [NOTHING if verdict is None else verdict.judgement(row) for row in range(len(x))]
        return [self.prediction(one, judgement=each) for one, each in zip(predicted, said, strict=True)]

    @cached_property
    def bond(self) -> Bond:
        """What a judge of this model has to have been fitted for; digests of the head's tensors, which are taken once."""
        specs = self.backbone.specs
        return Bond.of(self.head, temperature=self.temperature, specs=specs, precision=self.fitted_precision)

    def check_judge(self) -> None:
        """Refuse a judge that was fitted for another head, temperature or backbone than this model has.

        Raises:
            ModelError: its word would be worth nothing.
        """
        if self.judge is not None and not self.judge.fits(self.bond):
            raise ModelError(
                "the model's judge was fitted for another head, temperature or backbone than it has now:"
                " change these with Model.with_head, or fit the model again"
            )

    def verdict(
        self, x: Float[np.ndarray, "n d"], predicted: Float[np.ndarray, "n k"], *, judging: Judging = Judging()
    ) -> Verdict | None:
        """What the model's judge says of its predictions; None for a model that carries none.

        Args:
            x: rows that this model's backbone made.
            predicted: what the model answers for them, as `probabilities` returns it.
            judging: when to abstain, and how sets are made.

        Raises:
            ModelError: the judge was fitted for another head, temperature or backbone.
            UsageError: there is no such occasion to abstain.
        """
        judging.check()
        self.check_judge()
        if self.judge is None:
            return None
        chosen = self.decisions(predicted)
        return self.judge.verdict(x, predicted, labels=self.labels, judging=judging, chosen=chosen)

    def predict(
        self, items: Items, *, judging: Judging = Judging(), engine: str = AUTO, progress: Progress = silent
    ) -> list[dict[str, Any]]:
        """One prediction for each item, in order, as docs/json.md states it; `{"input", "error"}` for one that cannot be read.

        Nothing is looked up in the feature store and nothing is kept there.

        Args:
            items: files, a folder or a table, labelled or not, or `Samples`. For a text model a `str` is the text itself and a `Path`
                is a file. What the reader of a folder or table left out comes last.
            judging: when to give no answer but the reason, and how sets are made.
            engine: what runs the backbone, such as `openvino`; `auto` chooses.
            progress: stage `extract`, in samples.

        Raises:
            DataError: the items are of another modality, or a folder or table cannot be used.
            UsageError: there is no such engine, or it cannot run the backbone here; or the model is to abstain and cannot judge.
        """
        check_engine(self.backbone, engine)
        self._check_judging(judging)
        samples = to_predict(items, modality=self.modality, reading=self.reading)
        self._check_modality(samples)
        extraction = embed(self.backbone, samples, engine=engine, progress=progress)
        answers: list[dict[str, Any]] = [{} for _ in range(len(samples))]
        ids = samples.ids
        answered = self.answers(join(extraction.features), judging=judging)
        for answer, position in zip(answered, extraction.kept, strict=True):
            answers[position] = {"input": ids[position], **answer, "truncated": int(position) in extraction.cut}
        reasons = {each.input: each.reason for each in extraction.skipped}
        answers = [answer or {"input": ids[i], "error": reasons[ids[i]]} for i, answer in enumerate(answers)]
        return answers + [{"input": each.input, "error": each.reason} for each in samples.skipped]

    def evaluate(
        self,
        data: Items,
        *,
        part: str | None = None,
        target: str | None = None,
        engine: str = AUTO,
        progress: Progress = silent,
    ) -> EvaluationReport:
        """Metrics, with their intervals, on labelled samples that the model was not fitted on.

        Samples whose content the head was fitted on are left out, and counted, where any others remain; samples of the split that
        the fit itself evaluated stay in, so that the figures are the fit's.

        Args:
            data: labelled data, laid out like the training data or one part of it, or `Samples`.
            part: `train`, `val` or `test`; None: `test` where there is one, else `val`, else everything.
            target: the column with the labels, where it is called otherwise than in the training data.
            engine: what runs the backbone, such as `openvino`; `auto` chooses.
            progress: stages `read` and `extract`, in samples.

        Raises:
            DataError: the samples have no target, are of another modality, or have labels that the model does not know.
            UsageError: there is no such engine, or it cannot run the backbone here.
        """
        began = time.perf_counter()
        check_engine(self.backbone, engine)
        samples, chosen_part = self.labelled(data, part=part, target=target)
        extraction = extract(samples, self.backbone, engine=engine, progress=progress)
        kept = extraction.kept
        fitted_on = self.split.fitted_on(extraction.features[0].digests)
        in_sample = bool(len(kept)) and bool(fitted_on.all())
        chosen = np.arange(len(kept)) if in_sample else np.flatnonzero(~fitted_on)
        if not len(chosen):
            raise DataError(
                f"{samples.source} has no sample that could be read; the reasons: {first_reasons(extraction)}"
            )
        task = TASKS.get(self.task)
        targets = task.encode(samples.take(kept[chosen]).table.column("target"), self.labels or None)
        rows = join(extraction.features)[chosen]
        predicted = self.predicted(rows)
        verdict = self.verdict(rows, predicted, judging=Judging(abstain="any"))
        answered = self.decisions(predicted)
        shares = () if self.deployment_prior is None else (AT_OWN_SHARES,)
        return EvaluationReport(
            n=len(chosen),
            part=chosen_part,
            metrics=task.metrics(targets, predicted, chosen=answered, classes=self.report.classes),
            judged=None
            if verdict is None
            else judged(verdict, targets.values, outcomes=task.outcomes(targets, predicted, chosen=answered)),
            skipped=samples.skipped + extraction.skipped,
            left_out=len(kept) - len(chosen),
            in_sample=in_sample,
            notes=samples.notes + extraction.notes,
            warnings=self.warnings + shares + truncation(extraction),
            seconds={**extraction.seconds, "total": time.perf_counter() - began},
        )

    def labelled(self, data: Items, *, part: str | None, target: str | None) -> tuple[Samples, str]:
        """The labelled samples of a part, read as the training data was, and the part's name; the arguments are those of `evaluate`.

        Raises:
            DataError: the samples have no target, or are of another modality.
        """
        samples = to_evaluate(data, modality=self.modality, reading=self.reading, target=target)
        self._check_modality(samples)
        chosen_part = part or samples.evaluated_part
        samples = samples.part(chosen_part) if chosen_part else samples
        if not samples.has_target:
            raise DataError(
                f"{samples.source} has no labels to compare with; use predict, or name the column with --target"
            )
        valid = samples.table.filter(pc.is_valid(samples.table.column("target")))
        return replace(samples, table=valid), chosen_part

    def save(self, path: str | Path, *, by_reference: bool = False) -> Path:
        """Write the model directory; a model that is already there is replaced, anything else is refused.

        A model that runs at another precision than it was fitted at is saved as it was fitted.

        Args:
            path: where.
            by_reference: leave the backbone's weights out and store their name and digest.

        Raises:
            ModelError: something that is no headstart model is at `path`.
        """
        return save(self, Path(path), by_reference=by_reference)

    def with_head(self, head: Head, temperature: float, *, judge: Judge | None = None) -> "Model":
        """The same model with another head, the temperature that was fitted to it, and a judge.

        Without a new judge, the old one keeps what it knows of rows alone; its sets or intervals belong to the old head and go.
        """
        kept = None if self.judge is None or self.judge.outliers is None else self.judge.without_sets()
        examples = self.examples if judge is None else None  # another judge carries other rows
        changed = replace(self, head=head, temperature=temperature, judge=judge or kept, examples=examples)
        changed.check_judge()
        return changed

    def _check_judging(self, judging: Judging) -> None:
        judging.check()
        if judging.abstain and self.judge is None:
            raise UsageError(
                "this model carries no judge and cannot tell when to abstain: fit it again with this version of headstart"
            )

    def _check_modality(self, samples: Samples) -> None:
        if samples.modality != self.modality:
            raise DataError(f"this model takes {self.modality} input, and {samples.source} holds {samples.modality}")


def check_engine(backbone: Backbone, engine: str) -> None:
    """Refuse an engine that does not exist or cannot run the backbone here, before any sample is read.

    Raises:
        UsageError: one sentence that says which.
    """
    check_engine_name(engine)
    if engine != AUTO:
        choose(backbone, engine)


def check_engine_name(engine: str) -> None:
    """Refuse the name of an engine that does not exist; imports none.

    Raises:
        UsageError: there is no such engine; names the nearest one.
    """
    known = (AUTO, *ENGINES.names())
    if engine not in known:
        raise UsageError(f"there is no engine called {engine!r}.{suggest(engine, known)}")


def join(features: tuple[Features, ...]) -> Float[np.ndarray, "n d"]:
    """Rows of several layers side by side; the rows themselves where there is one."""
    return features[0].values if len(features) == 1 else np.concatenate([each.values for each in features], axis=1)


def truncation(extraction: Extraction) -> tuple[str, ...]:
    """The sentence for texts that were cut at the backbone's limit, where there are any."""
    count = int(extraction.facts.get("truncated", 0))
    if not count:
        return ()
    return (
        f"{count:,} texts are longer than the backbone reads and were cut at its limit; a fit with --long windows reads all of them",
    )


def first_reasons(extraction: Extraction) -> str:
    """The first three skipped inputs with their reasons, for the sentence of an error."""
    return "; ".join(f"{each.input}: {each.reason}" for each in extraction.skipped[:3]) or "it is empty"
