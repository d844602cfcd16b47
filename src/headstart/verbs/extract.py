"""`extract`: the rows of a backbone for a person's own use."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from headstart.backbones.backbone import Backbone, BackboneRequest
from headstart.backbones.choice import default_backbone, open_backbone
from headstart.core.progress import Progress, silent
from headstart.data.opening import open_samples
from headstart.data.reading import ReadOptions
from headstart.data.samples import Samples
from headstart.features.extraction import Extraction
from headstart.features.extraction import extract as extract_rows


def extract(
    data: str | Path | Sequence[str | Path] | Samples,
    *,
    backbone: str | BackboneRequest | Backbone | None = None,
    reading: ReadOptions = ReadOptions(labelled=False),
    offline: bool = False,
    progress: Progress = silent,
) -> Extraction:
    """Rows of all samples that can be read, through the feature store.

    Args:
        data: a folder, a list of files, a table, or `Samples`.
        backbone: as for `fit`.
        reading: how the data is read.
        offline: open no socket.
        progress: stages `read` and `extract`, in samples.
    """
    samples = data if isinstance(data, Samples) else open_samples(data, options=reading)
    asked = backbone if backbone is not None else default_backbone(samples.modality, offline=offline).backbone
    if isinstance(asked, str):
        asked = BackboneRequest.parse(asked)
    opened = (
        open_backbone(replace(asked, offline=asked.offline or offline)) if isinstance(asked, BackboneRequest) else asked
    )
    return extract_rows(samples, opened, progress=progress)
