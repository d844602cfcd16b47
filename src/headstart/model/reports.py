"""What fitting and evaluating found: values that can be read, compared and written as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headstart.core.errors import ModelError, Skipped
from headstart.data.samples import PARTS
from headstart.evaluation.intervals import Estimate
from headstart.model import json_types as kinds
from headstart.model.precision import PrecisionChange, is_change
from headstart.model.tuning_record import TuningRecord, is_record

OUT_OF_FOLD = "train, out of fold"
TUNED = "tuned, "
"""What `head` begins with where the network was tuned together with it; the strategy follows."""


@dataclass(frozen=True)
class FitReport:
    """What a fit understood, chose and measured.

    Attributes:
        task: the task's name.
        backbone: what made the rows, as a person writes it.
        above: backbones that stand above it in the list of defaults but are not on this machine.
        engine: what ran the backbone, such as `eager` or `channels_last+openvino`; `none` where every row was stored.
        head: the chosen recipe, as a string; of a tuned model `tuned, ` and the strategy.
        n: samples used of each part, `train`, `val` and `test`.
        classes: samples of each label in `train`; empty for regression.
        extracted: distinct samples that the backbone was run on.
        cached: distinct samples whose rows were stored already.
        skipped: inputs left out, each with its reason.
        seconds: what took how long.
        evaluated_on: the part that `metrics` are of: `test`, `val`, or `train, out of fold` where there is no other.
        metrics: the figures on that part; samples that the head was not fitted on.
        out_of_fold: the figures on `train`, each sample scored by a head that had not seen it; of a tuned model those on the samples
            that tuning set aside.
        candidates: every head that was compared, with its out-of-fold loss.
        notes: how the data was understood, one sentence each.
        warnings: what a person should read before trusting the model.
        precision: what another precision would change; None where there is none to compare with, or nothing could be measured.
        findings: what the data gate found, the worst first: `kind`, `severity`, `count` and `sentence` of each.
        tuning: how the network was trained, and what it had to beat; None where it is frozen.
    """

    task: str
    backbone: str
    above: tuple[str, ...]
    engine: str
    head: str
    n: Mapping[str, int]
    classes: Mapping[str, int]
    extracted: int
    cached: int
    skipped: tuple[Skipped, ...]
    seconds: Mapping[str, float]
    evaluated_on: str
    metrics: Mapping[str, Estimate]
    out_of_fold: Mapping[str, Estimate]
    candidates: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    precision: PrecisionChange | None = None
    findings: tuple[Mapping[str, Any], ...] = ()
    tuning: TuningRecord | None = None

    @property
    def tuned(self) -> str:
        """The strategy that the network was tuned by, or empty: then `head` is a head's recipe."""
        return self.head.removeprefix(TUNED) if self.head.startswith(TUNED) else ""

    def to_json(self, model: str | None = None) -> dict[str, Any]:
        """The object that `headstart fit --json` prints (docs/json.md); `model` is the directory, where there is one."""
        return {
            "model": model,
            "task": self.task,
            "backbone": self.backbone,
            "above": list(self.above),
            "engine": self.engine,
            "precision": None if self.precision is None else self.precision.to_json(),
            "head": self.head,
            "n": dict(self.n),
            "classes": dict(self.classes),
            "extracted": self.extracted,
            "cached": self.cached,
            "skipped": skipped_json(self.skipped),
            "seconds": dict(self.seconds),
            "evaluated_on": self.evaluated_on,
            "metrics": metrics_json(self.metrics),
            "out_of_fold": metrics_json(self.out_of_fold),
            "candidates": [dict(candidate) for candidate in self.candidates],
            "notes": list(self.notes),
            "warnings": list(self.warnings),
            "findings": [dict(finding) for finding in self.findings],
            "tuning": None if self.tuning is None else self.tuning.to_json(),
        }

    @classmethod
    def from_json(cls, value: Any) -> "FitReport":
        """The report that a manifest holds. It names no skipped input, since a model may leave the machine that it was fitted on.

        Raises:
            ModelError: a key is missing or unknown, or a value has another type.
        """
        expected = set(cls.__dataclass_fields__) | {"model"}
        if not isinstance(value, dict) or set(value) != expected:
            raise ModelError(f"the manifest's fit has the keys {', '.join(sorted(expected))}; this one differs")
        wrong = kinds.wrong_keys(value, _KINDS)
        if wrong:
            raise ModelError(
                f"the manifest's fit cannot be read: {', '.join(wrong)} hold something else than a fit writes"
            )
        return cls(
            task=value["task"],
            backbone=value["backbone"],
            above=tuple(value["above"]),
            engine=value["engine"],
            head=value["head"],
            n=dict(value["n"]),
            classes=dict(value["classes"]),
            seconds=dict(value["seconds"]),
            evaluated_on=value["evaluated_on"],
            candidates=tuple(value["candidates"]),
            notes=tuple(value["notes"]),
            warnings=tuple(value["warnings"]),
            precision=None if value["precision"] is None else PrecisionChange(**value["precision"]),
            findings=tuple(value["findings"]),
            tuning=None if value["tuning"] is None else TuningRecord.from_json(value["tuning"]),
            extracted=value["extracted"],
            cached=value["cached"],
            skipped=(),
            metrics={name: Estimate(**figure) for name, figure in value["metrics"].items()},
            out_of_fold={name: Estimate(**figure) for name, figure in value["out_of_fold"].items()},
        )


