"""The gate: all checks of one collection, in the order in which a person wants to hear of them. Nothing is removed or changed."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int

from headstart.audit import groups, labels, outliers, shift
from headstart.audit.copies import Copies
from headstart.audit.findings import KINDS, Audit, Finding, Suspect, likeness, ranked
from headstart.audit.neighbours import MOST_ROWS, nearest
from headstart.audit.oddities import oddity
from headstart.core.errors import Skipped
from headstart.data.preparation import Fact
from headstart.data.samples import Samples

WHOLE = "all"
"""What the only part is called where there is no split."""

_DOUBTED = 0.01
_MOST_ODD = 0.2
_FEW = 10
_UNEVEN = 5.0
# The likeness of a near copy at most: 1 is kept for equal content.
_NEARLY = 0.999


@dataclass(frozen=True)
class Subject:
    """What is looked at.

    Attributes:
        samples: n samples that have a row.
        x: their rows.
        facts: what was met while each was decoded.
        copies: which of them are the same.
        targets: (n,) class indices, -1 where there is none; None where the data has no single labels.
        names: the k labels.
        probabilities: (n, k) calibrated, by heads that were not fitted on the row; rows without one are NaN; None where there are none.
        skipped: inputs that could not be read.
        notes: how the data was understood.
    """

    samples: Samples
    x: Float[np.ndarray, "n d"]
    facts: Sequence[Mapping[str, Fact]]
    copies: Copies
    targets: Int[np.ndarray, "n"] | None = None
    names: tuple[str, ...] = ()
    probabilities: Float[np.ndarray, "n k"] | None = None
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.x)

    @property
    def parts(self) -> np.ndarray:
        """(n,) names of parts; `WHOLE` where there is no split."""
        if not self.samples.parts:
            return np.full(len(self), WHOLE, dtype=object)
        return np.asarray(self.samples.table.column("split").to_pylist(), dtype=object)

    def label(self, row: int) -> str:
        """The name of a sample's label, or empty."""
        return "" if self.targets is None or self.targets[row] < 0 else self.names[self.targets[row]]


Found = tuple[list[Finding], list[Suspect]]


def examine(subject: Subject, *, most: int = MOST_ROWS, seed: int = 0) -> Audit:
    """Run every check.

    Args:
        subject: what is looked at.
        most: rows that are compared with each other; of more, a random part.
        seed: decides which rows are sampled, where there are very many.
    """
    began = time.perf_counter()
    ids, parts = subject.samples.ids, subject.parts
    counts = _counts(subject, parts)
    areas: dict[str, float] = {}
    checks = (
        _unreadable(subject),
        _odd(subject, ids, parts),
        _classes(counts),
        _copies(subject, ids, parts),
        _groups(subject, ids, parts),
        _rows(subject, ids, parts, most=most, seed=seed),
        _shift(subject, parts, areas, seed),
    )
    findings = [finding for found, _ in checks for finding in found]
    suspects = _with_conflicts([suspect for _, found in checks for suspect in found])
    sampled = subject.copies.looked_at if subject.copies.looked_at < len(subject) else None
    if sampled is not None:
        sentence = f"near copies were looked for among {sampled:,} of {len(subject):,} items, to save time: headstart check looks at more"
        findings.append(Finding("sampled", "note", sampled, sentence))
    order = {kind: place for place, kind in enumerate(KINDS)}
    suspects.sort(key=lambda one: (order[one.kind], -one.score))
    return Audit(
        n=len(subject),
        modality=subject.samples.modality,
        understood=subject.notes,
        parts=counts,
        findings=ranked(findings),
        suspects=tuple(suspects),
        shift=areas,
        sampled=sampled,
        seconds={"examine": time.perf_counter() - began},
    )


