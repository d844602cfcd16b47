"""The judge travels with its model, says what it knows, and keeps silent about a head that it was not fitted for."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart.core.errors import ModelError, UsageError
from headstart.evaluation.conformal import Conformal
from headstart.heads.fitted import Linear
from headstart.model.judge import MOST_ROWS, Bond, Judge, Judging, fit_judge, judged
from support.cache import cache_in
from support.made import reviews

LABELS = ("ant", "bee", "wasp")
BOND = Bond("head", "rows")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> hs.Model:
    folder = tmp_path_factory.mktemp("fitted")
    with cache_in(folder / "cache"):
        return hs.fit(reviews(folder / "reviews.csv", n=60), backbone="toy:text")


def made(n: int = 300, d: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of three classes, the classes, and probabilities that are right about most of them."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    x = rng.standard_normal((n, d)).astype(np.float32)
    x[np.arange(n), labels] += 5
    logits = x[:, :3] + rng.standard_normal((n, 3))
    return x, labels, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def judge_of(x: np.ndarray, targets: np.ndarray, predicted: np.ndarray) -> Judge:
    ids = [f"train/{i}.png" for i in range(len(x))]
    found = fit_judge(x, targets, predicted=predicted, fold=np.arange(len(x)) % 5, ids=ids, bond=BOND)
    assert found is not None
    return found


def test_it_gives_its_reasons_in_words() -> None:
    x, labels, probabilities = made()
    judge = replace(judge_of(x, labels, probabilities), conformal=Conformal(0.9, 0.75, (None,) * 3, 300, 0.02))
    strange = x[:3].copy()
    strange[0, 9] = 30.0
    new = np.array([[0.98, 0.01, 0.01], [0.3, 0.65, 0.05], [0.98, 0.01, 0.01]])

    def reasons(when: str) -> tuple[str, ...]:
        return judge.verdict(strange, new, labels=LABELS, judging=Judging(abstain=when)).reasons

    assert reasons("any")[0] == "unlike the training data: further from it than 99.6 % of held-out samples"
    assert reasons("any")[1:] == ("2 labels are possible at 90 % coverage: bee, ant", "")
    assert [bool(reason) for reason in reasons("outlier")] == [True, False, False]
    assert [bool(reason) for reason in reasons("unsure")] == [False, True, False]
    assert reasons("") == ("", "", "")
    with pytest.raises(UsageError, match=r"'unsur'\. Did you mean 'unsure'"):
        reasons("unsur")


def test_both_reasons_are_given_and_many_labels_are_cut() -> None:
    x, labels, _ = made()
    judge = replace(
        judge_of(x, labels, np.full((300, 3), 1 / 3)), conformal=Conformal(0.8, 1.0, (None,) * 8, 300, 0.02)
    )
    new, names = np.full((1, 8), 1 / 8), tuple("abcdefgh")
    far = np.full((1, 10), 40.0)
    (reason,) = judge.verdict(far, new, labels=names, judging=Judging(abstain="any")).reasons
    assert reason.startswith("unlike the training data")
    assert reason.endswith("; 8 labels are possible at 80 % coverage: a, b, c, d, e and 3 more")


def test_what_a_rule_chose_is_in_the_set() -> None:
    x, labels, probabilities = made()
    judge = replace(judge_of(x, labels, probabilities), conformal=Conformal(0.9, 0.1, (None,) * 3, 300, 0.02))
    new = np.array([[0.95, 0.04, 0.01]])
    assert judge.verdict(x[:1], new, labels=LABELS).names(0) == ("ant",)
    assert judge.verdict(x[:1], new, labels=LABELS, chosen=np.array([2])).names(0) == ("ant", "wasp")


def test_values_have_intervals_and_tags_have_outliers_only() -> None:
    x, _, _ = made()
    values = x[:, :1].astype(np.float64)
    judge = judge_of(x, values[:, 0] + np.random.default_rng(1).standard_normal(300), values)
    said = judge.verdict(x[:5], values[:5], labels=())
    assert said.sets is None
    assert said.intervals is not None
    assert said.intervals.mean(axis=1) == pytest.approx(values[:5, 0])
    assert said.judgement(0).interval == pytest.approx(
        (values[0, 0] - judge.conformal.quantile, values[0, 0] + judge.conformal.quantile)
    )  # type: ignore[union-attr]
    assert "intervals of ±" in judge.sentence
    assert set(judged(said, values[:5, 0], outcomes={})) == {"coverage", "interval_width", "outliers", "abstained"}
    tags = judge_of(x, np.ones((300, 2), bool), np.ones((300, 2)))
    said = tags.verdict(x[:5], np.ones((5, 2)), labels=("a", "b"))
    assert (said.sets, said.intervals, tags.sentence) == (None, None, "")
    assert said.judgement(0).outlier is not None
    assert tags.neighbours is not None
    assert set(tags.neighbours.labels.tolist()) == {-1}


def test_what_it_is_worth_is_counted() -> None:
    x, labels, probabilities = made()
    judge = judge_of(x, labels, probabilities)
    said = judge.verdict(x, probabilities, labels=LABELS, judging=Judging(abstain="any"))
    hit = (probabilities.argmax(axis=1) == labels).astype(float)
    figures = judged(said, labels, outcomes={"accuracy": hit})
    assert said.sets is not None
    assert figures["coverage"].value == said.sets[np.arange(300), labels].mean() >= 0.9
    assert figures["set_size"].value == said.sets.sum() / 300
    answered = np.array([reason == "" for reason in said.reasons])
    assert figures["abstained"].value == pytest.approx(1 - answered.mean())
    assert figures["accuracy_of_answers"].value == pytest.approx(hit[answered].mean())
    assert figures["accuracy_of_answers"].value > hit.mean()


def test_of_many_rows_a_sample_is_stored_with_all_of_a_rare_class() -> None:
    n = MOST_ROWS + 500
    rng = np.random.default_rng(0)
    labels = (np.arange(n) % 350 == 0).astype(np.int64)
    x = rng.standard_normal((n, 4)).astype(np.float32)
    judge = judge_of(x, labels, np.full((n, 2), 0.5))
    near = judge.neighbours
    assert near is not None
    assert near.rows.shape == (MOST_ROWS, 4)
    assert (near.labels == 1).sum() == labels.sum()
    assert [labels[int(name[6:-4])] for name in near.ids] == near.labels.tolist()
    assert np.linalg.norm(near.rows, axis=1) == pytest.approx(1, abs=1e-3)


def test_it_travels_in_the_directory(fitted: hs.Model, tmp_path: Path) -> None:
    again = hs.load(fitted.save(tmp_path / "model"))
    assert fitted.judge is not None
    assert again.judge is not None
    assert again.judge.conformal == fitted.judge.conformal
    assert again.judge.bond == fitted.judge.bond
    one, other = fitted.judge.neighbours, again.judge.neighbours
    assert one is not None
    assert other is not None
    assert one.ids == other.ids
    assert one.ids[0].startswith("reviews.csv:")
    x = np.random.default_rng(0).standard_normal((20, fitted.backbone.specs[0].dim))
    assert np.array_equal(fitted.judge.outliers.scores(x), again.judge.outliers.scores(x))  # type: ignore[union-attr]
    texts = ["a splendid , warm film", "zzz qqq 17"]
    judging = Judging(abstain="any")
    assert again.predict(texts, judging=judging) == fitted.predict(texts, judging=judging)
    card = (tmp_path / "model" / "README.md").read_text("utf-8")
    assert "sets of labels hold the truth in 90 % of cases" in card


def test_another_head_takes_the_sets_away(fitted: hs.Model, tmp_path: Path) -> None:
    assert isinstance(fitted.head, Linear)
    other = replace(fitted.head, weight=fitted.head.weight * np.float32(2))
    changed = fitted.with_head(other, 1.0)
    assert changed.judge is not None
    assert changed.judge.conformal is None
    assert changed.judge.neighbours is not None
    (answer,) = changed.predict(["a splendid film"])
    assert answer["set"] is None
    assert answer["outlier"] is not None
    assert hs.load(changed.save(tmp_path / "model")).judge is not None


@pytest.mark.parametrize("part", ["head", "temperature"])
def test_a_stale_judge_is_never_used(fitted: hs.Model, tmp_path: Path, part: str) -> None:
    assert isinstance(fitted.head, Linear)
    head = replace(fitted.head, bias=fitted.head.bias + 0.1)
    stale = replace(fitted, head=head) if part == "head" else replace(fitted, temperature=2 * fitted.temperature)
    sentence = "judge was fitted for another head, temperature or backbone"
    with pytest.raises(ModelError, match=sentence):
        stale.predict(["a splendid film"])
    with pytest.raises(ModelError, match=sentence):
        stale.save(tmp_path / "model")
    with pytest.raises(ModelError, match=sentence):
        fitted.with_head(head, 1.0, judge=fitted.judge)


def test_rows_of_another_backbone_are_another_bond(fitted: hs.Model) -> None:
    (spec,) = fitted.backbone.specs
    ways = ([spec], [replace(spec, layer="1")], [replace(spec, precision="bfloat16")])
    one, layer, precision = (
        Bond.of(fitted.head, temperature=fitted.temperature, specs=specs, precision="float32") for specs in ways
    )
    assert one == fitted.bond
    assert (layer.head == one.head, layer.backbone == one.backbone) == (False, False)
    assert precision == one


def test_a_model_without_a_judge_says_so(fitted: hs.Model) -> None:
    bare = replace(fitted, judge=None)
    (answer,) = bare.predict(["a splendid film"])
    assert {answer[key] for key in ("set", "outlier", "abstain")} == {None}
    with pytest.raises(UsageError, match="carries no judge"):
        bare.predict(["a splendid film"], judging=Judging(abstain="any"))


def test_coverage_is_a_share(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="coverage is a share between 0 and 1"):
        hs.fit(reviews(tmp_path / "r.csv"), backbone="toy:text", options=hs.FitOptions(coverage=1.0))


def test_it_needs_no_torch(tmp_path: Path) -> None:
    x, labels, probabilities = made()
    np.savez(tmp_path / "made.npz", x=x, labels=labels, probabilities=probabilities)
    code = f"""
import sys
for heavy in ("torch", "sklearn", "scipy", "pyarrow"):
    sys.modules[heavy] = None
import json, numpy as np
from headstart.model.judge import Bond, Judging, fit_judge
made = np.load({str(tmp_path / "made.npz")!r})
judge = fit_judge(made["x"], made["labels"], predicted=made["probabilities"], fold=np.arange(300) % 5,
                  ids=[str(i) for i in range(300)], bond=Bond("", ""))
said = judge.verdict(made["x"], made["probabilities"], labels=("ant", "bee", "wasp"), judging=Judging(abstain="any"))
print(json.dumps(list(said.reasons)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    here = judge_of(x, labels, probabilities)
    said = here.verdict(x, probabilities, labels=LABELS, judging=Judging(abstain="any"))
    assert json.loads(done.stdout) == list(said.reasons)
