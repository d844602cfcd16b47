"""Whether two parts come from one distribution: can a classifier tell them apart?

Source: Lopez-Paz and Oquab, "Revisiting classifier two-sample tests" (2017), with the area under the ROC curve in the place of accuracy,
which does not depend on how many items each part has.
"""

import numpy as np
from jaxtyping import Float, Int

LEVEL = 0.6
"""Below this area two parts count as alike."""

_MOST_ROWS = 2000
_DIRECTIONS = 64
_FOLDS = 5


def domain_auc(
    one: Float[np.ndarray, "n d"],
    other: Float[np.ndarray, "m d"],
    *,
    groups: tuple[Int[np.ndarray, "n"], Int[np.ndarray, "m"]],
    seed: int = 0,
) -> tuple[float, float] | None:
    """Area under the ROC curve of a linear discriminant that tells two parts' rows apart, out of fold, and its standard error.

    Of each part at most 2,000 rows, along their 64 largest principal directions, which one thread finds: two that wait for each other on
    a busy machine took 2.5 to 12 s where one took 0.03 to 0.5. None where there are fewer than ten rows of either.

    Args:
        one: rows of one part.
        other: rows of the other.
        groups: numbers of copies, equal ones of which share a fold.
        seed: decides which rows.
    """
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.metrics import roc_auc_score
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    from headstart.data.splits import folds

    if min(len(one), len(other)) < 10:
        return None
    rng = np.random.default_rng(seed)
    picked = [np.sort(rng.permutation(len(x))[:_MOST_ROWS]) for x in (one, other)]
    x = np.concatenate([one[picked[0]], other[picked[1]]]).astype(np.float32)
    y = np.repeat([0, 1], [len(each) for each in picked])
    together = np.concatenate([group[rows] for group, rows in zip(groups, picked, strict=True)])
    x -= x.mean(axis=0)
    if not np.abs(x).max() > 0:
        return 0.5, 0.0
    directions = min(_DIRECTIONS, x.shape[1], len(x) // 4)
    with threadpool_limits(1, user_api="blas"):
        z = PCA(directions, svd_solver="randomized", random_state=seed).fit_transform(x)
    fold = folds(y, task="single_label", groups=together, n_folds=_FOLDS, seed=seed)
    scores = np.zeros(len(y))
    for number in np.unique(fold):
        training = fold != number
        if len(np.unique(y[training])) < 2:
            return None
        fitted = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(z[training], y[training])
        scores[~training] = fitted.decision_function(z[~training])
    area = float(roc_auc_score(y, scores))
    few, many = sorted(len(each) for each in picked)
    return area, float(np.sqrt((few + many + 1) / (12 * few * many)))
