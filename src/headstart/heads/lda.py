"""Linear discriminant analysis: one shared covariance, shrunk towards a sphere by a cross-validated amount.

`S = (1 - shrinkage) S_within + shrinkage tr(S_within) / d I`, weight `S^-1 m_c`, bias `log prior_c - 1/2 m_c S^-1 m_c`, from the
class sums and the Gram matrix alone. Source: Friedman, Regularized Discriminant Analysis, 1989, with one covariance for all classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from headstart.core.errors import UsageError
from headstart.heads.family import Family, Point, Solution, linear_head, linear_point, positive
from headstart.heads.fitted import Head
from headstart.heads.rows import arithmetic
from headstart.heads.selection import SelfFitting
from headstart.heads.statistics import Statistics, Study

if TYPE_CHECKING:
    import torch

SHRINKAGES = (0.01, 0.03, 0.1, 0.3, 0.6, 0.9)


@dataclass(frozen=True)
class Lda(SelfFitting, Family):
    """Linear discriminant analysis.

    Attributes:
        shrinkage: above 0, at most 1; None: chosen by cross-validation.
    """

    shrinkage: float | None = None

    name: ClassVar[str] = "lda"
    tasks: ClassVar[tuple[str, ...]] = ("single_label",)
    linear: ClassVar[bool] = True
    cost: ClassVar[int] = 2
    patience: ClassVar[int] = 0

    def objection(self, study: Study) -> str:  # noqa: ARG002  (always worth trying)
        """None: it is cheap, and it does not mind uneven classes."""
        return ""

    def path(self, study: Study) -> Iterator[Point]:
        """All shrinkages from one eigendecomposition a fold."""
        shrinkages = SHRINKAGES if self.shrinkage is None else (self._checked(),)
        with arithmetic(study.decomposition_flops):
            fits = [Within.of(study.training(number)) for number in range(len(study.parts))]
        for shrinkage in shrinkages:
            with arithmetic(study.solution_flops):
                solutions = [fit.solution(shrinkage, study.d) for fit in fits]
            yield linear_point(study, recipe=replace(self, shrinkage=shrinkage), solutions=solutions)

    def solve(self, study: Study) -> Head:
        """The head on all rows."""
        with arithmetic(study.decomposition_flops):
            solution = Within.of(study.training(None)).solution(self._checked(), study.d)
        return linear_head(study, solution)

    def _checked(self) -> float:
        shrinkage = positive(self.shrinkage, recipe=self.name, option="shrinkage")
        if shrinkage > 1:
            raise UsageError(f"lda takes for 'shrinkage' a number above 0 and at most 1, and got {shrinkage}")
        return shrinkage


@dataclass(frozen=True)
class Within:
    """The spectrum of the covariance within classes, and the class means in it.

    Attributes:
        values: (r,) eigenvalues, at least 0.
        vectors: (r, r) eigenvectors in columns.
        means: (k, r) class means in the eigenvectors' coordinates; 0 for a class without rows.
        log_prior: (k,) of the class shares; a class without rows counts as half a row.
    """

    values: "torch.Tensor"
    vectors: "torch.Tensor"
    means: "torch.Tensor"
    log_prior: "torch.Tensor"

    @classmethod
    def of(cls, stats: Statistics) -> "Within":
        """Decompose once, for every shrinkage.

        Where each class has a single row nothing varies within classes; then the total covariance takes its place.
        """
        import torch

        means = stats.cross / stats.targets.clamp(min=1.0)[:, None]
        scatter = stats.gram - means.T @ (means * stats.targets[:, None])
        free = stats.n - int((stats.targets > 0).sum())
        total = float(torch.trace(stats.gram))
        if free < 1 or float(torch.trace(scatter)) <= 1e-9 * total:
            centre = stats.rows / stats.n
            scatter, free = stats.gram - stats.n * torch.outer(centre, centre), max(stats.n - 1, 1)
        values, vectors = torch.linalg.eigh(scatter / free)
        shares = stats.targets.clamp(min=0.5) / stats.n
        return cls(values.clamp(min=0.0), vectors, means @ vectors, torch.log(shares))

    def solution(self, shrinkage: float, d: int) -> Solution:
        """Weight and bias at one shrinkage."""
        level = float(self.values.sum()) / d
        spread = (1 - shrinkage) * self.values + shrinkage * (level if level > 0 else 1.0)
        weight = self.means / spread
        bias = self.log_prior - 0.5 * (weight * self.means).sum(dim=1)
        return (self.vectors @ weight.T).cpu().numpy(), bias.cpu().numpy()


PLUGIN = Lda()
