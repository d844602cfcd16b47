"""The aim of a decision rule, as `--optimise` names it, and the rule that serves it.

Offsets are chosen from out-of-fold probabilities; a matrix of costs needs no choosing.
"""

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from headstart.core.errors import DataError, FitError, UsageError, suggest
from headstart.evaluation.decision import balanced_offsets, choose_tau, macro_f1_offsets, recall_offset
from headstart.model.rule import Rule

FORMS = "accuracy, balanced, macro_f1, recall>=0.95:LABEL or cost=FILE.csv"
"""What an aim can be, as an error names it."""

FEWEST_ROWS = 20
"""With fewer rows of the rarest class, one row moves its recall by more than 5 points, and the strength of the Bayes rule is taken."""

_PLAIN = ("accuracy", "balanced", "macro_f1")
_RECALL, _COST = "recall>=", "cost="


@dataclass(frozen=True)
class Aim:
    """What decisions are to be good at.

    Attributes:
        text: its string form; empty for the most probable label.
        label: whose recall is asked for; empty for other aims.
        recall: the recall asked for; 0 for other aims.
        costs: the file of costs; empty for other aims.
    """

    text: str = ""
    label: str = ""
    recall: float = 0.0
    costs: str = ""


@dataclass(frozen=True)
class Decided:
    """A rule, and what it is worth on rows that had no say in it.

    Attributes:
        rule: chosen from all rows.
        chosen: (n,) class indices; each row's is by the rule that the other folds choose.
        notes: what the rule gives and takes, one sentence each.
    """

    rule: Rule
    chosen: Int[np.ndarray, "n"]
    notes: tuple[str, ...] = ()


def parse(text: str) -> Aim:
    """The aim that a text names.

    Raises:
        UsageError: there is no such aim, or its recall is no share; names the nearest one.
    """
    if not text or text in _PLAIN:
        return Aim(text)
    if text.startswith(_COST) and len(text) > len(_COST):
        path = text[len(_COST) :]
        return Aim(f"{_COST}{Path(path).name}", costs=path)  # the folders above it are nobody else's business
    if text.startswith(_RECALL):
        number, _, label = text[len(_RECALL) :].partition(":")
        try:
            recall = float(number)
        except ValueError:
            recall = math.nan
        if not 0.0 < recall <= 1.0 or not label:
            raise UsageError(
                f"a recall to reach is a share above 0 and at most 1 and a label, such as recall>=0.95:WBC, and got {text!r}"
            )
        return Aim(text, label=label, recall=recall)
    near = suggest(text, _PLAIN) if not text.startswith("recall") else ""
    raise UsageError(f"a model can be optimised for {FORMS}, and got {text!r}.{near if 'Did you' in near else ''}")


def check(aim: Aim, *, task: str, labels: Sequence[str]) -> None:
    """Refuse an aim that data of this task and these labels cannot serve, before features are made.

    Raises:
        UsageError: the task decides by no rule, or there is no such label; DataError: the file of costs cannot be used.
    """
    if not aim.text:
        return
    if task != "single_label":
        raise UsageError(
            f"--optimise chooses among labels of which a sample has one, and the task is {task}: leave it away"
        )
    if aim.label and aim.label not in labels:
        raise UsageError(f"there is no label {aim.label!r} to reach a recall for.{suggest(aim.label, labels)}")
    if aim.costs:
        read_costs(Path(aim.costs), labels=labels)


def check_shares(aim: Aim, deployed: Sequence[float] | None) -> None:
    """Refuse an aim that cannot be served at other class shares than those of the samples.

    Raises:
        UsageError: as said.
    """
    if deployed is not None and aim.text == "macro_f1":
        raise UsageError(
            "macro_f1 is chosen on samples at their own class shares: leave --deployment-prior away, or optimise something else"
        )


def decide(
    aim: Aim,
    probabilities: Float[np.ndarray, "n k"],
    *,
    targets: Int[np.ndarray, "n"],
    fold: Int[np.ndarray, "n"],
    labels: Sequence[str],
    prior: Float[np.ndarray, "k"] | None = None,
) -> Decided:
    """The rule that serves an aim best on rows that no head has seen.

    Args:
        aim: which `check` has passed.
        probabilities: calibrated, out of fold.
        targets: class indices.
        fold: the fold in which each row was held out.
        labels: the k names.
        prior: class shares that the probabilities are under, where these are not those of the rows.

    Raises:
        DataError: the file of costs cannot be used; FitError: a recall is out of reach.
    """
    if aim.text in {"", "accuracy"}:
        return Decided(Rule(), Rule().choose(probabilities))
    if aim.costs:
        rule = Rule(aim.text, costs=read_costs(Path(aim.costs), labels=labels))
        return Decided(rule, rule.choose(probabilities))

    def fitted(rows: np.ndarray) -> Rule:
        offsets = _offsets(aim, probabilities[rows], targets=targets[rows], labels=labels, prior=prior)
        return Rule(aim.text, offsets=tuple(map(float, offsets)))

    rule = fitted(np.arange(len(targets)))
    notes = _reach(aim, rule, probabilities, targets=targets, labels=labels) if aim.label else ()
    return Decided(rule, _cross_fitted(fitted, probabilities, targets=targets, fold=fold), notes)


