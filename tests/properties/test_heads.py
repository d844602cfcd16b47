"""What must not matter to a head does not: the order of rows and classes, rotation, shift and scale of the space."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.heads.fitted import Neighbours
from headstart.heads.selection import parse, select
from headstart.tasks.task import Targets
from support.planted import blobs, turns

RECIPES = ["prototype", "ridge(penalty=0.1)", "lda(shrinkage=0.3)", "logistic(penalty=0.001)", "knn(neighbours=5)"]
QUICK = settings(max_examples=8, deadline=None)


def close(one: np.ndarray, two: np.ndarray, *, tolerance: float = 5e-3) -> None:
    """Equal scores but for rounding, and for what all classes of a row share."""
    one, two = (scores - scores.mean(axis=1, keepdims=True) for scores in (one, two))
    np.testing.assert_allclose(one, two, atol=tolerance * np.abs(one).max())


@pytest.mark.parametrize("recipe", RECIPES)
@QUICK
@given(seed=st.integers(0, 10_000), wide=st.booleans())
def test_the_order_of_rows_does_not_matter(recipe: str, seed: int, wide: bool) -> None:
    x, y = blobs(40, 60 if wide else 6, seed=seed)
    order = np.random.default_rng(seed).permutation(40)
    close(parse(recipe).fit(x[order], y.take(order)).scores(x), parse(recipe).fit(x, y).scores(x))


@pytest.mark.parametrize("recipe", RECIPES)
@QUICK
@given(seed=st.integers(0, 10_000))
def test_the_order_of_classes_does_not_matter(recipe: str, seed: int) -> None:
    x, y = blobs(40, 6, seed=seed)
    order = np.random.default_rng(seed).permutation(3)
    other = Targets(np.argsort(order)[y.values], tuple(y.labels[i] for i in order), "single_label")
    close(parse(recipe).fit(x, other).scores(x), parse(recipe).fit(x, y).scores(x)[:, order])


@pytest.mark.parametrize("recipe", RECIPES)
@QUICK
@given(seed=st.integers(0, 10_000), wide=st.booleans(), scale=st.sampled_from([1e-3, 1.0, 1e3]))
def test_rotation_shift_and_scale_do_not_matter(recipe: str, seed: int, wide: bool, scale: float) -> None:
    d = 60 if wide else 6
    x, y = blobs(40, d, seed=seed)
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))[0]
    moved = ((x @ rotation + 3.0) * scale).astype(np.float32)
    close(parse(recipe).fit(moved, y).scores(moved), parse(recipe).fit(x, y).scores(x))


@QUICK
@given(seed=st.integers(0, 10_000))
def test_scores_of_a_held_out_row_do_not_depend_on_its_own_target(seed: int) -> None:
    x, y = blobs(60, 5, seed=seed)
    fold = turns(60)
    changed = np.where(fold == 2, (y.values + 1) % 3, y.values)
    for recipe in RECIPES:
        one = select(x, y, fold=fold, recipe=parse(recipe)).oof_scores
        two = select(x, Targets(changed, y.labels, "single_label"), fold=fold, recipe=parse(recipe)).oof_scores
        close(one[fold == 2], two[fold == 2], tolerance=1e-6)


@QUICK
@given(seed=st.integers(0, 10_000), k=st.integers(1, 50), block=st.integers(1, 40))
def test_neighbours_vote_as_by_hand(seed: int, k: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((30, 4))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    votes = np.eye(3, dtype=np.float32)[rng.integers(0, 3, 30)]
    head = Neighbours(rows, votes, np.full(4, 0.5, np.float32), k=k, sharpness=4.0, link="softmax")
    x = rng.standard_normal((block, 4))
    expected = []
    for row in x - 0.5:
        cosine = rows @ (row / np.linalg.norm(row))
        best = np.argsort(-cosine)[:k]
        share = np.exp(4 * cosine[best]) @ votes[best] / np.exp(4 * cosine[best]).sum()
        expected.append(np.log((len(best) * share + np.clip(votes.mean(axis=0), 1e-6, 1 - 1e-6)) / (len(best) + 1)))
    np.testing.assert_allclose(head.scores(x), expected, atol=1e-4)
