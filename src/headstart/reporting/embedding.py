"""The map: rows of the backbone laid out in the plane, so that what is alike for it lies together."""

import numpy as np
from jaxtyping import Float, Int

from headstart.features.contents import content_of
from headstart.model.model import Model
from headstart.reporting import draw_map, media
from headstart.reporting.draw import HUES
from headstart.reporting.evidence import Evidence
from headstart.reporting.galleries import name_of, shown_label, shown_prediction
from headstart.reporting.story import MapSection
from headstart.reporting.words import percent

MOST_POINTS = 1200
FEWEST_POINTS = 4
_FEWEST_FOR_TSNE = 30
_COMPONENTS = 50
_ITERATIONS = 600


def make_map(model: Model, evidence: Evidence, *, seed: int = 0) -> MapSection | None:
    """The map of at most `MOST_POINTS` items, drawn at random where there are more; None for fewer than four.

    Rows are centred and made of length 1, reduced to 50 principal components, and laid out by t-SNE (van der Maaten and Hinton
    2008) from a start by principal components; up to 30 items lie at their first two principal components.
    """
    n = len(evidence)
    if n < FEWEST_POINTS:
        return None
    rows = np.arange(n)
    if n > MOST_POINTS:
        rows = np.sort(np.random.default_rng(seed).choice(n, MOST_POINTS, replace=False))
    unit = _unit(evidence.x[rows])
    places, method = layout(unit, seed=seed)
    wrong = evidence.wrong[rows]
    colour, legend = _colours(evidence, rows)
    neighbours = _neighbours(unit, evidence, rows)
    plot = draw_map.draw(places, colour, wrong=wrong, legend=legend, words=_words(len(rows), neighbours))
    content = content_of(evidence.samples)
    ids = evidence.samples.ids
    points = tuple(
        (name_of(ids[i]), shown_label(evidence, i), shown_prediction(evidence, i), int(evidence.wrong[i]))
        for i in rows.tolist()
    )
    sheet = (
        media.sheet(model.backbone.preparation, content, positions=rows.tolist()) if model.modality == "image" else ""
    )
    return MapSection(
        plot=plot,
        method=method,
        points=points,
        legend=legend,
        shown=len(rows),
        total=n,
        sheet=sheet,
        tile=media.TILE,
        columns=media.COLUMNS,
        neighbours=neighbours,
    )


def layout(unit: Float[np.ndarray, "n d"], *, seed: int = 0) -> tuple[Float[np.ndarray, "n 2"], str]:
    """Places in the plane, and in words how they were found."""
    from sklearn.decomposition import PCA

    n, d = unit.shape
    if not np.ptp(unit, axis=0).any():
        return np.zeros((n, 2)), "all rows are equal"
    reduced = PCA(n_components=min(_COMPONENTS, n, d), random_state=seed, svd_solver="full").fit_transform(unit)
    if n < _FEWEST_FOR_TSNE:
        flat = np.pad(reduced, ((0, 0), (0, max(0, 2 - reduced.shape[1]))))
        return flat[:, :2], "the first two principal components"
    from sklearn.manifold import TSNE

    start = reduced[:, :2] / max(float(reduced[:, 0].std()), 1e-12) * 1e-4
    start = np.pad(start, ((0, 0), (0, 2 - start.shape[1]))).astype(np.float32)
    found = TSNE(init=start, perplexity=min(30.0, (n - 1) / 3), max_iter=_ITERATIONS, random_state=seed).fit_transform(
        reduced
    )
    return np.asarray(found, dtype=np.float64), "t-SNE of 50 principal components"


def _unit(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    centred = np.asarray(x, dtype=np.float64) - x.mean(axis=0, dtype=np.float64)
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12))


def _colours(evidence: Evidence, rows: Int[np.ndarray, "m"]) -> tuple[np.ndarray, tuple[str, ...]]:
    """The number of each point's colour, and what the colours mean; one colour and no legend where they would be too many."""
    targets = evidence.targets
    if targets.task == "single_label" and len(targets.labels) <= HUES:
        return targets.values[rows], targets.labels
    if targets.task == "regression":
        edges = np.quantile(targets.values, (0.2, 0.4, 0.6, 0.8))
        names = ("lowest fifth", "low", "middle", "high", "highest fifth")
        return np.searchsorted(edges, targets.values[rows], side="right"), names
    return np.zeros(len(rows), dtype=np.int64), ()


def _neighbours(unit: np.ndarray, evidence: Evidence, rows: np.ndarray) -> tuple[tuple[str, str, str], ...]:
    """For each label the share of its items whose nearest item has the same label, and the label that the others meet most."""
    if evidence.targets.task != "single_label":
        return ()
    alike = unit @ unit.T
    np.fill_diagonal(alike, -np.inf)
    own = evidence.targets.values[rows]
    met = own[alike.argmax(axis=1)]
    labels, found = evidence.targets.labels, []
    for label in np.unique(own):
        inside = met[own == label]
        others = np.bincount(inside[inside != label], minlength=len(labels))
        share = float((inside == label).mean())
        found.append((share, labels[label], labels[int(others.argmax())] if others.any() else ""))
    found.sort()
    return tuple((name, percent(share, 0), other) for share, name, other in found[: 2 * HUES])


def _words(n: int, neighbours: tuple[tuple[str, str, str], ...]) -> str:
    words = f"{n:,} items as points; those that lie together are alike for the backbone."
    if neighbours:
        name, share, other = neighbours[0]
        words += f" Least by itself lies {name}: for {share} of its items the nearest item has the same label"
        words += f", and the others lie nearest to {other} most often." if other else "."
    return words
