"""Logistic regression: cross-entropy with a penalty on the weights, along a warm-started path from strong to weak.

`mean cross-entropy + penalty / 2 |W|^2` on rows of mean squared length 1, bias free; softmax for one label of several, one sigmoid a
label for many. scikit-learn's C is `1 / (penalty n)` on the same rows. Solved by L-BFGS in float32, values summed in float64. The
folds are solved side by side: one pass over the rows serves all of them.
Source: Hastie, Tibshirani, Friedman, The Elements of Statistical Learning, section 4.4. What is not in it: rows are turned into the
eigenvectors of their covariance, where the Hessian is nearly diagonal, about `p (1 - p) eigenvalue + penalty`, and L-BFGS starts from
its inverse. On features of pretrained networks that takes a third to a fifth of the passes, most where penalties are weak.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from headstart.heads.family import Family, Point, Solution, linear_head, linear_point, positive
from headstart.heads.fitted import Head
from headstart.heads.lbfgs import minimise
from headstart.heads.rows import arithmetic, slices
from headstart.heads.selection import SelfFitting
from headstart.heads.statistics import Study

if TYPE_CHECKING:
    import torch

PENALTIES = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 3e-7, 1e-7)
"""From 1e-2 down to 1e-7 in about half decades; the path is left once it has passed its best out of fold."""

FLOPS = {"cpu": 6e12, "cuda": 6e14}
"""Past so many operations, by estimate, `auto` leaves logistic regression out: about a minute on two cores."""

_EVALUATIONS = 100
_PATH_STEPS, _PATH_TOLERANCE = 100, 1e-5
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
        problem = Problem(study, tuple(range(len(study.parts))))
        at = problem.start()
        for penalty in penalties:
            at = problem.solve(penalty, at, steps=_PATH_STEPS, tolerance=_PATH_TOLERANCE)
            yield linear_point(study, recipe=replace(self, penalty=penalty), solutions=problem.solutions(at))

    def solve(self, study: Study) -> Head:
        """The head on all rows, to a tighter tolerance than the path's."""
        problem = Problem(study, (None,))
        penalty = positive(self.penalty, recipe=self.name, option="penalty")
        return linear_head(
            study, problem.solutions(problem.solve(penalty, problem.start(), steps=_STEPS, tolerance=_TOLERANCE))[0]
        )