def _counts(subject: Subject, parts: np.ndarray) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for part in subject.samples.parts or (WHOLE,):
        inside = parts == part
        if subject.targets is None:
            found[part] = {}
            continue
        sizes = np.bincount(subject.targets[inside & (subject.targets >= 0)], minlength=len(subject.names))
        found[part] = dict(zip(subject.names, map(int, sizes), strict=True))
    return found


def _unreadable(subject: Subject) -> Found:
    if not subject.skipped:
        return [], []
    first = subject.skipped[0]
    sentence = f"{_items(len(subject.skipped))} cannot be read and {_are(len(subject.skipped))} left out: {first.input} {first.reason}"
    suspects = [Suspect("unreadable", each.input, score=1.0, why=each.reason) for each in subject.skipped]
    return [Finding("unreadable", "warning", len(subject.skipped), sentence)], suspects


def _odd(subject: Subject, ids: Sequence[str], parts: np.ndarray) -> Found:
    found = [(row, why) for row, facts in enumerate(subject.facts) if (why := oddity(facts))]
    if not found:
        return [], []
    sentence = f"{_items(len(found))} {_are(len(found))} odd: {ids[found[0][0]]} is {found[0][1]}"
    finding = [Finding("odd", "note", len(found), sentence)]
    if len(found) > _MOST_ODD * len(subject):
        return finding, []
    return finding, [Suspect("odd", ids[row], parts[row], subject.label(row), score=0.5, why=why) for row, why in found]


def _classes(counts: Mapping[str, Mapping[str, int]]) -> Found:
    """Labels with few items, and uneven ones, of the part that a model learns from."""
    own = counts.get("train") or counts.get(WHOLE) or {}
    sizes = {label: size for label, size in own.items() if size}
    if not sizes:
        return [], []
    findings = []
    rare, common = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
    few = [label for label, size in sizes.items() if size < _FEW]
    if few:
        sentence = f"{len(few)} of {len(sizes)} labels have fewer than {_FEW} items to learn from; the fewest has {rare}: {sizes[rare]}"
        findings.append(Finding("classes", "warning", len(few), sentence))
    if sizes[common] > _UNEVEN * sizes[rare]:
        ratio = sizes[common] / sizes[rare]
        sentence = f"labels are uneven: {common} has {ratio:.0f} times as many items as {rare} ({sizes[common]:,} and {sizes[rare]:,})"
        findings.append(Finding("classes", "note", len(sizes), sentence))
    return findings, []


def _copies(subject: Subject, ids: Sequence[str], parts: np.ndarray) -> Found:
    suspects: list[Suspect] = []
    for (one, other), score, exact in zip(
        subject.copies.pairs, subject.copies.scores, subject.copies.exact, strict=True
    ):
        # The item to look at is the one that is evaluated.
        first, second = (one, other) if parts[one] != "train" and parts[other] == "train" else (other, one)
        leak = parts[one] != parts[other]
        kind = "leak" if leak else "exact_duplicate" if exact else "near_duplicate"
        sure = 1.0 if exact else min(float(score), _NEARLY)
        place = (parts[first], subject.label(first))
        twin = (ids[second], parts[second], subject.label(second))
        suspects.append(_told(Suspect(kind, ids[first], *place, *twin, score=sure)))
    return list(_of_copies(suspects, parts)), suspects


def _told(pair: Suspect) -> Suspect:
    """A pair of copies with what was seen in words."""
    why = (
        f"the very content of {pair.other}"
        if pair.score >= 1.0
        else f"nearly the same as {pair.other} (likeness {likeness(pair.score)})"
    )
    return replace(pair, why=why + (", under another label" if _torn(pair) else ""))


def _torn(each: Suspect) -> bool:
    """Whether an item and its copy have two labels."""
    return bool(each.label and each.other_label and each.label != each.other_label)


