"""Parity: an engine's rows against those of the plain way, on a few samples of the batches that it is given.

Engines of one precision agree to a cosine of 0.9999, and their rows are as long. In float32 that is always so. A narrower precision has an
error of its own, which no two orders of summation share: EfficientNet-Lite0 in bfloat16 lies 0.0005 from float32 under autocast and 0.0007
through OpenVINO, and the two 0.0013 from each other. There an engine also passes whose rows lie no further from the float32 ones than
twice what the plain way of that precision does, none of them further than five times the plain way's worst.
"""

import numpy as np
from jaxtyping import Float

from headstart.backbones.backbone import Backbone
from headstart.backbones.network import NetworkBackbone
from headstart.backbones.precision import FLOAT32
from headstart.data.preparation import Batch
from headstart.features.choosing import PLAIN
from headstart.features.engines import ENGINES
from headstart.features.sessions import Sessions

SAME = 0.9999
# Largest difference of two rows' lengths, in parts of one, in float32 and in narrower precisions.
_LENGTH = {FLOAT32: 0.01}
_NARROW_LENGTH = 0.05
_TIMES, _WORST = 2.0, 5.0
# Samples from each end of a batch that are run the plain way as well: batches are sorted, so the last ones have the most padding.
_CHECKED = 4

Rows = tuple[np.ndarray, ...]


class Parity:
    """Which engines were checked on which lengths of input, and which were found wanting.

    A constant that a tracer took from its example shows at another length only: so the first batch is checked, and the first one of
    every half doubling of the input's length.
    """

    def __init__(self) -> None:
        self._passed: Sessions[set[tuple[str, int, int]]] = Sessions()
        self._distrusted: Sessions[set[str]] = Sessions()

    def doubt(self, backbone: Backbone, engine: str, *, batch: Batch, rows: Rows, forms: int = 1) -> str:
        """What is wrong with an engine's rows of a batch; empty where nothing is, or such a batch was checked before.

        Args:
            backbone: what was run.
            engine: what ran it.
            batch: what it was given.
            rows: what it made of that.
            forms: as the engine's `forms` counts them.
        """
        if not isinstance(backbone, NetworkBackbone):
            return ""
        passed, key = self._passed.of(backbone, set), (engine, forms, _half_octave(int(batch.values.shape[1])))
        if key in passed:
            return ""
        n = len(batch)
        few = np.unique(np.r_[0 : min(_CHECKED, n), max(0, n - _CHECKED) : n])
        found = _doubt(backbone, Batch(batch.values[few], batch.lengths[few]), tuple(array[few] for array in rows))
        if not found:
            passed.add(key)
        return found

    def distrust(self, backbone: Backbone, engine: str) -> None:
        """Remember, as long as this process has the network, that an engine's rows of it are not to be believed."""
        if isinstance(backbone, NetworkBackbone):
            self._distrusted.of(backbone, set).add(engine)

    def distrusted(self, backbone: Backbone) -> frozenset[str]:
        """The engines whose rows were not to be believed before."""
        return frozenset(self._distrusted.of(backbone, set)) if isinstance(backbone, NetworkBackbone) else frozenset()


def _half_octave(length: int) -> int:
    return 2 * length.bit_length() + (length >> max(0, length.bit_length() - 2) & 1)


def plainly(backbone: Backbone, batch: Batch) -> Rows:
    """Rows of a batch as the plain way makes them, on the device at hand."""
    return next(iter(ENGINES.get(PLAIN).run(backbone, iter([batch]))))


PARITY = Parity()


def _doubt(backbone: NetworkBackbone, batch: Batch, rows: Rows) -> str:
    plain = plainly(backbone, batch)
    precision = backbone.specs[0].precision
    finite = np.all([np.isfinite(array).all(axis=1) for array in plain], axis=0)
    rows, plain = tuple(array[finite] for array in rows), tuple(array[finite] for array in plain)
    if not finite.any():
        return ""
    lowest = min(float(cosine(ours, theirs).min()) for ours, theirs in zip(rows, plain, strict=True))
    stretch = max(float(_stretch(ours, theirs).max()) for ours, theirs in zip(rows, plain, strict=True))
    if lowest >= SAME and stretch <= _LENGTH.get(precision, _NARROW_LENGTH):
        return ""
    if precision != FLOAT32 and stretch <= _NARROW_LENGTH:
        exact = tuple(array[finite] for array in plainly(backbone.at(FLOAT32), batch))
        if all(_as_near(*each) for each in zip(rows, plain, exact, strict=True)):
            return ""
    return f"gave other rows than the plain way in {precision} (cosine {lowest:.4f}, lengths {stretch:.1%} apart)"


def _as_near(rows: np.ndarray, plain: np.ndarray, exact: np.ndarray) -> bool:
    """Whether rows lie about as near to the exact ones as the plain way's."""
    ours, theirs = 1 - cosine(rows, exact), 1 - cosine(plain, exact)
    return bool(ours.mean() <= _TIMES * theirs.mean() and ours.max() <= _WORST * theirs.max())


def cosine(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
    """The cosine of each pair of rows; 1 where both are zero, -1 where one is or is not finite."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(all="ignore"):
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        found = (a * b).sum(axis=1) / lengths
    both = ~a.any(axis=1) & ~b.any(axis=1)
    return np.where(both, 1.0, np.nan_to_num(found, nan=-1.0, posinf=-1.0, neginf=-1.0))


def _stretch(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
    """How far the lengths of each pair of rows are apart, in parts of the second's."""
    ours, theirs = (np.linalg.norm(each.astype(np.float64), axis=1) for each in (a, b))
    with np.errstate(all="ignore"):
        found = np.abs(ours - theirs) / theirs
    return np.where((ours == 0) & (theirs == 0), 0.0, np.nan_to_num(found, nan=np.inf))
