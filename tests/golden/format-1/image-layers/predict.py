"""Answers of a model that headstart exported: `python predict.py INPUT...` prints one line of JSON for each input.

It needs what requirements.txt lists and nothing else. The graph holds all from pixels to calibrated probabilities; `Preparation` is what
comes before it, and has to be followed to the letter wherever the graph is used without this program.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Preparation:
    """How a picture becomes pixels.

    It is decoded (a JPEG that is far too large at a half, a quarter or an eighth), made RGB, resized, turned upright, and its centre is cut
    out.
    """

    def __init__(self, options: dict[str, Any], assets: dict[str, bytes]) -> None:
        del assets
        self.size = int(options["size"])
        self.scale = math.floor(self.size / options["crop"])
        self.squash = options["resize"] == "squash"
        self.filter = Image.Resampling[options["interpolation"].upper()]
        self.shrink = float(options["shrink"])

    def views(self, content: bytes | str) -> tuple[list[np.ndarray], list[float]]:
        """The picture as one (size, size, 3) array of bytes, with its weight, 1."""
        if isinstance(content, str):
            raise TypeError("a picture is read from a file's bytes")
        image = Image.open(BytesIO(content), formats=FORMATS)
        width, height = image.size
        orientation = turned(image)
        scaled = self.scaled(width, height)
        by = self.divisor((width, height), scaled) if image.format in ("JPEG", "MPO") else 1
        if by > 1:
            image.draft(None, (width // by, height // by))
        picture = rgb(image)
        if picture.size != scaled or by > 1:
            picture = picture.resize(scaled, self.filter, box=(0, 0, width / by, height / by))
        if orientation in TURNS:
            picture = picture.transpose(TURNS[orientation])
        left, top = (round((side - self.size) / 2.0) for side in picture.size)
        picture = picture.crop((left, top, left + self.size, top + self.size))
        return [np.asarray(picture.convert("RGB"), dtype=np.uint8)], [1.0]

    def scaled(self, width: int, height: int) -> tuple[int, int]:
        """The shorter side as the recipe says and the longer in proportion, or both alike."""
        if self.squash:
            return self.scale, self.scale
        long = int(self.scale * max(width, height) / min(width, height))
        return (self.scale, long) if width <= height else (long, self.scale)

    def divisor(self, size: tuple[int, int], scaled: tuple[int, int]) -> int:
        """By what a JPEG's sides may be divided as it is decoded."""
        if self.shrink <= 0:
            return 1
        least = [max(self.shrink * side, 16) for side in scaled]
        fits = (by for by in (8, 4, 2) if all(side / by >= low for side, low in zip(size, least, strict=True)))
        return next(fits, 1)

    def batch(self, views: list[np.ndarray]) -> dict[str, np.ndarray]:
        """The graph's inputs."""
        return {"pixels": np.stack(views)}

    def together(self, view: np.ndarray) -> object:
        """Views for which this is the same may share a batch."""
        return view.shape


def turned(image: Image.Image) -> int:
    """EXIF's orientation; EXIF data that cannot be read turn nothing."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # noqa: BLE001  cameras and editors break them in many ways
        return 1


def rgb(image: Image.Image) -> Image.Image:
    """In RGB or 8-bit grey: deep grey values scaled, transparent pixels put on white."""
    if image.mode.startswith(("I", "F")):
        grey = np.asarray(image).astype(np.float64)
        low, high = float(grey.min()), float(grey.max())
        ranges = (1.0, 255.0, 65535.0) if image.mode.startswith("F") else (65535.0,)
        full = next((limit for limit in ranges if high <= limit), None)
        if low < 0 or full is None:
            grey, full = grey - low, max(high - low, 1e-12)
        return Image.fromarray(np.rint(grey * (255.0 / full)).astype(np.uint8))
    if image.mode in ("La", "RGBa") or image.has_transparency_data:
        coloured = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), coloured).convert("RGB")
    return image if image.mode in ("RGB", "L") else image.convert("RGB")


def open_graph(folder: Path) -> tuple[Callable[[dict[str, np.ndarray]], np.ndarray], dict[str, str]]:
    """What turns a batch into probabilities, and what the file tells of itself."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it would report the import over the network
    import openvino

    core = openvino.Core()
    model = core.read_model(folder / "model.xml")
    told = {name: model.get_rt_info([name]).astype(str) for name in ("headstart", "preparation")}
    narrow = json.loads(told["preparation"])["precision"].endswith("bfloat16")
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "bf16" if narrow else "f32"})

    def run(batch: dict[str, np.ndarray]) -> np.ndarray:
        return np.array(compiled(batch)["probabilities"])

    return run, told


# Views of one batch.
BATCH = 16


