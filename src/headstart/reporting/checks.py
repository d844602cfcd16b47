"""The checks: questions asked of the results in order of weight. The first that leaves a doubt is the chief doubt."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from headstart.evaluation.intervals import Estimate
from headstart.reporting.confidence import TOLERATED, error_and_chance
from headstart.reporting.evidence import HELD, IN_SAMPLE, OUT_OF_FOLD, Evidence
from headstart.reporting.inputs import Audit, Finding
from headstart.reporting.story import Check, ClassRow
from headstart.reporting.verdict import baseline_share
from headstart.reporting.words import percent, sentence, several
from headstart.tasks import TASKS

FINE, DOUBT, UNKNOWN = "fine", "doubt", "unknown"

WIDE = 0.05
"""An interval wider than this, as a share of the figure's scale, is a doubt."""

FEW = 20
"""A label with fewer evaluated samples says little."""

BEHIND = 0.05
"""A label is weak where even the upper end of its recall's interval lies this far below the low end of the accuracy's, or below one half."""

LEAKED = 0.01
"""A share of the evaluated items from which copies of training items are a doubt: fewer cannot move a figure by much."""

SHIFTED = 0.75
"""Parts differ where a classifier tells them apart with at least this AUC."""

MISLABELLED = 0.02
"""A share of probable label errors from which they are a doubt."""

_GROUPS = "are too good"
_COPIES = "very content of a training sample"
_CUT = "cut at its limit"


@dataclass(frozen=True)
class Facts:
    """What the checks look at.

    Attributes:
        evidence: the samples with their predictions.
        metrics: the figures on them.
        rows: the table of labels.
        warnings: of the fit and of this evaluation.
        audit: what a check of the data found, or None.
        seed: decides what is simulated.
    """

    evidence: Evidence
    metrics: Mapping[str, Estimate]
    rows: tuple[ClassRow, ...]
    warnings: tuple[str, ...]
    audit: Audit | None
    seed: int = 0


def run(facts: Facts) -> tuple[Check, ...]:
    """All checks that make sense for the task, in order of weight: those that void the figures, then those that narrow them."""
    every: tuple[Callable[[Facts], Check | None], ...] = (
        _seen,
        _leaks,
        _groups,
        _warned,
        _better_than_nothing,
        _enough,
        _weak_label,
        _shift,
        _label_errors,
        _calibrated,
        _whole_inputs,
        _set_aside,
    )
    found = [check for each in every if (check := each(facts)) is not None]
    return (*found, _always(found))


def _seen(facts: Facts) -> Check:
    question = "Were the items new to the model?"
    if facts.evidence.kind == IN_SAMPLE:
        return Check(
            "in_sample",
            question,
            DOUBT,
            "The model was fitted on every one of these items, so the figures say nothing about new ones.",
            "Name data that it has not seen, or all of the data of the fit, for out-of-fold figures.",
            "data",
        )
    if facts.evidence.kind == OUT_OF_FOLD:
        return Check("in_sample", question, FINE, "Each was scored by a head that was fitted without it (five folds).")
    left = f"; {facts.evidence.left_out:,} that it was fitted on are left out" if facts.evidence.left_out else ""
    return Check("in_sample", question, FINE, f"None was in the training part{left}.")


def _leaks(facts: Facts) -> Check | None:
    if facts.evidence.kind != HELD:
        return None
    question = "Do the evaluated items hold copies of training items?"
    found = _found(facts, "leak")
    count = max([facts.evidence.copies, *(each.count for each in found)])
    if not count:
        words = "No exact copy was found; near copies were not looked for."
        return Check(
            "leak", question, FINE, words if facts.audit is None else "Neither exact nor near ones were found."
        )
    said = (
        found[0].sentence
        if found
        else f"{count:,} of the {len(facts.evidence):,} evaluated items have the very content of a training item"
    )
    if count == 1 and not found:
        said = f"One of the {len(facts.evidence):,} evaluated items has the very content of a training item"
    share = count / len(facts.evidence)
    if share < LEAKED:
        return Check(
            "leak", question, FINE, f"Hardly: {said.rstrip('.')} ({percent(share)}), too few to move a figure by much."
        )
    words = f"{sentence(said)} On new items it will do worse."
    return Check("leak", question, DOUBT, words, "Take the copies out of one part, and fit again.", "data")


