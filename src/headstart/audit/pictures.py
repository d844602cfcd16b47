"""Whether two images show the same picture, also re-encoded, resized or cropped a little.

A hash of 64 bits finds candidates (a discrete cosine transform of a small grey image; the sign of its low frequencies against their
median), as perceptual hashes do (Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010). What confirms
them is the correlation of aligned pixels: over all crops of one image that keep at least nine tenths of its sides, of the pixels
themselves and of their fine structure, which is the pixels less the mean of their surroundings. Cells on a slide or cars on a road
correlate in the large; copies do so in the small.
"""

from collections.abc import Iterator
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

SIDE = 32
"""Pixels of the sides of the small grey images that are compared."""
HASH_DISTANCE = 10
"""Hashes of 64 bits that differ in at most so many make a candidate."""
STRUCTURE = 0.94
"""Correlation of the fine structure that confirms a copy."""
PIXELS, LEAST_STRUCTURE = 0.992, 0.85
"""Or that of the pixels, with that of the structure: strong compression spoils what little structure smooth images have."""

_COARSE = 16
_UNCROPPED, _CROPPED = 0.4, 0.85
_SCALES = (0.9, 0.925, 0.95, 0.975)
_FINER = (-0.0125, -0.00625, 0.0, 0.00625, 0.0125)
_BATCH = 4096
_ROUNDING = 0.1  # grey levels: what is left of a blank image; one level in one pixel is more
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
Frame = tuple[float, float, float]


