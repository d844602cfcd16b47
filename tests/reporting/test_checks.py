"""The chief doubt: each check finds what is planted, passes what is sound, and the weightier one comes first."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from headstart.data.samples import make_samples
from headstart.reporting import checks, confidence, labels, verdict
from headstart.reporting.evidence import HELD, IN_SAMPLE, OUT_OF_FOLD, Evidence
from headstart.reporting.story import Check
from headstart.tasks import TASKS
from headstart.tasks.task import Targets

NAMES = ("ant", "bee", "wasp")


def evidence(predicted: np.ndarray, targets: np.ndarray, **changed: Any) -> Evidence:
    """Evidence with these probabilities and targets, and nothing wrong with it."""
    n = len(targets)
    made = Evidence(
        kind=HELD,
        samples=make_samples([f"{i}" for i in range(n)], ["text"] * n, modality="text", inline=True, source="made"),
        part="test",
        x=np.zeros((n, 2)),
        targets=Targets(targets, NAMES[: predicted.shape[1]], "single_label"),
        scores=np.log(predicted),
        predicted=predicted,
        plain=predicted,
        chosen=predicted.argmax(axis=1),
        copies=0,
        left_out=0,
        skipped=(),
        notes=(),
        warnings=(),
        digest="",
        seconds={},
    )
    return replace(made, **changed)


def drawn(
    n: int = 3000, *, sure: float = 0.95, seed: int = 0, told: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of three labels whose highest is `told` (else `sure`), and targets that agree with it in a share of `sure`."""
    rng = np.random.default_rng(seed)
    said = rng.integers(0, 3, n)
    truth = np.where(rng.random(n) < sure, said, (said + rng.integers(1, 3, n)) % 3)
    told = sure if told is None else told
    predicted = np.full((n, 3), (1 - told) / 2)
    predicted[np.arange(n), said] = told
    return predicted, truth


@dataclass(frozen=True)
class Audit:
    n: int = 3000
    understood: tuple[str, ...] = ()
    findings: tuple[Any, ...] = ()
    suspects: tuple[Any, ...] = ()
    shift: dict[str, float] = field(default_factory=dict)


def asked(made: Evidence, *warnings: str, audit: Audit | None = Audit(shift={"train/test": 0.52})) -> dict[str, Check]:
    metrics = TASKS.get("single_label").metrics(made.targets, made.predicted)
    rows = labels.rows(made, dict.fromkeys(NAMES, 100))
    return {check.kind: check for check in checks.run(checks.Facts(made, metrics, rows, warnings, audit))}


def doubts(found: dict[str, Check]) -> list[str]:
    return [kind for kind, check in found.items() if check.state == "doubt"]


def finding(kind: str, count: int) -> SimpleNamespace:
    return SimpleNamespace(kind=kind, severity="error", count=count, sentence=f"{count} of them are {kind}")


def test_sound_results_leave_no_doubt_and_say_what_remains() -> None:
    found = asked(evidence(*drawn()))
    assert doubts(found) == []
    assert found["always"].finding.startswith("No check found cause for doubt. The figures hold for items like these")


def test_what_nobody_looked_at_is_said() -> None:
    found = asked(evidence(*drawn()), audit=None)
    assert [kind for kind, check in found.items() if check.state == "unknown"] == [
        "group",
        "shift",
        "label_error",
        "always",
    ]
    assert (
        "nobody looked for groups across the parts, a shift between the parts or wrong labels"
        in found["always"].finding
    )


@pytest.mark.parametrize(
    ("kind", "changed", "warnings", "audit", "sentence"),
    [
        ("in_sample", {"kind": IN_SAMPLE}, (), Audit(), "fitted on every one of these items"),
        (
            "leak",
            {"copies": 60},
            (),
            Audit(),
            "60 of the 3,000 evaluated items have the very content of a training item.",
        ),
        ("leak", {}, (), Audit(findings=(finding("leak", 50),)), "50 of them are leak. On new items it will do worse."),
        (
            "group",
            {},
            ("3 groups are in both train and test: figures on test are too good",),
            Audit(),
            "3 groups are in both",
        ),
        ("group", {}, (), Audit(findings=(finding("group", 3),)), "3 of them are group."),
        (
            "warning",
            {},
            ("the tokenizer was made for another language",),
            Audit(),
            "The tokenizer was made for another",
        ),
        (
            "shift",
            {},
            (),
            Audit(shift={"train/test": 0.8, "train/val": 0.5}),
            "A classifier tells train and test apart (AUC 0.80",
        ),
        (
            "label_error",
            {},
            (),
            Audit(findings=(finding("label_error", 90),)),
            "90 of 3,000 items (3.0 %) have a label that looks wrong",
        ),
        (
            "cut",
            {},
            ("9 texts are longer and were cut at its limit; so",),
            Audit(),
            "9 texts are longer and were cut at its limit; so.",
        ),
        ("folds", {"kind": OUT_OF_FOLD}, (), Audit(), "No part was set aside"),
    ],
)
def test_a_planted_doubt_is_found(
    kind: str, changed: dict[str, Any], warnings: tuple[str, ...], audit: Audit, sentence: str
) -> None:
    found = asked(evidence(*drawn(), **changed), *warnings, audit=audit)
    assert doubts(found) == [kind]
    assert sentence in found[kind].finding
    assert found[kind].advice


