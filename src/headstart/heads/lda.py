"""Linear discriminant analysis: one shared covariance, shrunk towards a sphere by a cross-validated amount.

`S = (1 - shrinkage) S_within + shrinkage tr(S_within) / d I`, weight `S^-1 m_c`, bias `log prior_c - 1/2 m_c S^-1 m_c`, from the
class sums and the Gram matrix alone. Source: Friedman, Regularized Discriminant Analysis, 1989, with one covariance for all classes.

The scatter within classes is the centred Gram matrix less one outer product a class, so `S^-1` comes from ridge's eigenvectors by
Woodbury's identity and a system of k equations, and no matrix is decomposed for LDA alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from headstart.core.errors import UsageError
from headstart.heads.family import Family, Point, Solution, linear_head, linear_point, positive
from headstart.heads.fitted import Head
from headstart.heads.rows import arithmetic
from headstart.heads.selection import SelfFitting
from headstart.heads.statistics import Spectrum, Study

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
        """All shrinkages from the study's eigendecomposition of each fold."""
        shrinkages = SHRINKAGES if self.shrinkage is None else (self._checked(),)
        with arithmetic(study.solution_flops):
            fits = [Within.of(spectrum) for spectrum in study.spectra]
        for shrinkage in shrinkages:
            with arithmetic(study.solution_flops):
                solutions = [fit.solution(shrinkage, study.d) for fit in fits]
            yield linear_point(study, recipe=replace(self, shrinkage=shrinkage), solutions=solutions)

    def solve(self, study: Study) -> Head:
        """The head on all rows."""
        shrinkage, spectrum = self._checked(), study.spectrum
        with arithmetic(study.solution_flops):
            solution = Within.of(spectrum).solution(shrinkage, study.d)
        return linear_head(study, solution)

    def _checked(self) -> float:
        shrinkage = positive(self.shrinkage, recipe=self.name, option="shrinkage")
        if shrinkage > 1:
            raise UsageError(f"lda takes for 'shrinkage' a number above 0 and at most 1, and got {shrinkage}")
        return shrinkage


@dataclass(frozen=True)
class Within:
    """The scatter within classes, as the centred Gram matrix less that of the class means.

    Attributes:
        spectrum: of the centred Gram matrix.
        means: (r, k) class means less the mean row, in the eigenvectors' coordinates; 0 for a class without rows.
        counts: (k,) rows of each class.
        trace: of the scatter.
        free: its degrees of freedom.
    """

    spectrum: Spectrum
    means: "torch.Tensor"
    counts: "torch.Tensor"
    trace: float
    free: int

    @classmethod
    def of(cls, spectrum: Spectrum) -> "Within":
        """Where each class has a single row nothing varies within classes; then the total scatter takes its place."""
        counts = (spectrum.level * spectrum.n).round()
        means = spectrum.cross / counts.clamp(min=1.0)
        total = float(spectrum.values.sum())
        trace = total - float((counts * (means**2).sum(dim=0)).sum())
        free = spectrum.n - int((counts > 0).sum())
        if free < 1 or trace <= 1e-9 * total:
            return cls(spectrum, means, counts * 0.0, total, max(spectrum.n - 1, 1))
        return cls(spectrum, means, counts, trace, free)

    def solution(self, shrinkage: float, d: int) -> Solution:
        """Weight and bias at one shrinkage.

        With `M = means`, `P = (a values + b)^-1`, `K = M^T P M` and `R` the roots of the counts:
        `(P^-1 - a M R R M^T)^-1 M = P M (I + a R (I - a R K R)^-1 R K)`. A class without rows counts as half a row in the prior.
        """
        import torch

        at = self.spectrum
        level = self.trace / self.free / d
        a, b = (1 - shrinkage) / self.free, shrinkage * (level if level > 0 else 1.0)
        near, root = self.means / (a * at.values + b)[:, None], self.counts.sqrt()[:, None]
        inner = self.means.T @ near
        system = torch.eye(len(root), dtype=root.dtype, device=root.device) - a * (root * inner * root.T)
        own = near + near @ (a * root * torch.linalg.solve(system, root * inner))
        weight = at.vectors @ own
        prior = torch.log((at.level * at.n).round().clamp(min=0.5) / at.n)
        bias = prior - 0.5 * (self.means * own).sum(dim=0) - at.mean @ weight
        return weight.cpu().numpy(), bias.cpu().numpy()


PLUGIN = Lda()
