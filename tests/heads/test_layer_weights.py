"""Learned weights over layers: the folding, the layer that they find, the penalty, and what is refused."""

import numpy as np
import pytest

from headstart.core.errors import UsageError
from headstart.evaluation.calibration import log_losses
from headstart.heads.fitted import Linear
from headstart.heads.layer_weights import LayerWeights, Mixtures
from headstart.heads.logistic import Logistic
from headstart.heads.selection import Selection, check, parse, select
from headstart.heads.statistics import make_study
from headstart.tasks.task import Targets
from support.planted import blobs, tags, turns, values


def among_noise(signal: np.ndarray, *, layers: int, at: int, seed: int = 7) -> np.ndarray:
    """Rows of several layers of one width, of which one carries the signal and the others are noise in larger units."""
    rng, (n, width) = np.random.default_rng(seed), signal.shape
    parts = [10.0 * (place + 1) * rng.standard_normal((n, width)) - 30 for place in range(layers)]
    parts[at] = signal
    return np.concatenate(parts, axis=1).astype(np.float32)


def chosen(x: np.ndarray, y: Targets, recipe: str) -> tuple[Selection, LayerWeights]:
    selection = select(x, y, fold=turns(len(x)), recipe=parse(recipe))
    settled = parse(selection.recipe)
    assert isinstance(settled, LayerWeights)
    return selection, settled


@pytest.mark.parametrize(("n", "width"), [(300, 8), (40, 30)])
def test_the_layers_and_their_weights_fold_into_one_linear_head(n: int, width: int) -> None:
    x, y = blobs(n, 3 * width, gap=1.5)
    weights, penalty = (0.1, 0.3, 0.6), 1e-3
    head = LayerWeights(layers=3, penalty=penalty, weights=weights).fit(x, y)
    assert isinstance(head, Linear)
    layers = x.astype(np.float64).reshape(n, 3, width)
    centred = layers - layers.mean(axis=0)
    unit = centred / np.sqrt((centred**2).sum(axis=(0, 2)) / n)[:, None]
    mixed = np.einsum("l,nlw->nw", weights, unit)
    plain = Logistic(penalty=penalty).fit(mixed, y)
    np.testing.assert_allclose(head.scores(x), plain.scores(mixed), atol=5e-3)
    assert isinstance(plain, Linear)
    scales = np.sqrt((centred**2).sum(axis=(0, 2)) / n)
    for place, block in enumerate(np.split(head.weight, 3)):
        np.testing.assert_allclose(block, weights[place] / scales[place] * plain.weight, atol=5e-3 / scales[place])


@pytest.mark.parametrize("at", [0, 2])
def test_the_layer_that_carries_the_signal_gets_the_weight(at: int) -> None:
    signal, y = blobs(400, 6, gap=2.0)
    _, settled = chosen(among_noise(signal, layers=4, at=at), y, "layer_weights(layers=4)")
    assert settled.weights is not None
    assert settled.weights[at] > 0.8
    assert sum(settled.weights) == pytest.approx(1.0, abs=1e-3)
    assert settled.penalty is not None


def test_layers_that_know_different_things_share_the_weight() -> None:
    signal, y = blobs(400, 8, gap=2.0, seed=4)
    noise, half = np.random.default_rng(4).standard_normal((2, *signal.shape)), np.arange(8) < 4
    unit = (signal - signal.mean(axis=0)) / signal.std()
    layers = (unit * half + 0.3 * noise[0], unit * ~half + 0.3 * noise[1])
    selection, settled = chosen(np.concatenate(layers, axis=1), y, "layer_weights(layers=2)")
    assert settled.weights is not None
    assert min(settled.weights) > 0.3
    both = min(one.log_loss for one in selection.candidates)
    for layer in layers:
        alone = select(layer, y, fold=turns(400), recipe=parse("logistic"))
        assert both < min(one.log_loss for one in alone.candidates)


def test_the_penalty_is_cross_validated() -> None:
    signal, y = blobs(400, 6, gap=1.5)
    x = among_noise(signal, layers=3, at=1)
    selection, _ = chosen(x, y, "layer_weights(layers=3)")
    assert len(selection.candidates) > 2
    best = min(selection.candidates, key=lambda one: one.log_loss)
    assert best.note == "shipped"
    assert best.recipe == selection.recipe
    told = log_losses(selection.oof_scores, y.values, temperature=selection.temperature, link="softmax").mean()
    plain = select(x, y, fold=turns(len(x)), recipe=parse("logistic"))
    assert told <= min(one.log_loss for one in plain.candidates)
    assert isinstance(selection.head, Linear)
    assert (selection.head.scores(x).argmax(axis=1) == y.values).mean() > 0.8


