"""Decision rules: what each aim chooses, that no probability changes, and one sentence for what cannot be."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, recall_score

import headstart as hs
from headstart.core.errors import DataError, FitError, ModelError, UsageError
from headstart.model.aim import check, decide, parse, read_costs
from headstart.model.rule import MOST_PROBABLE, Rule
from support.made import reviews

LABELS = ("common", "medium", "rare")


def uneven(*, n: int = 1200, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Calibrated probabilities of three classes at 0.90, 0.08 and 0.02, their truths, and folds."""
    rng = np.random.default_rng(seed)
    prior = np.array([0.9, 0.08, 0.02])
    y = rng.choice(3, n, p=prior)
    z = rng.standard_normal((n, 3)) + 1.5 * np.eye(3)[y]
    p = prior * np.exp(1.5 * z)
    return p / p.sum(axis=1, keepdims=True), y, np.arange(n) % 5


def test_balanced_and_macro_f1_reach_what_they_aim_for() -> None:
    p, y, fold = uneven()
    new, truth, _ = uneven(seed=1)
    plain = p.argmax(axis=1)
    balanced = decide(parse("balanced"), p, targets=y, fold=fold, labels=LABELS)
    assert balanced.rule.name == "balanced"
    after = balanced_accuracy_score(truth, balanced.rule.choose(new))
    assert after > balanced_accuracy_score(truth, new.argmax(axis=1)) + 0.1
    macro = decide(parse("macro_f1"), p, targets=y, fold=fold, labels=LABELS)
    own = f1_score(y, macro.rule.choose(p), average="macro")
    assert own > f1_score(y, plain, average="macro") + 0.02
    assert own >= f1_score(y, balanced.rule.choose(p), average="macro")
    assert f1_score(truth, macro.rule.choose(new), average="macro") > f1_score(
        truth, new.argmax(axis=1), average="macro"
    )


def test_a_recall_is_reached_by_the_smallest_offset_and_its_cost_is_told() -> None:
    p, y, fold = uneven()
    found = decide(parse("recall>=0.9:rare"), p, targets=y, fold=fold, labels=LABELS)
    assert found.rule.offsets is not None
    assert found.rule.offsets[:2] == (0.0, 0.0)
    assert recall_score(y, found.rule.choose(p), labels=[2], average=None)[0] >= 0.9
    less = Rule(found.rule.name, offsets=(0.0, 0.0, found.rule.offsets[2] - 1e-6))
    assert recall_score(y, less.choose(p), labels=[2], average=None)[0] < 0.9
    assert "out of fold its recall goes from" in found.notes[0]
    assert "and the share of the other samples answered rightly from" in found.notes[0]
    easy = decide(parse("recall>=0.1:common"), p, targets=y, fold=fold, labels=LABELS)
    assert easy.rule.offsets == (0.0, 0.0, 0.0)


def test_the_decisions_of_the_report_owe_nothing_to_their_own_fold() -> None:
    p, y, fold = uneven()
    found = decide(parse("macro_f1"), p, targets=y, fold=fold, labels=LABELS)
    inside = fold == 3
    others = decide(parse("macro_f1"), p[~inside], targets=y[~inside], fold=fold[~inside], labels=LABELS)
    assert np.array_equal(found.chosen[inside], others.rule.choose(p[inside]))


def test_a_recall_out_of_reach_is_one_sentence() -> None:
    p, y = np.tile([0.9, 0.1], (10, 1)), np.array([0] * 8 + [1] * 2)
    with pytest.raises(
        FitError, match="is reached out of fold only by answering it always: ask for less, or add samples of it"
    ):
        decide(parse("recall>=0.5:b"), p, targets=y, fold=np.arange(10) % 2, labels=("a", "b"))


def test_accuracy_is_the_most_probable_label() -> None:
    p, y, fold = uneven()
    found = decide(parse("accuracy"), p, targets=y, fold=fold, labels=LABELS)
    assert found.rule == Rule()
    assert np.array_equal(found.chosen, p.argmax(axis=1))


def test_costs_are_read_in_the_order_of_the_labels(tmp_path: Path) -> None:
    (tmp_path / "costs.csv").write_text("truth,b,a\nb,0,10\na,1,0\n", encoding="utf-8")
    assert read_costs(tmp_path / "costs.csv", labels=("a", "b")) == ((0.0, 1.0), (10.0, 0.0))
    aim = parse(f"cost={tmp_path / 'costs.csv'}")
    p = np.array([[0.95, 0.05], [0.8, 0.2]])
    found = decide(aim, p, targets=np.array([0, 1]), fold=np.array([0, 1]), labels=("a", "b"))
    assert found.chosen.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            "t,a,b\na,0,1\nc,1,0\n",
            "the rows of costs.csv name the class 'c', which the data does not have. There are: a, b.",
        ),
        ("t,a\na,0\nb,1\n", "the columns of costs.csv have to name every class once, and lack 'b'"),
        ("t,a,b,b\na,0,1,1\nb,1,0,0\n", "the columns of costs.csv have to name every class once, and name one twice"),
        (
            "t,a,b\na,0,-1\nb,1,0\n",
            "costs.csv has to hold a number from 0 up for 'b' where the truth is 'a', and holds '-1'",
        ),
        ("t,a,b\na,0,much\nb,1,0\n", "for 'b' where the truth is 'a', and holds 'much'"),
        ("t,a,b\na,0\nb,1,0\n", "for 'b' where the truth is 'a', and holds ''"),
        ("t,a,b\na,2,1\nb,1,0\n", "costs.csv has to hold 0 where 'a' is answered rightly, and holds '2'"),
        ("", "the columns of costs.csv have to name every class once, and lack 'a'"),
    ],
)
def test_a_file_of_costs_that_cannot_be_used_is_one_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "costs.csv").write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        check(parse(f"cost={tmp_path / 'costs.csv'}"), task="single_label", labels=("a", "b"))
    assert sentence in str(caught.value)


