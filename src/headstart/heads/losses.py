"""What heads that are fitted by gradients may minimise, each from its formula; plain cross-entropy is the default.

A loss other than cross-entropy changes what scores mean. Balanced softmax fits scores of a uniform prior, so `Objective.shift`, the
logarithm of the training prior, is added to the bias after fitting: the probabilities are then of the training prior again, as every
model's are. Class weights, effective numbers and the focal loss have no such exact way back: their probabilities get their own
temperature like everybody's, and lean to rare classes, or to even shares, still.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from headstart.core.errors import UsageError, suggest

if TYPE_CHECKING:
    import torch

LOSSES = ("cross_entropy", "balanced_softmax", "class_weights", "effective_number", "focal")

GAMMA = 2.0
BETA = 0.999


def cross_entropy(
    scores: "torch.Tensor", classes: "torch.Tensor", *, smoothing: float = 0.0, weights: "torch.Tensor | None" = None
) -> "torch.Tensor":
    """`-sum_c t_c log p_c` with `t = (1 - smoothing) onehot + smoothing / k`.

    Source: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, 2016, section 7.

    Args:
        scores: (..., k), before the softmax.
        classes: (...,) indices.
        smoothing: the share of a target that all classes get evenly.
        weights: (...,) of the rows; None: 1 each.

    Returns:
        (...,) losses in nats, differentiable.
    """
    import torch

    log_p = torch.log_softmax(scores, dim=-1)
    losses = -(1 - smoothing) * _own(log_p, classes) - smoothing * log_p.mean(dim=-1)
    return losses if weights is None else losses * weights


def balanced_softmax(
    scores: "torch.Tensor",
    classes: "torch.Tensor",
    *,
    log_prior: "torch.Tensor",
    smoothing: float = 0.0,
    weights: "torch.Tensor | None" = None,
) -> "torch.Tensor":
    """Cross-entropy of `scores + log prior`, so that the scores themselves are of a uniform prior; also logit-adjusted cross-entropy.

    Source: Ren et al., Balanced Meta-Softmax, 2020, eq. 3; Menon et al., Long-tail Learning via Logit Adjustment, 2021, eq. 10, tau 1.

    Args:
        scores: (..., k), before the softmax.
        classes: (...,) indices.
        log_prior: (k,) or what broadcasts to the scores: logarithms of the classes' shares.
        smoothing: as for `cross_entropy`.
        weights: (...,) of the rows; None: 1 each.

    Returns:
        (...,) losses in nats, differentiable.
    """
    return cross_entropy(scores + log_prior, classes, smoothing=smoothing, weights=weights)


def focal(
    scores: "torch.Tensor", classes: "torch.Tensor", *, gamma: float = GAMMA, weights: "torch.Tensor | None" = None
) -> "torch.Tensor":
    """`-(1 - p)^gamma log p` with p the probability of a row's class; gamma 0 is cross-entropy.

    Source: Lin et al., Focal Loss for Dense Object Detection, 2017, eq. 4, over a softmax in place of sigmoids and without its alpha.

    Args:
        scores: (..., k), before the softmax.
        classes: (...,) indices.
        gamma: from 0 up; how much less a row counts that is told right already.
        weights: (...,) of the rows; None: 1 each.

    Returns:
        (...,) losses in nats, differentiable.
    """
    import torch

    log_p = _own(torch.log_softmax(scores, dim=-1), classes)
    losses = -(_rest(log_p) ** gamma) * log_p
    return losses if weights is None else losses * weights


def class_weights(counts: Int[np.ndarray, "k"]) -> Float[np.ndarray, "k"]:
    """`n / (k n_c)`: every class weighs the same, and the mean row 1.

    Source: King and Zeng, Logistic Regression in Rare Events Data, 2001; scikit-learn's `class_weight="balanced"`.
    """
    present = np.maximum(counts, 1)
    return np.asarray(np.sum(counts) / (len(present) * present))


def effective_number(counts: Int[np.ndarray, "k"], *, beta: float = BETA) -> Float[np.ndarray, "k"]:
    """`(1 - beta) / (1 - beta^n_c)`, scaled so that the mean row weighs 1.

    Source: Cui et al., Class-Balanced Loss Based on Effective Number of Samples, 2019, eq. 4. They scale the sum over classes to k;
    here the mean over rows is 1, so that a penalty weighs as much beside this loss as beside cross-entropy.
    """
    weights = (1 - beta) / (1 - beta ** np.maximum(np.asarray(counts, dtype=np.float64), 1.0))
    return np.asarray(weights * np.sum(counts) / np.sum(weights * counts))


@dataclass(frozen=True)
class Objective:
    """A loss with what it takes from the training rows.

    Attributes:
        name: one of `LOSSES`.
        log_prior: (..., k) what is added to scores while fitting; 0 but for balanced softmax.
        by_class: (..., k) the weight of a row of each class; 1 where classes are not weighted.
        smoothing: of the targets; 0 for the focal loss.
    """

    name: str
    log_prior: Float[np.ndarray, "*m k"]
    by_class: Float[np.ndarray, "*m k"]
    smoothing: float = 0.0

    @property
    def shift(self) -> Float[np.ndarray, "*m k"]:
        """What is added to the bias after fitting, so that probabilities are of the training prior."""
        return self.log_prior

    def losses(
        self, scores: "torch.Tensor", classes: "torch.Tensor", *, weights: "torch.Tensor | None" = None
    ) -> "torch.Tensor":
        """(...,) losses of (..., k) scores, differentiable; classes and weights of rows as for `cross_entropy`."""
        own = _own(_like(self.by_class, scores).expand_as(scores), classes)
        weights = own if weights is None else own * weights
        if self.name == "focal":
            return focal(scores, classes, weights=weights)
        prior = _like(self.log_prior, scores)
        return balanced_softmax(scores, classes, log_prior=prior, smoothing=self.smoothing, weights=weights)

    def value_and_gradient(
        self, scores: "torch.Tensor", classes: "torch.Tensor"
    ) -> tuple["torch.Tensor", "torch.Tensor"]:
        """(...,) losses and their (..., k) gradient in the scores, in the scores' own precision and without autograd.

        The gradient of cross-entropy is `p - t`; that of the focal loss `a (p - onehot)` with
        `a = (1 - p)^gamma - gamma p (1 - p)^(gamma - 1) log p`.
        """
        import torch

        log_p = torch.log_softmax(scores + _like(self.log_prior, scores), dim=-1)
        own, gradient = _own(log_p, classes), log_p.exp()
        if self.name == "focal":
            rest = _rest(own)
            losses = -(rest**GAMMA) * own
            slope = rest**GAMMA - GAMMA * own.exp() * rest ** (GAMMA - 1) * own
        else:
            losses = -(1 - self.smoothing) * own - self.smoothing * log_p.mean(dim=-1)
            slope = torch.ones_like(own)
            gradient -= self.smoothing / scores.shape[-1]
        index = classes.expand(own.shape)[..., None]
        gradient.scatter_add_(-1, index, torch.full_like(own, self.smoothing - 1.0)[..., None])
        weights = _own(_like(self.by_class, scores).expand_as(scores), classes)
        return losses * weights, gradient * (slope * weights)[..., None]


def objective(name: str, counts: Int[np.ndarray, "*m k"], *, smoothing: float = 0.0) -> Objective:
    """A loss for training rows of which `counts` are of each class; several sets of rows, such as folds, side by side.

    A class without rows counts as half a row in the prior: finite, as everywhere.

    Raises:
        UsageError: there is no such loss, or it does not take smoothed targets.
    """
    check_loss(name, smoothing=smoothing)
    counts = np.asarray(counts, dtype=np.float64)
    log_prior, by_class = np.zeros_like(counts), np.ones_like(counts)
    if name == "balanced_softmax":
        shares = np.maximum(counts, 0.5)
        log_prior = np.log(shares / shares.sum(axis=-1, keepdims=True))
    elif name in _WEIGHTS:
        by_class = np.apply_along_axis(_WEIGHTS[name], -1, counts)
    return Objective(name, log_prior, by_class, smoothing)


def check_loss(name: object, *, smoothing: float = 0.0) -> None:
    """Refuse what is no loss.

    Raises:
        UsageError: there is no such loss, or it does not take smoothed targets.
    """
    if not isinstance(name, str) or name not in LOSSES:
        raise UsageError(
            f"the losses are {', '.join(LOSSES)}, and there is none called {name!r}.{suggest(str(name), LOSSES)}"
        )
    if not 0 <= smoothing < 1:
        raise UsageError(f"targets are smoothed by a number from 0 to below 1, and {smoothing} is none")
    if smoothing and name == "focal":
        raise UsageError("the focal loss is of one class a row, and takes no smoothed targets: set smoothing=0.0")


_WEIGHTS = {"class_weights": class_weights, "effective_number": effective_number}


def _own(values: "torch.Tensor", classes: "torch.Tensor") -> "torch.Tensor":
    """Of (..., k) values those at each row's class."""
    return values.gather(-1, classes.expand(values.shape[:-1])[..., None])[..., 0]


def _rest(log_p: "torch.Tensor") -> "torch.Tensor":
    """1 - p, above 0 by the least step of the precision, so that powers of it have a slope."""
    import torch

    return (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).eps)


def _like(values: Float[np.ndarray, "*m k"], scores: "torch.Tensor") -> "torch.Tensor":
    import torch

    return torch.from_numpy(values).to(scores)
