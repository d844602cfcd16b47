"""Each loss against its formula written once more in NumPy, its gradient against differences and autograd, and what it does to a fit."""

import numpy as np
import pytest
import torch

from headstart.core.errors import UsageError
from headstart.heads.losses import LOSSES, class_weights, effective_number, objective

COUNTS = np.array([60, 25, 5])


def some(n: int = 7, *, k: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return 2 * rng.standard_normal((n, k)), rng.integers(0, k, n)


def by_hand(name: str, scores: np.ndarray, classes: np.ndarray, smoothing: float = 0.0) -> np.ndarray:
    n, k = scores.shape
    if name == "balanced_softmax":
        scores = scores + np.log(COUNTS / COUNTS.sum())
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    own = p[np.arange(n), classes]
    if name == "focal":
        return -((1 - own) ** 2) * np.log(own)
    target = (1 - smoothing) * np.eye(k)[classes] + smoothing / k
    weights = np.ones(k)
    if name == "class_weights":
        weights = np.array([90 / (3 * 60), 90 / (3 * 25), 90 / (3 * 5)])
    if name == "effective_number":
        weights = np.array([0.001 / (1 - 0.999**60), 0.001 / (1 - 0.999**25), 0.001 / (1 - 0.999**5)])
        weights *= 90 / (weights @ COUNTS)
    return -(target * np.log(p)).sum(axis=1) * weights[classes]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_its_formula(name: str, smoothing: float) -> None:
    smoothing = 0.0 if name == "focal" else smoothing
    scores, classes = some()
    expected = by_hand(name, scores, classes, smoothing)
    ours = objective(name, COUNTS, smoothing=smoothing)
    at = torch.from_numpy(scores), torch.from_numpy(classes)
    np.testing.assert_allclose(ours.losses(*at), expected, rtol=1e-10)
    np.testing.assert_allclose(ours.value_and_gradient(*at)[0], expected, rtol=1e-10)
    rows = torch.arange(7.0)
    np.testing.assert_allclose(ours.losses(*at, weights=rows), expected * np.arange(7), rtol=1e-6)


@pytest.mark.parametrize("kind", [torch.float64, torch.float32])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_is_that_of_autograd_and_of_differences(name: str, smoothing: float, kind: torch.dtype) -> None:
    ours = objective(name, COUNTS, smoothing=0.0 if name == "focal" else smoothing)
    scores, classes = some()
    at, index = torch.tensor(scores, dtype=kind, requires_grad=True), torch.from_numpy(classes)
    value, gradient = ours.value_and_gradient(at.detach(), index)
    assert value.dtype == gradient.dtype == kind
    (automatic,) = torch.autograd.grad(ours.losses(at, index).sum(), at)
    np.testing.assert_allclose(gradient, automatic, atol=1e-12 if kind is torch.float64 else 1e-5)
    if kind is torch.float64:
        for j in range(3):
            step = 1e-6 * np.eye(3)[j]
            ahead, behind = (ours.losses(torch.from_numpy(scores + s * step), index).numpy() for s in (1, -1))
            np.testing.assert_allclose(gradient[:, j], (ahead - behind) / 2e-6, atol=1e-7)


@pytest.mark.parametrize("name", LOSSES)
def test_several_sets_of_rows_side_by_side_are_each_alone(name: str) -> None:
    counts = np.array([COUNTS, [10, 20, 30]])
    scores, classes = some(14)
    both = torch.from_numpy(scores.reshape(7, 2, 3))
    index = torch.from_numpy(classes[:7])
    losses, gradient = objective(name, counts).value_and_gradient(both, index[:, None])
    assert losses.shape == (7, 2)
    for i in (0, 1):
        alone = objective(name, counts[i]).value_and_gradient(both[:, i], index)
        np.testing.assert_allclose(losses[:, i], alone[0])
        np.testing.assert_allclose(gradient[:, i], alone[1])


@pytest.mark.parametrize("name", LOSSES)
def test_far_scores_and_a_class_without_rows_stay_finite(name: str) -> None:
    ours = objective(name, np.array([80, 10, 0]))
    scores = torch.tensor([[300.0, 0, 0], [-300.0, 0, 0]], requires_grad=True)
    index = torch.tensor([0, 0])
    for part in ours.value_and_gradient(scores.detach(), index):
        assert torch.isfinite(part).all()
    ours.losses(scores, index).sum().backward()
    assert torch.isfinite(scores.grad).all()


def test_the_mean_row_weighs_one() -> None:
    for weights in (class_weights(COUNTS), effective_number(COUNTS)):
        assert weights @ COUNTS == pytest.approx(COUNTS.sum())
        assert (np.diff(weights) > 0).all()
    np.testing.assert_allclose(effective_number(COUNTS, beta=1 - 1e-9), class_weights(COUNTS), rtol=1e-4)


def test_only_balanced_softmax_has_a_way_back_to_the_training_prior() -> None:
    np.testing.assert_allclose(objective("balanced_softmax", COUNTS).shift, np.log(COUNTS / 90))
    for name in set(LOSSES) - {"balanced_softmax"}:
        assert not objective(name, COUNTS).shift.any()


def test_what_is_no_loss_is_one_sentence() -> None:
    with pytest.raises(UsageError, match=r"there is none called 'fokal'\. Did you mean 'focal'"):
        objective("fokal", COUNTS)
    with pytest.raises(UsageError, match=r"takes no smoothed targets: set smoothing=0\.0"):
        objective("focal", COUNTS, smoothing=0.1)
    with pytest.raises(UsageError, match=r"from 0 to below 1, and 1\.0 is none"):
        objective("cross_entropy", COUNTS, smoothing=1.0)