def test_there_is_no_file_of_costs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the costs none\.csv cannot be read as a CSV file in UTF-8: .*No such file"):
        read_costs(tmp_path / "none.csv", labels=("a", "b"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("balancd", r"and got 'balancd'. Did you mean 'balanced'\?"),
        (
            "speed",
            "can be optimised for accuracy, balanced, macro_f1, recall>=0.95:LABEL or cost=FILE.csv, and got 'speed'",
        ),
        (
            "recall>=1.5:X",
            "a recall to reach is a share above 0 and at most 1 and a label, such as recall>=0.95:WBC, and got",
        ),
        ("recall>=much:X", "a recall to reach is a share"),
        ("recall>=0.5", "a recall to reach is a share"),
        ("cost=", "and got 'cost='"),
    ],
)
def test_an_aim_that_there_is_not_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        parse(text)


def test_an_aim_that_the_data_cannot_serve_is_one_sentence() -> None:
    with pytest.raises(UsageError, match=r"there is no label 'WBD' to reach a recall for. Did you mean 'WBC'\?"):
        check(parse("recall>=0.9:WBD"), task="single_label", labels=("RBC", "WBC"))
    for task in ("regression", "multi_label"):
        with pytest.raises(UsageError, match=f"of which a sample has one, and the task is {task}: leave it away"):
            check(parse("balanced"), task=task, labels=())


def test_a_rule_is_the_same_after_json() -> None:
    for rule in (
        Rule(),
        Rule("balanced", offsets=(0.5, -1.0)),
        Rule("cost=costs.csv", costs=((0.0, 1.0), (2.0, 0.0))),
    ):
        assert Rule.from_json(json.loads(json.dumps(rule.to_json())), labels=("a", "b")) == rule


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("balanced", "a decision rule that this version does not know"),
        ({"name": "balanced", "offsets": [0, 0]}, "has the keys name, offsets, costs"),
        ({"name": "balanced", "offsets": [0], "costs": None}, "has 1 offsets, and the model 2 labels"),
        ({"name": "balanced", "offsets": ["0", 1], "costs": None}, "values of the wrong type"),
        ({"name": "", "offsets": [0, 1], "costs": None}, "values of the wrong type"),
        ({"name": "balanced", "offsets": None, "costs": None}, "has to hold offsets or costs"),
        ({"name": MOST_PROBABLE, "offsets": [0, 1], "costs": None}, "and 'most probable' neither"),
        ({"name": "x", "offsets": [0, 1], "costs": [[0, 1], [1, 0]]}, "has to hold offsets or costs"),
        ({"name": "x", "offsets": None, "costs": [[0, 1]]}, "2 rows of 2 costs from 0 up"),
        ({"name": "x", "offsets": None, "costs": [[0, -1], [1, 0]]}, "2 rows of 2 costs from 0 up"),
    ],
)
def test_a_rule_that_is_none_is_refused(value: object, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        Rule.from_json(value, labels=("a", "b"))


def test_a_fit_decides_by_its_rule_and_leaves_the_probabilities_alone(tmp_path: Path) -> None:
    data = reviews(tmp_path / "reviews.csv", n=60)
    plain = hs.fit(data, backbone="toy:text")
    (tmp_path / "costs.csv").write_text(
        "t,bad,good\nbad,0,1\ngood,1000000,0\n".replace("bad", plain.labels[0]).replace("good", plain.labels[1]),
        encoding="utf-8",
    )
    aim = f"cost={tmp_path / 'costs.csv'}"
    model = hs.fit(data, backbone="toy:text", options=hs.FitOptions(optimise=aim))
    model.save(tmp_path / "model")
    loaded = hs.load(tmp_path / "model")
    assert loaded.rule == model.rule
    assert loaded.rule.name == "cost=costs.csv", "a model that is given away does not tell where its maker's files lie"
    texts = ["a splendid , warm and clever film", "dull , cold and grim"]
    before, after = hs.predict(plain, texts), hs.predict(loaded, texts)
    for one, two in zip(before, after, strict=True):
        assert two["probabilities"] == pytest.approx(one["probabilities"])
        assert two["label"] == model.labels[1]
        assert two["probability"] == two["probabilities"][two["label"]]
        assert two["rule"] == model.rule.name
        assert two["label"] in two["set"]
    figures, plainly = model.report.metrics, plain.report.metrics
    assert figures["log_loss"] == plainly["log_loss"]
    assert figures["calibration_error"] == plainly["calibration_error"]
    assert figures[f"recall.{model.labels[1]}"].value == 1.0
    assert figures["accuracy"].value < plainly["accuracy"].value
    assert hs.evaluate(loaded, data).metrics["accuracy"].value < hs.evaluate(plain, data).metrics["accuracy"].value
