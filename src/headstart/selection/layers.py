"""Which layers of a network to read: each block by itself, then greedily together.

Intermediate layers win where the data is far from what the network was trained on (arXiv 2603.05280), and several together tell more than
one (Head2Toe, arXiv 2201.03529). Every layer is scored by a head out of fold; the best one is joined by whichever lowers the loss most, as
long as that is more than one paired standard error.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from headstart.evaluation.calibration import paired_standard_error
from headstart.selection.scoring import OutOfFold, out_of_fold
from headstart.tasks.task import Targets

MOST_LAYERS = 4
"""No more layers are read together."""

MOST_ROWS = 5000
"""Layers are chosen on so many samples."""


@dataclass(frozen=True)
class Scored:
    """One set of layers.

    Attributes:
        layers: positions, in the order in which they joined.
        figure: the task's first figure out of fold; negative where lower is better.
        loss: the mean loss.
        error: the paired standard error of its loss and that of the set it grew from; NaN for single layers.
    """

    layers: tuple[int, ...]
    figure: float
    loss: float
    error: float = float("nan")


@dataclass(frozen=True)
class Scan:
    """What a scan found.

    Attributes:
        chosen: positions of the layers to read, in the order of the network.
        singles: each layer by itself.
        grown: the sets that were taken, from the best single layer on.
    """

    chosen: tuple[int, ...]
    singles: tuple[Scored, ...]
    grown: tuple[Scored, ...]


def scan_layers(
    rows: Sequence[Float[np.ndarray, "m d"]], y: Targets, *, groups: np.ndarray | None = None, seed: int = 0
) -> Scan:
    """Choose among the layers of m samples.

    Args:
        rows: one matrix a layer, of any widths.
        y: targets.
        groups: (m,) numbers of what shares a fold; None where each stands alone.
        seed: decides the folds, which are the same for all.

    Raises:
        FitError: no head can be fitted.
    """

    def judge(layers: tuple[int, ...]) -> OutOfFold:
        x = np.concatenate([rows[layer] for layer in sorted(layers)], axis=1)
        return out_of_fold(x, y, groups=groups, seed=seed)

    alone = [judge((place,)) for place in range(len(rows))]
    singles = tuple(_scored((place,), found) for place, found in enumerate(alone))
    best = min(range(len(rows)), key=lambda place: singles[place].loss)
    chosen: tuple[int, ...] = (best,)
    current = alone[best]
    grown = [singles[best]]
    while len(chosen) < min(MOST_LAYERS, len(rows)):
        wider = [(*chosen, place) for place in range(len(rows)) if place not in chosen]
        found = {layers: judge(layers) for layers in wider}
        layers = min(wider, key=lambda each: float(found[each].loss.mean()))
        error = paired_standard_error(current.loss, found[layers].loss)
        if not float(current.loss.mean() - found[layers].loss.mean()) > error:
            break
        chosen, current = layers, found[layers]
        grown.append(_scored(layers, current, error))
    return Scan(tuple(sorted(chosen)), singles, tuple(grown))


def _scored(layers: tuple[int, ...], found: OutOfFold, error: float = float("nan")) -> Scored:
    return Scored(layers, float(found.figure.mean()), float(found.loss.mean()), error)
