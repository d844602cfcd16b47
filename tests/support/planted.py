"""Rows with a known structure: what heads and metrics are tested on."""

import numpy as np

from headstart.tasks.task import Targets


def targets(values: np.ndarray, labels: tuple[str, ...] | None = None) -> Targets:
    """Single-label targets from class indices."""
    names = labels or tuple(f"class {i}" for i in range(int(values.max()) + 1))
    return Targets(np.asarray(values, dtype=np.int64), names, "single_label")


def blobs(n: int = 200, d: int = 12, *, k: int = 3, gap: float = 2.0, seed: int = 0) -> tuple[np.ndarray, Targets]:
    """Gaussian classes of one covariance around random means, off centre, as float32 rows."""
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    mix = rng.standard_normal((d, d)) / np.sqrt(d)
    means = gap * rng.standard_normal((k, d)) / np.sqrt(d)
    x = (means[y] + rng.standard_normal((n, d))) @ mix * 3 + 5
    return x.astype(np.float32), targets(y)


def ring(n: int = 300, *, seed: int = 0) -> tuple[np.ndarray, Targets]:
    """Two classes in alternate sectors of a circle: no linear head tells them apart, neighbours do."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, n)
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1) * rng.uniform(0.8, 1.2, (n, 1))
    return x.astype(np.float32), targets((angle // (np.pi / 2)).astype(int) % 2)


def sectors(n: int, count: int, *, seed: int = 0) -> tuple[np.ndarray, Targets]:
    """Two classes in turn in `count` sectors of a circle of one radius."""
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi, n)
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return x.astype(np.float32), targets((angle / (2 * np.pi) * count).astype(int) % 2)


def exclusive(n: int, d: int = 12, *, seed: int = 0) -> tuple[np.ndarray, Targets]:
    """Exclusive or: the class is whether two of d columns have one sign; the others are noise that misleads neighbours."""
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return x, targets((x[:, 0] * x[:, 1] > 0).astype(int))


def tags(n: int = 200, d: int = 10, *, k: int = 4, seed: int = 0) -> tuple[np.ndarray, Targets]:
    """Several labels for each row, each from a noisy direction."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)).astype(np.float32)
    y = x @ rng.standard_normal((d, k)) + 0.5 * rng.standard_normal((n, k)) > 1.0
    return x, Targets(y, tuple(f"tag {i}" for i in range(k)), "multi_label")


def values(n: int = 200, d: int = 10, *, seed: int = 0) -> tuple[np.ndarray, Targets]:
    """Numbers far from 0 that are linear in the rows, with noise."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)).astype(np.float32)
    return x, Targets(1e4 + 50 * (x @ rng.standard_normal(d)) + 10 * rng.standard_normal(n), (), "regression")


def turns(n: int, folds: int = 5) -> np.ndarray:
    """Folds in turn."""
    return np.arange(n) % folds
