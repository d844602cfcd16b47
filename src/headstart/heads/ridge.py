"""Least squares with a penalty: closed form, the whole path of penalties from one eigendecomposition.

Targets are one-hot classes, -1 and 1 for each label, or values. The penalty is in units of the mean eigenvalue of the centred Gram
matrix, so it means the same for any backbone and any number of rows. Where ridge alone is asked for and samples have no groups, the
penalty is chosen by exact leave-one-out error (ties by leave-one-out squared error); beside other heads, and where samples come in
groups, by the folds. The scores that are reported come from the folds in either case.
Source: Hastie, Tibshirani, Friedman, The Elements of Statistical Learning, sections 3.4.1 and 7.10.
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
from headstart.heads.statistics import Spectrum, Study

if TYPE_CHECKING:
    import torch

PENALTIES = tuple(10.0**exponent for exponent in range(-6, 4))

UNEVEN = 5.0
"""One-hot least squares forgets rare classes: `auto` leaves it out where the largest class is so many times the smallest."""


@dataclass(frozen=True)
class Ridge(SelfFitting, Family):
    """Ridge regression on coded targets.

    Attributes:
        penalty: times the mean eigenvalue of the centred Gram matrix; None: chosen within these rows, as said above.
    """

    penalty: float | None = None

    name: ClassVar[str] = "ridge"
    tasks: ClassVar[tuple[str, ...]] = ("single_label", "multi_label", "regression")
    linear: ClassVar[bool] = True
    cost: ClassVar[int] = 1
    patience: ClassVar[int] = 0

    def objection(self, study: Study) -> str:
        """Plain one-hot least squares is no candidate where classes are uneven."""
        ratio = uneven(study)
        return f"ridge was left out: the largest class is {ratio:.0f} times the smallest" if ratio else ""

    def alone(self, study: Study) -> "Ridge":
        """The penalty of the lowest leave-one-out error over the whole path."""
        if self.penalty is not None:
            return self
        errors = leave_one_out(study, PENALTIES)
        return replace(self, penalty=PENALTIES[min(range(len(PENALTIES)), key=lambda i: tuple(errors[i]))])

    def path(self, study: Study) -> Iterator[Point]:
        """All penalties from one eigendecomposition a fold."""
        penalties = PENALTIES if self.penalty is None else (positive(self.penalty, recipe=self.name, option="penalty"),)
        for penalty in penalties:
            with arithmetic(study.solution_flops):
                solutions = [_solution(spectrum, penalty, study.d) for spectrum in study.spectra]
            yield linear_point(study, recipe=replace(self, penalty=penalty), solutions=solutions)

    def solve(self, study: Study) -> Head:
        """The head on all rows."""
        penalty = positive(self.penalty, recipe=self.name, option="penalty")
        with arithmetic(study.solution_flops):
            solution = _solution(study.spectrum, penalty, study.d)
        return linear_head(study, solution)


def _solution(spectrum: Spectrum, penalty: float, d: int) -> Solution:
    """Weight and bias at one penalty."""
    weight = spectrum.vectors @ (spectrum.cross * _inverse(spectrum, penalty, d)[:, None])
    return weight.cpu().numpy(), (spectrum.level - spectrum.mean @ weight).cpu().numpy()


def _inverse(spectrum: Spectrum, penalty: float, d: int) -> "torch.Tensor":
    """1 / (eigenvalue + penalty), in units of the mean eigenvalue; rows without any spread give 0."""
    level = float(spectrum.values.sum()) / d
    return 1.0 / (spectrum.values + penalty * level) if level > 0 else spectrum.values * 0.0


def uneven(study: Study) -> float:
    """How many times the smallest class the largest one is, where that is too many for one-hot least squares; else 0."""
    if study.link != "softmax":
        return 0.0
    counts = np.bincount(study.y.values)
    ratio = float(counts.max() / counts.min())
    return ratio if ratio > UNEVEN else 0.0


def leave_one_out(study: Study, penalties: tuple[float, ...]) -> Float[np.ndarray, "p 2"]:
    """Error and mean squared error of each row under the head that all other rows fit, for every penalty, without refitting.

    The residual without row i is `(y - yhat) / (1 - h_i)` with `h = sum_j u_ij^2 / (e_j + penalty) + 1/n`. A penalty at which some
    row alone decides its fit (1 - h below 1e-9) gets infinite errors. For values the error is the squared error itself.
    """
    spectrum = study.spectrum
    with arithmetic(study.decomposition_flops):
        sums = np.zeros((len(penalties), 2))
        for part, z in study.rows.chunks(beside=study.d + 3 * study.k):
            u = (z.double() - spectrum.mean) @ spectrum.vectors
            y = study.codes(part).double()
            for i, penalty in enumerate(penalties):
                inverse = _inverse(spectrum, penalty, study.d)
                free = 1.0 - (u * u) @ inverse - 1.0 / len(study.rows)
                if float(free.min()) < 1e-9:
                    sums[i] = np.inf
                    continue
                residual = (y - spectrum.level - u @ (spectrum.cross * inverse[:, None])) / free[:, None]
                squared = float((residual**2).sum())
                sums[i] += (_errors(y, y - residual, study.link) if study.link != "identity" else squared, squared)
    return np.asarray(sums / len(study.rows))


def _errors(y: "torch.Tensor", predicted: "torch.Tensor", link: str) -> float:
    if link == "softmax":
        return float((y.argmax(dim=1) != predicted.argmax(dim=1)).sum())
    return float(((y > 0) != (predicted > 0)).double().mean(dim=1).sum())


PLUGIN = Ridge()