def _groups(facts: Facts) -> Check | None:
    if facts.evidence.kind != HELD:
        return None
    question = "Do groups (a speaker, a patient, a slide) straddle the parts?"
    advice = "Name the group with --group and split by it, so that each is on one side."
    said = [each for each in facts.warnings if _GROUPS in each] + [each.sentence for each in _found(facts, "group")]
    if said:
        return Check("group", question, DOUBT, sentence(said[0]), advice, "data")
    if facts.audit is None:
        return Check("group", question, UNKNOWN, "Not looked at.")
    return Check("group", question, FINE, "None that names or a column of groups would tell of.")


def _found(facts: Facts, kind: str) -> list[Finding]:
    """The findings of one kind that are about any item."""
    return [each for each in facts.audit.findings if each.kind == kind and each.count] if facts.audit else []


def _warned(facts: Facts) -> Check:
    question = "Did the fit itself warn of anything?"
    said = [each for each in facts.warnings if not any(mark in each for mark in (_GROUPS, _COPIES, _CUT))]
    if not said:
        return Check("warning", question, FINE, "No.")
    more = f" (and {several(len(said) - 1, 'more warning')})" if len(said) > 1 else ""
    return Check("warning", question, DOUBT, sentence(said[0]) + more, "Read the warnings with the data.", "data")


def _better_than_nothing(facts: Facts) -> Check | None:
    question = "Is it better than knowing nothing?"
    if facts.evidence.targets.task == "single_label":
        share, found = baseline_share(facts.evidence), facts.metrics["accuracy"]
        same = f"always saying the most frequent label is right for {percent(share)}"
        if found.low <= share:
            return Check(
                "baseline", question, DOUBT, f"It cannot be told from knowing nothing: {same}.", _MORE, "figures"
            )
        return Check("baseline", question, FINE, f"Yes: {same}, and this model for at least {percent(found.low)}.")
    if "r2" in facts.metrics:
        found = facts.metrics["r2"]
        if found.low <= 0:
            return Check(
                "baseline", question, DOUBT, "It cannot be told from always saying the mean.", _MORE, "figures"
            )
        return Check("baseline", question, FINE, f"Yes: it explains at least {percent(found.low)} of the variation.")
    return None


_MORE = "Add labelled samples, or try another backbone (headstart models)."


def _enough(facts: Facts) -> Check:
    question = "Are there enough evaluated items?"
    task = TASKS.get(facts.evidence.targets.task)
    found = facts.metrics.get(task.primary) or next(iter(facts.metrics.values()))
    width = found.high - found.low
    width = width / max(abs(found.value), 1e-12) / 4 if facts.evidence.targets.task == "regression" else width
    many = several(len(facts.evidence), "item")
    points = f"{100 * (found.high - found.low):.1f} points wide"
    if facts.evidence.targets.task != "single_label":
        points = f"from {found.low:.3g} to {found.high:.3g}"
    if width <= WIDE:
        return Check("few", question, FINE, f"{many} make the 95 % interval {points}.")
    words = f"With only {many} the 95 % interval is {points}: smaller differences mean nothing."
    return Check(
        "few",
        question,
        DOUBT,
        words,
        "Label more items to evaluate on; four times as many halve the interval.",
        "figures",
    )


def _weak_label(facts: Facts) -> Check | None:
    if not facts.rows:
        return None
    question = "Is every label told well?"
    named = facts.metrics.get("accuracy")
    bar = max(0.5, named.low - BEHIND) if named else 0.5
    weak = [row for row in facts.rows if row.recall and row.recall[2] < bar]
    if weak:
        worst = weak[0]
        assert worst.recall is not None
        others = f" {several(len(weak) - 1, 'more label')} as weak." if len(weak) > 1 else ""
        taken = f", and it is taken for {worst.confused.rsplit(' ', 1)[0]} most often" if worst.confused else ""
        words = (
            f"Of “{worst.label}” it finds only {percent(worst.recall[0], 0)} ({percent(worst.recall[1], 0)} to "
            f"{percent(worst.recall[2], 0)}){taken}.{others}"
        )
        return Check(
            "weak", question, DOUBT, words, f"Look at its errors, and label more of “{worst.label}”.", "labels"
        )
    few = sorted((row for row in facts.rows if row.support < FEW), key=lambda row: row.support)
    if few:
        names = ", ".join(f"“{row.label}” ({row.support})" for row in few[:3]) + (" and more" if len(few) > 3 else "")
        words = f"Too few items to tell for {several(len(few), 'label')}: {names}."
        return Check("weak", question, DOUBT, words, f"Evaluate on at least {FEW} items of each label.", "labels")
    worst = next(row for row in facts.rows if row.recall)
    assert worst.recall is not None
    return Check(
        "weak", question, FINE, f"The weakest, “{worst.label}”, is found {percent(worst.recall[0], 0)} of the time."
    )


