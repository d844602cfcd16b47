"""A tuned model decides for what its frozen one was fitted for."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import headstart as hs
from headstart.core.errors import UsageError
from headstart.model.model import Model
from headstart.model.rule import Rule
from headstart.tuning.losses import LossOptions, loss_of
from headstart.verbs.tune import TuneOptions, tune
from support.tunable import network, stripes

STEPS = TuneOptions(steps=150, strategy="full(decay=1.0)", flip=False)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two level ones to one upright one."""
    data = stripes(tmp_path_factory.mktemp("uneven"), n=180)
    for place in sorted((data / "train" / "upright").iterdir())[90:]:
        place.unlink()
    return data


def fitted(data: Path, **chosen: object) -> Model:
    options = hs.FitOptions(backbone=network(), check=False)
    return hs.fit(data, options=replace(options, **chosen))  # type: ignore[arg-type]


def test_the_aim_and_the_deployment_prior_are_those_of_the_frozen_model(uneven: Path) -> None:
    model = fitted(uneven, optimise="balanced", deployment_prior="level=0.6,upright=0.4")
    found = tune(model, uneven, options=STEPS)
    assert found.shipped
    tuned = found.model
    assert tuned.rule.name == "balanced"
    assert tuned.deployment_prior == (0.6, 0.4)
    assert tuned.prior is not None
    assert tuned.prior[0] > 0.6
    assert hs.evaluate(tuned, uneven).metrics == tuned.report.metrics
    # What is compared are the networks: the same probabilities at the shares of the training samples, most probable answers.
    plain = tune(fitted(uneven), uneven, options=STEPS)
    assert plain.compared["accuracy"].a == found.compared["accuracy"].a
    assert plain.model.rule == Rule()


def test_costs_are_kept_without_their_file(uneven: Path, tmp_path: Path) -> None:
    (tmp_path / "costs.csv").write_text("truth,level,upright\nlevel,0,1\nupright,30,0\n")
    model = fitted(uneven, optimise=f"cost={tmp_path / 'costs.csv'}")
    (tmp_path / "costs.csv").unlink()
    found = tune(model, uneven, options=STEPS)
    assert found.shipped, found.sentence
    tuned = found.model
    assert tuned.rule == model.rule
    plain = tune(fitted(uneven), uneven, options=STEPS).model
    assert tuned.report.metrics["recall.upright"].value >= plain.report.metrics["recall.upright"].value
    assert tuned.report.metrics["log_loss"] == plain.report.metrics["log_loss"]  # a rule never alters a probability


def test_another_aim_can_be_asked_for(uneven: Path) -> None:
    found = tune(fitted(uneven), uneven, options=replace(STEPS, optimise="recall>=0.9:upright"))
    assert found.shipped
    assert found.model.rule.name == "recall>=0.9:upright"
    assert any("'upright' is answered more readily" in note for note in found.model.report.notes)


@pytest.mark.parametrize(
    ("optimise", "fit", "said"),
    [
        ("recall>=0.9:slanted", {}, "no label 'slanted'"),
        ("macro_f1", {"deployment_prior": "level=0.5,upright=0.5"}, "at their own class shares"),
    ],
)
def test_an_aim_that_cannot_be_served_is_refused_before_training(
    uneven: Path, optimise: str, fit: dict[str, str], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        tune(fitted(uneven, **fit), uneven, options=replace(STEPS, optimise=optimise))


def test_a_rule_of_other_labels_is_not_taken_over(uneven: Path, tmp_path: Path) -> None:
    model = fitted(uneven, optimise="balanced")
    shutil.copytree(uneven, tmp_path / "data")
    for part in ("train", "test"):
        shutil.copytree(tmp_path / "data" / part / "level", tmp_path / "data" / part / "slanted")
        for number, place in enumerate(sorted((tmp_path / "data" / part / "slanted").iterdir())):
            place.write_bytes(place.read_bytes() + bytes([number]))
    found = tune(model, tmp_path / "data", options=replace(STEPS, new_labels=True))
    assert found.shipped
    assert found.model.rule == Rule()
    assert any("are of other labels, and were not taken over" in note for note in found.model.report.notes)


def test_a_student_decides_for_what_its_teacher_was_fitted_for(uneven: Path) -> None:
    teacher = fitted(uneven, optimise="balanced", deployment_prior="level=0.5,upright=0.5")
    asked = hs.DistilOptions(student=network(), strategy="full(decay=1.0)", steps=20, looks=1, flip=False)
    found = hs.distil(teacher, uneven, options=asked)
    assert found.model.rule.name == "balanced"
    assert "the deployment prior of the teacher were not taken over: choose them for the student again" in found.notes


def test_adjusting_the_loss_by_the_prior_only_lowers_the_bias() -> None:
    """Why there is no logit-adjusted loss: its steps are those of cross-entropy (`headstart.tuning.losses`)."""
    rng = np.random.default_rng(0)
    x, y = torch.from_numpy(rng.normal(size=(64, 5))), torch.from_numpy((rng.random(64) < 0.2).astype(int))
    shift = torch.tensor([math.log(0.8), math.log(0.2)], dtype=torch.float64)
    loss, ends = loss_of("softmax", LossOptions()), []
    for adjusted in (False, True):
        weight = torch.zeros(5, 2, dtype=torch.float64, requires_grad=True)
        bias = (torch.tensor([1.0, -1.0], dtype=torch.float64) - (shift if adjusted else 0.0)).requires_grad_()
        groups = [{"params": [weight], "weight_decay": 0.1}, {"params": [bias], "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=0.05)
        for _ in range(50):
            optimizer.zero_grad()
            scores = x @ weight + bias + (shift if adjusted else 0.0)
            loss(scores, y, torch.ones(64, dtype=torch.float64)).backward()
            optimizer.step()
        ends.append((weight.detach(), bias.detach()))
    torch.testing.assert_close(ends[0][0], ends[1][0])
    torch.testing.assert_close(ends[0][1], ends[1][1] + shift)
