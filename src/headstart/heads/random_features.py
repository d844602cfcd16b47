"""Random features and ridge: `relu(z W + b)` with W and b drawn once, then least squares in closed form; bends without gradients.

Targets and penalties are as for ridge, the penalty in units of the mean eigenvalue of the features' centred Gram matrix, which is taken
for every fold in one pass. Each penalty is one Cholesky factor a fold: a fifth of the operations of an eigendecomposition, and the path
is left after two that are worse. Source: McDonnell et al., RanPAC: Random Projections and Pre-trained Models for Continual Learning,
2023, eq. 6 and 7. Beside their W, normal with variance 1, stands a normal b: without one the features of rows of equal length hold no
odd function but linear ones (Bach, Breaking the Curse of Dimensionality with Convex Neural Networks, 2017, appendix D).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from headstart.core.errors import FitError
from headstart.heads.family import Family, Point, Scorer, Solution, bent_head, positive, scored_point, whole
from headstart.heads.fitted import Head
from headstart.heads.ridge import uneven
from headstart.heads.rows import arithmetic
from headstart.heads.selection import SelfFitting
from headstart.heads.statistics import EXACT_FLOPS, Statistics, Study

if TYPE_CHECKING:
    import torch

PENALTIES = tuple(10.0**exponent for exponent in range(1, -5, -1))

FEWEST, MOST = 512, 2048
"""How many features are drawn, unless told, at least and at most; between them as many as there are rows."""

ROWS = 2000
FLOPS = {"cpu": 1e12, "cuda": 2e14}
"""`auto` tries random features from so many rows on, and up to so many operations: about 20 seconds on two cores."""

_SAMPLE = 2048


@dataclass(frozen=True)
class RandomFeatures(SelfFitting, Family):
    """Ridge regression on random features.

    Attributes:
        features: how many; None: as many as rows, from 512 to 2048. Their time grows with the cube.
        penalty: times the mean eigenvalue of the features' centred Gram matrix; None: chosen by cross-validation.
        seed: of the draw.
    """

    features: int | None = None
    penalty: float | None = None
    seed: int = 0

    name: ClassVar[str] = "random_features"
    tasks: ClassVar[tuple[str, ...]] = ("single_label", "multi_label", "regression")
    linear: ClassVar[bool] = False
    cost: ClassVar[int] = 5
    patience: ClassVar[int] = 2
    fewest: ClassVar[int] = ROWS

    def check(self) -> None:
        """Refuse an option that is out of range."""
        whole(self.seed, recipe=self.name, option="seed", least=0)
        if self.features is not None:
            whole(self.features, recipe=self.name, option="features")
        if self.penalty is not None:
            positive(self.penalty, recipe=self.name, option="penalty")

    def objection(self, study: Study) -> str:
        """Left out where it would take long, and where classes are uneven, for the reason that ridge is."""
        if ratio := uneven(study):
            return f"random_features was left out: the largest class is {ratio:.0f} times the smallest"
        n, m = len(study.rows), self._count(study)
        flops = 2.0 * n * m * (m + study.rows.width) + len(study.parts) * len(PENALTIES) * m**3 / 3
        limit = FLOPS[study.rows.device]
        if flops <= limit:
            return ""
        return f"random_features was left out: it would take about {flops:.0e} operations, past {limit:.0e}"

    def path(self, study: Study) -> Iterator[Point]:
        """From strong to weak penalties."""
        self.check()
        lift = Lift.draw(study, count=self._count(study), seed=self.seed)
        parts = lifted(study, lift)
        total = reduce(Statistics.__add__, parts)
        for penalty in PENALTIES if self.penalty is None else (self.penalty,):
            try:
                with arithmetic(float(lift.count) ** 3 / 3):
                    solutions = [ridge(total - part, penalty) for part in parts]
            except FitError:
                if penalty in {self.penalty, PENALTIES[0]}:
                    raise
                return  # weaker penalties drown in the rounding of the products
            recipe = replace(self, features=lift.count, penalty=penalty)
            scorers = [_scorer(lift, solution) for solution in solutions]
            yield scored_point(study, recipe=recipe, scorers=scorers, beside=lift.count)

    def solve(self, study: Study) -> Head:
        """The head on all rows."""
        self.check()
        penalty = positive(self.penalty, recipe=self.name, option="penalty")
        lift = Lift.draw(study, count=self._count(study), seed=self.seed)
        stats = reduce(Statistics.__add__, lifted(study, lift))
        with arithmetic(float(lift.count) ** 3 / 3):
            weight, bias = ridge(stats, penalty)
        centre = lift.centre.double().cpu().numpy()
        return bent_head(
            study,
            hidden=(lift.weight.double().cpu().numpy(), lift.bias.double().cpu().numpy()),
            activation="relu",
            output=(weight, bias - centre @ weight),
            centre=centre + (stats.rows / stats.n).cpu().numpy(),
        )

    def _count(self, study: Study) -> int:
        return int(np.clip(len(study.rows), FEWEST, MOST)) if self.features is None else self.features


@dataclass(frozen=True)
class Lift:
    """The drawn features, less about their mean: else the mean would drown what varies.

    Attributes:
        weight: (r, m) float32.
        bias: (m,) float32.
        centre: (m,) float32, the mean over some rows.
    """

    weight: "torch.Tensor"
    bias: "torch.Tensor"
    centre: "torch.Tensor"

    @classmethod
    def draw(cls, study: Study, *, count: int, seed: int) -> "Lift":
        """Weights and biases from a seed, on rows of mean squared length 1."""
        import torch

        rng, device = np.random.default_rng(seed), study.rows.device
        weight = torch.from_numpy(rng.standard_normal((study.rows.width, count), dtype=np.float32)).to(device)
        bias = torch.from_numpy(rng.standard_normal(count, dtype=np.float32)).to(device)
        some = study.rows.take(np.linspace(0, len(study.rows) - 1, min(len(study.rows), _SAMPLE)).astype(np.int64))
        return cls(weight, bias, torch.relu(torch.addmm(bias, some, weight)).mean(dim=0))

    @property
    def count(self) -> int:
        """m, how many features there are."""
        return len(self.bias)

    def __call__(self, z: "torch.Tensor") -> "torch.Tensor":
        """(n, m) features of (n, r) rows."""
        import torch

        return torch.addmm(self.bias, z, self.weight).relu_().sub_(self.centre)


def lifted(study: Study, lift: Lift) -> tuple[Statistics, ...]:
    """The statistics of the features of each fold, in one pass; products as for rows, float32 a chunk where there are many."""
    import torch

    m, k, device = lift.count, study.k, study.rows.device
    gram, cross, rows = (
        torch.zeros(len(study.parts), *shape, dtype=torch.float64, device=device) for shape in ((m, m), (k, m), (m,))
    )
    kind = torch.float64 if 2.0 * len(study.rows) * m * m <= EXACT_FLOPS else torch.float32
    with arithmetic(2.0 * len(study.rows) * m**2 / len(study.parts)):
        for part, z in study.rows.chunks(beside=2 * m + k):
            h, codes = lift(z).to(kind), study.codes(part).to(kind)
            fold = torch.from_numpy(study.fold[part]).to(device)
            for number in range(len(study.parts)):
                own, coded = h[fold == number], codes[fold == number]
                gram[number] += own.T @ own
                cross[number] += coded.T @ own
                rows[number] += own.sum(dim=0)
    return tuple(
        Statistics(part.n, rows[number], gram[number], part.targets, cross[number])
        for number, part in enumerate(study.parts)
    )


def ridge(stats: Statistics, penalty: float) -> Solution:
    """Weight and bias at one penalty, from a Cholesky factor of the centred Gram matrix; features without any spread give 0.

    Raises:
        FitError: the penalty is weaker than the rounding of the Gram matrix.
    """
    import torch

    mean, level = stats.rows / stats.n, stats.targets / stats.n
    gram = torch.addr(stats.gram, mean, mean, alpha=-stats.n)
    spread = float(gram.trace()) / len(mean)
    gram.diagonal().add_(penalty * spread if spread > 0 else 1.0)
    cross = stats.cross - torch.outer(level, stats.rows)
    factor, failed = torch.linalg.cholesky_ex(gram)
    if int(failed):
        raise FitError(
            f"random features at the penalty {penalty} have no solution that rounding leaves: take a stronger penalty"
        )
    weight = torch.cholesky_solve(cross.T, factor)
    return weight.cpu().numpy(), (level - mean @ weight).cpu().numpy()


def _scorer(lift: Lift, solution: Solution) -> Scorer:
    import torch

    def score(z: "torch.Tensor") -> np.ndarray:
        weight = torch.from_numpy(solution[0]).float().to(z.device)
        return np.asarray((lift(z) @ weight).double().cpu().numpy() + solution[1])

    return score


PLUGIN = RandomFeatures()
