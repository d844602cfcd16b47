"""Texts that say the same but for case, punctuation or a letter, and texts that do not."""

import numpy as np
import pytest

from headstart.audit import texts


def likeness(one: str, other: str) -> float:
    folded = [texts.normalised(one), texts.normalised(other)]
    return float(texts.copies(folded, np.array([[0, 1]]))[0])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The film was a joy.", "the film was a joy"),
        ("What - a  day !", "What a day"),
        ("\ufb01ne", "FINE"),
        ("今天天气很好。", "今天天气很好"),
        ("Stra\u00dfe", "STRASSE"),
    ],
)
def test_case_space_and_punctuation_make_no_difference(one: str, other: str) -> None:
    assert likeness(one, other) == 1.0
    assert texts.same([texts.normalised(one), "x", texts.normalised(other)]).tolist() == [[0, 2]]


def test_one_letter_of_a_long_text_makes_a_near_copy() -> None:
    found = likeness("the quick brown fox jumps over the lazy dog", "the quick brown fox jumped over the lazy dog")
    assert texts.SIMILARITY <= found < 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("good film", "food film"),
        ("the ending is dull and far too long", "the music is a joy from start to finish"),
        ("今天天气很好", "昨天天气很好"),
        ("!!!", "???"),
        ("how far is it from the earth to planet 4", "how far is it from the earth to planet 5"),
    ],
)
def test_other_texts_are_no_copies(one: str, other: str) -> None:
    assert likeness(one, other) == 0.0


def test_equal_texts_pair_with_the_first() -> None:
    assert texts.same(["a", "b", "a", "a"]).tolist() == [[0, 2], [0, 3]]
    assert texts.same(["a", "b"]).shape == (0, 2)
    assert texts.copies([], np.zeros((0, 2), np.int64)).shape == (0,)
