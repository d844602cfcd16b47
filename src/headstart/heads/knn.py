"""A vote of the nearest samples by cosine: no fit, and the one head here that bends; it stores its rows.

Votes are weighted by exp(sharpness * cosine) of centred rows. Source: the evaluation of DINOv2 (k neighbours, softmax weights).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float

from headstart.core.errors import UsageError
from headstart.heads.family import Family, Point, positive
from headstart.heads.fitted import Head, Neighbours, unit_rows, vote_scores
from headstart.heads.rows import arithmetic, slices
from headstart.heads.selection import SelfFitting
from headstart.heads.statistics import Study

if TYPE_CHECKING:
    import torch

NEIGHBOURS = (3, 10, 30)

FLOPS = {"cpu": 5e11, "cuda": 5e13}
STORED_BYTES = 1 << 29
"""`auto` leaves the vote out past so many operations, or where the head would store more than half a gigabyte of rows."""

_BLOCK = 1024


@dataclass(frozen=True)
class Knn(SelfFitting, Family):
    """A vote of nearest neighbours.

    Attributes:
        neighbours: how many vote; None: chosen by cross-validation.
        sharpness: of the weight exp(sharpness * cosine).
    """

    neighbours: int | None = None
    sharpness: float = 10.0

    name: ClassVar[str] = "knn"
    tasks: ClassVar[tuple[str, ...]] = ("single_label", "multi_label", "regression")
    linear: ClassVar[bool] = False
    cost: ClassVar[int] = 4
    patience: ClassVar[int] = 0

    def objection(self, study: Study) -> str:
        """The vote is left out where comparing or storing all rows would take too much."""
        flops, stored = 2.0 * len(study.sample) * len(study.rows) * study.d, 4.0 * len(study.rows) * study.d
        if flops > FLOPS[study.rows.device]:
            return f"knn was left out: it would take about {flops:.0e} operations, past {FLOPS[study.rows.device]:.0e}"
        return f"knn was left out: it would store {stored / 2**30:.1f} GiB of rows" if stored > STORED_BYTES else ""

    def path(self, study: Study) -> Iterator[Point]:
        """All numbers of neighbours from one search, among the rows of the other folds."""
        counts = NEIGHBOURS if self.neighbours is None else (self._checked(),)
        with arithmetic(2.0 * _BLOCK * len(study.rows) * study.rows.width):
            found = _search(study, study.sample, max(counts))
        votes = _votes(study)
        for count in counts:
            yield _point(study, replace(self, neighbours=count), votes, found)

    def solve(self, study: Study) -> Head:
        """All rows, made of length 1, with their votes."""
        x, mean = study.rows.x, study.rows.mean.astype(np.float32)
        k = min(self._checked(), len(study.rows))
        return Neighbours(
            unit_rows(x, mean), _votes(study), mean, k=k, sharpness=float(self.sharpness), link=study.link
        )

    def _checked(self) -> int:
        value = positive(self.neighbours, recipe=self.name, option="neighbours")
        if value != int(value):
            raise UsageError(f"knn takes for 'neighbours' a whole number, and got {value}")
        return int(value)


Found = tuple[np.ndarray, np.ndarray]
"""(m, j) positions and cosines of the nearest rows of other folds, nearest first; where a cosine is -inf there is none."""


def _point(study: Study, recipe: Knn, votes: np.ndarray, found: Found) -> Point:
    count = recipe._checked()  # noqa: SLF001  (of the same file)

    def scores(positions: np.ndarray) -> np.ndarray:
        where, cosines = found if positions is study.sample else _search(study, positions, count)
        prior, own = _priors(study), study.fold[positions]
        out = np.empty((len(positions), study.k))
        for part in slices(len(positions), study.k):
            near = where[part, :count], cosines[part, :count]
            out[part] = vote_scores(near, votes, prior=prior[own[part]], sharpness=recipe.sharpness, link=study.link)
        return out

    return Point(recipe, scores)


def _votes(study: Study) -> Float[np.ndarray, "n k"]:
    """One-hot classes, label indicators or values."""
    if study.link == "identity":
        return np.asarray(study.y.values, dtype=np.float64)[:, None]
    if study.link == "sigmoid":
        return np.asarray(study.y.values, dtype=np.float32)
    return np.asarray(np.eye(study.k, dtype=np.float32)[study.y.values])


def _priors(study: Study) -> Float[np.ndarray, "f k"]:
    """For each fold the mean vote of the rows outside it."""
    rest = [((study.total.targets - part.targets) / (study.total.n - part.n)).cpu().numpy() for part in study.parts]
    mean = np.stack(rest)
    return (mean + 1) / 2 if study.link == "sigmoid" else mean


def _search(study: Study, positions: np.ndarray, count: int) -> Found:
    """The nearest rows of other folds for rows at `positions`, a block of both sides at a time."""
    import torch

    count = min(count, len(study.rows) - max(part.n for part in study.parts))
    fold = torch.from_numpy(study.fold).to(study.rows.device)
    where, cosines = [], []
    for start in range(0, len(positions), _BLOCK):
        block = positions[start : start + _BLOCK]
        query, own = _unit(study.rows.take(block)), fold[torch.from_numpy(block).to(fold.device)]
        best = torch.full((len(block), 0), 0.0, device=fold.device)
        index = torch.zeros((len(block), 0), dtype=torch.int64, device=fold.device)
        for part, z in study.rows.chunks():
            near = query @ _unit(z).T
            near.masked_fill_(own[:, None] == fold[part][None, :], -torch.inf)
            top, at = torch.topk(near, min(count, near.shape[1]), dim=1)
            best, index = torch.cat([best, top], dim=1), torch.cat([index, at + part.start], dim=1)
            best, order = torch.topk(best, min(count, best.shape[1]), dim=1)
            index = torch.gather(index, 1, order)
        where.append(index.cpu().numpy())
        cosines.append(best.cpu().numpy())
    return np.concatenate(where), np.concatenate(cosines)


def _unit(z: "torch.Tensor") -> "torch.Tensor":
    length: torch.Tensor = z.norm(dim=1, keepdim=True).clamp(min=1e-30)
    return z / length


PLUGIN = Knn()