def test_a_few_copies_are_told_and_are_no_doubt() -> None:
    found = asked(evidence(*drawn(), copies=3))
    assert doubts(found) == []
    assert found["leak"].finding.startswith(
        "Hardly: 3 of the 3,000 evaluated items have the very content of a training item (0.1 %)"
    )


def test_few_items_are_a_doubt() -> None:
    assert "few" in doubts(asked(evidence(*drawn(120))))
    assert "With only 120 items the 95 % interval is" in asked(evidence(*drawn(120)))["few"].finding


def test_overconfidence_is_a_doubt_where_chance_does_not_explain_it() -> None:
    found = asked(evidence(*drawn(sure=0.85, told=0.99)))
    assert doubts(found) == ["calibration"]
    assert "Its probabilities are off by 1" in found["calibration"].finding


def test_the_simulated_error_of_chance_bounds_that_of_a_calibrated_model() -> None:
    over = [np.greater(*confidence.error_and_chance(evidence(*drawn(400, seed=seed)), seed=seed)) for seed in range(60)]
    assert 0 <= sum(over) <= 8, "five in a hundred are expected"


def test_a_weak_label_is_a_doubt_and_says_what_it_is_taken_for() -> None:
    predicted, targets = drawn()
    wrong = np.flatnonzero(targets == 2)[:400]
    predicted[wrong] = (0.025, 0.95, 0.025)
    found = asked(evidence(predicted, targets))
    assert doubts(found)[0] == "weak"
    assert "Of “wasp” it finds only 5" in found["weak"].finding
    assert "and it is taken for bee most often" in found["weak"].finding


def test_a_label_with_few_items_is_a_doubt() -> None:
    predicted, targets = drawn()
    kept = np.flatnonzero((targets != 2) | (np.cumsum(targets == 2) <= 5))
    found = asked(evidence(predicted[kept], targets[kept]))
    assert doubts(found) == ["weak"]
    assert found["weak"].finding == "Too few items to tell for 1 label: “wasp” (5)."


def test_guessing_is_no_better_than_the_most_frequent_label() -> None:
    predicted, _ = drawn(sure=1 / 3, told=0.34)
    found = asked(evidence(predicted, np.random.default_rng(1).integers(0, 3, len(predicted))))
    assert doubts(found)[0] == "baseline"
    assert (
        "It cannot be told from knowing nothing: always saying the most frequent label is right for 3"
        in found["baseline"].finding
    )


def test_what_voids_the_figures_weighs_more_than_what_narrows_them() -> None:
    found = asked(
        evidence(*drawn(100, sure=0.8, told=0.99), copies=10),
        "3 groups are in both train and test: figures on test are too good",
        "the tokenizer was made for another language",
    )
    assert doubts(found)[:4] == ["leak", "group", "warning", "few"]
    assert doubts(found)[-1] == "calibration"


def test_the_verdict_says_what_was_measured_on_what() -> None:
    made = evidence(*drawn())
    found = verdict.verdict(made, TASKS.get("single_label").metrics(made.targets, made.predicted), modality="image")
    right = 100 * float((~made.wrong).mean())
    assert found.sentence.startswith(f"The model gives the right one of 3 labels for {right:.1f} % of the items")
    assert "measured on 3,000 images of test that it was not fitted on (95 % interval: 9" in found.sentence
    assert found.span is not None
    assert found.span[0] < found.span[1] < found.span[2]


def test_the_judge_is_measured_on_the_evidence() -> None:
    predicted, targets = drawn(1000)
    made = evidence(predicted, targets)
    sets = np.zeros((1000, 3), dtype=bool)
    sets[np.arange(1000), targets] = True
    sets[:100] = True
    sets[100:150] = False
    outliers = np.arange(1000) < 20
    said = confidence.judged(SimpleNamespace(sets=sets, intervals=None, outliers=outliers), made)
    assert said[0].startswith(
        "The sets of labels that the model gives name 1.15 labels on average and hold the right one for 95.0 %"
    )
    assert said[1] == "It calls 2.0 % of these items unlike its training data."
    assert "“I don't know” to 150 items of 1,000, and be right for" in said[2]
    assert confidence.judged(None, made) == ()
