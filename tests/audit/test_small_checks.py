"""Groups in names, doubtful labels, outliers, shift, oddities and neighbours: what is planted is found, and nothing where nothing is."""

import numpy as np
import pytest

from headstart.audit import groups, labels, neighbours, outliers, shift
from headstart.audit.oddities import oddity

DIGITS = [f"train/{digit}/{digit}_{speaker}_{take}.wav" for digit in range(4) for speaker in ("jackson", "theo") for take in range(3)]  # fmt: skip


def test_a_speaker_in_the_names_is_a_group() -> None:
    guess = groups.guess_groups(DIGITS, [name.split("/")[1] for name in DIGITS])
    assert guess is not None
    assert set(guess.names) == {"jackson", "theo"}
    assert "second word" in guess.how


def test_crops_of_one_picture_are_a_group() -> None:
    names = [f"a/BloodImage_{image:05d}_{cell}.jpg" for image in range(10) for cell in range(4)]
    guess = groups.guess_groups(names, ["x" if i % 2 else "y" for i in range(40)])
    assert guess is not None
    assert set(guess.names) == {f"BloodImage_{image:05d}" for image in range(10)}


@pytest.mark.parametrize(
    ("names", "given"),
    [
        ([f"a/{1000 + 37 * i}_{(i * 7919) % 100003:x}.jpg" for i in range(40)], ["x", "y"] * 20),
        ([f"{label}_{i}.png" for i in range(20) for label in ("cat", "dog")], ["cat", "dog"] * 20),
        ([f"{i}.png" for i in range(20)], ["x", "y"] * 10),
        ([], []),
    ],
    ids=["ids", "labels", "numbers", "nothing"],
)
def test_names_without_a_group_suggest_none(names: list[str], given: list[str]) -> None:
    assert groups.guess_groups(names, given) is None


def test_only_groups_in_several_parts_straddle() -> None:
    names = np.array(["a", "a", "b", "b", None, None], object)
    parts = np.array(["train", "test", "train", "train", "train", "test"], object)
    assert groups.straddling(names, parts) == {"a": ("test", "train")}