@dataclass(frozen=True)
class Problem:
    """The logistic regressions without each of some folds, as functions of (models, k, r + 1) parameters, the bias last.

    Attributes:
        study: rows, targets and folds.
        held_out: for each regression the fold that it does not see, or None.
    """

    study: Study
    held_out: tuple[int | None, ...]

    def start(self) -> "torch.Tensor":
        """Zero weights, and the bias of the label shares, with half a sample more of each."""
        import torch

        r, k = self.study.rows.width, self.study.k
        at = torch.zeros(len(self.held_out), k, r + 1, device=self.study.rows.device)
        for i, number in enumerate(self.held_out):
            stats = self.study.training(number)
            if self.study.link == "sigmoid":
                ones = (stats.targets + stats.n) / 2
                at[i, :, r] = torch.log(ones + 0.5) - torch.log(stats.n - ones + 0.5)
            else:
                at[i, :, r] = torch.log((stats.targets + 0.5) / stats.n)
        return at

    def solutions(self, at: "torch.Tensor") -> list[Solution]:
        """Weight and bias of each regression."""
        vectors = self.study.spectrum.vectors
        return [((vectors @ one[:, :-1].double().T).cpu().numpy(), one[:, -1].double().cpu().numpy()) for one in at]

    def solve(self, penalty: float, start: "torch.Tensor", *, steps: int, tolerance: float) -> "torch.Tensor":
        """Minimise from a starting point."""
        import torch

        study, k = self.study, self.study.k
        values, bend = study.spectrum.values, 0.25 if study.link == "sigmoid" else (k - 1) / k**2
        with arithmetic(2.0 * len(study.rows) * start.numel()):
            curvature = bend * torch.nn.functional.pad(values / len(study.rows), (0, 1), value=1.0)
            curvature[:-1] += penalty
            found = minimise(
                lambda at: self.value_and_gradient(at, penalty),
                start.flatten(1),
                metric=(1.0 / curvature).float().repeat(k),
                steps=steps,
                tolerance=tolerance,
            )
        return found.view(start.shape)

    def value_and_gradient(self, at: "torch.Tensor", penalty: float) -> tuple["torch.Tensor", "torch.Tensor"]:
        """(models,) objectives and (models, p) gradients: float32 products, summed in float64.

        Scores stand in columns, so that the exponentials of one class run along memory, and both products along rows.
        """
        import torch

        study, models = self.study, len(self.held_out)
        flat = at.reshape(models * study.k, -1)
        value = torch.zeros(models, dtype=torch.float64, device=at.device)
        gradient = torch.zeros_like(flat)
        for part, rows in self._chunks():
            scores = (flat @ rows.T).view(models, study.k, -1)
            share = self._shares(part)
            losses, residual = _cross_entropy(scores, self._targets(part), study.link)
            value += (losses * share).sum(dim=1, dtype=torch.float64)
            residual *= share[:, None]
            gradient += residual.view(len(flat), -1) @ rows
        weight, slope = flat.view(models, study.k, -1)[..., :-1], gradient.view(models, study.k, -1)
        slope[..., :-1] += penalty * weight
        value += 0.5 * penalty * (weight**2).sum(dim=(1, 2), dtype=torch.float64)
        return value, slope.flatten(1)

    def _chunks(self) -> Iterator[tuple[slice, "torch.Tensor"]]:
        """All rows in the eigenvectors' coordinates, with a column of ones, a slice at a time."""
        for part in slices(len(self.study.rows), self.study.rows.width + 3 * len(self.held_out) * self.study.k):
            yield part, self._turn(part) if self._turned is None else self._turned[part]

    @cached_property
    def _turned(self) -> "torch.Tensor | None":
        """All rows, where they fit."""
        import torch

        rows = self.study.rows
        if rows.resident is None:
            return None
        return torch.cat([self._turn(part) for part in slices(len(rows), rows.width)])

    def _turn(self, part: slice) -> "torch.Tensor":
        import torch

        z = self.study.rows.take(part)
        return torch.nn.functional.pad(z @ self.study.spectrum.vectors.to(z), (0, 1), value=1.0)

    def _targets(self, part: slice) -> "torch.Tensor":
        """(m,) class indices for softmax, (k, m) of 0 and 1 for sigmoid."""
        import torch

        if self.study.link == "sigmoid":
            return (self.study.codes(part).T + 1) / 2
        return torch.from_numpy(self.study.y.values[part]).to(self.study.rows.device)

    def _shares(self, part: slice) -> "torch.Tensor":
        """(models, m) the weight of each row in each regression: one over its number of rows, or 0 where the row is held out."""
        import torch

        fold = self.study.fold[part]
        shares = np.empty((len(self.held_out), len(fold)), dtype=np.float32)
        for i, number in enumerate(self.held_out):
            n = self.study.total.n - (0 if number is None else self.study.parts[number].n)
            shares[i] = 1.0 / n if number is None else (fold != number) / n
        return torch.from_numpy(shares).to(self.study.rows.device)


def _cross_entropy(scores: "torch.Tensor", targets: "torch.Tensor", link: str) -> tuple["torch.Tensor", "torch.Tensor"]:
    """(models, m) losses, and their gradient in the (models, k, m) scores."""
    import torch

    if link == "sigmoid":
        losses = torch.nn.functional.softplus(scores) - targets * scores
        return losses.sum(dim=1), torch.sigmoid(scores) - targets
    log_p = torch.log_softmax(scores, dim=1)
    own = targets.expand(len(scores), 1, -1)
    losses = -log_p.gather(1, own)[:, 0]
    return losses, log_p.exp_().scatter_add_(1, own, torch.full_like(own, -1, dtype=log_p.dtype))


PLUGIN = Logistic()
