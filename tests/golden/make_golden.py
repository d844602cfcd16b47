"""Make the golden model directories: `python tests/golden/make_golden.py [NAME ...]`, all of them or those of these names.

They are committed, and every later version must load them and repeat their answers. Make new ones only when the format's number changes
(or, while it is 0, when docs/format.md changes), and keep the old ones once it is 1; what the format can say and no golden model says yet may
be added to it.
"""

import csv
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))


def _text(folder: Path, target: Path, **options: Any) -> Any:
    """A model of reviews, by value."""
    import headstart as hs
    from support.made import reviews

    data = reviews(folder / "reviews.csv", n=40)
    return hs.load(hs.fit(data, options=hs.FitOptions(backbone="toy:text", **options)).save(target))


def _rule(folder: Path, target: Path) -> Any:
    """One that decides by costs at other class shares than it was fitted at, by reference."""
    import headstart as hs
    from support.made import reviews

    data = reviews(folder / "reviews.csv", n=40)
    (folder / "costs.csv").write_text("truth,bad,good\nbad,0,5\ngood,1,0\n", encoding="utf-8")
    options = hs.FitOptions(
        backbone="toy:text", optimise=f"cost={folder / 'costs.csv'}", deployment_prior="bad=0.2,good=0.8"
    )
    return hs.load(hs.fit(data, options=options).save(target, by_reference=True))


def _table(folder: Path, target: Path, *, column: Callable[[int, str], object], task: str) -> Any:
    """One of reviews with another target, by reference."""
    import headstart as hs
    from support.made import reviews

    with reviews(folder / "reviews.csv", n=40).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with (folder / "table.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "target"])
        writer.writerows([row["text"], column(i, row["label"])] for i, row in enumerate(rows))
    reading = hs.ReadOptions(target="target", task=task, separator="|" if task == "multi_label" else None)
    model = hs.fit(folder / "table.csv", options=hs.FitOptions(backbone="toy:text", reading=reading, check=False))
    return hs.load(model.save(target, by_reference=True))


def _image(folder: Path, target: Path, *, to: str = "", layer: str = "") -> Any:
    """One of pictures, by value or exported."""
    import headstart as hs
    from support.made import photos
    from support.tunable import network

    pictures = photos(folder / "photos")
    shutil.copy(pictures / "val" / "red" / "0.png", target.with_name(f"{target.name}.png"))
    backbone = network(alike=False, layer=layer) if to else "toy:image"
    model = hs.fit(pictures, options=hs.FitOptions(backbone=backbone, head="lda", check=False))
    return hs.load(hs.export(model, to=to, out=target).path if to else model.save(target))


def _audio(folder: Path, target: Path) -> Any:
    """One of recordings, by value."""
    import headstart as hs
    from support.made import sounds

    data = sounds(folder / "sounds")
    shutil.copy(data / "low" / "0.wav", target.with_name(f"{target.name}.wav"))
    return hs.load(hs.fit(data, options=hs.FitOptions(backbone="toy:audio", check=False)).save(target))


def _labels(place: int, label: str) -> str:
    return "|".join([label] * (place % 5 > 0) + ["third"] * (place % 3 == 0))


MAKERS: dict[str, Callable[[Path, Path], Any]] = {
    "text-linear": lambda folder, target: _text(folder, target, head="logistic"),
    "text-neighbours": lambda folder, target: _text(folder, target, head="knn"),
    "text-judge": lambda folder, target: _text(folder, target, head="lda"),
    "text-mlp": lambda folder, target: _text(folder, target, head="mlp(hidden=8, epochs=5)"),
    "text-examples": lambda folder, target: _text(folder, target, head="ridge", with_examples=True),
    "text-rule": _rule,
    "text-values": lambda folder, target: _table(
        folder, target, column=lambda i, label: 10 * (label == "good") + i / 10, task="regression"
    ),
    "text-labels": lambda folder, target: _table(folder, target, column=_labels, task="multi_label"),
    "image-linear": _image,
    "image-graph": lambda folder, target: _image(folder, target, to="onnx"),
    "image-layers": lambda folder, target: _image(folder, target, to="openvino", layer="blocks.0,blocks.1"),
    "audio-linear": _audio,
}


def main(names: list[str]) -> None:
    """Fit the golden models on made data, save them, and write down what they answer."""
    from headstart.model.judge import Judging
    from headstart.model.manifest import FORMAT
    from support.golden import asked

    for golden in names or MAKERS:
        target = HERE / f"format-{FORMAT}" / golden
        shutil.rmtree(target, ignore_errors=True)
        with tempfile.TemporaryDirectory() as name:
            os.environ["HEADSTART_CACHE"] = str(Path(name) / "cache")
            model = MAKERS[golden](Path(name), target)
            answers = model.predict(asked(target), judging=Judging(abstain="any" if model.judge else ""))
        for answer in answers:
            del answer["input"]
        written = json.dumps(answers, indent=1, ensure_ascii=False) + "\n"
        target.with_name(f"{golden}.expected.json").write_text(written, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
