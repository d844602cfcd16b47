"""What the data gate says: findings, a sentence each, and the suspects behind them."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KINDS = (
    "leak",
    "label_error",
    "exact_duplicate",
    "near_duplicate",
    "group",
    "outlier",
    "odd",
    "unreadable",
)
"""The kinds of suspects, those that matter most first."""

TITLES = {
    "leak": "copies across parts",
    "label_error": "labels that look wrong",
    "exact_duplicate": "the very same content",
    "near_duplicate": "nearly the same",
    "group": "groups in several parts",
    "outlier": "unlike all others",
    "odd": "odd",
    "unreadable": "cannot be read",
}
"""What each kind is called over a list of its suspects."""

PAIRS = frozenset({"leak", "exact_duplicate", "near_duplicate"})
"""The kinds whose suspects are pairs: an item with three copies is in three of them."""

_MOST_LABELS = 12

SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class Suspect:
    """One item to look at.

    Attributes:
        kind: one of `KINDS`.
        input: the sample's id.
        part: the part that it is in, or empty.
        label: its label, or empty.
        other: the id of the item that it is a copy of, or empty. Copies under two labels are suspects of their own kind of copy, and
            of the kind `label_error` too.
        other_part: that item's part.
        other_label: that item's label.
        suggestion: the label that it would rather have, or empty.
        score: from 0 to 1; the higher the surer.
        why: what was seen, in a few words.
    """

    kind: str
    input: str
    part: str = ""
    label: str = ""
    other: str = ""
    other_part: str = ""
    other_label: str = ""
    suggestion: str = ""
    score: float = 0.0
    why: str = ""


COLUMNS = tuple(each.name for each in dataclasses.fields(Suspect))
"""The columns of a table of suspects."""


@dataclass(frozen=True)
class Finding:
    """What was found of one kind.

    Attributes:
        kind: one of `KINDS`, or `grouping` (groups that names suggest, all on one side), `shift`, `classes` or `sampled`.
        severity: `error` where figures cannot be believed, `warning` where they should be doubted, `note` otherwise.
        count: how many items or pairs.
        sentence: what a person should know.
    """

    kind: str
    severity: str
    count: int
    sentence: str


@dataclass(frozen=True)
class Audit:
    """What the gate found in a collection.

    Attributes:
        n: samples that were looked at.
        modality: `image`, `text` or `audio`.
        understood: how the data was read, one sentence each.
        parts: for each part how many samples each label has; one part called `all` where there is no split.
        findings: the worst first.
        suspects: ranked within each kind.
        shift: for each pair of parts, such as `train/test`, how well a classifier tells them apart: 0.5 not at all, 1 always (AUC).
        sampled: how many items the search for near duplicates looked at, where that was not all; else None.
        seconds: what took how long.
    """

    n: int
    modality: str
    understood: tuple[str, ...]
    parts: Mapping[str, Mapping[str, int]]
    findings: tuple[Finding, ...]
    suspects: tuple[Suspect, ...]
    shift: Mapping[str, float] = field(default_factory=dict)
    sampled: int | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The object that `headstart check --json` prints (docs/json.md)."""
        return {
            "n": self.n,
            "modality": self.modality,
            "understood": list(self.understood),
            "parts": {part: dict(counts) for part, counts in self.parts.items()},
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
            "suspects": [dataclasses.asdict(suspect) for suspect in self.suspects],
            "shift": dict(self.shift),
            "sampled": self.sampled,
            "seconds": dict(self.seconds),
        }


def ranked(findings: list[Finding]) -> tuple[Finding, ...]:
    """Findings, the most severe first, and of equal ones in the order of `KINDS`."""
    order = {kind: place for place, kind in enumerate(KINDS)}
    return tuple(sorted(findings, key=lambda one: (SEVERITIES.index(one.severity), order.get(one.kind, len(order)))))


def heading(kind: str, count: int) -> str:
    """The heading over so many suspects of a kind, which says where they are pairs."""
    unit = "" if kind not in PAIRS else " pair" if count == 1 else " pairs"
    return f"{TITLES[kind]}: {count:,}{unit}"


def likeness(score: float) -> str:
    """How alike two copies are, in two digits; only equal content is written as 1."""
    if score >= 1.0:
        return "1"
    written = f"{score:.2f}"
    return "over 0.99" if written == "1.00" else written


def parts_in_words(parts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """The class counts of each part, one text a part; of many labels the rarest and the most frequent."""
    told = []
    for part, counts in parts.items():
        if not counts:
            told.append(part)
        elif len(counts) <= _MOST_LABELS:
            told.append(f"{part} " + ", ".join(f"{label} ({size:,})" for label, size in counts.items()))
        else:
            low, high = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
            told.append(f"{part} {len(counts):,} labels, from {counts[low]:,} ({low}) to {counts[high]:,} ({high})")
    return told
