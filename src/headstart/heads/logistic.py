"""Logistic regression: cross-entropy with a penalty on the weights, along a warm-started path from strong to weak.

`mean cross-entropy + penalty / 2 |W|^2` on rows of mean squared length 1, bias free; softmax for one label of several, one sigmoid a
label for many. scikit-learn's C is `1 / (penalty n)` on the same rows. Solved by L-BFGS over a float32 objective in torch. The folds
are solved side by side as one separable problem: one pass over the rows serves all of them.
Source: Hastie, Tibshirani, Friedman, The Elements of Statistical Learning, section 4.4.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float

from headstart.heads.family import Family, Point, Solution, linear_head, linear_point, positive
from headstart.heads.fitted import Head
from headstart.heads.rows import arithmetic
from headstart.heads.selection import SelfFitting
from headstart.heads.statistics import Study

if TYPE_CHECKING:
    import torch

PENALTIES = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 3e-7, 1e-7)
"""From 1e-2 down to 1e-7 in about half decades; the path is left after two that are worse out of fold."""

FLOPS = {"cpu": 5e12, "cuda": 5e14}
"""Past so many operations, by estimate, `auto` leaves logistic regression out: about a minute on two cores."""

_EVALUATIONS = 300
_PATH_STEPS, _PATH_TOLERANCE = 100, 1e-6
_STEPS, _TOLERANCE = 1000, 1e-9


@dataclass(frozen=True)
class Logistic(SelfFitting, Family):
    """Penalised logistic regression.

    Attributes:
        penalty: on half the squared weights, beside the mean cross-entropy; None: chosen by cross-validation.
    """

    penalty: float | None = None

    name: ClassVar[str] = "logistic"
    tasks: ClassVar[tuple[str, ...]] = ("single_label", "multi_label")
    linear: ClassVar[bool] = True
    cost: ClassVar[int] = 3
    patience: ClassVar[int] = 2

    def objection(self, study: Study) -> str:
        """The path is left out where it would take very long."""
        flops = 4.0 * len(study.rows) * study.rows.width * study.k * len(study.parts) * _EVALUATIONS
        limit = FLOPS[study.rows.device]
        return (
            f"logistic was left out: it would take about {flops:.0e} operations, past {limit:.0e}"
            if flops > limit
            else ""
        )

    def path(self, study: Study) -> Iterator[Point]:
        """From strong to weak penalties, each starting from the one before."""
        penalties = PENALTIES if self.penalty is None else (positive(self.penalty, recipe=self.name, option="penalty"),)
        folds = len(study.parts)
        problem = Problem(study, tuple(range(folds)))
        start = problem.start()
        for penalty in penalties:
            start = problem.solve(penalty, start, steps=_PATH_STEPS, tolerance=_PATH_TOLERANCE)
            yield linear_point(study, recipe=replace(self, penalty=penalty), solutions=problem.solutions(start))

    def solve(self, study: Study) -> Head:
        """The head on all rows, to a tighter tolerance than the path's."""
        problem = Problem(study, (None,))
        penalty = positive(self.penalty, recipe=self.name, option="penalty")
        return linear_head(
            study, problem.solutions(problem.solve(penalty, problem.start(), steps=_STEPS, tolerance=_TOLERANCE))[0]
        )


@dataclass(frozen=True)
class Problem:
    """The logistic regressions without each of some folds, as one function of all their parameters.

    Attributes:
        study: rows, targets and folds.
        held_out: for each regression the fold that it does not see, or None.
    """

    study: Study
    held_out: tuple[int | None, ...]

    def start(self) -> Float[np.ndarray, "p"]:
        """Zero weights, and the bias of the label shares, with half a sample more of each."""
        r, k = self.study.rows.width, self.study.k
        theta = np.zeros((len(self.held_out), r + 1, k))
        for i, number in enumerate(self.held_out):
            stats = self.study.training(number)
            counts = stats.targets.cpu().numpy()
            if self.study.link == "sigmoid":
                ones = (counts + stats.n) / 2
                theta[i, r] = np.log(ones + 0.5) - np.log(stats.n - ones + 0.5)
            else:
                theta[i, r] = np.log((counts + 0.5) / stats.n)
        return theta.reshape(-1)

    def solutions(self, theta: Float[np.ndarray, "p"]) -> list[Solution]:
        """Weight and bias of each regression."""
        r = self.study.rows.width
        return [(part[:r], part[r]) for part in theta.reshape(len(self.held_out), r + 1, self.study.k)]

    def solve(self, penalty: float, start: np.ndarray, *, steps: int, tolerance: float) -> Float[np.ndarray, "p"]:
        """Minimise from a starting point."""
        from scipy.optimize import minimize

        with arithmetic(2.0 * len(self.study.rows) * len(start)):
            found = minimize(
                self.value_and_gradient,
                start,
                args=(penalty,),
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": steps, "maxcor": 10, "ftol": tolerance, "gtol": tolerance},
            )
        return np.asarray(found.x)

    def value_and_gradient(self, theta: Float[np.ndarray, "p"], penalty: float) -> tuple[float, Float[np.ndarray, "p"]]:
        """The sum of the objectives and its gradient: float32 products, summed in float64."""
        import torch

        study, models = self.study, len(self.held_out)
        r, k, device = study.rows.width, study.k, study.rows.device
        all_of = torch.from_numpy(theta.reshape(models, r + 1, k)).to(device)
        weight = all_of[:, :r].permute(1, 0, 2).reshape(r, models * k).float()
        bias = all_of[:, r].reshape(models * k).float()
        gradient = torch.zeros(r + 1, models * k, dtype=torch.float64, device=device)
        value = torch.zeros((), dtype=torch.float64, device=device)
        for part, z in study.rows.chunks(beside=2 * models * k):
            logits = torch.addmm(bias, z, weight).view(len(z), models, k)
            losses, residual = _cross_entropy(logits, study.codes(part), study.link)
            share = self._shares(part)
            value += (losses * share).sum(dtype=torch.float64)
            flat = (residual * share[:, :, None]).view(len(z), models * k)
            gradient[:r] += z.T @ flat
            gradient[r] += flat.sum(dim=0)
        slopes = gradient.view(r + 1, models, k).permute(1, 0, 2).clone()
        slopes[:, :r] += penalty * all_of[:, :r]
        total = float(value) + 0.5 * penalty * float((all_of[:, :r] ** 2).sum())
        return total, slopes.reshape(-1).cpu().numpy()

    def _shares(self, part: slice) -> "torch.Tensor":
        """(m, models) the weight of each row in each regression: one over its number of rows, or 0 where the row is held out."""
        import torch

        fold = self.study.fold[part]
        shares = np.empty((len(fold), len(self.held_out)), dtype=np.float32)
        for i, number in enumerate(self.held_out):
            n = self.study.total.n - (0 if number is None else self.study.parts[number].n)
            shares[:, i] = 1.0 / n if number is None else (fold != number) / n
        return torch.from_numpy(shares).to(self.study.rows.device)


def _cross_entropy(logits: "torch.Tensor", codes: "torch.Tensor", link: str) -> tuple["torch.Tensor", "torch.Tensor"]:
    """(m, models) losses, and their gradient in the (m, models, k) logits."""
    import torch

    if link == "sigmoid":
        ones = (codes[:, None] + 1) / 2
        losses = torch.nn.functional.softplus(logits) - ones * logits
        return losses.sum(dim=2), torch.sigmoid(logits) - ones
    log_p = torch.log_softmax(logits, dim=2)
    return -(log_p * codes[:, None]).sum(dim=2), log_p.exp() - codes[:, None]


PLUGIN = Logistic()
