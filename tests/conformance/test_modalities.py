"""Every modality keeps the contract that `headstart.testing.check_modality` states."""

from collections.abc import Mapping, Sequence

import pytest

from headstart.core.digests import of_bytes
from headstart.core.recipes import to_string
from headstart.data.modalities import MODALITIES, preparation
from headstart.data.modalities.audio import AudioRecipe
from headstart.data.modalities.image import ImageRecipe
from headstart.data.modalities.text import TextRecipe
from headstart.testing import check_modality
from support import media

Case = tuple[str, Mapping[str, bytes], Sequence[bytes]]
TOKENIZER = media.tokenizer()
DIGEST = of_bytes(TOKENIZER).hex()
ASSETS = {"tokenizer.json": TOKENIZER}

PHOTOS = [media.image(form=form) for form in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")]
TEXTS = [
    b"great film .",
    b"the film was bad " * 20,
    "der Film war gro\u00dfartig".encode(),
    "\ufeffgreat film".encode("utf-16-le"),
]
SOUNDS = [
    media.sound(0.3),
    media.sound(2.5, rate=44100, channels=2, form="FLAC"),
    media.sound(0.7, rate=8000, form="OGG"),
    media.sound(1.0, rate=22050, form="MP3"),
    media.sound(0.4, form="AIFF"),
]
CASES: dict[str, list[Case]] = {
    "image": [
        (to_string("image", ImageRecipe(size=32)), {}, PHOTOS),
        ("image(size=16, crop=1, resize='squash', interpolation='bilinear')", {}, PHOTOS),
    ],
    "text": [
        (to_string("text", TextRecipe(max_tokens=12, tokenizer=DIGEST)), ASSETS, TEXTS),
        (
            to_string("text", TextRecipe(max_tokens=8, long="windows", prefix="query: ", tokenizer=DIGEST)),
            ASSETS,
            TEXTS,
        ),
    ],
    "audio": [
        (to_string("audio", AudioRecipe()), {}, SOUNDS),
        (to_string("audio", AudioRecipe(window=1.0, pad="none")), {}, SOUNDS),
        ("audio(rate=8000, window=2.0, minimum=1.5, buckets=(0.5, 1, 1.9))", {}, SOUNDS),
    ],
}


@pytest.mark.parametrize("name", MODALITIES.names())
def test_every_modality_keeps_its_contract(name: str) -> None:
    for recipe, assets, examples in CASES[name]:
        check_modality(MODALITIES.get(name), recipe=recipe, assets=assets, examples=examples)


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_recipe_string_finds_its_modality(name: str) -> None:
    recipe, assets, _ = CASES[name][0]
    assert preparation(recipe, dict(assets)).recipe == recipe


def test_every_modality_has_a_catalogue_entry() -> None:
    assert all(len(entry) > 20 and entry.endswith(".") for entry in MODALITIES.catalogue().values())


def test_the_check_finds_a_modality_that_recognises_everything() -> None:
    image = MODALITIES.get("image")

    class Greedy(type(image)):  # type: ignore[misc]
        def recognises(self, head: bytes) -> bool:
            return True

    with pytest.raises(AssertionError, match="empty file is of no modality"):
        check_modality(Greedy(), recipe="image(size=8)", assets={}, examples=PHOTOS)