def _with_conflicts(suspects: Sequence[Suspect]) -> list[Suspect]:
    """The suspects, and of the kind `label_error` also copies under two labels.

    Where one of the two is doubted already, that suspect is given its twin instead, and the score of the pair: no label is counted twice.
    """
    doubted = {each.input: each for each in suspects if each.kind == "label_error"}
    alone = []
    for pair in filter(_torn, suspects):
        turned = replace(
            pair, input=pair.other, part=pair.other_part, label=pair.other_label,
            other=pair.input, other_part=pair.part, other_label=pair.label,
        )  # fmt: skip
        known = next((each for each in (pair, _told(turned)) if each.input in doubted), None)
        if known is None:
            alone.append(replace(pair, kind="label_error"))
        elif not (own := doubted[known.input]).other:
            twin = replace(known, kind="label_error", suggestion=own.suggestion, why=f"{own.why}; {known.why}")
            doubted[known.input] = twin
    return [*(each for each in suspects if each.kind != "label_error"), *doubted.values(), *alone]


def _of_copies(suspects: Sequence[Suspect], parts: np.ndarray) -> Iterator[Finding]:
    leaks = [each for each in suspects if each.kind == "leak"]
    for part in sorted({each.part for each in leaks}):
        own = {each.input for each in leaks if each.part == part}
        size = int((parts == part).sum())
        exact = len({each.input for each in leaks if each.part == part and each.score >= 1.0})
        sentence = (
            f"{len(own):,} of {size:,} items of {part} are copies of items in another part ({exact:,} exactly): "
            f"figures on {part} are too good"
        )
        yield Finding("leak", "error" if len(own) > _DOUBTED * size else "warning", len(own), sentence)
    split = len(set(parts)) > 1
    for kind, one, more in (
        ("exact_duplicate", "has the very content of another one", "have the very content of another one"),
        ("near_duplicate", "is nearly a copy of another one", "are nearly copies of another one"),
    ):
        count = len({each.input for each in suspects if each.kind == kind})
        if count:
            told = one if count == 1 else more
            where = "" if not split else " of its part" if count == 1 else " of their part"
            yield Finding(kind, "note", count, f"{_items(count)} {told}{where}; copies stay together in every fold")
    torn = [each for each in suspects if _torn(each)]
    if torn:
        sentence = f"{len(torn):,} {'pair of copies has' if len(torn) == 1 else 'pairs of copies have'} two labels, such as {torn[0].input} ({torn[0].label}) and {torn[0].other} ({torn[0].other_label})"
        yield Finding("label_error", "warning", len(torn), sentence)


def _groups(subject: Subject, ids: Sequence[str], parts: np.ndarray) -> Found:
    given = subject.samples.groups
    guess = None if given is not None or subject.samples.inline else groups.guess_groups(
        ids, [subject.label(row) or None for row in range(len(subject))]
    )  # fmt: skip
    names = given if given is not None else None if guess is None else guess.names
    if names is None:
        return [], []
    found = groups.straddling(names, parts)
    if not found:
        if guess is None:
            return [], []
        count = len({str(name) for name in names if name is not None})
        sentence = f"the names suggest {count:,} groups ({guess.how}): a guess; --group keeps them together"
        return [Finding("grouping", "note", count, sentence)], []
    first = next(iter(found))
    known = "" if guess is None else f", as {guess.how} suggests: a guess"
    sentence = (
        f"{len(found):,} groups, such as {first!r}, lie in {_listed(found[first])}{known}; "
        "figures tell nothing of groups that the model has not seen"
    )
    severity = "error" if guess is None else "warning"
    suspects = [
        Suspect("group", name, score=0.5, why=f"in {_listed(where)}" + ("" if guess is None else " (a guess by names)"))
        for name, where in found.items()
    ]
    return [Finding("group", severity, len(found), sentence)], suspects


