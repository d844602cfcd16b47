"""What the verbs that work on rows share: a backbone for the data, labels where the data has any, and its rows from the store."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from headstart.backbones.backbone import Backbone, BackboneRequest
from headstart.backbones.choice import default_backbone, open_backbone
from headstart.backbones.precision import settle
from headstart.core.errors import DataError
from headstart.core.progress import Progress, silent
from headstart.data.opening import open_samples
from headstart.data.reading import ReadOptions
from headstart.data.samples import Samples
from headstart.features.choosing import AUTO
from headstart.features.extraction import Extraction, extract
from headstart.model.model import check_engine, check_engine_name, first_reasons, join
from headstart.model.precision import run_at

Data = str | Path | Sequence[str | Path] | Samples


@dataclass(frozen=True)
class RowOptions:
    """How data becomes rows: the options that these verbs have in common.

    Attributes:
        backbone: `SOURCE:NAME`, a request with layer, pooling and so on, or an opened backbone. None: the first of the documented list
            for the modality whose weights are on this machine.
        reading: how the data is read: target column, group, task, and so on.
        offline: open no socket.
        precision: `float32`, `bfloat16` or `float16`; empty for the backbone's own on this device.
        engine: what runs the backbone, such as `openvino`; `auto` chooses by the hardware and the number of rows that are missing.
    """

    backbone: str | BackboneRequest | Backbone | None = None
    reading: ReadOptions = ReadOptions()
    offline: bool = False
    precision: str = ""
    engine: str = AUTO


@dataclass(frozen=True)
class Rows:
    """Samples with their rows.

    Attributes:
        samples: those that have a row, in order.
        x: (n, d) their rows; several layers stand side by side.
        extraction: where they came from.
    """

    samples: Samples
    x: Float[np.ndarray, "n d"]
    extraction: Extraction

    @property
    def digests(self) -> np.ndarray:
        """(n, 16) uint8 content digests."""
        return self.extraction.features[0].digests

    def __len__(self) -> int:
        return len(self.x)


def opened(modality: str, options: RowOptions) -> Backbone:
    """The backbone that the options ask for, or the default one of the modality.

    Raises:
        DataError: it takes another modality.
        UsageError: there is no such precision or engine, or the backbone cannot be run so.
        WeightsMissing: no backbone is on this machine.
    """
    check_engine_name(options.engine)
    if options.precision:
        settle(options.precision, {})
    asked = options.backbone
    if asked is None:
        asked = default_backbone(modality, offline=options.offline).backbone
    if isinstance(asked, str):
        asked = BackboneRequest.parse(asked)
    if isinstance(asked, BackboneRequest):
        precision = options.precision or asked.precision
        asked = open_backbone(replace(asked, offline=asked.offline or options.offline, precision=precision))
    elif options.precision:
        asked = run_at(asked, options.precision)
    if asked.specs[0].modality != modality:
        raise DataError(f"{asked.specs[0].title} takes {asked.specs[0].modality} input, and the data holds {modality}")
    check_engine(asked, options.engine)
    return asked


def labelled_if_it_can(data: Data, reading: ReadOptions) -> Samples:
    """Samples with labels where the data has any, and without where it has none.

    Raises:
        DataError: the data cannot be used either way, or has no column that was asked for.
    """
    if isinstance(data, Samples):
        return data
    try:
        return open_samples(data, options=replace(reading, labelled=True))
    except DataError as error:
        if reading.target is not None:
            raise
        samples = open_samples(data, options=replace(reading, labelled=False))
        return replace(samples, notes=(*samples.notes, f"no labels are used: {error}"))


def rows_of(samples: Samples, backbone: Backbone, *, engine: str = AUTO, progress: Progress = silent) -> Rows:
    """Rows of all samples that can be read, through the feature store.

    Raises:
        DataError: none can be read.
    """
    extraction = extract(samples, backbone, engine=engine, progress=progress)
    if not len(extraction.kept):
        raise DataError(
            f"no sample of {samples.source} could be read; see the skipped ones: {first_reasons(extraction)}"
        )
    return Rows(samples.take(extraction.kept), join(extraction.features), extraction)
