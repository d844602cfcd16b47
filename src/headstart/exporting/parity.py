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
from jaxtyping import Int

from headstart.backbones.exported import ExportedBackbone
from headstart.backbones.precision import FLOAT32
from headstart.core.errors import ExportError, SampleError
from headstart.core.progress import Progress, silent
from headstart.data.decoding import decode_text
from headstart.data.samples import Samples
from headstart.evaluation.calibration import paired_standard_error
from headstart.evaluation.metrics import THRESHOLD
from headstart.features.contents import content_of
from headstart.features.hashing import digest_samples
from headstart.features.pipeline import Content
from headstart.model.model import Model
from headstart.tasks import TASKS

AGREEMENT, DIFFERENCE = 0.999, 0.01
"""The least share of samples with the same label, and the largest difference of a probability (of a value, in its standard deviations)."""

NARROW_AGREEMENT = 0.99
"""That share in narrower arithmetic than float32, where a pixel that differs by a step can turn a rounding over: there the mean over samples of the
largest difference is bounded, and not the largest of all."""

# The program answers a few inputs a second at least, and takes this long to start at most.
_SECONDS, _SECONDS_EACH = 120.0, 2.0
# Its status where some could not be read.
_SOME_UNREAD = 3
# Of a mean: two that are as far apart as their standard error are not further.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Parity:
    """An export beside its model, over all samples of a part, from the raw files.

    Attributes:
        part: the part of the data that they are of; empty where it has none.
        n: samples that both answered.
        unread: samples that neither could read.
        agreement: the share of samples with the same label, or the same labels but for those within `DIFFERENCE` of one half; 1 for values.
        difference: the largest difference of a probability; of a value, in standard deviations of the model's values.
        mean: the mean over samples of each one's largest difference.
        narrow: whether the export computes in narrower arithmetic than float32.
        sets: samples whose set of labels is another one, by a label that is not within `DIFFERENCE` of the threshold.
        left_out: of the n, those that the model was fitted on, which the figures leave out.
        in_sample: whether it was fitted on all of them, so that the figures are of these and no evidence.
        figure: what accuracy is called in this task, such as `accuracy`.
        fitted: the model's figure as it was fitted.
        fitted_in: the precision in which that was computed: that of the fit, or float32 where the former cannot be run here.
        exported: the export's figure.
        drop: how much worse that is.
        error: the standard error of that paired difference; None where both are of float32, and all of their answers are compared.
    """

    part: str
    n: int
    unread: int
    agreement: float
    difference: float
    mean: float
    narrow: bool
    sets: int
    left_out: int
    in_sample: bool
    figure: str
    fitted: float
    fitted_in: str
    exported: float
    drop: float
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
        if self.error is not None and self.drop > self.error + _ROUNDING:
            raise ExportError(
                f"the export is worse than the model as it was fitted: {self.figure} {self.exported:.4f} against {self.fitted:.4f},"
                f" more than one standard error of the difference, {self.error:.4f}; it was removed"
            )


def prove(folder: Path, model: Model, *, samples: Samples, part: str = "", progress: Progress = silent) -> Parity:
    """Run the program of a folder over raw samples, and compare.

    Args:
        folder: of the export, with `predict.py`.
        model: the model as it was fitted; or an exported one, which is compared as it is.
        samples: with a target.
        part: the part that they are.
        progress: stages `extract` and `prove`, in samples.

    Raises:
        ExportError: there is no sample, the program fails, or answers what the model cannot read, or the reverse.
    """
    if not len(samples):
        raise ExportError("there is no sample to prove the export on: name data with labelled samples; it was removed")
    whole = model if isinstance(model.backbone, ExportedBackbone) else model.at(FLOAT32)
    exact = whole.predict(samples, engine="eager", progress=progress)
    own, fitted_in = _as_fitted(model, samples, exact, progress)
    progress("prove", 0, len(samples))
    theirs = answers(folder, samples)
    progress("prove", len(samples), len(samples))
    both = _both(samples, exact, theirs)
    threshold = _threshold(model)
    values = [np.array([_values(each[place]) for place in both]) for each in (exact, theirs)]
    spread = 1.0 if model.labels else float(values[0].std()) or 1.0
    apart = np.abs(values[0] - values[1]).max(axis=1) / spread
    unseen = both[~model.split.fitted_on(digest_samples(samples.take(both)).digests)]
    counted = unseen if len(unseen) else both
    return Parity(
        part=part,
        n=len(both),
        unread=len(samples) - len(both),
        agreement=float(np.mean([alike(exact[place], theirs[place]) for place in both])),
        difference=float(apart.max()),
        mean=float(apart.mean()),
        narrow=whole.precision != FLOAT32,
        sets=sum(_other_set(exact[place], theirs[place], threshold) for place in both),
        left_out=len(both) - len(counted),
        in_sample=not len(unseen),
        fitted_in=fitted_in,
        **_figures(model, samples.take(counted), counted, (own, theirs), judged=fitted_in != FLOAT32),
    )


