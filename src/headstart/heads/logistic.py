"""Logistic regression: cross-entropy with a penalty on the weights, along a warm-started path from strong to weak.

`mean cross-entropy + penalty / 2 |W|^2` on rows of mean squared length 1, bias free; softmax for one label of several, one sigmoid a
label for many. scikit-learn's C is `1 / (penalty n)` on the same rows. Solved by L-BFGS in float32, values summed in float64. The
folds are solved side by side: one pass over the rows serves all of them.
Source: Hastie, Tibshirani, Friedman, The Elements of Statistical Learning, section 4.4. What is not in it: rows are turned into the
eigenvectors of their covariance, where the Hessian is nearly diagonal, about `p (1 - p) eigenvalue + penalty`, and L-BFGS starts from
its inverse. On features of pretrained networks that takes a third to a fifth of the passes, most where penalties are weak.

Beside other heads, and where all rows would take too long, it is fitted on as many rows as time allows, drawn evenly from each label; the
recipe then says how many. The comparison stays fair: each candidate is scored on the same rows, which none of its folds has seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Int

from headstart.core.errors import UsageError
from headstart.heads.family import Family, Point, Solution, linear_head, linear_point, positive
from headstart.heads.fitted import Head
from headstart.heads.lbfgs import minimise
from headstart.heads.losses import Objective, check_loss, objective
from headstart.heads.rows import RESIDENT_BYTES, arithmetic, slices
from headstart.heads.selection import SelfFitting
from headstart.heads.statistics import Study

if TYPE_CHECKING:
    import torch

PENALTIES = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 3e-7, 1e-7)
"""From 1e-2 down to 1e-7 in about half decades; the path is left once it has passed its best out of fold."""

FLOPS = {"cpu": 6e12, "cuda": 6e14}
"""Past so many operations, by estimate, rows are drawn: about a minute on two cores."""

FEWEST = 20
"""Where fewer rows a label than this could be drawn, `auto` leaves logistic regression out."""

_EVALUATIONS = 100
_PATH_STEPS, _PATH_TOLERANCE = 100, 1e-5
_STEPS, _TOLERANCE = 1000, 1e-9


@dataclass(frozen=True)
class Logistic(SelfFitting, Family):
    """Penalised logistic regression.

    Attributes:
        penalty: on half the squared weights, beside the mean cross-entropy; None: chosen by cross-validation.
        rows: how many it is fitted on, drawn evenly from each label; None: all, or where the penalty is open and they would take too
            long, fewer.
        loss: one of `headstart.heads.losses.LOSSES`, in place of cross-entropy; for one label of several only.
    """

    penalty: float | None = None
    rows: int | None = None
    loss: str = "cross_entropy"

    name: ClassVar[str] = "logistic"
    tasks: ClassVar[tuple[str, ...]] = ("single_label", "multi_label")
    linear: ClassVar[bool] = True
    cost: ClassVar[int] = 3
    patience: ClassVar[int] = 2
    settled_by_none: ClassVar[frozenset[str]] = frozenset({"rows"})

    def check(self) -> None:
        """Refuse an option that is out of range."""
        for option, value in (("penalty", self.penalty), ("rows", self.rows)):
            if value is not None:
                positive(value, recipe=self.name, option=option)
        check_loss(self.loss)

    def objection(self, study: Study) -> str:
        """It is left out where time allows so few rows that they say little."""
        rows = self._count(study)
        if rows is None or rows >= FEWEST * study.k:
            return ""
        return f"logistic was left out: there is time for {rows:,} rows only, and it is tried from {FEWEST} a label on"

    def path(self, study: Study) -> Iterator[Point]:
        """From strong to weak penalties, each starting from the one before."""
        penalties = PENALTIES if self.penalty is None else (positive(self.penalty, recipe=self.name, option="penalty"),)
        recipe = replace(self, rows=self._count(study))
        problem = Problem(study, tuple(range(len(study.parts))), drawn(study, recipe.rows), self._loss(study))
        at = problem.start()
        for penalty in penalties:
            at = problem.solve(penalty, at, steps=_PATH_STEPS, tolerance=_PATH_TOLERANCE)
            yield linear_point(study, recipe=replace(recipe, penalty=penalty), solutions=problem.solutions(at))

    def solve(self, study: Study) -> Head:
        """The head on all rows, or on those drawn, to a tighter tolerance than the path's."""
        penalty, rows = positive(self.penalty, recipe=self.name, option="penalty"), self._count(study)
        problem = Problem(study, (None,), drawn(study, rows), self._loss(study))
        found = problem.solve(penalty, problem.start(), steps=_STEPS, tolerance=_TOLERANCE)
        return linear_head(study, problem.solutions(found)[0])

    def _loss(self, study: Study) -> str:
        check_loss(self.loss)
        if study.link != "softmax" and self.loss != "cross_entropy":
            raise UsageError("logistic takes another loss where each sample has one label of several only")
        return self.loss

    def _count(self, study: Study) -> int | None:
        """On how many rows it is fitted; None for all.

        Raises:
            UsageError: the option is no whole number from 1 up.
        """
        if self.rows is not None:
            rows = positive(self.rows, recipe=self.name, option="rows")
            if rows != int(rows):
                raise UsageError(f"logistic takes for 'rows' a whole number, and got {rows}")
            return int(rows)
        one = 4.0 * study.rows.width * study.k * len(study.parts) * _EVALUATIONS
        most = int(FLOPS[study.rows.device] / one)
        return None if self.penalty is not None or most >= len(study.rows) else most


