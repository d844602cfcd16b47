"""The temperature of a compressed model: the one at which it says, on training samples, what the model said that it was made of.

Training labels would tell a temperature that is far too sure, as the head has seen them; and what is held out is not touched. The model's own
calibrated probabilities were fitted out of fold, so to come near them is to be as calibrated as it is.
"""

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize_scalar

from headstart.evaluation.calibration import probabilities

_LOWEST, _HIGHEST = 0.2, 5.0
_FLOOR = 1e-12


def matched(
    scores: Float[np.ndarray, "n k"], known: Float[np.ndarray, "n k"], *, temperature: float, link: str
) -> float:
    """The temperature at which the probabilities of some scores have the least divergence (Kullback and Leibler) from known ones.

    Args:
        scores: of the compressed model.
        known: calibrated probabilities of the model itself, under its training shares.
        temperature: of the model itself; the one that is found is at most five times larger or smaller.
        link: `softmax` or `sigmoid`; for `identity` there is none, and the given one is returned.
    """
    if link == "identity":
        return temperature

    def divergence(log_factor: float) -> float:
        found = np.clip(
            probabilities(scores, temperature=temperature * float(np.exp(log_factor)), link=link), _FLOOR, 1.0
        )
        lost = -known * np.log(found)
        if link == "sigmoid":
            lost = lost - (1 - known) * np.log(np.clip(1 - found, _FLOOR, 1.0))
        return float(lost.sum(axis=1).mean())

    best = minimize_scalar(divergence, bounds=(np.log(_LOWEST), np.log(_HIGHEST)), method="bounded")
    return temperature * float(np.exp(best.x))
