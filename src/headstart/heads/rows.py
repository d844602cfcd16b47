"""Rows in the space in which heads are fitted: centred, of one global scale, and rotated into their own span where n < d.

`z = (x - mean) / scale @ basis`. The scale makes the mean squared length of a row 1, so that penalties mean the same for every
backbone. The rotation is exact: it keeps every inner product between centred rows, and makes 243 photos of 1280 features a matrix
of 243 columns. A head of the z space becomes one of raw rows with nothing lost.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from headstart.core.errors import ExtraMissing, FitError

if TYPE_CHECKING:
    import torch

CHUNK_BYTES = 1 << 26
RESIDENT_BYTES = 1 << 30
"""Up to so many bytes of prepared rows are kept in (device) memory; past it every pass prepares them again, chunk by chunk."""

THREAD_FLOPS = 4e8
"""A further thread is used for each so many operations in one matrix product."""

_NULL = 1e-10


@contextmanager
def arithmetic(flops: float) -> Iterator[None]:
    """Arithmetic as fitting needs it, put back at the end.

    No denormal numbers on the CPU (they are up to 39 times as slow), no TF32 on CUDA (it drowns small eigenvalues), and no more
    threads than one product can feed: threads that wait for each other on a busy machine make small products 100 times as slow.

    Args:
        flops: operations in one of the products.
    """
    import torch
    from threadpoolctl import get_cached_controller  # type: ignore[import-untyped]

    before, threads = torch.backends.cuda.matmul.allow_tf32, torch.get_num_threads()
    torch.backends.cuda.matmul.allow_tf32 = False
    flushed = _flushes_denormals()
    torch.set_flush_denormal(True)
    wanted = max(1, min(threads, int(flops / THREAD_FLOPS)))
    torch.set_num_threads(wanted)
    try:
        with get_cached_controller().limit(limits=wanted, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushed)
        torch.backends.cuda.matmul.allow_tf32 = before


def _flushes_denormals() -> bool:
    """Whether this thread flushes denormal numbers already. torch does not tell, but a product with one does."""
    import torch

    return float(torch.tensor([1e-310], dtype=torch.float64) * 1.0) == 0.0


@dataclass(frozen=True)
class Rows:
    """n rows of a matrix in memory or mapped from disk, handed out as float32 tensors of the z space.

    Attributes:
        x: (n, d) raw rows.
        mean: (d,) float64; of float32 precision where the rows are, so that taking it off a row near it loses nothing.
        scale: root of the mean squared distance from the mean; 1.0 where all rows are equal.
        basis: (d, r) float64 with orthonormal columns, or None where the space is not rotated.
        device: where tensors are made.
        resident: all prepared rows, where they fit.
    """

    x: Float[np.ndarray, "n d"]
    mean: Float[np.ndarray, "d"]
    scale: float
    basis: Float[np.ndarray, "d r"] | None
    device: str
    resident: "torch.Tensor | None" = None

    def __len__(self) -> int:
        return int(self.x.shape[0])

    @property
    def width(self) -> int:
        """r, the number of columns of the z space."""
        return int(self.x.shape[1] if self.basis is None else self.basis.shape[1])

    def take(self, rows: np.ndarray | slice) -> "torch.Tensor":
        """(m, r) float32 rows at these positions."""
        import torch

        if self.resident is not None:
            return self.resident[rows if isinstance(rows, slice) else torch.from_numpy(rows).to(self.device)]
        z = _centred(self.x[rows], self.mean, self.device)
        if self.basis is not None:
            z = z.double() @ torch.from_numpy(self.basis).to(self.device)
        return z.div_(self.scale).float()

    def chunks(self, *, beside: int = 0) -> Iterator[tuple[slice, "torch.Tensor"]]:
        """All rows, in order, a slice at a time.

        Args:
            beside: how many numbers are made of each row, such as its scores: many make the slices shorter.
        """
        for part in slices(len(self), self.x.shape[1] + beside):
            yield part, self.take(part)

    def to_raw(
        self, weight: Float[np.ndarray, "r k"], bias: Float[np.ndarray, "k"]
    ) -> tuple[Float[np.ndarray, "d k"], Float[np.ndarray, "k"]]:
        """The linear function `z @ weight + bias` as one of raw rows."""
        raw = (weight if self.basis is None else self.basis @ weight) / self.scale
        return raw, bias - self.mean @ raw


def slices(n: int, d: int) -> Iterator[slice]:
    """Consecutive slices of n rows of d float64 values that stay below `CHUNK_BYTES`."""
    step = max(1, CHUNK_BYTES // (8 * max(d, 1)))
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))


def prepare_rows(x: Float[np.ndarray, "n d"]) -> Rows:
    """Centre, scale and where n < d rotate; tensors go to CUDA where there is a device.

    Raises:
        FitError: there are fewer than two rows, no features, or a value that is not finite.
        ExtraMissing: torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise ExtraMissing.of("torch", "torch", purpose="fitting a head") from error
    if x.ndim != 2 or x.shape[0] < 2 or x.shape[1] < 1:
        raise FitError(
            f"a head is fitted from a matrix of at least two rows of features, and got one of shape {x.shape}"
        )
    mean, scale = _moments(x)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    narrow = min(x.shape)
    with arithmetic(2.0 * x.shape[1] * narrow**2):
        rows = Rows(x, mean, scale, _span(x, mean, device) if x.shape[0] < x.shape[1] else None, device)
        if 4 * len(rows) * rows.width > RESIDENT_BYTES:
            return rows
        return replace(rows, resident=torch.cat([z for _, z in rows.chunks()]))


