"""Copies of one item: equal content, and near copies found among nearest rows and confirmed on the items themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from headstart.audit import pictures, recordings, texts
from headstart.audit.neighbours import MOST_ROWS, nearest
from headstart.audit.small_images import each_of, small_images
from headstart.core.errors import SampleError
from headstart.data.modalities import MODALITIES
from headstart.data.samples import Samples
from headstart.features.contents import content_of

NEIGHBOURS = 5
"""Nearest rows of each row that may be copies of it."""

_WAVES = 4096
_NEARLY = 0.999  # 1 is kept for equal content
_SHORT_CHAIN, _TEMPLATE = 10, 0.1


@dataclass(frozen=True)
class Copies:
    """What is the same, or nearly.

    Attributes:
        pairs: positions of two items each, the earlier one first.
        scores: how surely each pair is one item: 1 for equal content.
        exact: which pairs have the very same content.
        looked_at: items that the search for near copies looked at.
        groups: (n,) equal numbers for items that are copies of each other, or of a common third.
    """

    pairs: Int[np.ndarray, "m 2"]
    scores: Float[np.ndarray, "m"]
    exact: Bool[np.ndarray, "m"]
    looked_at: int
    groups: Int[np.ndarray, "n"]

    def __len__(self) -> int:
        return len(self.pairs)


def find_copies(
    samples: Samples,
    x: Float[np.ndarray, "n d"],
    *,
    digests: UInt8[np.ndarray, "n 16"],
    most: int = MOST_ROWS,
    seed: int = 0,
) -> Copies:
    """Pairs of equal items, and of nearly equal ones.

    Candidates are the `NEIGHBOURS` nearest rows of each row, and images with nearly equal hashes or texts equal but for case and
    punctuation. No cosine alone makes a copy: for small crops of one kind of cell, unrelated ones lie nearer than some copies. What
    confirms a candidate is stated in `pictures`, `texts` and `recordings`.

    Args:
        samples: n samples with a row each.
        x: their rows.
        digests: their content digests.
        most: of more items than this, the search for near copies looks at a random part of so many.
        seed: decides which part.
    """
    _, first, inverse = np.unique(digests, axis=0, return_index=True, return_inverse=True)
    original = first[inverse.reshape(-1)]
    position = np.arange(len(digests))
    same = np.stack([original, position], axis=1)[original != position]
    near, scores, looked_at = np.zeros((0, 2), np.int64), np.zeros(0), len(first)
    if len(first) > 1:
        order = np.random.default_rng(seed).permutation(np.sort(first))[:most]
        search = {"image": _images, "text": _texts, "audio": _recordings}[samples.modality]
        near, scores, looked_at = search(samples, x, order, digests)
    pairs = np.concatenate([same, near])
    exact = np.arange(len(pairs)) < len(same)
    looked_at = len(digests) if looked_at == len(first) else looked_at
    return Copies(
        pairs,
        np.concatenate([np.ones(len(same)), np.minimum(scores, _NEARLY)]),
        exact,
        looked_at,
        _joined(len(digests), pairs),
    )


Found = tuple[Int[np.ndarray, "m 2"], Float[np.ndarray, "m"], int]
"""Pairs of positions, how sure each is, and how many items were looked at."""


def _images(samples: Samples, x: np.ndarray, order: np.ndarray, digests: np.ndarray) -> Found:
    smalls = small_images(samples, order, digests=digests)
    if len(smalls) < 2:
        return np.zeros((0, 2), np.int64), np.zeros(0), len(order)
    at = np.array(sorted(smalls))
    images = np.stack([smalls[position].grey for position in at.tolist()])
    shortest = np.array([smalls[position].shortest for position in at.tolist()])
    candidates = _unique(_near(x[at]), pictures.hash_neighbours(pictures.hashes(images), NEIGHBOURS))
    scores = pictures.copies(images, candidates, shortest=shortest)
    return *_kept(at, candidates, scores), len(order)


def _texts(samples: Samples, x: np.ndarray, order: np.ndarray, _digests: np.ndarray) -> Found:
    at = np.sort(order)
    content = content_of(samples)
    folded = [texts.normalised(_text(content(int(position)))) for position in at]
    candidates = _unique(_near(x[at]), texts.same(folded))
    return *_kept(at, candidates, texts.copies(folded, candidates)), len(at)


def _recordings(samples: Samples, x: np.ndarray, order: np.ndarray, _digests: np.ndarray) -> Found:
    content = content_of(samples)
    prepare = MODALITIES.get("audio").preparation(f"audio(rate={recordings.RATE})", {})

    @lru_cache(maxsize=_WAVES)
    def wave(position: int) -> np.ndarray:
        try:
            return np.concatenate(prepare.prepare(content(position)).views)
        except (SampleError, OSError):
            return np.zeros(1, np.float32)

    lengths = each_of(order, lambda position: len(wave(position)) / recordings.RATE)
    at = np.sort(np.fromiter(lengths, np.int64, len(lengths)))
    if len(at) < 2:
        return np.zeros((0, 2), np.int64), np.zeros(0), len(at)
    candidates = _unique(_near(x[at]))
    seconds = np.array([lengths[int(position)] for position in at])
    scores = recordings.copies(candidates, lambda row: wave(int(at[row])), seconds=seconds)
    return *_kept(at, candidates, scores), len(at)


def _near(x: np.ndarray) -> Int[np.ndarray, "m 2"]:
    where, _ = nearest(x, NEIGHBOURS)
    return np.stack([np.repeat(np.arange(len(where)), where.shape[1]), where.reshape(-1)], axis=1)


def _unique(*several: np.ndarray) -> Int[np.ndarray, "m 2"]:
    """Each pair once, the smaller position first."""
    pairs = np.sort(np.concatenate(several), axis=1)
    return np.unique(pairs, axis=0)


def _kept(at: np.ndarray, pairs: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The confirmed pairs, by their positions among all items."""
    sure = scores > 0
    return at[pairs[sure]], scores[sure]


def _joined(n: int, pairs: np.ndarray) -> Int[np.ndarray, "n"]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    return np.asarray(connected_components(edges, directed=False)[1], dtype=np.int64)


def _text(content: bytes | str) -> str:
    return content if isinstance(content, str) else content.decode("utf-8", "replace")


def joined_with(groups: Sequence[str | None] | np.ndarray | None, copies: Copies) -> np.ndarray | None:
    """Names of what has to stay on one side of every split: the given groups, joined where copies connect them.

    Near copies of near copies chain. A chain of more than a tenth of all items is a template that they share and joins none of them;
    equal content always joins.

    Returns:
        (n,) names, or None where every item stands alone.
    """
    n = len(copies.groups)
    sizes = np.bincount(copies.groups, minlength=1)
    template = sizes[copies.groups] > max(_SHORT_CHAIN, _TEMPLATE * n)
    pairs = copies.pairs[copies.exact | ~template[copies.pairs[:, 0]]]
    if groups is None:
        return _joined(n, pairs).astype(str).astype(object) if len(pairs) else None
    named = np.array([f"g{name}" if name is not None else f"i{i}" for i, name in enumerate(groups)])
    node = np.unique(named, return_inverse=True)[1].reshape(-1)
    links = np.stack([node[pairs[:, 0]], node[pairs[:, 1]]], axis=1)
    return _joined(n, links)[node].astype(str).astype(object)