def drawn(study: Study, rows: int | None) -> Int[np.ndarray, "m"] | None:
    """Positions of about so many rows, sorted: the same share of each label, rounded up; None for all rows."""
    n = len(study.rows)
    if rows is None or rows >= n:
        return None
    order = np.random.default_rng(0).permutation(n)
    if study.link != "softmax":
        return np.sort(order[:rows])
    labels = study.y.values[order]
    order, counts = order[np.argsort(labels, kind="stable")], np.bincount(labels)
    place = np.arange(n) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(order[place < np.repeat(np.ceil(counts * rows / n), counts)])


@dataclass(frozen=True)
class Problem:
    """The logistic regressions without each of some folds, as functions of (models, k, r + 1) parameters, the bias last.

    Attributes:
        study: rows, targets and folds.
        held_out: for each regression the fold that it does not see, or None.
        drawn: positions of the rows that it is fitted on, or None for all.
        loss: what is minimised beside the penalty.
    """

    study: Study
    held_out: tuple[int | None, ...]
    drawn: Int[np.ndarray, "m"] | None = None
    loss: str = "cross_entropy"

    def __len__(self) -> int:
        return len(self.study.rows) if self.drawn is None else len(self.drawn)

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
        """Weight and bias of each regression, for the training prior."""
        vectors, shift = self.study.spectrum.vectors, np.zeros((len(at), self.study.k))
        if self._objective is not None:
            shift = self._objective.shift[:, 0]
        return [
            ((vectors @ one[:, :-1].double().T).cpu().numpy(), one[:, -1].double().cpu().numpy() + prior)
            for one, prior in zip(at, shift, strict=True)
        ]

    def solve(self, penalty: float, start: "torch.Tensor", *, steps: int, tolerance: float) -> "torch.Tensor":
        """Minimise from a starting point."""
        import torch

        study, k = self.study, self.study.k
        values, bend = study.spectrum.values, 0.25 if study.link == "sigmoid" else (k - 1) / k**2
        with arithmetic(2.0 * len(self) * start.numel()):
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
            losses, residual = self._loss_and_slope(scores, self._targets(part))
            value += (losses * share).sum(dim=1, dtype=torch.float64)
            residual *= share[:, None]
            gradient += residual.view(len(flat), -1) @ rows
        weight, slope = flat.view(models, study.k, -1)[..., :-1], gradient.view(models, study.k, -1)
        slope[..., :-1] += penalty * weight
        value += 0.5 * penalty * (weight**2).sum(dim=(1, 2), dtype=torch.float64)
        return value, slope.flatten(1)

    def _loss_and_slope(self, scores: "torch.Tensor", targets: "torch.Tensor") -> tuple["torch.Tensor", "torch.Tensor"]:
        """(models, m) losses, and their gradient in the (models, k, m) scores."""
        if self._objective is None:
            return _cross_entropy(scores, targets, self.study.link)
        losses, slope = self._objective.value_and_gradient(scores.transpose(1, 2), targets)
        return losses, slope.transpose(1, 2).contiguous()

    @cached_property
    def _objective(self) -> Objective | None:
        """The loss with what it takes from each regression's rows; None for cross-entropy, which is computed in place."""
        if self.loss == "cross_entropy":
            return None
        counts = [self.study.training(number).targets.cpu().numpy() for number in self.held_out]
        return objective(self.loss, np.stack(counts)[:, None])

    def _chunks(self) -> Iterator[tuple[slice, "torch.Tensor"]]:
        """The rows in the eigenvectors' coordinates, with a column of ones, a slice at a time."""
        for part in slices(len(self), self.study.rows.width + 3 * len(self.held_out) * self.study.k):
            yield part, self._turn(part) if self._turned is None else self._turned[part]

    @cached_property
    def _turned(self) -> "torch.Tensor | None":
        """All of them, where they fit."""
        import torch

        rows = self.study.rows
        if 4 * len(self) * rows.width > RESIDENT_BYTES:
            return None
        return torch.cat([self._turn(part) for part in slices(len(self), rows.width)])

    def _turn(self, part: slice) -> "torch.Tensor":
        import torch

        z = self.study.rows.take(self._positions(part))
        return torch.nn.functional.pad(z @ self.study.spectrum.vectors.to(z), (0, 1), value=1.0)

    def _positions(self, part: slice) -> np.ndarray | slice:
        """Among the rows of the study."""
        return part if self.drawn is None else self.drawn[part]

    def _targets(self, part: slice) -> "torch.Tensor":
        """(m,) class indices for softmax, (k, m) of 0 and 1 for sigmoid."""
        import torch

        if self.study.link == "sigmoid":
            return (self.study.codes(self._positions(part)).T + 1) / 2
        return torch.from_numpy(self.study.y.values[self._positions(part)]).to(self.study.rows.device)

    def _shares(self, part: slice) -> "torch.Tensor":
        """(models, m) the weight of each row in each regression: one over its number of rows, or 0 where the row is held out."""
        import torch

        fold = self.study.fold[self._positions(part)]
        shares = np.empty((len(self.held_out), len(fold)), dtype=np.float32)
        for i, number in enumerate(self.held_out):
            n = len(self) - (0 if number is None else int(self._counts[number]))
            shares[i] = 1.0 / n if number is None else (fold != number) / n
        return torch.from_numpy(shares).to(self.study.rows.device)

    @cached_property
    def _counts(self) -> Int[np.ndarray, "f"]:
        """How many rows each fold has."""
        return np.bincount(self.study.fold[self._positions(slice(None))], minlength=len(self.study.parts))


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
