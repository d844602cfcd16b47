"""One pass over the rows, and with it every closed-form head of every fold.

For each fold: how many rows, their sum, their Gram matrix and their products with the targets. The statistics of the rows outside
a fold are the total less the fold's, so K-fold cross-validation costs K eigendecompositions and no second pass. All closed-form
families share these.
"""

from dataclasses import dataclass
from functools import cached_property, reduce
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from headstart.core.errors import FitError
from headstart.heads.rows import Rows, arithmetic, prepare_rows
from headstart.tasks import TASKS
from headstart.tasks.task import Targets

if TYPE_CHECKING:
    import torch

EXACT_FLOPS = 5e10
"""Up to so many operations the products are made in float64; past them in float32 per chunk, summed in float64."""

SAMPLED_ROWS = (5_000, 50_000)
SAMPLED_SCORES = 1_000_000
"""Candidates are compared on about so many scores each, and on rows between these numbers."""


@dataclass(frozen=True)
class Statistics:
    """What the closed-form heads need of a set of rows; float64 tensors in the z space.

    Attributes:
        n: how many rows.
        rows: (r,) their sum.
        gram: (r, r) the sum of outer products.
        targets: (k,) the sum of coded targets: class counts where the link is softmax.
        cross: (k, r) coded targets times rows: class sums where the link is softmax.
    """

    n: int
    rows: "torch.Tensor"
    gram: "torch.Tensor"
    targets: "torch.Tensor"
    cross: "torch.Tensor"

    def __add__(self, other: "Statistics") -> "Statistics":
        return Statistics(
            self.n + other.n,
            self.rows + other.rows,
            self.gram + other.gram,
            self.targets + other.targets,
            self.cross + other.cross,
        )

    def __sub__(self, other: "Statistics") -> "Statistics":
        return Statistics(
            self.n - other.n,
            self.rows - other.rows,
            self.gram - other.gram,
            self.targets - other.targets,
            self.cross - other.cross,
        )


@dataclass(frozen=True)
class Spectrum:
    """The centred Gram matrix of a set of rows in its eigenvectors, with the targets in them: ridge and LDA at every strength.

    Attributes:
        n: how many rows.
        values: (r,) eigenvalues, at least 0.
        vectors: (r, r) eigenvectors in columns.
        cross: (r, k) centred cross products in the eigenvectors' coordinates.
        mean: (r,) mean row.
        level: (k,) mean coded target: class shares where the link is softmax.
    """

    n: int
    values: "torch.Tensor"
    vectors: "torch.Tensor"
    cross: "torch.Tensor"
    mean: "torch.Tensor"
    level: "torch.Tensor"

    @classmethod
    def of(cls, stats: Statistics) -> "Spectrum":
        """Decompose once, for every strength of every closed-form family."""
        import torch

        mean, level = stats.rows / stats.n, stats.targets / stats.n
        values, vectors = torch.linalg.eigh(stats.gram - stats.n * torch.outer(mean, mean))
        cross = stats.cross - torch.outer(level, stats.rows)
        return cls(stats.n, values.clamp(min=0.0), vectors, vectors.T @ cross.T, mean, level)


@dataclass(frozen=True)
class Study:
    """Rows, targets and folds, with the statistics of each fold: what candidates are fitted and compared on.

    Attributes:
        rows: the prepared rows.
        y: n targets.
        link: the task's link.
        fold: (n,) the fold in which each row is held out.
        sample: positions of the rows on which candidates are compared, sorted; all of them where they are few enough.
        offset: what is subtracted from values (identity link) before they are divided by `unit`.
        unit: the standard deviation of values; 1.0 for the other links.
        parts: statistics by fold.
        total: statistics of all rows.
    """

    rows: Rows
    y: Targets
    link: str
    fold: Int[np.ndarray, "n"]
    sample: Int[np.ndarray, "s"]
    offset: float
    unit: float
    parts: tuple[Statistics, ...]
    total: Statistics

    @property
    def k(self) -> int:
        """How many columns the scores have."""
        return max(1, len(self.y.labels))

    @property
    def d(self) -> int:
        """The width of the raw rows."""
        return int(self.rows.x.shape[1])

    @property
    def decomposition_flops(self) -> float:
        """Operations in one step of an eigendecomposition of a Gram matrix."""
        return float(self.rows.width) ** 3 / 10

    @property
    def solution_flops(self) -> float:
        """Operations in turning one candidate back from eigenvectors."""
        return 2.0 * self.rows.width**2 * self.k

    @cached_property
    def spectra(self) -> tuple[Spectrum, ...]:
        """The spectrum of the rows outside each fold, decomposed when first asked for."""
        with arithmetic(self.decomposition_flops):
            return tuple(Spectrum.of(self.training(number)) for number in range(len(self.parts)))

    @cached_property
    def spectrum(self) -> Spectrum:
        """The spectrum of all rows, decomposed when first asked for."""
        with arithmetic(self.decomposition_flops):
            return Spectrum.of(self.total)

    def training(self, held_out: int | None) -> Statistics:
        """The statistics of all rows, or of those outside one fold."""
        return self.total if held_out is None else self.total - self.parts[held_out]

    def codes(self, part: np.ndarray | slice) -> "torch.Tensor":
        """Coded targets as float32: one-hot for softmax, -1 and 1 for sigmoid, centred and scaled values for identity."""
        return _codes(self.y, self.link, (self.offset, self.unit), part, self.rows.device)


