"""The proof of an export: the program that is shipped with it, run over raw files, beside the model itself in float32."""

import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart.backbones.exported import ExportedBackbone
from headstart.core.errors import ExportError, SampleError
from headstart.core.progress import Progress, silent
from headstart.data.decoding import decode_text
from headstart.data.samples import Samples
from headstart.evaluation.calibration import paired_standard_error
from headstart.features.contents import content_of
from headstart.model.model import Model
from headstart.tasks import TASKS

AGREEMENT, DIFFERENCE = 0.999, 0.01
"""The least share of samples with the same label, and the largest difference of a probability (of a value, in its standard deviations)."""

NARROW_AGREEMENT = 0.99
"""That share in narrower arithmetic than float32, where a pixel that differs by a step can turn a rounding over: there the mean over samples of the
largest difference is bounded, and not the largest of all."""

# The program answers a few inputs a second at least, and takes this long to start at most.
_SECONDS, _SECONDS_EACH = 120.0, 2.0
# Of a mean: two that are as far apart as their standard error are not further.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Parity:
    """An export beside its model, over all samples of a part, from the raw files.

    Attributes:
        n: samples that both answered.
        unread: samples that neither could read.
        agreement: the share of samples with the same label, or the same labels; 1 for values.
        difference: the largest difference of a probability; of a value, in standard deviations of the model's values.
        mean: the mean over samples of each one's largest difference.
        narrow: whether the export computes in narrower arithmetic than float32.
        sets: samples whose set of labels is another one, by a label that is not within `DIFFERENCE` of the threshold.
        figure: what accuracy is called in this task, such as `accuracy`.
        fitted: the model's figure as it was fitted, in its own precision; None where the samples have no labels.
        exported: the export's figure.
        drop: how much worse that is.
        error: the standard error of that paired difference; None where both are of float32, and all of their answers are compared.
    """

    n: int
    unread: int
    agreement: float
    difference: float
    mean: float
    narrow: bool
    sets: int
    figure: str
    fitted: float | None
    exported: float | None
    drop: float | None
    error: float | None

    def to_json(self) -> dict[str, Any]:
        """The object under `parity` in what `headstart export --json` prints (docs/json.md)."""
        return dataclasses.asdict(self)

    def check(self) -> None:
        """Refuse an export that gives other answers.

        Raises:
            ExportError: names what differs, and by how much.
        """
        least, apart, which = AGREEMENT, self.difference, "largest"
        if self.narrow:
            least, apart, which = NARROW_AGREEMENT, self.mean, "mean"
        if not (self.agreement >= least and apart < DIFFERENCE):
            raise ExportError(
                f"the export gives other answers than the model: {self.agreement:.2%} of {self.n:,} labels are the same, and the {which}"
                f" difference is {apart:.2g}, where {least:.1%} and {DIFFERENCE:g} are allowed; it was removed"
            )
        if self.sets > (1 - least) * self.n * self.narrow:
            raise ExportError(
                f"the export gives other sets of labels than the model for {self.sets:,} of {self.n:,} samples; it was removed"
            )
        if self.drop is not None and self.error is not None and self.drop > self.error + _ROUNDING:
            raise ExportError(
                f"the export is worse than the model as it was fitted: {self.figure} {self.exported:.4f} against {self.fitted:.4f},"
                f" more than one standard error of the difference, {self.error:.4f}; it was removed"
            )


def prove(folder: Path, model: Model, *, samples: Samples, progress: Progress = silent) -> Parity:
    """Run the program of a folder over raw samples, and compare.

    Args:
        folder: of the export, with `predict.py`.
        model: the model as it was fitted; or an exported one, which is compared as it is.
        samples: with a target, or without.
        progress: stages `extract` and `prove`, in samples.

    Raises:
        ExportError: the program fails, or answers what the model cannot read, or the reverse.
    """
    task = TASKS.get(model.task)
    own = model.predict(samples, engine="eager", progress=progress)
    own_only = isinstance(model.backbone, ExportedBackbone) or model.precision == "float32"
    narrow = isinstance(model.backbone, ExportedBackbone) and model.precision != "float32"
    exact = own if own_only else model.at("float32").predict(samples, engine="eager", progress=progress)
    progress("prove", 0, len(samples))
    theirs = answers(folder, samples)
    progress("prove", len(samples), len(samples))
    both = [place for place in range(len(samples)) if "error" not in exact[place] and "error" not in theirs[place]]
    alone = [place for place in range(len(samples)) if ("error" in exact[place]) != ("error" in theirs[place])]
    if alone or not both:
        place = alone[0] if alone else 0
        reason = theirs[place].get("error", exact[place].get("error", ""))
        who = (
            "the model reads and the export does not"
            if "error" in theirs[place]
            else "the export reads and the model does not"
        )
        raise ExportError(
            f"{samples.ids[place]} {who if alone else 'cannot be read'}: {reason}; the export was removed"
        )
    threshold = _threshold(model)
    values = [np.array([_values(each[place]) for place in both]) for each in (exact, theirs, own)]
    spread = 1.0 if model.labels else float(values[0].std()) or 1.0
    same = [_decision(exact[place]) == _decision(theirs[place]) for place in both]
    apart = np.abs(values[0] - values[1]).max(axis=1) / spread
    return Parity(
        n=len(both),
        unread=len(samples) - len(both),
        agreement=float(np.mean(same)),
        difference=float(apart.max()),
        mean=float(apart.mean()),
        narrow=narrow,
        sets=sum(_other_set(exact[place], theirs[place], threshold) for place in both),
        **_figures(
            task, model, samples.take(both), (values[2], values[1]), (own, theirs), both, judged=narrow or not own_only
        ),
    )