def clusters(n: int = 120, d: int = 16, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return (4 * np.eye(3, d)[y] + 0.3 * rng.standard_normal((n, d))).astype(np.float32), y


def doubts_of(x: np.ndarray, given: np.ndarray, truth: np.ndarray) -> labels.Doubts:
    probabilities = np.full((len(x), 3), 0.05)
    probabilities[np.arange(len(x)), truth] = 0.9
    return labels.doubt_labels(probabilities, given, near=neighbours.nearest(x, 10))


def test_planted_flips_are_flagged_with_the_right_label_and_nothing_else_is() -> None:
    x, truth = clusters()
    given = truth.copy()
    flipped = [3, 40, 77]
    given[flipped] = (truth[flipped] + 1) % 3
    doubts = doubts_of(x, given, truth)
    assert np.flatnonzero(doubts.flagged).tolist() == flipped
    assert doubts.suggested[flipped].tolist() == truth[flipped].tolist()
    assert set(np.argsort(-doubts.scores)[:3]) == set(flipped)
    assert not doubts_of(x, truth, truth).flagged.any()


def test_a_doubt_that_the_neighbours_do_not_share_is_no_flag() -> None:
    x, truth = clusters()
    unsure = truth.copy()
    unsure[5] = (truth[5] + 1) % 3  # the head errs, the neighbours know better
    assert not doubts_of(x, truth, unsure).flagged.any()


def test_ranks_of_labels_are_one_less_their_probability() -> None:
    ranks = labels.rank_labels(np.array([[0.9, 0.1], [0.3, 0.7]]), np.array([0, 0]))
    assert np.allclose(ranks, [0.1, 0.7])


def test_a_far_row_is_an_outlier_and_a_usual_one_is_not() -> None:
    x, _ = clusters()
    assert not outliers.find_outliers(x)[1].any()
    x[7] = -4.0 * np.eye(1, 16, 15)[0]
    scores, far = outliers.find_outliers(x)
    assert np.flatnonzero(far).tolist() == [7]
    assert scores.argmax() == 7
    assert not outliers.far_out(np.zeros(10)).any()


def around(direction: np.ndarray, n: int, *, spread: float, seed: int) -> np.ndarray:
    return np.asarray(direction + spread * np.random.default_rng(seed).standard_normal((n, len(direction))), np.float32)


def test_some_strangers_that_are_alike_are_far_from_the_rest() -> None:
    own, other = 4.0 * np.eye(2, 32)
    x = np.concatenate([around(own, 300, spread=0.3, seed=0), around(own + other, 8, spread=0.3, seed=1)])
    from_kth = outliers.from_the_kth(x)
    assert from_kth[300:].min() > from_kth[:300].max()
    centred = neighbours.nearest(x, 17)[1][:, -1]  # what taking the mean away would make of them
    assert (1 - centred)[300:].min() < np.median(1 - centred[:300])


def test_more_strangers_than_neighbours_count_are_told_by_their_distance_from_the_mean() -> None:
    own = 4.0 * np.eye(1, 32)[0]
    x = np.concatenate([around(own, 400, spread=0.3, seed=0), around(3 * own, 40, spread=0.3, seed=1)])
    from_kth = outliers.from_the_kth(x)
    assert from_kth[400:].max() < from_kth[:400].max()
    assert outliers.find_outliers(x)[1][400:].all()


def test_the_kth_cosine_is_exact_and_of_rows_as_they_are() -> None:
    x = np.random.default_rng(0).standard_normal((30, 5)).astype(np.float32) + 1
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosines = -np.sort(-(unit @ unit.T - 3 * np.eye(30)), axis=1)
    assert np.allclose(neighbours.kth_cosine(x, 3), cosines[:, 2], atol=1e-5)
    assert np.allclose(neighbours.kth_cosine(x, 99), cosines[:, 28], atol=1e-5)
    apart = np.arange(30) // 2
    left = np.where(apart[:, None] == apart[None, :], -np.inf, unit @ unit.T).max(axis=1)
    assert np.allclose(neighbours.kth_cosine(x, 1, apart=apart), left, atol=1e-5)
    assert (neighbours.kth_cosine(x, 3, apart=np.zeros(30, int)) == -1).all()


def test_neighbours_are_exact_and_leave_copies_out() -> None:
    x = np.random.default_rng(0).standard_normal((30, 5)).astype(np.float32)
    where, cosines = neighbours.nearest(x, 3)
    unit = neighbours.unit(x)
    expected = unit @ unit.T - 3 * np.eye(30)
    assert (where == np.argsort(-expected, axis=1)[:, :3]).all()
    assert np.allclose(cosines, -np.sort(-expected, axis=1)[:, :3], atol=1e-5)
    apart = np.arange(30) // 2
    where, _ = neighbours.nearest(x, 3, apart=apart)
    assert not (apart[where] == apart[:, None]).any()
    assert np.isneginf(neighbours.nearest(x, 3, apart=np.zeros(30, int))[1]).all()


def test_what_is_affordable_grows_with_the_time_and_has_bounds() -> None:
    few, more, all_of_them = (neighbours.affordable(seconds, 384) for seconds in (0.0, 1.0, 1e6))
    assert 0 < few < more < all_of_them == neighbours.MOST_ROWS


def test_equal_parts_have_no_shift_and_shifted_ones_have() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((2, 300, 20)).astype(np.float32)
    alone = (np.arange(300), np.arange(300, 600))
    same = shift.domain_auc(one, other, groups=alone)
    moved = shift.domain_auc(one, other + 1, groups=alone)
    assert same is not None
    assert moved is not None
    assert same[0] - 2 * same[1] < shift.LEVEL
    assert moved[0] > 0.95
    assert shift.domain_auc(one[:9], other, groups=(np.arange(9), np.arange(9, 309))) is None
    assert shift.domain_auc(0 * one, 0 * other, groups=alone) == (0.5, 0.0)


def test_the_same_rows_on_both_sides_do_not_look_like_a_shift() -> None:
    one = np.random.default_rng(0).standard_normal((100, 20)).astype(np.float32)
    found = shift.domain_auc(one, one.copy(), groups=(np.arange(100), np.arange(100)))
    assert found is not None
    assert abs(found[0] - 0.5) < 0.1


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"width": 8, "height": 40}, "only 8 x 40 pixels"),
        ({"width": 600, "height": 60}, "the crop leaves most of it out"),
        ({"seconds": 0.02, "loudness": -20.0}, "only 0.02 seconds"),
        ({"seconds": 1.0, "loudness": -75.0}, "nearly silent (-75 dB)"),
        ({"tokens": 10, "unknown": 6}, "6 of 10 tokens are unknown"),
        ({"tokens": 10, "unknown": 0, "truncated": True}, "its end was cut off"),
    ],
)
def test_what_is_odd_is_said(facts: dict[str, float], words: str) -> None:
    assert words in oddity(facts)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"width": 640, "height": 480},
        {"seconds": 0.5, "loudness": -20.0},
        {"tokens": 10, "unknown": 5, "truncated": False},
    ],
)
def test_what_is_usual_is_not_odd(facts: dict[str, float]) -> None:
    assert oddity(facts) == ""