def is_finding(value: Any) -> bool:
    """Whether a value is what the data gate writes of one finding."""
    if not isinstance(value, dict) or set(value) != {"kind", "severity", "count", "sentence"}:
        return False
    return kinds.is_count(value["count"]) and all(kinds.is_text(value[key]) for key in ("kind", "severity", "sentence"))


_FIGURES = kinds.map_of(kinds.record(("value", "low", "high"), kinds.is_number))
_KINDS: dict[str, kinds.Kind] = {
    "model": kinds.is_null,
    "task": kinds.is_text,
    "backbone": kinds.is_text,
    "above": kinds.list_of(kinds.is_text),
    "engine": kinds.is_text,
    "head": kinds.is_text,
    "n": kinds.record(PARTS, kinds.is_count),
    "classes": kinds.map_of(kinds.is_count),
    "extracted": kinds.is_count,
    "cached": kinds.is_count,
    "skipped": lambda value: value == [],
    "seconds": kinds.map_of(kinds.is_number),
    "evaluated_on": kinds.is_text,
    "metrics": _FIGURES,
    "out_of_fold": _FIGURES,
    "candidates": kinds.list_of(kinds.map_of(kinds.either(kinds.is_null, kinds.is_text, kinds.is_number))),
    "notes": kinds.list_of(kinds.is_text),
    "warnings": kinds.list_of(kinds.is_text),
    "findings": kinds.list_of(is_finding),
    "precision": kinds.either(kinds.is_null, is_change),
    "tuning": kinds.either(kinds.is_null, is_record),
}


@dataclass(frozen=True)
class EvaluationReport:
    """What an evaluation measured.

    Attributes:
        n: samples that the figures are of.
        part: the part of the data that was evaluated, or empty where it has none.
        metrics: the figures.
        skipped: inputs left out, each with its reason.
        left_out: samples of the data that the model was fitted on, and that the figures therefore leave out.
        in_sample: whether all samples were ones that the model was fitted on, so that the figures are no evidence.
        notes: how the data was understood, one sentence each.
        warnings: what a person should read before trusting the figures.
        seconds: what took how long.
        judged: what the model's judge is worth on these samples; None for a model that carries none.
    """

    n: int
    part: str
    metrics: Mapping[str, Estimate]
    skipped: tuple[Skipped, ...]
    left_out: int
    in_sample: bool
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    judged: Mapping[str, Estimate] | None = None

    def to_json(self) -> dict[str, Any]:
        """The object that `headstart evaluate --json` prints (docs/json.md)."""
        return {
            "n": self.n,
            "part": self.part,
            "metrics": metrics_json(self.metrics),
            "judged": None if self.judged is None else metrics_json(self.judged),
            "skipped": skipped_json(self.skipped),
            "left_out": self.left_out,
            "in_sample": self.in_sample,
            "notes": list(self.notes),
            "warnings": list(self.warnings),
            "seconds": dict(self.seconds),
        }


def metrics_json(metrics: Mapping[str, Estimate]) -> dict[str, dict[str, float]]:
    """Figures with their intervals, as programs read them."""
    return {name: estimate.to_json() for name, estimate in metrics.items()}


def skipped_json(skipped: tuple[Skipped, ...]) -> list[dict[str, str]]:
    """Skipped inputs, as programs read them."""
    return [{"input": each.input, "reason": each.reason} for each in skipped]