def _shift(facts: Facts) -> Check | None:
    if facts.evidence.kind != HELD:
        return None
    question = "Do the parts look alike?"
    if facts.audit is None or not facts.audit.shift:
        return Check("shift", question, UNKNOWN, "Not looked at.")
    pair, worst = max(facts.audit.shift.items(), key=lambda each: each[1])
    between = " and ".join(pair.split("/"))
    if worst >= SHIFTED:
        words = f"A classifier tells {between} apart (AUC {worst:.2f}; 0.5 would be alike): they were not drawn alike."
        return Check("shift", question, DOUBT, words, "Find out how the parts were collected, and split again.", "data")
    return Check(
        "shift", question, FINE, f"Yes: a classifier hardly tells {between} apart (AUC {worst:.2f}; 0.5 is alike)."
    )


def _label_errors(facts: Facts) -> Check | None:
    if facts.evidence.targets.task != "single_label":
        return None
    question = "Are the labels right?"
    if facts.audit is None:
        return Check("label_error", question, UNKNOWN, "Not looked at.")
    count = max((each.count for each in facts.audit.findings if each.kind == "label_error"), default=0)
    share = count / max(facts.audit.n, 1)
    if share >= MISLABELLED:
        words = f"{count:,} of {facts.audit.n:,} items ({percent(share)}) have a label that looks wrong."
        return Check(
            "label_error",
            question,
            DOUBT,
            words,
            "Look through the suspects below: some will be the model's own errors.",
            "suspects",
        )
    return Check("label_error", question, FINE, f"{count:,} of {facts.audit.n:,} look wrong ({percent(share)}).")


def _calibrated(facts: Facts) -> Check | None:
    if facts.evidence.targets.task == "regression":
        return None
    question = "Do its probabilities mean what they say?"
    error, chance = error_and_chance(facts.evidence, seed=facts.seed)
    if error > max(TOLERATED, chance):
        words = f"Its probabilities are off by {percent(error)} on average, more than the {percent(chance)} that chance alone would explain."
        return Check("calibration", question, DOUBT, words, "Do not act on a probability alone.", "confidence")
    words = f"Yes: they are off by {percent(error)} on average, and chance alone would explain {percent(chance)}."
    if error > chance:
        words = (
            f"Nearly: they are off by {percent(error)} on average, where chance alone would explain {percent(chance)}."
        )
    return Check("calibration", question, FINE, words)


def _whole_inputs(facts: Facts) -> Check | None:
    cut = [each for each in facts.warnings if _CUT in each]
    if not cut:
        return None
    return Check("cut", "Was every input read in full?", DOUBT, sentence(cut[0]), "Fit with --long windows.", "data")


def _set_aside(facts: Facts) -> Check | None:
    if facts.evidence.kind != OUT_OF_FOLD:
        return None
    words = "No part was set aside: head and temperature were chosen on the items that the figures are of, which flatters them a little."
    return Check(
        "folds",
        "Was a test part set aside?",
        DOUBT,
        words,
        "Fit with --hold-out 0.2, or evaluate on new items.",
        "data",
    )


def _always(found: list[Check]) -> Check:
    """What is left to say; it is the chief doubt where no check left one."""
    words = "The figures hold for items like these: another source, device or time may bring others."
    if not any(check.state == DOUBT for check in found):
        left = [_OPEN[check.kind] for check in found if check.state == UNKNOWN]
        looked = (
            f", but nobody looked for {', '.join(left[:-1])}{' or ' if left[:-1] else ''}{left[-1]}" if left else ""
        )
        words = f"No check found cause for doubt{looked}. {words}"
    return Check(
        "always", "What remains?", UNKNOWN, words, "Evaluate again on items from where it will be used.", "figures"
    )


_OPEN = {
    "group": "groups across the parts",
    "shift": "a shift between the parts",
    "label_error": "wrong labels",
}
