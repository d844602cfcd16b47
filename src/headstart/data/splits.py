"""Parts and folds: stratified where there are classes, and never one group on both sides."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int

from headstart.core.errors import DataError, FitError, suggest
from headstart.data.samples import PARTS, Samples


def check_label_sets(samples: Samples) -> tuple[str, ...]:
    """Compare the labels of the parts by name.

    Returns:
        A note for each part that lacks labels of `train`; none where there are no parts or the targets are numbers.

    Raises:
        DataError: `val` or `test` has a label that `train` lacks, which no model could ever predict.
    """
    if "train" not in samples.parts or len(samples.parts) < 2 or not samples.has_target:
        return ()
    if pa.types.is_floating(samples.table.column("target").type):
        return ()
    known = _labels(samples.part("train"))
    notes = []
    for part in samples.parts[1:]:
        labels = _labels(samples.part(part))
        if unknown := sorted(labels - known):
            near = suggest(unknown[0], known)
            raise DataError(
                f"the part {part} of {samples.source} has the label{'s' if len(unknown) > 1 else ''} {_named(unknown)}, "
                f"which the part train lacks: name the labels alike in all parts, or leave them out.{near}"
            )
        if absent := sorted(known - labels):
            notes.append(
                f"the part {part} has no {_named(absent)}, so nothing is measured for {'it' if len(absent) == 1 else 'them'}"
            )
    return tuple(notes)


def check_groups(samples: Samples) -> tuple[str, ...]:
    """A note for each pair of given parts that share groups: figures on the later part would be too good."""
    if "group" not in samples.table.column_names or len(samples.parts) < 2:
        return ()
    groups = {
        part: set(pc.unique(samples.part(part).table.column("group").drop_null()).to_pylist()) for part in samples.parts
    }
    shared = {pair: groups[pair[0]] & groups[pair[1]] for pair in combinations(samples.parts, 2)}
    return tuple(
        f"{len(names)} groups, such as {min(names)}, are in both {first} and {part}: figures on {part} are too good"
        for (first, part), names in shared.items()
        if names
    )


def check_group_labels(samples: Samples) -> tuple[str, ...]:
    """A note on labels that lie in one group each: out of fold, nothing can be said of them.

    Raises:
        DataError: that is so for every label, as when the groups are the labels.
    """
    if samples.groups is None or not samples.has_target or not pa.types.is_string(samples.table.column("target").type):
        return ()
    pairs = samples.table.select(["target", "group"]).group_by("target").aggregate([("group", "count_distinct")])
    alone = sorted(pairs.filter(pc.equal(pairs.column("group_count_distinct"), 1)).column("target").to_pylist())
    if len(alone) == pairs.num_rows:
        raise DataError(
            f"each label of {samples.source} lies in one group only, so no head can be tried on a group that it has not seen: "
            "name another group, or none"
        )
    if not alone:
        return ()
    return (f"{_named(alone)} lie in one group each: out of fold no head knows them, and the figures are too bad",)


def join_groups(groups: np.ndarray | None, digests: np.ndarray) -> np.ndarray | None:
    """What must stay on one side of a fold: the given groups, and samples of equal content, joined where they overlap.

    Args:
        groups: (n,) names, None for a sample that has none, or None altogether.
        digests: (n, 16) uint8 content digests.

    Returns:
        (n,) int64, equal within what must stay together; None where every sample stands alone.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(digests)
    content = np.unique(digests, axis=0, return_inverse=True)[1].reshape(-1)
    nodes = [content]
    if groups is not None:
        named = np.array([name is not None for name in groups])
        members = n + np.arange(n)
        members[named] = 2 * n + np.unique(groups[named].astype(str), return_inverse=True)[1].reshape(-1)
        nodes.append(members)
    elif len(np.unique(content)) == n:
        return None
    edges = coo_array((np.ones(n, bool), (nodes[0], nodes[-1])), shape=(3 * n, 3 * n))
    return np.asarray(connected_components(edges, directed=False)[1][content], dtype=np.int64)


