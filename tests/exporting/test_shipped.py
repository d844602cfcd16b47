"""The program that is shipped prepares as the house does, and stands alone."""

import ast
import importlib
import io
import json
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.core import digests, recipes
from headstart.core.errors import SampleError
from headstart.data.modalities import preparation
from headstart.data.preparation import Preparation
from headstart.exporting.program import program, requirements
from headstart.exporting.resampling import RATES, filters
from support import media

FORMATS = ("onnx", "openvino", "torch")


def shipped(house: Preparation, **assets: bytes) -> Any:
    """The shipped preparation for a recipe of the house."""
    module = importlib.import_module(f"headstart.exporting.shipped.{house.modality}")
    _, options = recipes.split(house.recipe)
    named = {name.replace("_", "."): content for name, content in assets.items()} | dict(house.assets)
    return module.Preparation(options, named)


def oriented(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return media.image(size=(61, 40), form="JPEG", exif=exif.tobytes(), quality=95)


def smooth(width: int, height: int, form: str = "JPEG", **save: object) -> bytes:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    held = io.BytesIO()
    small.resize((width, height), Image.Resampling.BICUBIC).save(held, form, **save)
    return held.getvalue()


PICTURES = {
    **{f"turned {each}": oriented(each) for each in range(1, 9)},
    **{f"PNG {mode}": media.image(mode) for mode in ("RGB", "L", "RGBA", "LA", "P", "I;16")},
    "CMYK": media.image("CMYK", form="JPEG"),
    "grey JPEG": media.image("L", form="JPEG"),
    "tall": smooth(40, 300),
    "wide": smooth(300, 41),
    "large": smooth(1600, 1203, quality=95),
    "WebP": smooth(80, 90, "WEBP", lossless=True),
    "TIFF of floats": media.image("F", form="TIFF"),
}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize(
    "recipe", ["image(size=32)", "image(size=24, crop=1.0, resize='squash', interpolation='bilinear')"]
)
def test_a_picture_becomes_the_pixels_of_the_house(name: str, recipe: str) -> None:
    house = preparation(recipe, {})
    (expected,) = house.prepare(PICTURES[name]).views
    (found,), weights = shipped(house).views(PICTURES[name])
    assert weights == [1.0]
    assert found.shape == expected.shape
    apart = np.abs(found.astype(int) - expected.astype(int))
    # The house computes only what the crop keeps, along rows first, where Pillow goes along the columns of a tall picture first.
    assert apart.mean() < 0.2
    assert apart.max() <= 3


def test_another_crop_and_swapped_colours_are_seen_by_this_test() -> None:
    house, other = preparation("image(size=32)", {}), preparation("image(size=32, crop=1.0)", {})
    (expected,) = house.prepare(PICTURES["large"]).views
    (cropped,), _ = shipped(other).views(PICTURES["large"])
    assert np.abs(cropped.astype(int) - expected.astype(int)).max() > 3
    assert np.abs(expected[..., ::-1].astype(int) - expected.astype(int)).max() > 3


def multi_picture() -> bytes:
    held = io.BytesIO()
    several = [Image.open(io.BytesIO(smooth(1200, 900, quality=90))) for _ in range(2)]
    several[0].save(held, "MPO", save_all=True, append_images=several[1:])
    return held.getvalue()


def broken_exif() -> bytes:
    plain = media.image(size=(61, 40), form="JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", quality=95)
    return plain.replace(b"Exif\0\0MM\0*", b"Exif\0\0ZZZZ")


@pytest.mark.parametrize("name", ["several pictures", "broken EXIF"])
def test_what_cameras_write_is_read_as_by_the_house(name: str) -> None:
    content = multi_picture() if name == "several pictures" else broken_exif()
    house = preparation("image(size=32)", {})
    (expected,) = house.prepare(content).views
    (found,), _ = shipped(house).views(content)
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 3


def ppm() -> bytes:
    return media.image(form="PPM")


def test_what_the_house_refuses_is_refused_by_the_program(sixteen: bytes) -> None:
    whole = media.sound(0.5)
    loud = media.wav(np.full(8000, np.inf), subtype="FLOAT")
    sounds = {"cut": whole[:-2000], "unknown": media.sound(0.5, form="AU"), "endless": loud}
    cases = [("image(size=32)", each) for each in (ppm(), media.image()[:200], b"")]
    cases += [("audio(rate=16000)", each) for each in (*sounds.values(), b"")]
    for recipe, content in cases:
        house = preparation(recipe, {})
        with pytest.raises(SampleError):
            house.prepare(content)
        named = {"resampling_npz": sixteen} if house.modality == "audio" else {}
        with pytest.raises(Exception):  # noqa: B017  (whatever a decoder raises becomes the error of that input)
            shipped(house, **named).views(content)
    assert shipped(preparation("audio(rate=16000)", {}), resampling_npz=sixteen).views(whole)[1] == [8000.0]


TEXTS = ["great film", "the film was bad . " * 9, "q\ud83d\ude00\ud800x", "  bad\n", "films", "x " * 30]


@pytest.mark.parametrize(("long", "prefix"), list(product(("truncate", "windows"), ("", "query: "))))
def test_a_text_becomes_the_ids_of_the_house(long: str, prefix: str) -> None:
    asset = media.tokenizer()
    recipe = f"text(max_tokens=16, long={long!r}, prefix={prefix!r}, tokenizer={digests.of_bytes(asset).hex()!r})"
    house = preparation(recipe, {"tokenizer.json": asset})
    mine = shipped(house)
    encoded = [b"\xef\xbb\xbfgreat", "bad film".encode("utf-16")]
    for content in (*TEXTS, *encoded):
        expected = house.prepare(content)
        found, weights = mine.views(content)
        assert weights == list(expected.weights)
        assert [each.tolist() for each in found] == [each.tolist() for each in expected.views]
    with pytest.raises(ValueError, match="holds no text"):
        mine.views(" \n")
    views = [each for content in TEXTS for each in mine.views(content)[0]]
    batch, known = mine.batch(views), house.collate(views)
    np.testing.assert_array_equal(batch["ids"], known.values)
    np.testing.assert_array_equal(batch["lengths"], known.lengths)


@pytest.fixture(scope="module")
def sixteen() -> bytes:
    return filters(16000)


@pytest.mark.parametrize("rate", RATES)
def test_a_recording_is_resampled_as_by_the_house(rate: int, sixteen: bytes) -> None:
    content = media.sound(1.3, rate=rate, channels=2, subtype="PCM_16")
    house = preparation("audio(rate=16000, window=30.0)", {})
    (expected,) = house.prepare(content).views
    (found,), weights = shipped(house, resampling_npz=sixteen).views(content)
    assert weights == [float(len(expected))]
    assert found.dtype == expected.dtype
    assert len(found) == len(expected)
    np.testing.assert_allclose(found[8:], expected[8:], atol=2e-6)
    # In the first samples some of its filters begin otherwise than they go on.
    np.testing.assert_allclose(found[:8], expected[:8], atol=5e-2)


def test_another_filter_is_seen_by_this_test(sixteen: bytes) -> None:
    content = media.sound(1.3, rate=8000)
    house = preparation("audio(rate=16000, window=30.0)", {})
    mine = shipped(house, resampling_npz=sixteen)
    mine.filters["8000"] = np.roll(mine.filters["8000"], 1, axis=1)
    (found,), _ = mine.views(content)
    assert np.abs(found - house.prepare(content).views[0]).max() > 1e-2


@pytest.mark.parametrize("seconds", [0.2, 1.0, 2.3, 7.0])
@pytest.mark.parametrize(
    "recipe",
    ["audio(rate=16000, window=2.0, minimum=0.5, buckets=(1.0,))", "audio(rate=16000, window=2.0, pad='none')"],
)
def test_a_long_recording_is_cut_as_by_the_house(recipe: str, seconds: float, sixteen: bytes) -> None:
    content, house = media.sound(seconds, subtype="FLOAT"), preparation(recipe, {})
    mine = shipped(house, resampling_npz=sixteen)
    expected = house.prepare(content)
    found, weights = mine.views(content)
    assert len(found) == len(expected.views)
    assert all(abs(len(one) - len(other)) <= 1 for one, other in zip(found, expected.views, strict=True))
    assert np.abs(np.array(weights) - expected.weights).max() <= 1
    batch = mine.batch(found)
    assert batch["samples"].shape[1] == house.collate([expected.views[-1]]).values.shape[1]
    with pytest.raises(ValueError, match="nothing to hear"):
        mine.views(media.wav(np.zeros(8000)))


def test_an_unusual_rate_is_one_sentence(sixteen: bytes) -> None:
    mine = shipped(preparation("audio(rate=16000)", {}), resampling_npz=sixteen)
    with pytest.raises(ValueError, match=r"has 12345 samples a second, and this program resamples from 8000, 11025"):
        mine.views(media.sound(0.5, rate=12345))


@pytest.mark.parametrize(("modality", "runtime"), list(product(("image", "text", "audio"), FORMATS)))
def test_a_program_stands_alone(modality: str, runtime: str) -> None:
    source = program(modality, runtime)
    tree = ast.parse(source)
    compile(source, "predict.py", "exec")
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    roots = {(each.module or "") if isinstance(each, ast.ImportFrom) else each.names[0].name for each in top}
    foreign = {root.split(".")[0] for root in roots} - set(sys.stdlib_module_names)
    library = {"image": "PIL", "text": "tokenizers", "audio": "soundfile"}[modality]
    own = {"onnx": {"onnxruntime"}, "openvino": set(), "torch": {"torch"}}[runtime]
    assert foreign == {"numpy", library} | own
    assert len(source.splitlines()) < 260
    names = [node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    assert len(names) == len(set(names)), "parts do not cover each other's names"
    assert json.dumps(requirements(modality, "onnxruntime>=1.20")).count(r"\n") == 3


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import headstart as hs
    from support.made import photos
    from support.tunable import network

    data = photos(tmp_path_factory.mktemp("photos"), n=8)
    model = hs.fit(data, options=hs.FitOptions(check=False, backbone=network(alike=False)))
    return hs.export(model, to="onnx", out=data / "export").path


def answered(exported: Path, *arguments: str) -> tuple[int, list[dict[str, Any]], str]:
    command = [sys.executable, "-I", str(exported / "predict.py"), *arguments]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_an_input_that_cannot_be_read_costs_no_other_its_answer(exported: Path, tmp_path: Path) -> None:
    good = str(exported.parent / "val" / "red" / "0.png")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "words.png").write_text("words", encoding="utf-8")
    bad = [str(tmp_path / name) for name in ("none.png", "empty.png", "words.png")] + [str(tmp_path), "a\0b"]
    status, found, said = answered(exported, good, *bad[:4], good)
    assert (status, said) == (3, "")
    assert [each["input"] for each in found] == [good, *bad[:4], good]
    assert [set(each) == {"input", "error"} and bool(each["error"]) for each in found[1:5]] == [True] * 4
    assert found[0]["label"] == found[-1]["label"] == "red"
    assert "No such file" in found[1]["error"]
    assert str(tmp_path) not in found[1]["error"], "the name is not said twice"
    (tmp_path / "list.jsonl").write_text("".join(json.dumps(each) + "\n" for each in (bad[4], good)), encoding="utf-8")
    status, found, _ = answered(exported, "--list", str(tmp_path / "list.jsonl"))
    assert status == 3
    assert [set(each) == {"input", "error"} for each in found] == [True, False]
    assert answered(exported, good)[0] == 0


def test_no_input_at_all_is_an_error_of_usage(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n", encoding="utf-8")
    (tmp_path / "odd.jsonl").write_text("a.png\n", encoding="utf-8")
    for arguments in ((), ("--list", str(tmp_path / "empty.jsonl"))):
        status, found, said = answered(exported, *arguments)
        assert (status, found) == (2, [])
        assert "name an input" in said
    for name in ("odd.jsonl", "none.jsonl"):
        status, _, said = answered(exported, "--list", str(tmp_path / name))
        assert status == 2
        assert "is no list of inputs" in said
        assert "Traceback" not in said