def answers(folder: Path, samples: Samples) -> list[dict[str, Any]]:
    """What `predict.py` of a folder answers to each sample, from files as they lie on disk.

    Raises:
        ExportError: it fails, or does not answer each.
    """
    with tempfile.TemporaryDirectory() as place:
        given = Path(place) / "inputs.jsonl"
        given.write_text("".join(json.dumps(each) + "\n" for each in inputs_of(samples, Path(place))), encoding="utf-8")
        command = [sys.executable, "-P", str((folder / "predict.py").resolve()), "--list", str(given)]
        limit = _SECONDS + _SECONDS_EACH * len(samples)
        try:
            done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, timeout=limit)  # noqa: S603  (this Python, our own program)
        except subprocess.TimeoutExpired:
            raise ExportError(f"the export's program took longer than {limit:.0f} s; the export was removed") from None
    lines = done.stdout.split("\n")[:-1]  # a text may hold what else ends a line
    if done.returncode or len(lines) != len(samples):
        said = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise ExportError(f"the export's program failed: {said}; the export was removed")
    return [json.loads(line) for line in lines]


def inputs_of(samples: Samples, place: Path) -> list[str]:
    """What the program is given: texts as they are, files where they lie; what lies in an archive is written out first."""
    if samples.inline and samples.modality == "text":
        return [str(each) for each in samples.table.column("input").to_pylist()]
    if (
        not samples.inline
        and samples.modality != "text"
        and all(samples.path(at).is_file() for at in range(len(samples)))
    ):
        return [str(samples.path(at).resolve()) for at in range(len(samples))]
    read, found = content_of(samples), []
    for at in range(len(samples)):
        content = read(at)
        if samples.modality == "text":
            found.append(_text(content))
            continue
        path = place / f"{at}.bin"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        found.append(str(path))
    return found


def _text(content: bytes | str) -> str:
    """A text as the model reads it; nothing where it cannot, which the program refuses too."""
    try:
        return content if isinstance(content, str) else decode_text(content)
    except SampleError:
        return ""


def _threshold(model: Model) -> float | None:
    """The probability from which on a label is in a set; None where there are no sets."""
    sets = None if model.judge is None or not model.labels else model.judge.conformal
    return None if sets is None else 1.0 - sets.quantile


def _other_set(exact: dict[str, Any], theirs: dict[str, Any], threshold: float | None) -> bool:
    """Whether two answers have other sets, and not because a probability lies as near to the threshold as they may differ."""
    ours, others = exact.get("set"), theirs.get("set")
    if threshold is None or ours is None or others is None:
        return (ours is None) != (others is None)
    held = {
        label
        for each in (exact, theirs)
        for label in (each["label"], max(each["probabilities"], key=each["probabilities"].get))
    }
    apart = (set(ours) ^ set(others)) - held  # these are in a set whatever their probability
    return any(abs(exact["probabilities"][label] - threshold) >= DIFFERENCE for label in apart)


def _values(answer: dict[str, Any]) -> list[float]:
    return list(answer["probabilities"].values()) if "probabilities" in answer else [answer["value"]]


def _decision(answer: dict[str, Any]) -> Any:
    return answer.get("label"), answer.get("labels")


def _figures(
    task: Any,
    model: Model,
    samples: Samples,
    values: tuple[np.ndarray, np.ndarray],
    said: tuple[Sequence[dict[str, Any]], Sequence[dict[str, Any]]],
    both: Sequence[int],
    *,
    judged: bool,
) -> dict[str, Any]:
    """The task's first figure of both, where the samples have labels; the error of its drop where that is judged."""
    if not samples.has_target:
        return {"figure": task.primary, "fitted": None, "exported": None, "drop": None, "error": None}
    targets = task.encode(samples.table.column("target"), model.labels or None)
    outcomes = []
    for found, each in zip(values, said, strict=True):
        chosen = None
        if task.link == "softmax":
            chosen = np.array([model.labels.index(each[place]["label"]) for place in both])
        name, each_adds = task.figure(targets, found, chosen=chosen)
        outcomes.append(each_adds)
    fitted, exported = (float(np.mean(each)) for each in outcomes)
    return {
        "figure": name,
        "fitted": abs(fitted),
        "exported": abs(exported),
        "drop": fitted - exported,
        "error": paired_standard_error(*outcomes) if judged else None,
    }
