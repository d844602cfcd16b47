"""How a tuned or distilled network was trained and what it had to beat: part of the model's report."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headstart.evaluation.comparison import Difference
from headstart.evaluation.intervals import Estimate
from headstart.model import json_types as kinds


@dataclass(frozen=True)
class TuningRecord:
    """The training of a network.

    Attributes:
        title: `tuned` or `distilled`.
        beaten: what it had to beat, in words.
        figure: the task's first figure, which the gate compared.
        gate: samples that the gate looked at, the figure of what had to be beaten and of the tuned model, their paired difference and its
            standard error.
        part: the evaluated part that `compared` is of, or empty.
        compared: by figure, the tuned model (a) beside what it had to beat (b).
        steps: of the training that was shipped; 0 where a head alone was.
        rate: its base rate.
        curve: (step, loss, rate) of it.
        tries: by rate, the loss that a short try came to; empty where there was no time for tries.
        share: how far from the frozen weights towards the tuned ones the shipped ones lie.
    """

    title: str
    beaten: str
    figure: str
    gate: Mapping[str, float]
    part: str
    compared: Mapping[str, Difference]
    steps: int
    rate: float
    curve: tuple[tuple[int, float, float], ...]
    tries: Mapping[str, float]
    share: float

    def to_json(self) -> dict[str, Any]:
        """The object under `tuning` in what `headstart fit --json` prints (docs/json.md)."""
        plain = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        return plain | {
            "gate": dict(self.gate),
            "compared": {name: each.to_json() for name, each in self.compared.items()},
            "curve": [list(point) for point in self.curve],
            "tries": dict(self.tries),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "TuningRecord":
        """The record that a manifest holds; `is_record` has looked at it."""
        compared = {
            name: Difference(each["a"], each["b"], Estimate(**each["difference"]), each["p"], each["better"] or "")
            for name, each in value["compared"].items()
        }
        curve = tuple((int(step), float(loss), float(rate)) for step, loss, rate in value["curve"])
        return cls(**{**value, "compared": compared, "curve": curve})


_GATE = ("n", "frozen", "tuned", "difference", "error")
_KINDS: dict[str, kinds.Kind] = {
    "title": kinds.is_text,
    "beaten": kinds.is_text,
    "figure": kinds.is_text,
    "gate": kinds.record(_GATE, kinds.is_number),
    "part": kinds.is_text,
    "compared": lambda value: isinstance(value, dict) and all(map(_is_difference, value.values())),
    "steps": kinds.is_count,
    "rate": kinds.is_number,
    "curve": lambda value: isinstance(value, list) and all(map(_is_point, value)),
    "tries": kinds.map_of(kinds.is_number),
    "share": kinds.is_number,
}


def is_record(value: Any) -> bool:
    """Whether a JSON value is what `TuningRecord.to_json` writes."""
    return isinstance(value, dict) and set(value) == set(_KINDS) and not kinds.wrong_keys(value, _KINDS)


def _is_point(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and kinds.is_count(value[0])
        and all(kinds.is_number(each) for each in value[1:])
    )


def _is_difference(value: Any) -> bool:
    if not isinstance(value, dict) or set(value) != {"a", "b", "difference", "p", "better"}:
        return False
    interval = kinds.record(("value", "low", "high"), kinds.is_number)
    numbers = all(kinds.is_number(value[key]) for key in ("a", "b", "p"))
    return numbers and interval(value["difference"]) and value["better"] in {None, "a", "b"}