def _rows(subject: Subject, ids: Sequence[str], parts: np.ndarray, *, most: int, seed: int) -> Found:
    """Doubtful labels and outliers, from the nearest rows of each row."""
    n = len(subject)
    if n < 3:
        return [], []
    at = np.arange(n) if n <= most else np.sort(np.random.default_rng(seed).permutation(n)[:most])
    findings, suspects = _label_errors(subject, ids, parts, at)
    distance, outside = outliers.find_outliers(subject.x[at], apart=subject.copies.groups[at])
    far = np.flatnonzero(outside)
    if len(far):
        far = far[np.argsort(-distance[far], kind="stable")]
        which = f": {ids[at[far[0]]]}" if len(far) == 1 else f", {ids[at[far[0]]]} the most"
        sentence = f"{_items(len(far))} {_are(len(far))} unlike all others{which}"
        findings.append(Finding("outlier", "note", len(far), sentence))
        surer = outliers.ranks(far, len(at))
        suspects += [
            Suspect(
                "outlier",
                ids[at[row]],
                parts[at[row]],
                subject.label(int(at[row])),
                score=float(score),
                why="far from every other item",
            )
            for row, score in zip(far, surer, strict=True)
        ]
    return findings, suspects


def _label_errors(subject: Subject, ids: Sequence[str], parts: np.ndarray, at: np.ndarray) -> Found:
    if subject.targets is None or subject.probabilities is None or len(subject.names) < 2:
        return [], []
    known = np.isfinite(subject.probabilities[at]).all(axis=1) & (subject.targets[at] >= 0)
    at = at[known]  # without a label an item cannot vote
    if len(at) < 2:
        return [], []
    k = max(1, min(labels.NEIGHBOURS, int(np.sqrt(len(at)))))
    near = nearest(subject.x[at], k, apart=subject.copies.groups[at])
    doubts = labels.doubt_labels(subject.probabilities[at], subject.targets[at], near=near)
    flagged = np.flatnonzero(doubts.flagged)
    flagged = flagged[np.argsort(-doubts.scores[flagged], kind="stable")]
    if not len(flagged):
        return [], []
    share = len(flagged) / len(at)
    first = int(at[flagged[0]])
    better = subject.names[doubts.suggested[flagged[0]]]
    sentence = f"{_labels(len(flagged))} ({share:.1%}) {'looks' if len(flagged) == 1 else 'look'} wrong; the most doubtful is {ids[first]}, called {subject.label(first)} and more like {better}"
    suspects = [
        Suspect(
            "label_error",
            ids[at[row]],
            parts[at[row]],
            subject.label(int(at[row])),
            suggestion=subject.names[doubts.suggested[row]],
            score=float(doubts.scores[row]),
            why=f"its label has a probability of {_share(1 - float(doubts.scores[row]))}, and its neighbours vote for {subject.names[doubts.suggested[row]]}",
        )
        for row in flagged
    ]
    return [Finding("label_error", "warning" if share > _DOUBTED else "note", len(flagged), sentence)], suspects


def _shift(subject: Subject, parts: np.ndarray, areas: dict[str, float], seed: int) -> Found:
    findings = []
    for one, other in combinations(subject.samples.parts, 2):
        inside = [parts == one, parts == other]
        copies = (subject.copies.groups[inside[0]], subject.copies.groups[inside[1]])
        found = shift.domain_auc(subject.x[inside[0]], subject.x[inside[1]], groups=copies, seed=seed)
        if found is None:
            continue
        areas[f"{one}/{other}"] = found[0]
        if found[0] - 2 * found[1] > shift.LEVEL:
            sentence = f"{one} and {other} differ: a classifier tells their items apart (AUC {found[0]:.2f}, where 0.5 means not at all)"
            findings.append(Finding("shift", "warning", 1, sentence))
    return findings, []


def _items(count: int) -> str:
    return "1 item" if count == 1 else f"{count:,} items"


def _labels(count: int) -> str:
    return "1 label" if count == 1 else f"{count:,} labels"


def _share(value: float) -> str:
    """A share in per cent; only nothing at all is written as 0."""
    return "under 0.1%" if 0 < value < 0.0005 else f"{value:.1%}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} and {names[-1]}"
