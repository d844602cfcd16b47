"""`extract`: the rows of a backbone for a person's own use."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from headstart.backbones.backbone import Backbone, BackboneRequest
from headstart.backbones.choice import default_backbone, open_backbone
from headstart.backbones.precision import settle
from headstart.core.progress import Progress, silent
from headstart.data.opening import open_samples
from headstart.data.reading import ReadOptions
from headstart.data.samples import Samples
from headstart.features.choosing import AUTO
from headstart.features.extraction import Extraction
from headstart.features.extraction import extract as extract_rows
from headstart.model.model import check_engine, check_engine_name
from headstart.model.precision import run_at


def extract(
    data: str | Path | Sequence[str | Path] | Samples,
    *,
    backbone: str | BackboneRequest | Backbone | None = None,
    reading: ReadOptions = ReadOptions(labelled=False),
    offline: bool = False,
    engine: str = AUTO,
    precision: str = "",
    on: str = "",
    progress: Progress = silent,
) -> Extraction:
    """Rows of all samples that can be read, through the feature store.

    Args:
        data: a folder, a list of files, a table, or `Samples`.
        backbone: as for `fit`.
        reading: how the data is read.
        offline: open no socket.
        engine: what runs the backbone, such as `openvino`; `auto` chooses by the hardware and the number of rows that are missing.
        precision: `float32`, `bfloat16` or `float16`; empty for the backbone's own on this device.
        on: empty for this machine, or `ray` for a Ray cluster (docs/howto/many-machines.md).
        progress: stages `read` and `extract`, in samples.

    Raises:
        DataError: the data cannot be used; WeightsMissing: no backbone is on this machine.
        UsageError: there is no such precision or engine, or the backbone cannot be run so.
    """
    check_engine_name(engine)
    if precision:
        settle(precision, {})
    samples = data if isinstance(data, Samples) else open_samples(data, options=reading)
    asked = backbone if backbone is not None else default_backbone(samples.modality, offline=offline).backbone
    if isinstance(asked, str):
        asked = BackboneRequest.parse(asked)
    if isinstance(asked, BackboneRequest):
        request = replace(asked, offline=asked.offline or offline, precision=precision or asked.precision)
        opened = open_backbone(request)
    else:
        opened = run_at(asked, precision) if precision else asked
    check_engine(opened, engine)
    return extract_rows(samples, opened, engine=engine, on=on, progress=progress)