def _moments(x: np.ndarray) -> tuple[np.ndarray, float]:
    """Mean, and the root of the mean squared distance from it, in two passes."""
    import torch

    total = np.zeros(x.shape[1])
    for part in slices(*x.shape):
        total += x[part].sum(axis=0, dtype=np.float64)
    if not np.isfinite(total).all():
        _refuse_unfinite(x)
    mean = np.asarray(total / x.shape[0], dtype=np.result_type(x.dtype, np.float32)).astype(np.float64)
    squared = 0.0
    for part in slices(*x.shape):
        squared += float(torch.linalg.vector_norm(_centred(x[part], mean, "cpu"), dtype=torch.float64)) ** 2
    scale = float(np.sqrt(squared / x.shape[0]))
    magnitude = float(np.linalg.norm(mean))
    return mean, scale if scale > 1e-12 * magnitude and scale > 0 else 1.0


def _centred(x: np.ndarray, mean: np.ndarray, device: str) -> "torch.Tensor":
    """Rows less the mean: in float32 where they are no finer, else in float64."""
    import torch

    kind = np.result_type(x.dtype, np.float32)
    rows = torch.from_numpy(np.array(x, dtype=kind)).to(device)
    return rows.sub_(torch.from_numpy(mean.astype(kind)).to(device))


def _refuse_unfinite(x: np.ndarray) -> None:
    for part in slices(*x.shape):
        bad = np.flatnonzero(~np.isfinite(np.asarray(x[part])).all(axis=1))
        if len(bad):
            raise FitError(
                f"a head is fitted from finite numbers, and row {part.start + int(bad[0])} holds NaN or an infinity"
            )
    raise FitError("a head is fitted from numbers whose sums are finite, and these are too large")


def _span(x: np.ndarray, mean: np.ndarray, device: str) -> np.ndarray:
    """An orthonormal basis of the span of the centred rows, from the eigenvectors of their n x n Gram matrix."""
    import torch

    centred = torch.from_numpy(np.asarray(x, dtype=np.float64) - mean).to(device)
    values, vectors = torch.linalg.eigh(centred @ centred.T)
    kept = values > _NULL * values[-1].clamp(min=np.finfo(np.float64).tiny)
    if not bool(kept.any()):
        return np.eye(x.shape[1], 1)
    basis, _ = torch.linalg.qr(centred.T @ (vectors[:, kept] / values[kept].sqrt()))
    return np.asarray(basis.cpu().numpy())
