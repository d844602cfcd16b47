"""From inputs to answers: `python predict.py INPUT...` prints one line of JSON for each."""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from headstart.exporting.shipped.image import Preparation
from headstart.exporting.shipped.onnx_graph import open_graph

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
        """An answer for each input, a text or the path of a file, in order; `{"error"}` for one that has none."""
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
        found = iter(self.found([each for each in waiting if "at" in each], views))
        for each in waiting:
            yield each if "error" in each else next(found)

    def found(self, rows: list[dict[str, Any]], views: list[np.ndarray]) -> list[dict[str, Any]]:
        """The answers of one batch; where the runtime fails at it, of its inputs one after the other."""
        if not rows:
            return []
        try:
            made = zip(rows, self.run(self.batch(rows, views)), strict=True)
            return [self.answer(each.astype(np.float64)) for _, each in made]
        except Exception as error:  # noqa: BLE001  whatever a runtime raises, such as for want of memory, other inputs have their answers
            if len(rows) == 1:
                return [{"error": reason(error)}]
        alone = (({**each, "at": 0}, views[each["at"] :][: len(each["weights"])]) for each in rows)
        return [answer for row, own in alone for answer in self.found([row], own)]

    def batch(self, rows: list[dict[str, Any]], views: list[np.ndarray]) -> dict[str, np.ndarray]:
        """The graph's inputs, with the part that each view has in its row where the graph takes any."""
        batch = self.preparation.batch(views)
        if self.shares:
            batch["shares"] = np.zeros((len(rows), len(views)), np.float32)
            for share, each in zip(batch["shares"], rows, strict=True):
                weights = np.array(each["weights"])
                share[each["at"] : each["at"] + len(weights)] = weights / weights.sum()
        return batch

    def answer(self, found: np.ndarray) -> dict[str, Any]:
        """One input's answer from its probabilities, or its value."""
        if not np.isfinite(found).all():
            return {"error": "the network gives it no finite numbers"}
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
    """Why an input has no answer; one line, never empty, and without where an object lies in memory."""
    words = error.strerror if isinstance(error, OSError) else None
    words = words or re.sub(r"<[^<>]* at 0x[0-9a-fA-F]+>", "the file", str(error))
    return " ".join(words.split()) or type(error).__name__


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