def read_costs(path: Path, *, labels: Sequence[str]) -> tuple[tuple[float, ...], ...]:
    """The costs of a CSV file in the order of the labels: rows are truths, columns are answers.

    Raises:
        DataError: it cannot be read, names other classes than `labels`, or has a cell that is no number from 0 up, or a cost of a
            right answer.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"the costs {path.name} cannot be read as a CSV file in UTF-8: {error}") from error
    answers = [cell.strip() for cell in table[0][1:]] if table else []
    truths = [row[0].strip() for row in table[1:]]
    for where, names in (("columns", answers), ("rows", truths)):
        _check_names(names, labels=labels, where=f"the {where} of {path.name}")
    found = {
        (row[0].strip(), answer): cell for row in table[1:] for answer, cell in zip(answers, row[1:], strict=False)
    }
    return tuple(
        tuple(_cost(found.get((truth, answer), ""), truth=truth, answer=answer, name=path.name) for answer in labels)
        for truth in labels
    )


def _check_names(names: Sequence[str], *, labels: Sequence[str], where: str) -> None:
    unknown = [name for name in names if name not in labels]
    if unknown:
        raise DataError(
            f"{where} name the class {unknown[0]!r}, which the data does not have.{suggest(unknown[0], labels)}"
        )
    missing = [label for label in labels if label not in names]
    if missing:
        raise DataError(f"{where} have to name every class once, and lack {missing[0]!r}")
    if len(names) != len(labels):
        raise DataError(f"{where} have to name every class once, and name one twice")


def _cost(cell: str, *, truth: str, answer: str, name: str) -> float:
    try:
        cost = float(cell)
    except ValueError:
        cost = math.nan
    if not 0.0 <= cost < math.inf:
        raise DataError(
            f"{name} has to hold a number from 0 up for {answer!r} where the truth is {truth!r}, and holds {cell!r}"
        )
    if truth == answer and cost:
        raise DataError(f"{name} has to hold 0 where {truth!r} is answered rightly, and holds {cell!r}")
    return cost


def _offsets(
    aim: Aim, probabilities: np.ndarray, *, targets: np.ndarray, labels: Sequence[str], prior: np.ndarray | None
) -> Float[np.ndarray, "k"]:
    k = len(labels)
    if aim.text == "macro_f1":
        return macro_f1_offsets(probabilities, targets)
    if aim.label:
        label = list(labels).index(aim.label)
        offsets = np.zeros(k)
        if (targets == label).any():
            offsets[label] = recall_offset(probabilities, targets, label=label, recall=aim.recall)
        return offsets
    counts = np.bincount(targets, minlength=k)
    # A class that no row of other folds has is taken to have one: its probability says nothing, and nothing is made of it.
    prior = np.maximum(counts, 1) / len(targets) if prior is None else prior
    tau = choose_tau(probabilities, targets, prior=prior) if counts.min() >= FEWEST_ROWS else 1.0
    return balanced_offsets(prior, tau=tau)


def _cross_fitted(
    fitted: Callable[[np.ndarray], Rule], probabilities: np.ndarray, *, targets: np.ndarray, fold: np.ndarray
) -> Int[np.ndarray, "n"]:
    chosen = np.empty(len(targets), np.int64)
    for number in np.unique(fold):
        inside = fold == number
        chosen[inside] = fitted(np.flatnonzero(~inside)).choose(probabilities[inside])
    return chosen


def _reach(
    aim: Aim, rule: Rule, probabilities: np.ndarray, *, targets: np.ndarray, labels: Sequence[str]
) -> tuple[str, ...]:
    """What a recall costs the other labels.

    Raises:
        FitError: it takes answering with the label always.
    """
    own = targets == list(labels).index(aim.label)
    before, after = (each.choose(probabilities) == targets for each in (Rule(), rule))
    if not after[~own].any():
        raise FitError(
            f"a recall of {aim.recall:g} for {aim.label!r} is reached out of fold only by answering it always: "
            "ask for less, or add samples of it"
        )
    told = [f"{before[rows].mean():.3f} to {after[rows].mean():.3f}" for rows in (own, ~own)]
    sentence = (
        f"for a recall of {aim.recall:g}, {aim.label!r} is answered more readily: out of fold its recall goes from {told[0]}, "
        f"and the share of the other samples answered rightly from {told[1]}"
    )
    return (sentence,)