class Predictor:
    """A model that was exported, opened from its folder."""

    def __init__(self, folder: Path) -> None:
        self.run, told = open_graph(folder)
        self.model: dict[str, Any] = json.loads(told["headstart"])
        options = json.loads(told["preparation"])
        assets = {Path(name).name: (folder / name).read_bytes() for name in options["assets"]}
        self.preparation = Preparation(options["options"], assets)
        self.shares = bool(options["shares"])
        self.texts = self.model["inputs"][0]["modality"] == "text"

    def answers(self, names: Iterable[str]) -> Iterator[dict[str, Any]]:
        """An answer for each input, a text or the path of a file, in order; `{"error"}` for one that cannot be read."""
        waiting: list[dict[str, Any]] = []
        views: list[np.ndarray] = []
        for name in names:
            try:
                found, weights = self.preparation.views(name if self.texts else Path(name).read_bytes())
            except Exception as error:  # noqa: BLE001  whatever a system or a decoder raises, the input is at fault
                waiting.append({"error": reason(error)})
                continue
            alike = not views or self.preparation.together(found[0]) == self.preparation.together(views[0])
            if views and (not alike or len(views) >= BATCH):
                yield from self.flushed(waiting, views)
                waiting, views = [], []
            waiting.append({"at": len(views), "weights": weights})
            views += found
        yield from self.flushed(waiting, views)

    def flushed(self, waiting: list[dict[str, Any]], views: list[np.ndarray]) -> Iterator[dict[str, Any]]:
        """The answers for what was gathered."""
        rows = [each for each in waiting if "at" in each]
        found: Iterator[np.ndarray] = iter(())
        if rows:
            batch = self.preparation.batch(views)
            if self.shares:
                batch["shares"] = np.zeros((len(rows), len(views)), np.float32)
                for share, each in zip(batch["shares"], rows, strict=True):
                    share[each["at"] : each["at"] + len(each["weights"])] = np.array(each["weights"]) / sum(
                        each["weights"]
                    )
            found = iter(self.run(batch))
        for each in waiting:
            yield each if "error" in each else self.answer(next(found).astype(np.float64))

    def answer(self, found: np.ndarray) -> dict[str, Any]:
        """One input's answer from its probabilities, or its value."""
        link, labels, sets = self.model["head"]["link"], self.model["labels"], self.model["conformal"]
        if link == "identity":
            value, half = float(found[0]), None if sets is None else sets["quantile"]
            return {
                "value": value,
                **({"low": None, "high": None} if half is None else {"low": value - half, "high": value + half}),
            }
        named = dict(zip(labels, map(float, found), strict=True))
        if link == "sigmoid":
            return {"labels": [label for label, p in named.items() if p >= 0.5], "probabilities": named}
        best = self.decided(found)
        order = [int(i) for i in np.argsort(-found, kind="stable")]
        kept = (
            None
            if sets is None
            else [labels[i] for i in order if 1 - found[i] <= sets["quantile"] or i in (best, order[0])]
        )
        return {"label": labels[best], "probability": named[labels[best]], "probabilities": named, "set": kept}

    def decided(self, found: np.ndarray) -> int:
        """The label that the model's rule answers with."""
        rule = self.model["rule"]
        if rule["costs"] is not None:
            return int((found @ np.array(rule["costs"])).argmin())
        offsets = 0.0 if rule["offsets"] is None else np.array(rule["offsets"])
        return int((np.log(np.maximum(found, 1e-12)) + offsets).argmax())


def reason(error: Exception) -> str:
    """Why an input cannot be read; never empty."""
    words = error.strerror if isinstance(error, OSError) else None
    return words or str(error) or type(error).__name__


def main() -> int:
    """Read the inputs that the command line names, and print their answers; status 3 where some could not be read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help="files; for a model of texts, texts")
    parser.add_argument("--list", type=Path, metavar="FILE", help="more inputs: one JSON string on each line")
    parser.add_argument("--model", type=Path, default=Path(__file__).parent, metavar="DIR", help="where the model lies")
    given = parser.parse_args()
    names = list(given.inputs)
    if given.list is not None:
        try:
            lines = given.list.read_text(encoding="utf-8").split("\n")
            names += [str(json.loads(line)) for line in lines if line.strip()]
        except (OSError, ValueError) as error:
            parser.error(f"{given.list} is no list of inputs, one JSON string on each line: {reason(error)}")
    if not names:
        parser.error("name an input, or a list of them with --list")
    if hasattr(sys.stdout, "reconfigure"):  # names and labels are of any script, whatever the terminal's own encoding
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    status = 0
    for name, answer in zip(names, Predictor(given.model).answers(names), strict=True):
        print(json.dumps({"input": name, **answer}, ensure_ascii=False))  # noqa: T201
        status = 3 if "error" in answer else status
    return status


if __name__ == "__main__":
    sys.exit(main())
