"""The program that is shipped prepares as the house does, and stands alone."""

import ast
import importlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from headstart.core import digests, recipes
from headstart.core.errors import SampleError
from headstart.data import framing, jpeg
from headstart.data.modalities import audio, image, preparation, text
from headstart.data.preparation import Preparation
from headstart.exporting.program import program, requirements
from headstart.exporting.resampling import RATES, filters
from headstart.exporting.shipped.answers import Predictor
from support import media

FORMATS = ("onnx", "openvino", "torch")


def shipped(house: Preparation, **assets: bytes) -> Any:
    """The shipped preparation for a recipe of the house."""
    module = importlib.import_module(f"headstart.exporting.shipped.{house.modality}")
    _, options = recipes.split(house.recipe)
    named = {name.replace("_", "."): content for name, content in assets.items()} | dict(house.assets)
    return module.Preparation(options, named)


def oriented(orientation: int, form: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return media.image(size=(61, 40), form=form, exif=exif.tobytes(), quality=95)


def smooth(width: int, height: int, form: str = "JPEG", **save: object) -> bytes:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    held = io.BytesIO()
    small.resize((width, height), Image.Resampling.BICUBIC).save(held, form, **save)
    return held.getvalue()


PICTURES = {
    **{f"turned {each}, {form}": oriented(each, form) for form in ("JPEG", "TIFF") for each in range(1, 9)},
    **{f"turned 6, {form}": oriented(6, form) for form in ("PNG", "WEBP")},
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


def worded_exif() -> bytes:
    """An orientation that is a word: no one turns by it."""
    entry = (1).to_bytes(2, "little") + b"\x12\x01\x02\0" + (2).to_bytes(4, "little") + b"6\0\0\0"
    exif = b"Exif\0\0II*\0\x08\0\0\0" + entry + bytes(4)
    return media.image(size=(61, 40), form="JPEG", exif=exif, quality=95)


def in_scans(times: int) -> bytes:
    """A progressive JPEG whose last scan is there so often more."""
    content = smooth(64, 48, progressive=True)
    last = content[content.rfind(b"\xff\xda") : -2]
    return content[:-2] + last * times + content[-2:]


def filmed() -> bytes:
    """A photo with the marks of a thousand scans in its thumbnail and behind its end, where none of them is one."""
    plain = in_scans(0)
    thumbnail = b"\xff\xe1" + (2002).to_bytes(2, "big") + b"\xff\xda" * 1000
    return plain[:2] + thumbnail + plain[2:] + b"\xff\xda" * 1000


CAMERAS = {
    "several pictures": multi_picture,
    "broken EXIF": broken_exif,
    "EXIF in words": worded_exif,
    "some scans more": partial(in_scans, 30),
    "marks that are no scans": filmed,
}


@pytest.mark.parametrize("name", CAMERAS)
def test_what_cameras_write_is_read_as_by_the_house(name: str) -> None:
    content = CAMERAS[name]()
    house = preparation("image(size=32)", {})
    (expected,) = house.prepare(content).views
    (found,), _ = shipped(house).views(content)
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 3


def without_numbers() -> bytes:
    held, values = io.BytesIO(), np.full((8, 8), 0.5, np.float32)
    values[3, 3] = np.nan
    Image.fromarray(values).save(held, "TIFF")
    return held.getvalue()


def other_order(sound: bytes) -> bytes:
    """A WAV file's samples with the header of one whose numbers are stored the other way round."""
    samples, rate = soundfile.read(io.BytesIO(sound))
    held = io.BytesIO()
    soundfile.write(held, samples, rate, format="WAV", endian="BIG", subtype="PCM_16")
    return held.getvalue()


REFUSED: dict[str, Callable[[], bytes]] = {
    "image, PPM": lambda: media.image(form="PPM"),
    "image, cut": lambda: media.image()[:200],
    "image, empty": lambda: b"",
    "image, no number": without_numbers,
    "image, scans": lambda: in_scans(120),
    "image, strip": lambda: media.image("L", size=(1, 110_000)),
    "image, TIFF of mixed order": lambda: b"II\0*" + media.image(form="TIFF")[4:],
    "audio, cut": lambda: media.sound(0.5)[:-2000],
    "audio, AU": lambda: media.sound(0.5, form="AU"),
    "audio, endless": lambda: media.wav(np.full(8000, np.inf), subtype="FLOAT"),
    "audio, empty": lambda: b"",
    "audio, two samples": lambda: media.wav(np.array([0.5, -0.5]), rate=96_000),
    "audio, RIFX": lambda: other_order(media.sound(0.5)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_house_refuses_is_refused_by_the_program(name: str, sixteen: bytes) -> None:
    modality, _, _ = name.partition(",")
    house = preparation({"image": "image(size=32)", "audio": "audio(rate=16000)"}[modality], {})
    with pytest.raises(SampleError):
        house.prepare(REFUSED[name]())
    named = {"resampling_npz": sixteen} if modality == "audio" else {}
    with pytest.raises(Exception) as told:  # whatever a decoder raises becomes the error of that input
        shipped(house, **named).views(REFUSED[name]())
    assert not isinstance(told.value, Warning), "which is an error in these tests alone"


def open_ended() -> bytes:
    """A FLAC file that leaves its length open, as those that were written to a pipe."""
    content = bytearray(media.sound(2.5, form="FLAC"))
    content[18:26] = (int.from_bytes(content[18:26], "big") >> 36 << 36).to_bytes(8, "big")
    return bytes(content)


TAGGED = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)
RECORDINGS: dict[str, Callable[[], bytes]] = {
    "WAV": lambda: media.sound(0.5),
    "stereo AIFF": lambda: media.sound(0.5, form="AIFF", channels=2),
    "FLAC": lambda: media.sound(0.5, form="FLAC"),
    "FLAC of open length": open_ended,
    "FLAC behind a tag": lambda: TAGGED + media.sound(0.5, form="FLAC"),
    "OGG": lambda: media.sound(0.5, form="OGG"),
    "MP3": lambda: media.sound(0.5, form="MP3"),
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_of_each_format_becomes_the_samples_of_the_house(name: str, sixteen: bytes) -> None:
    house, content = preparation("audio(rate=16000, window=1.0)", {}), RECORDINGS[name]()
    expected = np.concatenate(house.prepare(content).views)
    found = np.concatenate(shipped(house, resampling_npz=sixteen).views(content)[0])
    assert abs(len(found) - len(expected)) <= 2, "of windows of one length, where the house's may differ by a sample"
    if name != "FLAC of open length":
        np.testing.assert_array_equal(found, expected)


def test_the_limits_of_the_program_are_those_of_the_house() -> None:
    shown, heard = (importlib.import_module(f"headstart.exporting.shipped.{name}") for name in ("image", "audio"))
    assert shown.MARKER == jpeg._MARKER
    assert (shown.SCAN, shown.MOST_RESIZED) == (jpeg._SCAN, framing._MOST_RESIZED_PIXELS)
    assert (shown.BMP_HEADERS, shown.ORIENTATION) == (image._BMP_HEADERS, image._ORIENTATION_TAG)
    assert (heard.UNKNOWN, heard.OPEN_ENDED) == (audio._UNKNOWN_SIZE, audio._UNKNOWN_FRAMES)


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
    wide = "bad film".encode("utf-32")
    for preparing in (house.prepare, mine.views):
        with pytest.raises((SampleError, UnicodeDecodeError)):
            preparing(wide)
    views = [each for content in TEXTS for each in mine.views(content)[0]]
    batch, known = mine.batch(views), house.collate(views)
    np.testing.assert_array_equal(batch["ids"], known.values)
    np.testing.assert_array_equal(batch["lengths"], known.lengths)


def without_letters() -> bytes:
    """A tokenizer that makes a token of "film" and of nothing else."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    made = Tokenizer(models.BPE({"[CLS]": 0, "[SEP]": 1, "film": 2}, []))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
    )
    made.add_special_tokens(["[CLS]", "[SEP]"])
    made.add_tokens(["film"])
    return made.to_str().encode()


def test_a_tokenizer_that_makes_no_token_of_a_letter_is_taken_as_by_the_house() -> None:
    asset = without_letters()
    house = preparation(f"text(max_tokens=8, tokenizer={digests.of_bytes(asset).hex()!r})", {"tokenizer.json": asset})
    mine = shipped(house)
    assert mine.views("film a film")[0][0].tolist() == house.prepare("film a film").views[0].tolist() == [0, 2, 2, 1]
    assert (mine.before, mine.after) == text._frame(house.tokenizer)  # type: ignore[attr-defined]
    for preparing in (house.prepare, mine.views):
        with pytest.raises((SampleError, ValueError), match="makes a token of"):
            preparing("a b")


class PanicException(BaseException):
    """As the tokenizers library's own, which is no `Exception`."""


def test_a_text_at_which_the_tokenizer_panics_is_an_error_of_that_text() -> None:
    asset = media.tokenizer()
    mine = shipped(
        preparation(f"text(max_tokens=8, tokenizer={digests.of_bytes(asset).hex()!r})", {"tokenizer.json": asset})
    )

    def fails(_text: str, error: BaseException) -> None:
        raise error

    mine.tokenizer = SimpleNamespace(encode=partial(fails, error=PanicException("index out of bounds")))
    with pytest.raises(ValueError, match="cut into tokens: index out of bounds"):
        mine.views("film")
    mine.tokenizer = SimpleNamespace(encode=partial(fails, error=KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        mine.views("film")


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
    assert len(source.splitlines()) < 340
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


def predictor(run: Callable[[dict[str, np.ndarray]], np.ndarray]) -> Predictor:
    """A program of red and blue whose runtime is this."""
    made = object.__new__(Predictor)
    made.run, made.shares, made.texts = run, False, False
    made.preparation = shipped(preparation("image(size=8)", {}))
    rule = {"costs": None, "offsets": None}
    made.model = {"head": {"link": "softmax"}, "labels": ["blue", "red"], "conformal": None, "rule": rule}
    return made


def of_reds(batch: dict[str, np.ndarray]) -> np.ndarray:
    """How red pictures are; none of a white one, nor where one of them is black."""
    reds = batch["pixels"][..., 0].mean(axis=(1, 2)) / 255
    if not reds.all():
        raise RuntimeError("bad allocation")
    reds[batch["pixels"].min(axis=(1, 2, 3)) == 255] = np.nan
    return np.stack([1 - reds, reds], axis=1)


def test_an_input_at_which_the_runtime_fails_costs_no_other_its_answer(tmp_path: Path) -> None:
    names = []
    for name in ("red", "black", "white", "navy"):
        Image.new("RGB", (8, 8), {"navy": (9, 9, 99)}.get(name, name)).save(tmp_path / f"{name}.png")
        names.append(str(tmp_path / f"{name}.png"))
    names.insert(1, str(tmp_path / "none.png"))
    (tmp_path / "cut.png").write_bytes(media.image()[:30])
    found = list(predictor(of_reds).answers([*names, str(tmp_path / "cut.png")]))
    assert [each.get("label") for each in found] == ["red", None, None, None, "blue", None]
    errors = [each["error"] for each in found if "error" in each]
    assert errors[:3] == ["No such file or directory", "bad allocation", "the network gives it no finite numbers"]
    assert " at 0x" not in errors[3]


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
