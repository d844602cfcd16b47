"""What to label next: the middles of clusters, of the uncertain where there is a head, and no copy twice."""

import numpy as np

from headstart.selection.labelling import centres, changes, uncertain


def clusters(k: int = 6, each: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(k), each)
    return (4 * np.eye(k, 12)[y] + 0.4 * rng.standard_normal((k * each, 12))).astype(np.float32), y


def test_one_item_of_every_cluster_is_picked() -> None:
    x, y = clusters()
    found = centres(x, n=6)
    assert sorted(y[found.positions]) == list(range(6))
    assert found.sizes.sum() == len(x)
    assert list(found.sizes) == sorted(found.sizes, reverse=True)


def test_near_copies_are_picked_once_and_never_those_of_known_items() -> None:
    x, _ = clusters()
    copied = np.concatenate([x, x + 1e-4, x * 1.0001])
    found = centres(copied, n=60)
    assert len({int(position) % len(x) for position in found.positions}) == len(found.positions) == 60
    beside = centres(x, n=30, known=x[:60] + 1e-4)
    assert min(beside.positions) >= 60


def test_items_at_the_border_change_their_label_and_others_do_not() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 30)).astype(np.float32)
    x[:200, :] += np.where(rng.random(200) < 0.5, 3, -3)[:, None]
    counts = changes(x, lambda rows: (rows.sum(axis=1) > 0).astype(int), mean=np.zeros(30, np.float32), seed=0)
    assert counts[:200].mean() < 0.1
    assert counts[200:].mean() > 0.8
    chosen = uncertain(counts, least=50)
    assert chosen[200:].sum() >= 50 > chosen[:200].sum()
    assert uncertain(np.zeros(5, dtype=int), least=2).all()
