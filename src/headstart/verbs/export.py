"""`export`: write a model as a graph that other runtimes run, with all that comes before and after it, and prove that it answers alike."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from headstart.core.errors import ExportError, UsageError
from headstart.core.files import check_apart, refuse_inside_data, whole_directory
from headstart.core.progress import Progress, silent
from headstart.data.samples import Samples
from headstart.exporting import FORMATS
from headstart.exporting.directory import difference_of, lay_out, refuse_exported
from headstart.exporting.format import Format
from headstart.exporting.parity import Parity, prove
from headstart.model.loading import load
from headstart.model.model import Model
from headstart.model.saving import refuse_if_not_ours, write


@dataclass(frozen=True)
class Export:
    """What was exported.

    Attributes:
        path: the directory: a model directory whose network is a graph, with the program that runs it.
        format: such as `onnx`.
        files: the graph's.
        bytes: of all files.
        checked: `data` where it was compared with the model over samples, else `probes`: over synthetic prepared inputs.
        parity: the comparison over samples; None without any.
        difference: the largest relative difference of a row, over synthetic prepared inputs.
        notes: what a person should know, one sentence each.
        seconds: what took how long.
    """

    path: Path
    format: str
    files: tuple[str, ...]
    bytes: int
    checked: str
    parity: Parity | None
    difference: float
    notes: tuple[str, ...]
    seconds: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """The object that `headstart export --json` prints (docs/json.md)."""
        plain = {name: getattr(self, name) for name in ("format", "bytes", "checked", "difference")}
        told = {"files": list(self.files), "notes": list(self.notes), "seconds": dict(self.seconds)}
        parity = None if self.parity is None else self.parity.to_json()
        return {"path": str(self.path), **plain, "parity": parity, **told}


def export(
    model: Model | str | Path,
    *,
    to: str,
    out: str | Path,
    with_data: str | Path | Samples | None = None,
    progress: Progress = silent,
) -> Export:
    """Export a model.

    What is written is a model directory: `load` opens it, without the library that the network is from. In it lie the graph, which goes
    from pixels, token ids or samples to calibrated probabilities in float32, and `predict.py`, which goes from files to answers and needs
    the graph's runtime and what reads the modality, and no headstart.

    Args:
        model: a model, or the directory of one, whose network is one of torch.
        to: the format.
        out: the directory; a model that is there is replaced, anything else is refused, and so is a place in or around the model itself.
        with_data: labelled samples, laid out as for `evaluate`: the program is run over all of the evaluated part, from the raw files, and
            compared with the model. Figures are of those that the model was not fitted on.
        progress: stages `extract` and `prove`, in samples.

    Raises:
        UsageError: there is no such format, the model's network is none of torch, or `out` is, holds or lies in its directory.
        ExtraMissing: a library that writes the format is not installed.
        ExportError: the format cannot hold the network, or the export gives other answers; nothing is left then.
        ModelError: something else is at `out`. DataError: the samples cannot be used.
    """
    began = time.perf_counter()
    format_ = _format(to)
    target = Path(out)
    if not isinstance(model, Model):
        check_apart(target, model)
    refuse_if_not_ours(target)
    fitted = model if isinstance(model, Model) else load(Path(model))
    refuse_exported(fitted)
    samples, part = None, ""
    if with_data is not None:
        if not isinstance(with_data, Samples):
            refuse_inside_data(target, with_data)
        samples, part = fitted.labelled(with_data, part=None, target=None)
    from headstart.exporting.tracing import trace

    traced = trace(fitted)
    written = time.perf_counter()
    try:
        with whole_directory(target, refuse_if_not_ours) as folder:
            opened = lay_out(fitted, to, folder=folder, put=partial(format_.write, traced, folder))
            difference = difference_of(fitted, opened)
            write(replace(fitted, backbone=opened), folder)
            made = time.perf_counter()
            parity = None if samples is None else prove(folder, fitted, samples=samples, part=part, progress=progress)
            _check(parity)
            size = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
    except OSError as error:
        raise ExportError(f"the export could not be written to {target}: {error.strerror or error}") from error
    ended = time.perf_counter()
    seconds = {"trace": written - began, "write": made - written, "prove": ended - made, "total": ended - began}
    checked = "probes" if parity is None else "data"
    return Export(target, to, format_.files, size, checked, parity, difference, _notes(parity, fitted), seconds)


def _format(to: str) -> Format:
    """The format of a name.

    Raises:
        UsageError: there is none, or it is not offered. ExtraMissing: what writes it is not installed.
    """
    if to in _NOT_OFFERED:
        raise UsageError(f"an export to {to} is not offered: {_NOT_OFFERED[to]}")
    found = FORMATS.get(to)
    found.check_installed(f"an export to {to}")
    return found


def _check(parity: Parity | None) -> None:
    if parity is not None:
        parity.check()


def _notes(parity: Parity | None, model: Model) -> tuple[str, ...]:
    if parity is None:
        return (_UNPROVEN,)
    found = [_IN_SAMPLE] if parity.in_sample else []
    if parity.fitted_in != model.fitted_precision:
        found.append(
            f"the model was fitted in {model.fitted_precision}, which cannot be run here: its figure is that of {parity.fitted_in}, and"
            " whether the export is worse than the model was as fitted is not known"
        )
    return tuple(found)


_APART = "its converter cannot be installed beside headstart, which could then not prove the export; docs/howto/export.md says more"
_NOT_OFFERED = {"litert": _APART, "saved_model": _APART}
_IN_SAMPLE = "the model was fitted on every one of these samples: the figures say nothing about new ones"
_UNPROVEN = (
    "it was compared on synthetic prepared inputs alone, not from raw files: name labelled samples with --with-data to compare all from the"
    " bytes on"
)
