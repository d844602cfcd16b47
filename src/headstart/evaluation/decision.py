"""Decisions from probabilities: offsets and costs that choose, and change no probability."""

import numpy as np
from jaxtyping import Float, Int

_SMALLEST = 1e-12
"""Probabilities and priors below this count as this, so that their logarithm is finite."""


def balanced_offsets(prior: Float[np.ndarray, " k"], *, tau: float = 1.0) -> Float[np.ndarray, " k"]:
    """Give the offsets of post-hoc logit adjustment: -tau log prior (Menon et al., 2021).

    Args:
        prior: Share of each class among the training rows.
        tau: Strength; 1 is the Bayes rule for balanced accuracy under calibrated probabilities.
    """
    return np.asarray(-tau * np.log(np.maximum(prior, _SMALLEST)))


def choose_by_offsets(
    probabilities: Float[np.ndarray, "n k"], offsets: Float[np.ndarray, " k"]
) -> Int[np.ndarray, " n"]:
    """Choose the class with the largest log-probability plus offset; ties go to the first."""
    return np.asarray(np.argmax(np.log(np.maximum(probabilities, _SMALLEST)) + offsets, axis=1))


def choose_by_costs(probabilities: Float[np.ndarray, "n k"], costs: Float[np.ndarray, "k k"]) -> Int[np.ndarray, " n"]:
    """Choose the class of the least expected cost; ties go to the first.

    Args:
        probabilities: Calibrated probabilities, one row per item.
        costs: What it costs to answer column j where the truth is row i.
    """
    return np.asarray(np.argmin(probabilities @ costs, axis=1))
