"""A family of heads: a recipe whose options may be left to cross-validation, and the path of candidates that it then offers."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float, Int

from headstart.core.errors import UsageError
from headstart.heads.fitted import Head, Layer, Linear, Mlp
from headstart.heads.recipe import HeadRecipe
from headstart.heads.rows import slices
from headstart.heads.statistics import Study

if TYPE_CHECKING:
    import torch

Solution = tuple[Float[np.ndarray, "r k"], Float[np.ndarray, "k"]]
"""Weight and bias of a linear head in the z space, in coded targets."""


@dataclass(frozen=True)
class Point:
    """One candidate, fitted once without each fold.

    Attributes:
        recipe: with every option set.
        scores: (m, k) out-of-fold scores of the rows at m positions.
    """

    recipe: HeadRecipe
    scores: Callable[[Int[np.ndarray, "m"]], Float[np.ndarray, "m k"]]


class Family(HeadRecipe):
    """A head recipe that shares one study with others. An option that is None is chosen by cross-validation.

    Attributes:
        name: the file's stem.
        linear: whether the fitted head is `Linear`.
        cost: rank by the time that fitting takes; among equally good candidates the smaller one ships.
        patience: after so many worse candidates in a row, or one that is worse by more than a paired standard error, the path is left;
            0 walks all of it.
        settled_by_none: options for which None is a value; any other option that is None is open.
        fewest: `auto` tries the family from so many rows on.
        unasked: whether `auto` tries it at all; not where it needs to be told what rows do not tell.
    """

    name: ClassVar[str]
    linear: ClassVar[bool]
    cost: ClassVar[int]
    patience: ClassVar[int]
    settled_by_none: ClassVar[frozenset[str]] = frozenset()
    fewest: ClassVar[int] = 0
    unasked: ClassVar[bool] = True

    @property
    def settled(self) -> bool:
        """Whether no option is left open."""
        return all(value is not None for name, value in vars(self).items() if name not in self.settled_by_none)

    def check(self) -> None:
        """Refuse an option that is out of range, before anything is extracted. Unless said otherwise options are positive numbers.

        Raises:
            UsageError: it is out of range.
        """
        for option, value in vars(self).items():
            if value is not None:
                positive(value, recipe=self.name, option=option)

    @abstractmethod
    def objection(self, study: Study) -> str:
        """Why `auto` should not try this family on these data, as a sentence; empty where it should."""

    def alone(self, study: Study) -> "Family":  # noqa: ARG002  (for those that have such a rule)
        """The recipe with its options chosen without folds, where it is asked for alone and samples have no groups; else itself."""
        return self

    @abstractmethod
    def path(self, study: Study) -> Iterator[Point]:
        """The candidates, one after the other, each fitted without each fold.

        Raises:
            UsageError: an option has a value that it cannot have.
        """

    @abstractmethod
    def solve(self, study: Study) -> Head:
        """The head fitted on all rows; every option is set."""


Scorer = Callable[["torch.Tensor"], Float[np.ndarray, "m k"]]
"""Scores, in coded targets, of (m, r) float32 rows of the z space, as float64."""


def linear_point(study: Study, *, recipe: HeadRecipe, solutions: Sequence[Solution]) -> Point:
    """A candidate from the solutions without each fold."""
    import torch

    def scorer(weight: np.ndarray, bias: np.ndarray) -> Scorer:
        def score(z: torch.Tensor) -> np.ndarray:
            return np.asarray((z @ torch.from_numpy(weight).to(z)).cpu().numpy() + bias)

        return score

    return scored_point(study, recipe=recipe, scorers=[scorer(*one) for one in solutions])


def scored_point(study: Study, *, recipe: HeadRecipe, scorers: Sequence[Scorer], beside: int = 0) -> Point:
    """A candidate from what was fitted without each fold.

    A class that a fold's training rows lack gets the lowest score of each row there: finite, and never the decision.

    Args:
        study: rows, targets and folds.
        recipe: with every option set.
        scorers: one a fold.
        beside: how many numbers a scorer makes of each row besides its scores.
    """
    lacking = [_lacking(study, number) for number in range(len(scorers))]

    def scores(positions: np.ndarray) -> np.ndarray:
        out = np.empty((len(positions), study.k))
        for number, score in enumerate(scorers):
            inside = np.flatnonzero(study.fold[positions] == number)
            for part in slices(len(inside), study.d + study.k + beside):
                own = score(study.rows.take(positions[inside[part]]))
                if lacking[number].any():
                    own[:, lacking[number]] = own[:, ~lacking[number]].min(axis=1, keepdims=True)
                out[inside[part]] = own
        return out * study.unit + study.offset

    return Point(recipe, scores)


def linear_head(study: Study, solution: Solution) -> Linear:
    """The fitted head of raw rows and decoded targets."""
    weight, bias = study.rows.to_raw(solution[0] * study.unit, solution[1] * study.unit + study.offset)
    rounded = weight.astype(np.float32)
    # What rounding the weights does to the mean row is put right in the bias.
    return Linear(rounded, np.asarray(bias + study.rows.mean @ (weight - rounded), dtype=np.float64), study.link)


def bent_head(
    study: Study, *, hidden: Solution, activation: str, output: Solution, centre: Float[np.ndarray, "h"]
) -> Mlp:
    """The fitted head of raw rows and decoded targets, of one hidden layer of the z space and its output in coded targets.

    Args:
        study: rows and targets.
        hidden: (r, h) weight and (h,) bias.
        activation: of the hidden layer.
        output: (h, k) weight and (k,) bias.
        centre: the mean hidden row; there, what rounding the output's weights does is put right in the bias.
    """
    first = study.rows.to_raw(*hidden)[0].astype(np.float32)
    layer = Layer(first, np.asarray(hidden[1] - study.rows.mean @ first, dtype=np.float64))
    weight = output[0] * study.unit
    rounded = weight.astype(np.float32)
    bias = output[1] * study.unit + study.offset + centre @ (weight - rounded)
    return Mlp((layer,), rounded, np.asarray(bias, dtype=np.float64), activation, study.link)


def positive(value: object, *, recipe: str, option: str) -> float:
    """An option's value as a positive number.

    Raises:
        UsageError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise UsageError(f"{recipe} takes for {option!r} a positive number, and got {value!r}")
    return float(value)


def whole(value: object, *, recipe: str, option: str, least: int = 1) -> int:
    """An option's value as a whole number.

    Raises:
        UsageError: it is none, or less than `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"{recipe} takes for {option!r} a whole number from {least} up, and got {value!r}")
    return value


def _lacking(study: Study, held_out: int) -> np.ndarray:
    """Which classes the training rows outside a fold lack."""
    if study.link != "softmax":
        return np.zeros(study.k, dtype=bool)
    return np.asarray((study.total.targets - study.parts[held_out].targets).cpu().numpy() < 0.5)
