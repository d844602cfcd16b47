"""Whether two texts say the same: equal but for case, punctuation and space, or nearly so, letter by letter."""

import unicodedata
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

SIMILARITY = 0.9
"""1 less the edit distance over the longer length, from which two texts count as one."""

_SHORT = 12


def normalised(text: str) -> str:
    """The text in compatibility form, without case, with anything that is neither letter nor digit folded into single spaces.

    A text that holds nothing else stays as it is, less its outer space.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = "".join(mark if mark.isalnum() else " " for mark in folded).split()
    return " ".join(words) or text.strip()


def same(folded: Sequence[str]) -> Int[np.ndarray, "m 2"]:
    """Pairs of positions of equal texts: each with the first of its kind."""
    first: dict[str, int] = {}
    pairs = [(first.setdefault(text, i), i) for i, text in enumerate(folded)]
    found = np.array([pair for pair in pairs if pair[0] != pair[1]], np.int64)
    return found.reshape(-1, 2)


def copies(folded: Sequence[str], pairs: Int[np.ndarray, "m 2"]) -> Float[np.ndarray, "m"]:
    """How alike the texts of each pair are, 0 below `SIMILARITY`; Levenshtein's distance over the longer length.

    Of texts of fewer than a dozen letters only equal ones count: one letter makes another word. Nor do texts whose digits differ: a
    number makes another text of one template.
    """
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cpdist

    if not len(pairs):
        return np.zeros(0)
    one, other = ([folded[i] for i in pairs[:, side]] for side in (0, 1))
    alike = cpdist(one, other, scorer=Levenshtein.normalized_similarity, score_cutoff=SIMILARITY, dtype=np.float32)
    short = np.array([min(len(a), len(b)) < _SHORT for a, b in zip(one, other, strict=True)])
    digits = ["".join(filter(str.isdigit, text)) for text in folded]
    other_number = np.array([digits[i] != digits[j] for i, j in pairs])
    return np.where((short & (alike < 1)) | other_number, 0.0, alike).astype(np.float64)
