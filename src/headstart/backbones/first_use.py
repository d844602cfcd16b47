"""Remembering a published model from its first use on: its figures, its speed, and the digest that its weights have to keep."""

import os
import platform
import sys
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

from headstart.backbones import SOURCES, records, weights
from headstart.backbones.backbone import Backbone, BackboneRequest, Built, CatalogueEntry, Speed, TorchBackbone
from headstart.backbones.licences import commercial
from headstart.backbones.network import count, input_text
from headstart.backbones.records import Record
from headstart.core.errors import BackboneError, HeadstartError

# Samples below which an extraction says little about speed: most of its time went into starting.
LEAST_ITEMS = 64


def completed(entry: CatalogueEntry, found: Built | None) -> CatalogueEntry:
    """A catalogue entry with what its architecture says and with what this machine remembers of it.

    Args:
        entry: as its source gives it.
        found: what the architecture says without weights, None where that is not known.
    """
    record = records.read(entry.backbone) or Record(entry.backbone)
    licence = entry.licence or (found.licence if found else "")
    return replace(
        entry,
        licence=licence,
        commercial=commercial(licence),
        digest=entry.digest or record.digest,
        parameters=found.parameters if found else record.parameters,
        width=found.width if found else record.width,
        input=found.input if found else record.input,
        speed=record.speeds.get(machine()),
    )


def remember(request: BackboneRequest, backbone: Backbone) -> None:
    """Keep what a published model is when it is first used; from then on check that its weights are still the same.

    Weights that a person gives as a file, and a person's own networks, are left alone. A cache that cannot be written remembers nothing.

    Raises:
        BackboneError: the weights have another digest than those that were on this machine first.
    """
    if request.module is not None or request.weights is not None:
        return
    entry = _entry(request.source, request.name)
    if entry is None:
        return
    # Sources that know a digest beforehand have checked it themselves.
    path = Path(entry.weights) if entry.installed and not entry.digest else None
    usual = not (request.layer or request.pooling or request.prepare)
    with suppress(OSError):
        records.update(entry.backbone, lambda old: _remembered(old, entry, backbone, path=path, usual=usual))


def note_speed(backbone: Backbone, *, items: int, seconds: float, engine: str) -> None:
    """Remember how fast a published model was, where enough samples were extracted to tell and it was the fastest so far.

    Args:
        backbone: what was run.
        items: samples that were extracted.
        seconds: that it took, the preparing of the samples included.
        engine: what ran it.
    """
    spec = backbone.specs[0]
    if items < LEAST_ITEMS or seconds <= 0:
        return
    entry = _entry(spec.source, spec.name)
    if entry is None:
        return
    speed = Speed(float(f"{items / seconds:.4g}"), items, engine, spec.precision, _device())

    def faster(old: Record | None) -> Record | None:
        # Weights that were never opened by their name are a person's own.
        if old is None or spec.weights not in old.tensors.values():
            return None
        if machine() in old.speeds and old.speeds[machine()].per_second >= speed.per_second:
            return None
        return replace(old, speeds={**old.speeds, machine(): speed})

    with suppress(OSError):
        records.update(entry.backbone, faster)


@cache
def machine() -> str:
    """This machine as speeds are kept by: its processor's model and number of CPUs, not its name."""
    model = platform.processor() or platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    return f"{model}, {os.cpu_count()} CPUs"


def _entry(source: str, name: str) -> CatalogueEntry | None:
    try:
        return SOURCES.get(source).entry(name)
    except (
        HeadstartError
    ):  # a name that its source opens and does not list, such as an architecture without published weights
        return None


def _remembered(
    old: Record | None, entry: CatalogueEntry, backbone: Backbone, *, path: Path | None, usual: bool
) -> Record:
    spec = backbone.specs[0]
    record = old or Record(entry.backbone)
    if path is not None and record.tensors.get(spec.architecture) != spec.weights:
        digest = weights.file_digest(path)
        if record.digest and digest != record.digest:
            raise BackboneError(
                f"the weights of {entry.backbone} are no longer those that were on this machine first: their SHA-256 was {record.digest} and"
                f" is {digest}; if that is right, type  headstart models {entry.backbone} --forget  , else remove {path} and fetch them again"
            )
        record = replace(record, digest=digest)
    record = replace(record, tensors={**record.tensors, spec.architecture: spec.weights})
    if isinstance(backbone, TorchBackbone) and record.parameters is None:
        record = replace(record, parameters=count(backbone.module))
    if usual and record.width is None:
        record = replace(record, width=spec.dim, input=input_text(backbone.preparation))
    return record


def _device() -> str:
    torch = sys.modules.get("torch")
    return str(torch.cuda.get_device_name(0)) if torch is not None and torch.cuda.is_available() else "cpu"
