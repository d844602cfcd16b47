"""What the page is made of: small media, drawings in the page's colours, colours that can be read, and numbers in words."""

import base64
import io
import itertools
import re
import wave

import numpy as np
import pytest

import headstart as hs
from headstart.backbones.choice import open_backbone
from headstart.data.preparation import Preparation
from headstart.reporting import draw_confidence, draw_values, embedding, media, words
from headstart.reporting.draw import INKS
from headstart.reporting.markup import PALETTE, check_installed
from headstart.reporting.page import LABEL_HUES
from support.media import image, sound


def preparation(modality: str) -> Preparation:
    return open_backbone(hs.BackboneRequest.parse(f"toy:{modality}")).preparation


def content_of(uri: str) -> bytes:
    return base64.b64decode(uri.split(",", 1)[1])


def test_a_photo_becomes_a_small_thumbnail_whatever_its_size() -> None:
    shown = media.show(preparation("image"), image(size=(2400, 1800), form="JPEG"))
    assert shown.kind == "image"
    assert content_of(shown.uri).startswith(b"\xff\xd8")
    assert len(content_of(shown.uri)) <= media.MOST_BYTES


def test_a_recording_becomes_a_short_clip_with_its_waveform() -> None:
    shown = media.show(preparation("audio"), sound(9.0))
    with wave.open(io.BytesIO(content_of(shown.uri))) as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(media.CLIP_SECONDS, abs=0.01)
    assert shown.note == "the first 3 of 9.0 s"
    assert len(shown.uri) < 70_000
    assert 0 < max(shown.wave) <= 1


def test_a_text_is_shortened_at_a_space() -> None:
    shown = media.show(preparation("text"), "one two\n" * 10_000)
    assert len(shown.text) <= media.MOST_TEXT + 2
    assert shown.text.endswith(("one …", "two …"))
    assert media.shorten("short\ttext") == "short text"
    assert media.shorten("x" * 1000) == "x" * media.MOST_TEXT + " …"


def test_what_cannot_be_read_any_more_is_said() -> None:
    def gone(position: int) -> bytes:
        if position:
            return b"no image"
        raise FileNotFoundError(2, "No such file or directory")

    assert media.show_at(preparation("image"), gone, position=0).note == "cannot be shown: No such file or directory"
    assert media.show_at(preparation("image"), gone, position=1).note.startswith("cannot be shown: is no")
    sheet = media.sheet(preparation("image"), gone, positions=[0, 1])
    from PIL import Image

    assert Image.open(io.BytesIO(content_of(sheet))).size == (media.COLUMNS * media.TILE, media.TILE)


@pytest.mark.parametrize("name", ["reliability", "coverage", "truth", "residuals"])
def test_drawings_have_the_colours_of_the_page_and_words(name: str) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(200), rng.random(200)
    made = {
        "reliability": lambda: draw_confidence.reliability(
            a, (b < a).astype(float), name="x", title="t & t", error="1 %"
        ),
        "coverage": lambda: draw_confidence.coverage(
            np.linspace(1, 3, 9), np.linspace(0.5, 1, 9), marks={0.9: 2.6}, k=5
        ),
        "truth": lambda: draw_values.against_truth(a, b),
        "residuals": lambda: draw_values.residuals(a, b),
    }[name]()
    assert "var(--accent)" in made.svg
    assert not any(colour in made.svg for colour in INKS.values())
    assert not re.search(r"#[0-9a-f]{6}\b", made.svg), "every colour follows light and dark"
    assert "font-family" not in made.svg
    assert "<text" in made.svg, "text stays text"
    assert re.search(r'role="img" aria-labelledby="(\w+)-title \1-desc"', made.svg)
    assert len(made.words) > 40


def test_two_drawings_share_no_id() -> None:
    def ids(name: str) -> set[str]:
        a = np.linspace(0.1, 0.9, 50)
        return set(re.findall(r'id="([^"]+)"', draw_confidence.reliability(a, a, name=name, title="t", error="").svg))

    assert len(ids("one")) > 3
    assert ids("one") & ids("two") == set()


def test_a_point_of_the_map_is_near_its_likes_and_the_map_repeats() -> None:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((3, 20)) * 4
    own = np.repeat(np.arange(3), 30)
    x = centres[own] + rng.standard_normal((90, 20))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    places, method = embedding.layout(x)
    far = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(far, np.inf)
    assert (own[far.argmin(axis=1)] == own).mean() > 0.95
    assert method.startswith("t-SNE")
    assert np.array_equal(places, embedding.layout(x)[0])


def test_rows_that_are_all_equal_or_few_have_a_map() -> None:
    assert embedding.layout(np.ones((50, 4)))[0].shape == (50, 2)
    assert embedding.layout(np.random.default_rng(0).random((5, 1)))[0].shape == (5, 2)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("side", [0, 1], ids=["light", "dark"])
def test_text_can_be_read_on_every_ground(side: int) -> None:
    colours = {name: pair[side] for name, pair in PALETTE.items()}
    on = itertools.product(("ink", "muted", "accent", "good", "warn", "bad"), ("page", "surface"))
    pairs = [
        *on,
        ("ink", "warn-page"),
        ("warn", "warn-page"),
        ("accent", "warn-page"),
        ("ink", "heat"),
        ("ink", "heat-wrong"),
    ]
    low = {(text, ground): contrast(colours[text], colours[ground]) for text, ground in pairs}
    assert {pair: round(value, 2) for pair, value in low.items() if value < 4.5} == {}
    marks = [contrast(pair[side], colours["surface"]) for pair in LABEL_HUES]
    assert min(marks) >= 3, "points of the map stand out from their ground"


def test_the_contrast_is_that_of_the_guidelines() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, "100 %"),
        (0.0, "0 %"),
        (0.9999, "over 99.9 %"),
        (0.0001, "under 0.1 %"),
        (0.954, "95.4 %"),
        (0.5, "50.0 %"),
    ],
)
def test_only_all_is_written_as_a_hundred_per_cent(value: float, expected: str) -> None:
    assert words.percent(value) == expected


def test_times_and_sentences_are_written_as_a_person_would() -> None:
    assert [words.seconds(value) for value in (0.0001, 0.04, 3.21, 125, 4320)] == [
        "under 1 ms",
        "40 ms",
        "3.2 s",
        "2 min 5 s",
        "1 h 12 min",
    ]
    assert words.sentence("the column holds texts") == "The column holds texts."
    assert words.sentence("train/ is the part train.") == "train/ is the part train."


def test_drawing_without_matplotlib_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(hs.HeadstartError, match="the report needs jinja2"):
        check_installed("matplotlib", "jinja2", purpose="the report")
