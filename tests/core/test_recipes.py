"""Recipes: one string form, and every problem of a wrong one named at once."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.errors import UsageError
from headstart.core.recipes import build, split, to_string


@dataclass(frozen=True)
class Recipe:
    size: int = 224
    crop: float = 0.875
    name: str = "a"
    mean: tuple[float, ...] = (0.5, 0.5)
    on: bool = False


def test_the_string_form_lists_every_field() -> None:
    assert to_string("image", Recipe()) == "image(size=224, crop=0.875, name='a', mean=(0.5, 0.5), on=False)"
    assert (
        to_string("image", build(Recipe, "image", options={"crop": 1, "mean": [1]}))
        == "image(size=224, crop=1.0, name='a', mean=(1,), on=False)"
    )


@given(
    st.builds(
        Recipe,
        size=st.integers(),
        crop=st.floats(allow_nan=False, allow_infinity=False),
        name=st.text(st.characters(codec="utf-8")),
        mean=st.lists(st.floats(0, 1), max_size=3).map(tuple),
        on=st.booleans(),
    )
)
def test_a_recipe_comes_back_from_its_string(recipe: Recipe) -> None:
    name, options = split(to_string("image", recipe))
    assert name == "image"
    assert build(Recipe, name, options=options) == recipe


@pytest.mark.parametrize(
    "text", ["", "a b", "f(1)", "f(x=open('f'))", "f(**{})", "f(x=1)(y=2)", "f.g(x=1)", "1", "f(x=", "__import__('os')"]
)
def test_what_is_no_recipe(text: str) -> None:
    with pytest.raises(UsageError, match="is no recipe"):
        split(text)


@pytest.mark.parametrize(
    "value",
    [
        "-" * 7000,
        "-" * 7000 + "1",
        "(" * 150 + "[" * 9000,
        "+".join("1" * 9000),
        "1" * 9000,
        "'" + "a" * (1 << 17) + "'",
    ],
)
def test_a_recipe_that_no_one_wrote_is_one_short_sentence(value: str) -> None:
    with pytest.raises(UsageError, match=r"is no recipe|at most") as caught:
        split(f"image(size={value})")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("key", "value"),
    [("size", f"0x{'f' * 9000}"), ("crop", "1" * 400), ("crop", "1e999"), ("crop", "-1e999"), ("mean", "(0.5, 1e999)")],
)
def test_a_number_that_is_too_large(key: str, value: str) -> None:
    name, options = split(f"image({key}={value})")
    with pytest.raises(UsageError, match=f"takes for '{key}' a value like .* got") as caught:
        build(Recipe, name, options=options)
    assert len(str(caught.value)) < 500


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        build(Recipe, "image", options={"sise": 1, "crop": "big", "on": 1})
    for part in (
        "'sise'. Did you mean 'size'",
        "for 'crop' a value like 0.875, and got 'big'",
        "for 'on' a value like False",
    ):
        assert part in str(caught.value)


def test_only_literals() -> None:
    @dataclass(frozen=True)
    class Odd:
        thing: object = None

    with pytest.raises(TypeError, match="literals only"):
        to_string("odd", Odd(thing=object()))