def test_several_labels_a_sample() -> None:
    signal, y = tags(400, 6)
    x = among_noise(signal, layers=3, at=2)
    selection, settled = chosen(x, y, "layer_weights(layers=3)")
    assert settled.weights is not None
    assert settled.weights[2] > 0.8
    assert selection.head.link == "sigmoid"
    assert ((selection.oof_scores > 0) == y.values).mean() > 0.85
    assert ((selection.head.scores(x) > 0) == y.values).mean() > 0.9


@pytest.mark.parametrize(("link", "n", "width"), [("softmax", 60, 4), ("sigmoid", 60, 4), ("softmax", 20, 30)])
def test_the_gradient_is_the_slope_of_the_value(link: str, n: int, width: int) -> None:
    import torch

    x, y = blobs(n, 3 * width) if link == "softmax" else tags(n, 3 * width)
    mixtures = Mixtures.of(make_study(x, y, fold=turns(n)), 3)
    at = mixtures.start()
    at += 0.5 * torch.from_numpy(np.random.default_rng(0).standard_normal(at.shape)).to(at)
    gradient = mixtures.value_and_gradient(at, 0.01)[1]
    step = torch.from_numpy(np.random.default_rng(1).standard_normal(at.shape)).to(at)
    ahead, behind = (mixtures.value_and_gradient(at + sign * 1e-2 * step, 0.01)[0] for sign in (1, -1))
    np.testing.assert_allclose(
        ((ahead - behind) / 2e-2).cpu(), (gradient * step).sum(dim=1).cpu(), rtol=5e-3, atol=5e-3
    )


def test_out_of_fold_rows_are_scored_by_weights_that_never_saw_them() -> None:
    signal, y = blobs(60, 40, gap=0.0)
    selection, _ = chosen(among_noise(signal, layers=2, at=0), y, "layer_weights(layers=2)")
    assert (selection.oof_scores.argmax(axis=1) == y.values).mean() < 0.6


def test_more_columns_than_rows_are_scored_out_of_fold_in_their_own_columns() -> None:
    signal, y = blobs(60, 40, k=2, gap=12.0)
    selection, _ = chosen(among_noise(signal, layers=2, at=0), y, "layer_weights(layers=2)")
    assert (selection.oof_scores.argmax(axis=1) == y.values).mean() > 0.9


def test_a_layer_without_spread_does_no_harm() -> None:
    x, y = blobs(200, 6)
    both = np.concatenate([np.full_like(x, 3.0), x], axis=1)
    selection, _ = chosen(both, y, "layer_weights(layers=2, penalty=0.001)")
    assert np.isfinite(selection.oof_scores).all()
    assert (selection.head.scores(both).argmax(axis=1) == y.values).mean() > 0.7


def test_auto_does_not_try_it_unasked() -> None:
    x, y = blobs(300, 10)
    selection = select(x, y, fold=turns(300))
    assert "layer_weights" not in {one.family for one in selection.candidates}
    assert not any("layer_weights" in note for note in selection.notes)


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ("layer_weights", "layer_weights needs the option 'layers'"),
        ("layer_weights(layers=1)", "layer_weights takes for 'layers' a whole number from 2 up, and got 1"),
        ("layer_weights(layers=2.0)", "layer_weights takes for 'layers' a whole number from 2 up, and got 2.0"),
        ("layer_weights(layers=2, penalty=-1)", "layer_weights takes for 'penalty' a positive number, and got -1"),
        (
            "layer_weights(layers=2, weights=(1, 2, 3))",
            "takes for 'weights' one number a layer, from 0 up and not all 0",
        ),
        ("layer_weights(layers=2, weights=(2, -1))", "takes for 'weights' one number a layer, from 0 up and not all 0"),
        ("layer_weights(layers=2, weights=1)", "takes for 'weights' one number a layer, from 0 up and not all 0"),
        ("layer_weights(layers=2, weights=(0, 0))", "takes for 'weights' one number a layer, from 0 up and not all 0"),
    ],
)
def test_what_it_cannot_be_is_refused_before_anything_is_extracted(recipe: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        check(parse(recipe), "single_label")
    assert sentence in str(refused.value)


@pytest.mark.parametrize("options", ["layers=5", "layers=5, penalty=0.1, weights=(1, 1, 1, 1, 1)"])
def test_layers_that_do_not_divide_the_width_are_refused(options: str) -> None:
    x, y = blobs(60, 12)
    with pytest.raises(
        UsageError, match="5 layers of one width side by side, and the rows have 12 columns: set layers"
    ):
        parse(f"layer_weights({options})").fit(x, y)


def test_values_are_for_another_head() -> None:
    x, y = values()
    with pytest.raises(UsageError, match="fits single_label and multi_label"):
        parse("layer_weights(layers=2)").fit(x, y)