def folds(
    y_values: Sequence[object] | np.ndarray, *, task: str, groups: np.ndarray | None, n_folds: int = 5, seed: int = 0
) -> Int[np.ndarray, "n"]:
    """Assign each of n rows to a fold: stratified for `single_label`, group-disjoint where groups are given.

    There are `min(n_folds, n, number of groups)` folds, whatever the classes' sizes: a class with fewer rows than folds has each row in
    a fold of its own, so that one rare class does not take half of the rows from the models of all others. A class of one row is in
    one fold; the model that scores it has never seen it. Groups that all have one row are no groups.

    Args:
        y_values: (n,) classes or numbers, or (n, k) indicators for `multi_label`.
        task: `single_label`, `multi_label` or `regression`.
        groups: (n,) names, or None.
        n_folds: at most so many.
        seed: decides the shuffle.

    Raises:
        FitError: there are fewer than two rows, or only one group.
    """
    y = np.asarray(y_values)
    if len(y) < 2:
        raise FitError(f"cross-validation needs at least two samples, and got {len(y)}")
    kinds = _classes(y)[0] if task == "single_label" else None
    most = min(n_folds, len(y))
    if groups is not None:
        _, first, members = np.unique(np.asarray(groups).astype(str), return_index=True, return_inverse=True)
        if 2 * len(first) > len(y):
            return _represented(kinds, first, members.reshape(-1), most, seed)
        return _grouped(kinds, members.reshape(-1), most, seed)
    return _shuffled(len(y), most, seed) if kinds is None else _stratified(kinds, most, seed)


def hold_out(samples: Samples, *, fraction: float, part: str, seed: int, task: str) -> Samples:
    """Set a fraction of `train` (of everything, where there are no parts) aside as another part.

    Stratified for `single_label`, where a class keeps at least one row in `train`; whole groups where groups are known, chosen so that
    the share is met as nearly as they allow.

    Raises:
        DataError: `part` is there already or no name of a part, the fraction is not between 0 and 1, or nothing can be set aside.
    """
    if part not in PARTS or part in samples.parts or part == "train":
        raise DataError(
            f"{part!r} cannot be set aside from {samples.source}, which has {', '.join(samples.parts) or 'no parts'}"
        )
    if not 0 < fraction < 1:
        raise DataError(f"a fraction to set aside lies between 0 and 1, and got {fraction}")
    n = len(samples)
    names = np.array(["train"] * n, dtype=object)
    if samples.parts:
        names = np.array(samples.table.column("split").to_pylist(), dtype=object)
    rows = np.flatnonzero(names == "train")
    target = samples.table.column("target").take(pa.array(rows)) if samples.has_target else pa.nulls(len(rows))
    y = np.array(target.to_pylist(), dtype=object) if task == "single_label" else np.zeros(len(rows))
    groups = None if samples.groups is None else samples.groups[rows]
    chosen = rows[_chosen(y, groups, fraction=fraction, seed=seed, task=task)]
    if not len(chosen) or len(chosen) == len(rows):
        if groups is not None and len(set(groups.tolist())) < len(rows):
            raise DataError(
                f"no group of {samples.source} can be set aside, as each holds all samples that train has of a label: "
                "name another group, or none"
            )
        raise DataError(
            f"{samples.source} has too few samples in train, {len(rows)}, to set a share of {fraction:g} aside"
        )
    names[chosen] = part
    note = f"{len(chosen)} of {len(rows)} samples of train are set aside as the part {part} (seed {seed})"
    made = samples.with_column("split", pa.array(names.tolist(), pa.string()))
    return replace(made, notes=(*made.notes, note))


def _labels(samples: Samples) -> set[str]:
    column = samples.table.column("target")
    if pa.types.is_list(column.type):
        column = pc.list_flatten(column)
    return {str(label) for label in pc.unique(column).to_pylist() if label is not None}


def _named(labels: Sequence[str]) -> str:
    shown = ", ".join(repr(label) for label in labels[:8])
    return shown + (f" and {len(labels) - 8} more" if len(labels) > 8 else "")


def _classes(y: np.ndarray) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "k"]]:
    """The class index of each row, and the size of each class."""
    values = y.astype(str) if y.dtype == object else y
    _, kinds, sizes = np.unique(values, return_inverse=True, return_counts=True)
    return kinds.reshape(-1), sizes


def _shuffled(n: int, n_folds: int, seed: int) -> Int[np.ndarray, "n"]:
    from sklearn.model_selection import KFold

    return _assigned(KFold(n_folds, shuffle=True, random_state=seed).split(np.zeros(n)), n)


def _stratified(kinds: np.ndarray, n_folds: int, seed: int) -> Int[np.ndarray, "n"]:
    """scikit-learn's stratified folds of the classes with at least a row for each fold; the rows of the others in turn."""
    from sklearn.model_selection import StratifiedKFold

    rare = np.bincount(kinds)[kinds] < n_folds
    rows, others = np.flatnonzero(~rare), np.flatnonzero(rare)
    fold = np.zeros(len(kinds), dtype=np.int64)
    if len(rows):
        split = StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(np.zeros(len(rows)), kinds[rows])
        fold[rows] = _assigned(split, len(rows))
    shuffled = np.random.default_rng(seed).permutation(others)
    fold[shuffled[np.argsort(kinds[shuffled], kind="stable")]] = np.arange(len(others)) % n_folds
    return fold


