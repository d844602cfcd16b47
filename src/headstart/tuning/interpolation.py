"""Which point between the start and the tuned weights is the best: weights half-way often beat both ends (Wortsman et al., 2022)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from headstart.evaluation.calibration import fit_temperature
from headstart.tasks.task import Targets, Task
from headstart.tuning.classifier import State
from headstart.tuning.loop import Trained

SHARES = (0.25, 0.5, 0.75)
"""Points that are looked at between the start, 0, and the better of the tuned ends, 1."""

Scores = Callable[[State], Float[np.ndarray, "n k"]]


@dataclass(frozen=True)
class Point:
    """One set of weights.

    Attributes:
        title: `raw` or `average`, the last weights or their moving average.
        share: how far from the start towards them.
        loss: the task's loss on the samples that choose, calibrated on these; for values the absolute error.
        figure: the task's first figure on them; negative where lower is better.
    """

    title: str
    share: float
    loss: float
    figure: float


def judged(scores: Float[np.ndarray, "n k"], targets: Targets, *, task: Task) -> tuple[Float[np.ndarray, "n"], float]:
    """The calibrated loss of each sample, and the first figure, higher being better, of scores."""
    predicted = task.predict(scores, fit_temperature(scores, targets.values, link=task.link))
    _, figure = task.figure(targets, predicted)
    return np.asarray(task.outcomes(targets, predicted).get("log_loss", -figure)), float(np.mean(figure))


def best_point(
    start: State, trained: Trained, *, targets: Targets, task: Task, scores: Scores, shares: Sequence[float] = SHARES
) -> tuple[State, Point, tuple[Point, ...]]:
    """The weights with the lowest loss, and all points that were looked at.

    Args:
        start: the weights of the frozen model.
        trained: where tuning ended.
        targets: of the samples that choose.
        task: what they are.
        scores: the scores of those samples under some weights.
        shares: points to look at on the way to the better end.
    """

    def look(title: str, share: float, state: State) -> tuple[State, Point]:
        losses, figure = judged(scores(state), targets, task=task)
        return state, Point(title, share, float(losses.mean()), figure)

    ends = {"raw": trained.raw} | ({} if trained.average is None else {"average": trained.average})
    found = [look(title, 1.0, end) for title, end in ends.items()]
    end, better = min(found, key=_loss)
    found += [look(better.title, share, start.towards(end, share)) for share in shares]
    state, point = min(found, key=_loss)
    return state, point, tuple(each for _, each in found)


def _loss(one: tuple[State, Point]) -> float:
    return one[1].loss if math.isfinite(one[1].loss) else math.inf