def _codes(
    y: Targets, link: str, scaling: tuple[float, float], part: np.ndarray | slice, device: str
) -> "torch.Tensor":
    import torch

    values = y.values[part]
    if link == "softmax":
        coded = np.zeros((len(values), len(y.labels)), dtype=np.float32)
        coded[np.arange(len(values)), values] = 1.0
    elif link == "sigmoid":
        coded = np.where(values, 1.0, -1.0).astype(np.float32)
    else:
        coded = ((values - scaling[0]) / scaling[1]).astype(np.float32)[:, None]
    return torch.from_numpy(coded).to(device)


def make_study(x: np.ndarray, y: Targets, *, fold: Int[np.ndarray, "n"] | None = None, seed: int = 0) -> Study:
    """Prepare the rows and take their statistics in one pass.

    Args:
        x: (n, d) raw rows, in memory or mapped from disk.
        y: n targets.
        fold: (n,) fold numbers from 0 up; None where nothing is held out.
        seed: decides which rows candidates are compared on, where there are very many.

    Raises:
        FitError: the rows or targets do not determine a head; see `check`.
    """
    check(x, y, fold=fold)
    rows, link = prepare_rows(x), TASKS.get(y.task).link
    n, k = len(rows), max(1, len(y.labels))
    numbers = np.zeros(n, dtype=np.int64) if fold is None else np.unique(fold, return_inverse=True)[1].astype(np.int64)
    limit = int(np.clip(SAMPLED_SCORES // k, *SAMPLED_ROWS))
    sample = np.arange(n) if n <= limit else np.sort(np.random.default_rng(seed).choice(n, limit, replace=False))
    values = link == "identity"
    scaling = (float(y.values.mean()), float(y.values.std()) or 1.0) if values else (0.0, 1.0)
    with arithmetic(2.0 * len(rows) * rows.width**2 / (int(numbers.max()) + 1)):
        parts = _collect(rows, y, numbers, link=link, scaling=scaling)
        total = reduce(Statistics.__add__, parts)
    return Study(rows, y, link, numbers, sample, *scaling, parts, total)


def check(x: np.ndarray, y: Targets, *, fold: np.ndarray | None) -> None:
    """Refuse what no head can be fitted from.

    Raises:
        FitError: lengths differ, a label has no sample, there is one label only, or there is only one fold.
    """
    if len(x) != len(y) or (fold is not None and len(fold) != len(y)):
        raise FitError(f"rows, targets and folds go together, and there are {len(x)} rows, {len(y)} targets")
    if fold is not None and len(np.unique(fold)) < 2:
        raise FitError("cross-validation needs at least two folds, and all rows are in one: too few samples or groups")
    if TASKS.get(y.task).link == "softmax":
        if len(y.labels) < 2:
            raise FitError(
                f"at least two labels are needed to tell apart, and there is {', '.join(y.labels) or 'none'} only"
            )
        missing = [
            label
            for label, count in zip(y.labels, np.bincount(y.values, minlength=len(y.labels)), strict=True)
            if not count
        ]
        if missing:
            raise FitError(
                f"each label needs at least one sample to fit on, and there is none of {', '.join(missing[:5])}"
            )
    elif TASKS.get(y.task).link == "sigmoid" and not y.labels:
        raise FitError("at least one label is needed, and no sample carries any")


def _collect(
    rows: Rows, y: Targets, fold: np.ndarray, *, link: str, scaling: tuple[float, float]
) -> tuple[Statistics, ...]:
    import torch

    r, k, folds = rows.width, max(1, len(y.labels)), int(fold.max()) + 1
    kind = torch.float64 if 2.0 * len(rows) * r * r <= EXACT_FLOPS else torch.float32
    gram, cross, sums, targets = (
        torch.zeros(folds, *shape, dtype=torch.float64, device=rows.device) for shape in ((r, r), (k, r), (r,), (k,))
    )
    for part, z in rows.chunks(beside=k):
        for number in range(folds):
            inside = np.flatnonzero(fold[part] == number)
            own = z[torch.from_numpy(inside).to(z.device)].to(kind)
            gram[number] += own.T @ own
            sums[number] += own.sum(dim=0, dtype=torch.float64)
            positions = inside + part.start
            if link == "softmax":
                index = torch.from_numpy(y.values[positions]).to(z.device)
                cross[number].index_add_(0, index, own.double())
                targets[number] += torch.bincount(index, minlength=k)
            else:
                coded = _codes(y, link, scaling, positions, rows.device).to(kind)
                cross[number] += coded.T @ own
                targets[number] += coded.sum(dim=0, dtype=torch.float64)
    counts = np.bincount(fold, minlength=folds)
    return tuple(Statistics(int(counts[f]), sums[f], gram[f], targets[f], cross[f]) for f in range(folds))
