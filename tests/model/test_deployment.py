"""Probabilities under the class shares of another place."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart.core.errors import DataError, ModelError, UsageError
from headstart.evaluation.decision import shift_prior
from headstart.model.deployment import AT_OWN_SHARES, read_prior
from support.made import reviews

LABELS = ("a", "b")


def test_shares_are_shifted_as_bayes_says() -> None:
    rng = np.random.default_rng(0)
    likelihood = rng.random((50, 3))
    prior, deployed = np.array([0.8, 0.15, 0.05]), np.array([0.2, 0.3, 0.5])

    def posterior(shares: np.ndarray) -> np.ndarray:
        joint = likelihood * shares
        return joint / joint.sum(axis=1, keepdims=True)

    assert np.allclose(shift_prior(posterior(prior), prior=prior, deployed=deployed), posterior(deployed))
    assert np.allclose(shift_prior(posterior(prior), prior=prior, deployed=prior), posterior(prior))


def test_shares_are_read_from_text_and_file(tmp_path: Path) -> None:
    (tmp_path / "shares.csv").write_text("label,share\nb,0.7\na,0.3\n", encoding="utf-8")
    for text in ("a=0.3,b=0.7", " b = 0.7, a=0.3", str(tmp_path / "shares.csv")):
        assert read_prior(text, task="single_label", labels=LABELS) == pytest.approx((0.3, 0.7))
    assert read_prior("", task="regression", labels=()) is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a=0.3,c=0.7", "names 'c', which is no label. There are: a, b."),
        ("a=1.0", "has to give 'a' a share between 0 and 1, and gives '1.0'"),
        ("a=0.5", "has to give every label a share, and lacks 'b'"),
        ("a=0.5,a=0.5", "names 'a' twice"),
        ("a=much,b=0.5", "has to give 'a' a share between 0 and 1, and gives 'much'"),
        ("a=0.5,b=0.6", "have to add up to 1, and add up to 1.1"),
    ],
)
def test_shares_that_are_none_are_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=re.escape(sentence)):
        read_prior(text, task="single_label", labels=LABELS)


def test_a_task_without_shares_and_a_missing_file_are_one_sentence() -> None:
    with pytest.raises(UsageError, match="of which a sample has one, and the task is regression: leave it away"):
        read_prior("a=0.5,b=0.5", task="regression", labels=())
    with pytest.raises(DataError, match=r"written a=0.3,b=0.7 or as a CSV file, and none.csv cannot be read as one"):
        read_prior("none.csv", task="single_label", labels=LABELS)


def test_a_model_answers_under_the_shares_where_it_is_used(tmp_path: Path) -> None:
    data = reviews(tmp_path / "reviews.csv", n=60)
    plain = hs.fit(data, backbone="toy:text")
    first, second = plain.labels
    options = hs.FitOptions(deployment_prior=f"{first}=0.1,{second}=0.9")
    model = hs.fit(data, backbone="toy:text", options=options)
    assert model.deployment_prior == pytest.approx((0.1, 0.9))
    assert AT_OWN_SHARES in model.report.notes
    model.save(tmp_path / "model")
    loaded = hs.load(tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text("utf-8")
    assert "Probabilities are under these class shares" in card
    measured = card.split("## Measured", 1)[1].split("\n## ", 1)[0]
    assert "figures of samples at their own class shares, log-loss and calibration error too" in measured
    assert "out of fold, at the class shares of the training samples" in card
    texts = ["a splendid , warm and clever film", "dull , cold and grim"]
    for before, after in zip(hs.predict(plain, texts), hs.predict(loaded, texts), strict=True):
        p = np.array([[before["probabilities"][label] for label in plain.labels]])
        expected = shift_prior(p, prior=np.array(plain.prior), deployed=np.array([0.1, 0.9]))[0]
        assert [after["probabilities"][label] for label in plain.labels] == pytest.approx(expected.tolist())
    report = hs.evaluate(loaded, data)
    assert report.n == 60
    assert AT_OWN_SHARES in report.warnings
    assert AT_OWN_SHARES not in hs.evaluate(plain, data).warnings
    again = hs.fit(data, backbone="toy:text", options=replace(options, optimise="balanced"))
    assert again.rule.offsets is not None
    assert again.rule.offsets[0] - again.rule.offsets[1] == pytest.approx(np.log(9) * _tau(again))
    with pytest.raises(UsageError, match="macro_f1 is chosen on samples at their own class shares"):
        hs.fit(data, backbone="toy:text", options=replace(options, optimise="macro_f1"))


def _tau(model: hs.Model) -> float:
    assert model.rule.offsets is not None
    assert model.deployment_prior is not None
    tau = -model.rule.offsets[0] / np.log(model.deployment_prior[0])
    assert min(abs(tau - known) for known in (0.5, 0.75, 1.0, 1.25)) < 1e-9
    return float(tau)


def test_a_manifest_without_the_key_loads_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    hs.fit(reviews(tmp_path / "reviews.csv"), backbone="toy:text").save(tmp_path / "model")

    def changed(name: str, change: dict[str, object]) -> Path:
        folder = Path(shutil.copytree(tmp_path / "model", tmp_path / name))
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        del manifest["deployment_prior"]
        (folder / "manifest.json").write_text(json.dumps(manifest | change), encoding="utf-8")
        return folder

    assert hs.load(changed("early", {"format": 0})).deployment_prior is None
    for name, shares, sentence in (
        ("short", [1.0], "a share between 0 and 1 for each label"),
        ("much", [0.5, 0.6], "has to add up to 1, and adds up to 1.1"),
        ("text", "a=0.5", "values of the wrong type for deployment_prior"),
    ):
        with pytest.raises(ModelError, match=sentence):
            hs.load(changed(name, {"deployment_prior": shares}))