def grey(pixels: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w"]:
    """Luminance of RGB pixels."""
    return np.asarray(np.rint(pixels.astype(np.float32) @ _GREY), np.uint8)


def hashes(small: UInt8[np.ndarray, "n s s"]) -> Bool[np.ndarray, "n 63"]:
    """Which of the 63 low frequencies beside the mean are above their median."""
    from scipy.fft import dctn

    low = dctn(small.astype(np.float32), axes=(1, 2), norm="ortho")[:, :8, :8].reshape(len(small), 64)[:, 1:]
    return np.asarray(low > np.median(low, axis=1, keepdims=True))


def hash_neighbours(bits: Bool[np.ndarray, "n 63"], k: int) -> Int[np.ndarray, "m 2"]:
    """Pairs of images whose hashes differ in at most `HASH_DISTANCE` bits; for each image at most the k nearest."""
    signs = np.where(bits, 1.0, -1.0).astype(np.float32)
    n, step = len(signs), max(1, (1 << 24) // max(1, len(signs)))
    least = signs.shape[1] - 2 * HASH_DISTANCE
    pairs = []
    for start in range(0, n, step):
        alike = signs[start : start + step] @ signs.T
        alike[np.arange(len(alike)), start + np.arange(len(alike))] = -np.inf
        kept = min(k, n - 1)
        at = np.argpartition(alike, n - kept, axis=1)[:, n - kept :]
        near = np.take_along_axis(alike, at, axis=1) >= least
        rows = np.broadcast_to(start + np.arange(len(alike))[:, None], at.shape)
        pairs.append(np.stack([rows[near], at[near]], axis=1))
    return np.concatenate(pairs) if pairs else np.zeros((0, 2), np.int64)


def copies(
    small: UInt8[np.ndarray, "n s s"], pairs: Int[np.ndarray, "m 2"], *, shortest: Int[np.ndarray, "n"]
) -> Float[np.ndarray, "m"]:
    """How surely the images of each pair are one picture: 0 where they are not, else their correlation.

    Args:
        small: grey images of `SIDE` pixels, each squashed to a square.
        pairs: positions of two images each.
        shortest: the shorter side of each original, pixels: images are compared at no more pixels than either has.
    """
    found = np.zeros(len(pairs))
    for row in _promising(small, pairs):
        one, other = pairs[row]
        side = int(np.clip(min(shortest[one], shortest[other]), 8, SIDE))
        pixels, structure = _aligned(*(_resized(small[each], side) for each in (one, other)))
        if structure >= STRUCTURE or (pixels >= PIXELS and structure >= LEAST_STRUCTURE):
            found[row] = max(pixels, structure)
    return found


def _promising(small: np.ndarray, pairs: np.ndarray) -> Int[np.ndarray, "r"]:
    """Rows of pairs worth a closer look: by the correlation of fine structure at half the pixels, first of whole images, then of crops.

    Of an image and its copy that lost a tenth of its sides at one corner, what stays in place correlates by more than 0.4.
    """
    views = _views(_COARSE)
    halved = small.reshape(len(small), _COARSE, SIDE // _COARSE, _COARSE, SIDE // _COARSE)
    flat = halved.mean(axis=(2, 4), dtype=np.float32).reshape(len(small), -1)
    whole = _unit(flat @ views[0])
    uncropped = _dots(whole, whole, pairs)
    rows = np.flatnonzero(uncropped > _UNCROPPED)
    best = uncropped[rows]
    for view in views[1:]:
        seen = _unit(flat[np.unique(pairs[rows])] @ view)
        place = np.zeros(len(flat), np.int64)
        place[np.unique(pairs[rows])] = np.arange(len(seen))
        for cropped, reference in ((0, 1), (1, 0)):
            both = np.stack([place[pairs[rows, cropped]], pairs[rows, reference]], axis=1)
            best = np.maximum(best, _dots(seen, whole, both))
    return np.asarray(rows[best > _CROPPED])


def _dots(one: np.ndarray, other: np.ndarray, pairs: np.ndarray) -> Float[np.ndarray, "m"]:
    """The inner product of a row of each for every pair."""
    parts = [pairs[at : at + _BATCH] for at in range(0, len(pairs), _BATCH)]
    found = [np.einsum("ij,ij->i", one[part[:, 0]], other[part[:, 1]]) for part in parts]
    return np.concatenate(found) if found else np.zeros(0)


@cache
def _views(side: int) -> tuple[np.ndarray, ...]:
    """For each crop the linear map from an image's pixels to the fine structure of the crop; the first keeps the whole image."""
    blur = _blur(side)
    maps = []
    for rows, columns in zip(*_cuts(side, tuple(_frames(steps=3))), strict=True):
        maps.append((np.kron(rows, columns) - np.kron(blur @ rows, blur @ columns)).T.astype(np.float32))
    return tuple(maps)


def _frames(*, steps: int) -> Iterator[Frame]:
    """Scale and offsets of the crops, as shares of the sides."""
    yield 1.0, 0.0, 0.0
    for scale in _SCALES:
        for down in np.linspace(0, 1 - scale, steps):
            for right in np.linspace(0, 1 - scale, steps):
                yield scale, float(down), float(right)


def _aligned(one: Float[np.ndarray, "s s"], other: Float[np.ndarray, "s s"]) -> tuple[float, float]:
    """Correlation of pixels and of fine structure where the latter is best: first over a grid of crops, then around the best of them."""
    best = (-1.0, -1.0)
    for cropped, whole in ((one, other), (other, one)):
        frames = tuple(_frames(steps=5))
        pixels, structure = _correlations(cropped, whole, _grid(len(cropped)))
        top = int(np.argmax(structure))
        scale, down, right = frames[top]
        if scale < 1:
            step = (1 - scale) / 8
            near = tuple(
                (s, min(max(down + a * step, 0.0), 1 - s), min(max(right + b * step, 0.0), 1 - s))
                for s in (scale + each for each in _FINER)
                for a in (-1, 0, 1)
                for b in (-1, 0, 1)
            )
            finer = _correlations(cropped, whole, _cuts(len(cropped), near))
            pixels, structure = np.concatenate([pixels, finer[0]]), np.concatenate([structure, finer[1]])
            top = int(np.argmax(structure))
        best = max(best, (float(pixels[top]), float(structure[top])), key=lambda found: found[1])
    return best


@cache
def _grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    return _cuts(side, tuple(_frames(steps=5)))


def _cuts(side: int, frames: tuple[Frame, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The maps of each crop's rows and columns."""
    scale, down, right = np.array(frames, np.float64).T
    return _cut(side, scale, down), _cut(side, scale, right)


def _correlations(
    cropped: np.ndarray, whole: np.ndarray, cuts: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Of the pixels and of the fine structure, for each crop of one image against the whole other one."""
    rows, columns = cuts
    blur = _blur(len(cropped))
    seen = rows @ cropped @ columns.transpose(0, 2, 1)
    fine, own = seen - blur @ seen @ blur.T, whole - blur @ whole @ blur.T
    flat = (len(rows), -1)
    return (
        _unit(seen.reshape(flat)) @ _unit(whole.reshape(1, -1))[0],
        _unit(fine.reshape(flat)) @ _unit(own.reshape(1, -1))[0],
    )


def _cut(side: int, scale: Float[np.ndarray, "f"], start: Float[np.ndarray, "f"]) -> Float[np.ndarray, "f s s"]:
    """The maps from `side` pixels to as many of the windows from `start`, `scale` long: the mean of what each new pixel covers."""
    edges = (start[:, None] + scale[:, None] * np.arange(side + 1) / side) * side
    pixel = np.arange(side)
    covered = np.minimum(edges[:, 1:, None], pixel + 1) - np.maximum(edges[:, :-1, None], pixel)
    covered = np.clip(covered, 0.0, None)
    return np.asarray(covered / covered.sum(axis=2, keepdims=True), np.float32)


@cache
def _blur(side: int) -> Float[np.ndarray, "s s"]:
    """The mean over five pixels, the outermost of which repeat past the edge."""
    near = np.zeros((side, side), np.float32)
    for pixel in range(side):
        for step in range(-2, 3):
            near[pixel, min(max(pixel + step, 0), side - 1)] += 0.2
    return near


def _resized(small: UInt8[np.ndarray, "s s"], side: int) -> Float[np.ndarray, "t t"]:
    if side == len(small):
        return small.astype(np.float32)
    edges = np.arange(side + 1) / side * len(small)
    pixel = np.arange(len(small))
    covered = np.clip(np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel), 0.0, None)
    share = (covered / covered.sum(axis=1, keepdims=True)).astype(np.float32)
    return np.asarray(share @ small.astype(np.float32) @ share.T)


def _unit(a: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n p"]:
    centred = a - a.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), _ROUNDING))