def _as_fitted(
    model: Model, samples: Samples, exact: list[dict[str, Any]], progress: Progress
) -> tuple[list[dict[str, Any]], str]:
    """The model's answers in the precision that it was fitted at, whatever it runs at here, and that precision; units for it only make it quick.

    Where torch cannot compute in it here, or has no answer to a sample that the exact ones have, they are those. An exported model has one
    precision only.
    """
    precision = model.fitted_precision
    if isinstance(model.backbone, ExportedBackbone):
        return exact, model.precision
    if precision == FLOAT32:
        return exact, FLOAT32
    try:
        own = model.at(precision).predict(samples, engine="eager", progress=progress)
    except Exception:  # noqa: BLE001  (whatever torch raises for an arithmetic that it has no kernel for: `fitted_in` tells)
        return exact, FLOAT32
    lost = any("error" in each and "error" not in whole for each, whole in zip(own, exact, strict=True))
    return (exact, FLOAT32) if lost else (own, precision)


def _both(samples: Samples, exact: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]) -> Int[np.ndarray, "n"]:
    """The places of the samples that both could read.

    Raises:
        ExportError: one could read what the other could not, or there is none.
    """
    read = np.array([["error" not in each[place] for each in (exact, theirs)] for place in range(len(samples))])
    alone, both = np.flatnonzero(read[:, 0] != read[:, 1]), np.flatnonzero(read.all(axis=1))
    if not len(alone) and len(both):
        return both
    place = int(alone[0]) if len(alone) else 0
    reason = theirs[place].get("error", exact[place].get("error", ""))
    who = "the export reads and the model does not" if read[place, 1] else "the model reads and the export does not"
    raise ExportError(
        f"{samples.ids[place]} {who if len(alone) else 'cannot be read'}: {reason}; the export was removed"
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
            done = subprocess.run(  # noqa: S603  (this Python, our own program; decoders may write anything to its standard error)
                command, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=limit
            )
        except subprocess.TimeoutExpired:
            raise ExportError(f"the export's program took longer than {limit:.0f} s; the export was removed") from None
    lines = done.stdout.split("\n")[:-1]  # a text may hold what else ends a line
    if done.returncode not in (0, _SOME_UNREAD) or len(lines) != len(samples):
        said = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise ExportError(f"the export's program failed: {said}; the export was removed")
    return [json.loads(line) for line in lines]


def inputs_of(samples: Samples, place: Path) -> list[str]:
    """What the program is given: texts as they are, files where they lie; what lies in an archive is written out first."""
    if samples.inline and samples.modality == "text":
        return [str(each) for each in samples.table.column("input").to_pylist()]
    read, found = content_of(samples), []
    for at in range(len(samples)):
        if not samples.inline and samples.modality != "text" and samples.path(at).is_file():
            found.append(str(samples.path(at).resolve()))
            continue
        path, content = place / f"{at}.bin", _read(read, at)
        if samples.modality == "text":
            found.append("" if content is None else _text(content))
            continue
        if content is not None:  # else there is nothing at the path, which the program cannot read either
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        found.append(str(path))
    return found


def _read(read: Content, at: int) -> bytes | str | None:
    """The content of a sample; None of one that is there no more, or lies in an archive that ends before it."""
    try:
        return read(at)
    except (OSError, SampleError):
        return None


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


def alike(exact: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Whether two answers decide alike. Of several labels one may flip that in both lies as near to one half as probabilities may differ."""
    ours, others = exact.get("labels"), theirs.get("labels")
    if ours is None or others is None:
        return exact.get("label") == theirs.get("label")
    shares = [each["probabilities"][label] for label in set(ours) ^ set(others) for each in (exact, theirs)]
    return all(abs(share - THRESHOLD) < DIFFERENCE for share in shares)


def _figures(
    model: Model,
    samples: Samples,
    places: Int[np.ndarray, "n"],
    said: tuple[Sequence[dict[str, Any]], Sequence[dict[str, Any]]],
    *,
    judged: bool,
) -> dict[str, Any]:
    """The task's first figure of both on the samples at some places; the error of its drop where that is judged."""
    task, outcomes, name = TASKS.get(model.task), [], ""
    targets = task.encode(samples.table.column("target"), model.labels or None)
    for each in said:
        chosen = None
        if task.link == "softmax":
            chosen = np.array([model.labels.index(each[place]["label"]) for place in places])
        found = np.array([_values(each[place]) for place in places])
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