def _represented(
    kinds: np.ndarray | None, first: np.ndarray, members: np.ndarray, n_folds: int, seed: int
) -> Int[np.ndarray, "n"]:
    """Folds of the groups' first rows, which their other rows join: for many small groups, such as copies of a few samples."""
    n_folds, rows = min(n_folds, len(first)), np.sort(first)
    fold = np.zeros(len(members), dtype=np.int64)
    fold[rows] = _shuffled(len(rows), n_folds, seed) if kinds is None else _stratified(kinds[rows], n_folds, seed)
    return np.asarray(fold[first][members])


def _grouped(kinds: np.ndarray | None, members: np.ndarray, n_folds: int, seed: int) -> Int[np.ndarray, "n"]:
    """Whole groups in folds. A class with fewer rows than folds counts as one of the largest, as stratifying it means nothing."""
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    n_groups = len(np.unique(members))
    if n_groups < 2:
        raise FitError(
            "all samples are of one group, and cross-validation needs at least two: say another group, or none"
        )
    n_folds = min(n_folds, n_groups)
    empty = np.zeros(len(members))
    if kinds is not None:
        sizes = np.bincount(kinds)
        kinds = np.where(sizes[kinds] < n_folds, int(sizes.argmax()), kinds)
        if sizes.max() >= n_folds:
            split = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed).split(empty, kinds, members)
            fold = _assigned(split, len(members))
            if len(np.unique(fold)) == n_folds:
                return fold
    return _assigned(GroupKFold(n_folds).split(empty, groups=members), len(members))


def _assigned(split: Iterable[tuple[np.ndarray, np.ndarray]], n: int) -> Int[np.ndarray, "n"]:
    fold = np.zeros(n, dtype=np.int64)
    for index, (_, test) in enumerate(split):
        fold[test] = index
    return fold


def _chosen(y: np.ndarray, groups: np.ndarray | None, *, fraction: float, seed: int, task: str) -> Int[np.ndarray, "m"]:
    """Positions to set aside."""
    if groups is not None and len(set(groups.tolist())) < len(y):
        return np.flatnonzero(_in_groups(y, groups, fraction=fraction, seed=seed, task=task))
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(y))
    if task != "single_label":
        return np.sort(order[: max(1, round(fraction * len(y)))])
    kinds, sizes = _classes(y)
    quota = sizes * fraction
    take = np.floor(quota).astype(np.int64)
    # Largest remainders, so that the whole is as large as was asked for.
    short = max(0, round(fraction * len(y)) - int(take.sum()))
    take[np.argsort(take - quota, kind="stable")[:short]] += 1
    take = np.minimum(take, sizes - 1)
    rows = [order[kinds[order] == kind][:count] for kind, count in enumerate(take) if count]
    return np.sort(np.concatenate(rows)) if rows else np.zeros(0, dtype=np.int64)


def _in_groups(y: np.ndarray, groups: np.ndarray, *, fraction: float, seed: int, task: str) -> np.ndarray:
    """(n,) whether a row's group is set aside.

    Groups are gone through in random order, first those that bring the classes nearer to their shares, then any that fit; last comes
    the one that still brings the whole nearer to its share. None takes a class's last row from `train`.
    """
    kinds, sizes = _classes(y)
    members = np.unique(groups.astype(str), return_inverse=True)[1].reshape(-1)
    held = _held_by_groups(kinds, members)
    taken, aside, total, wanted = np.zeros(len(sizes)), np.zeros(len(held), dtype=bool), 0, fraction * len(y)
    quota = sizes * fraction
    order = np.random.default_rng(seed).permutation(len(held))
    for strict in (task == "single_label", False):
        for group in order:
            classes, counts = held[group]
            if aside[group] or total + counts.sum() > wanted or (taken[classes] + counts >= sizes[classes]).any():
                continue
            if not strict or (counts * (2 * (taken - quota)[classes] + counts)).sum() < 0:
                taken[classes] += counts
                aside[group], total = True, total + counts.sum()
    over = np.array([abs(total + counts.sum() - wanted) for _, counts in held])
    for group in np.argsort(over, kind="stable"):
        classes, counts = held[group]
        if (total and over[group] >= wanted - total) or aside.all():
            break
        if not aside[group] and (taken[classes] + counts < sizes[classes]).all():
            aside[group] = True
            break
    return np.asarray(aside[members])


def _held_by_groups(kinds: np.ndarray, members: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each group the classes of its rows and how many rows it has of each."""
    k = int(kinds.max()) + 1
    cells, counts = np.unique(members * k + kinds, return_counts=True)
    starts = np.searchsorted(cells // k, np.arange(1, int(members.max()) + 1))
    return list(zip(np.split(cells % k, starts), np.split(counts, starts), strict=True))
