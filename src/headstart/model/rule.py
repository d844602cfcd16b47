"""The decision rule: which label a model answers, given its probabilities. It never alters a probability.

The Bayes rule of accuracy is the most probable label. For other aims the log-probabilities get an offset a label (post-hoc logit
adjustment, Menon et al., 2021), or the answer of the least expected cost is given. NumPy alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from headstart.core.errors import ModelError
from headstart.evaluation.decision import choose_by_costs, choose_by_offsets
from headstart.model import json_types as kinds

MOST_PROBABLE = "most probable"
"""The rule of a model without a target metric."""

_KEYS = ("name", "offsets", "costs")


@dataclass(frozen=True)
class Rule:
    """How a model of one label decides.

    Attributes:
        name: `most probable`, or the aim that it was fitted for, such as `balanced`.
        offsets: k numbers added to the log-probabilities before the largest is taken; None without.
        costs: k rows of k, what answering column j costs where the truth is row i; None without.
    """

    name: str = MOST_PROBABLE
    offsets: tuple[float, ...] | None = None
    costs: tuple[tuple[float, ...], ...] | None = None

    def choose(self, probabilities: Float[np.ndarray, "n k"]) -> Int[np.ndarray, "n"]:
        """The class index that each row is answered with; ties go to the first."""
        if self.costs is not None:
            return choose_by_costs(probabilities, np.array(self.costs))
        if self.offsets is not None:
            return choose_by_offsets(probabilities, np.array(self.offsets))
        return np.asarray(probabilities.argmax(axis=1))

    def to_json(self) -> dict[str, Any]:
        """The object under `rule` in the manifest (docs/format.md)."""
        return {
            "name": self.name,
            "offsets": None if self.offsets is None else list(self.offsets),
            "costs": None if self.costs is None else [list(row) for row in self.costs],
        }

    @classmethod
    def from_json(cls, value: Any, *, labels: Sequence[str]) -> "Rule":
        """The rule that a manifest holds.

        Raises:
            ModelError: it is no such rule, or is not one for these labels.
        """
        if not isinstance(value, dict):
            raise ModelError(
                "the model carries a decision rule that this version does not know; install a newer headstart"
            )
        if set(value) != set(_KEYS):
            raise ModelError(f"the model's decision rule has the keys {', '.join(_KEYS)}, and this one differs")
        if kinds.wrong_keys(value, _KINDS) or not value["name"]:
            raise ModelError("the model's decision rule has values of the wrong type")
        rule = cls(
            name=value["name"],
            offsets=None if value["offsets"] is None else tuple(map(float, value["offsets"])),
            costs=None if value["costs"] is None else tuple(tuple(map(float, row)) for row in value["costs"]),
        )
        _check(rule, k=len(labels))
        return rule


def _check(rule: Rule, *, k: int) -> None:
    plain = rule.offsets is None and rule.costs is None
    if plain != (rule.name == MOST_PROBABLE) or (rule.offsets is not None and rule.costs is not None):
        raise ModelError(
            f"the model's decision rule {rule.name!r} has to hold offsets or costs, and {MOST_PROBABLE!r} neither"
        )
    if rule.offsets is not None and len(rule.offsets) != k:
        raise ModelError(f"the model's decision rule has {len(rule.offsets)} offsets, and the model {k} labels")
    if rule.costs is not None and not (
        len(rule.costs) == k
        and all(len(row) == k and all(math.isfinite(c) and c >= 0 for c in row) for row in rule.costs)
    ):
        raise ModelError(f"the model's decision rule has to hold {k} rows of {k} costs from 0 up, and holds others")


_NUMBERS = kinds.list_of(kinds.is_number)
_KINDS: dict[str, kinds.Kind] = {
    "name": kinds.is_text,
    "offsets": kinds.either(kinds.is_null, _NUMBERS),
    "costs": kinds.either(kinds.is_null, kinds.list_of(_NUMBERS)),
}
