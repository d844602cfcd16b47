"""Exports: the same answers from the same files, in an environment that holds the runtime and nothing of headstart.

On a set of each modality a model is fitted and exported to each format. The program that is shipped with it is run over the whole evaluated part, from the
raw files, in an environment that this benchmark makes (`requirements.txt` of the export and no more; `pip` has to find the packages), beside the model itself in
float32. Then errors of preparation are planted in it, and the export has to be refused. `cold_start` is the time of `python predict.py FILE`, from nothing to
the answer, without torch installed: the median of seven.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import headstart as hs
from figures import DATA, ROOT, Figure, arguments, present, show
from headstart.core.errors import ExportError
from headstart.exporting import directory
from headstart.exporting import program as programs
from headstart.exporting.parity import inputs_of

SETS = {"ants_bees": "image", "sst2": "text", "spoken_digits": "audio"}
QUICK = ("ants_bees",)
FORMATS = ("onnx", "openvino", "torch")
STARTS = 7
# What is planted in the shipped program, by modality: each is one wrong word.
PLANTED = {
    "image": {
        "bgr": ("dtype=np.uint8)], [1.0]", "dtype=np.uint8)[..., ::-1]], [1.0]"),
        "crop": ('math.floor(self.size / options["crop"])', "self.size"),
    },
    "text": {"tokens": ("self.tokenizer.enable_truncation(self.most,", "self.tokenizer.enable_truncation(8,")},
    "audio": {"rate": ("sound = self.resampled(sound, rate)", "pass")},
}


def environment(folder: Path, requirements: Path) -> Path:
    """The Python of a new environment with what an export asks for."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install = [str(python), "-m", "pip", "install", "-q", "-r", str(requirements), "-c", str(ROOT / "constraints.txt")]
    subprocess.run(install, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return python


def alone(python: Path, export: Path, inputs: list[str]) -> list[dict[str, Any]]:
    """The answers of the shipped program, in that environment."""
    with tempfile.TemporaryDirectory() as place:
        listed = Path(place) / "inputs.jsonl"
        listed.write_text("".join(json.dumps(each) + "\n" for each in inputs), encoding="utf-8")
        command = [str(python), "-I", str(export / "predict.py"), "--list", str(listed)]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def cold(python: Path, export: Path, one: str) -> float:
    """Seconds from nothing to an answer; the median."""
    took = []
    for _ in range(STARTS):
        began = time.perf_counter()
        subprocess.run([str(python), "-I", str(export / "predict.py"), one], check=True, stdout=subprocess.DEVNULL)
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def exported(name: str, folder: Path, *, formats: tuple[str, ...]) -> Iterator[Figure]:
    """One set."""
    data = str(DATA / name)
    model = hs.fit(data, options=hs.FitOptions(check=False))
    samples = hs.read(data)
    part = samples.part(samples.evaluated_part)
    inputs = inputs_of(part, folder)
    own = model.at("float32").predict(part, engine="eager")
    truths = part.table.column("target").to_pylist()
    for to in formats:
        found = hs.export(model, to=to, out=folder / f"{name}-{to}", with_data=data)
        python = environment(folder / f"env-{SETS[name]}-{to}", found.path / "requirements.txt")
        answers = alone(python, found.path, inputs)
        at = f"{name}_{to}"
        same = [mine["label"] == theirs["label"] for mine, theirs in zip(own, answers, strict=True)]
        apart = [
            max(abs(mine["probabilities"][label] - p) for label, p in theirs["probabilities"].items())
            for mine, theirs in zip(own, answers, strict=True)
        ]
        right = [theirs["label"] == str(truth) for theirs, truth in zip(answers, truths, strict=True)]
        assert found.parity is not None
        yield Figure(f"{at}/agreement", float(np.mean(same)), f"of {len(part)} labels", at_least=0.999)
        yield Figure(f"{at}/difference", max(apart), "of a probability", at_most=0.01)
        yield Figure(f"{at}/accuracy", float(np.mean(right)), "share", peer=found.parity.fitted)
        yield Figure(f"{at}/megabytes", found.bytes / 1e6, "MB")
        yield Figure(f"{at}/seconds", found.seconds["total"], "s, the proof among them")
        bound = 1.0 if SETS[name] == "image" and to != "torch" else None
        yield Figure(f"{at}/cold_start", cold(python, found.path, inputs[0]), "s", at_most=bound)
    yield from refused(name, model, data, folder)


def refused(name: str, model: hs.Model, data: str, folder: Path) -> Iterator[Figure]:
    """Errors of preparation that are planted in the shipped program."""
    source = programs.program(SETS[name], "onnx")
    for title, (right, wrong) in PLANTED[SETS[name]].items():
        if right not in source:
            raise RuntimeError(f"{right!r} is no part of the shipped program any more")
        with mock.patch.object(directory, "program", return_value=source.replace(right, wrong)):
            try:
                hs.export(model, to="onnx", out=folder / "wrong", with_data=data)
                seen = 0.0
            except ExportError as error:
                print(f"{name}, {title}: {error}", file=sys.stderr)
                seen = float(not (folder / "wrong").exists())
        yield Figure(f"{name}_planted/{title}", seen, "1: refused, and nothing left", at_least=1.0)


def main() -> int:
    """Measure and print."""
    given = arguments(__doc__ or "")
    names = given.only.split(",") if given.only else QUICK if given.quick else tuple(SETS)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
        formats = FORMATS[:1] if given.quick else FORMATS
        measured = (each for name in present(names) for each in exported(name, Path(folder), formats=formats))
        return show("export", measured, keep=given.keep, merge=bool(given.only), anew=names)


if __name__ == "__main__":
    sys.exit(main())
