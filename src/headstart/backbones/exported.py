"""A backbone whose network is a graph in files of the model, as `export` and `compress` write it: its own runtime makes the rows."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from headstart.backbones.backbone import Architecture, Backbone
from headstart.backbones.runtimes import INT8, INT8_BFLOAT16, Session, open_session
from headstart.core.digests import of_bytes
from headstart.core.errors import HeadstartError, ModelError, gist, is_out_of_memory
from headstart.core.spec import BackboneSpec
from headstart.data.modalities import preparation
from headstart.data.preparation import Batch, Preparation

VALUES = {"image": "pixels", "text": "ids", "audio": "samples"}
"""What a graph's first input is called, by modality."""

LENGTHS, SHARES, PROBABILITIES, ROWS = "lengths", "shares", "probabilities", "rows"

_OPENVINO = ("model.xml", "model.bin")
# A byte order mark, a declaration and the root, as OpenVINO begins a document: it has no comments there, and no DOCTYPE.
_DOCUMENT = re.compile(rb"(\xef\xbb\xbf)?\s*(<\?xml\s[^<>]*\?>\s*)?<net\s")


@dataclass(frozen=True)
class Graph:
    """The files of a graph, as the manifest lists them.

    Attributes:
        runtime: what opens it: `onnx`, `openvino` or `torch`.
        precision: the arithmetic that it is run in.
        files: their names in the model directory; the first is the one that is opened.
        beside: the names of what else was shipped with it, such as `predict.py`.
    """

    runtime: str
    precision: str
    files: tuple[str, ...]
    beside: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The object under `backbone.graph` in the manifest (docs/format.md)."""
        return {
            "runtime": self.runtime,
            "precision": self.precision,
            "files": list(self.files),
            "beside": list(self.beside),
        }


@dataclass(frozen=True)
class ExportedBackbone(Backbone):
    """The network of a graph.

    Attributes:
        graph: its files.
        folder: where they lie.
        session: of its runtime.
    """

    specs: tuple[BackboneSpec, ...]
    preparation: Preparation
    architecture: Architecture
    graph: Graph
    folder: Path
    session: Session = field(repr=False)
    warnings: tuple[str, ...] = ()

    def embed(self, batch: Batch) -> tuple[Float[np.ndarray, "n d"], ...]:
        """Rows of a batch, one array per spec.

        Raises:
            ModelError: the graph takes no such batch, or makes no such rows.
        """
        title = f"the model's graph {self.graph.files[0]}"
        try:
            (rows,) = self.session.run(self.given(batch), [ROWS])
        except Exception as error:  # whatever a runtime raises for a graph that is not what its manifest says
            if is_out_of_memory(error):
                raise
            raise ModelError(f"{title} cannot be run on what the model prepares: {gist(error)}") from error
        ends = np.cumsum([spec.dim for spec in self.specs])
        if rows.dtype.kind != "f" or rows.shape != (len(batch), ends[-1]):
            raise ModelError(
                f"{title} makes rows {rows.dtype} {rows.shape} of {len(batch)} samples, and the model has rows of {ends[-1]} numbers"
            )
        return tuple(np.split(rows.astype(np.float32, copy=False), ends[:-1], axis=1))

    def given(self, batch: Batch) -> dict[str, np.ndarray]:
        """A batch as the graph's inputs."""
        return given(batch, self.preparation.modality, names=self.session.names)

    def tensors(self) -> dict[str, np.ndarray]:
        """The bytes of its files, by name."""
        return {name: np.frombuffer(content, np.uint8) for name, content in self.contents().items()}

    def contents(self) -> Mapping[str, bytes]:
        """All that was exported, by name."""
        return {name: (self.folder / name).read_bytes() for name in (*self.graph.files, *self.graph.beside)}


def given(batch: Batch, modality: str, *, names: Collection[str]) -> dict[str, np.ndarray]:
    """A batch as those of a graph's inputs that it has, each view a sample of its own.

    Args:
        batch: prepared views.
        modality: theirs.
        names: of the inputs.
    """
    found = {VALUES[modality]: batch.values, LENGTHS: batch.lengths, SHARES: np.eye(len(batch), dtype=np.float32)}
    return {name: found[name] for name in names}


def _check_openvino(folder: Path, graph: Graph) -> None:
    """Refuse what OpenVINO would read in another format: it tells one by what a file holds, and one in ONNX may name any other file.

    Raises:
        ModelError: as said, or it lies in other files than OpenVINO's own two.
    """
    if graph.files != _OPENVINO:
        raise ModelError(
            f"a graph of openvino is {' and '.join(_OPENVINO)}, and the model's is {' and '.join(graph.files)}: export the model again"
        )
    with (folder / _OPENVINO[0]).open("rb") as document:
        if not _DOCUMENT.match(document.read(1024)):
            raise ModelError(
                f"{_OPENVINO[0]} is no document of OpenVINO, which has the root <net>: export the model again"
            )


def open_exported(
    folder: Path,
    graph: Graph,
    *,
    architecture: Architecture,
    specs: tuple[BackboneSpec, ...],
    assets: Mapping[str, bytes],
) -> ExportedBackbone:
    """The backbone of a graph that lies in a folder.

    Args:
        folder: of the model.
        graph: which files.
        architecture: what the network was before.
        specs: of the backbone that was exported, in whatever precision; the graph's own takes its place.
        assets: of the preparation.

    Raises:
        ModelError: its runtime cannot open it, it is another format's, or its inputs are not those of the modality.
        ExtraMissing: its runtime is not installed.
    """
    prepared = preparation(specs[0].prepare, dict(assets))
    if graph.runtime == "openvino":
        _check_openvino(folder, graph)
    specs = tuple(replace(spec, precision=graph.precision) for spec in specs)
    if graph.precision in (INT8, INT8_BFLOAT16):  # its numbers are those of what it was calibrated on
        digest = of_bytes(b"".join((folder / name).read_bytes() for name in graph.files)).hex()
        specs = tuple(replace(spec, weights=digest) for spec in specs)
    try:
        session = open_session(graph.runtime, folder / graph.files[0], precision=graph.precision)
    except HeadstartError:
        raise
    except Exception as error:  # whatever a runtime raises for a graph that it cannot open becomes the one sentence
        raise ModelError(
            f"the model's graph {graph.files[0]} cannot be opened by {graph.runtime}: {gist(error)}"
        ) from error
    known = {VALUES[prepared.modality], LENGTHS, SHARES}
    if not session.names <= known or VALUES[prepared.modality] not in session.names:
        raise ModelError(
            f"the model's graph {graph.files[0]} takes {', '.join(sorted(session.names))}, and one for {prepared.modality} takes"
            f" {', '.join(sorted(known))}"
        )
    return ExportedBackbone(specs, prepared, architecture, graph, folder, session)
