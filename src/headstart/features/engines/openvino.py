"""Runs the network on a CPU through OpenVINO, several batches at once on one thread each; the compiled form is kept on disk."""

import contextlib
import functools
import importlib
import importlib.util
import json
import os
import re
import shutil
import sys
import warnings
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from headstart.backbones.backbone import Backbone
from headstart.backbones.network import NetworkBackbone, as_tensor
from headstart.backbones.precision import device
from headstart.core.digests import of_text, sha256_file
from headstart.core.errors import BackboneError, CacheError, ExtraMissing
from headstart.core.files import cache_root, whole_directory
from headstart.data.preparation import Batch
from headstart.features.engine import Engine
from headstart.features.sessions import Sessions

# Raise it when this file makes another graph from the same network.
_VERSION = 1
_HINTS = {"float32": "f32", "bfloat16": "bf16"}
# Batches computed at once, on one thread each: no barrier between threads, so that decoding beside them holds up no other.
_MOST_STREAMS = 16
# Seconds to trace, convert and compile a network from nothing, and for each 100 MB of its weights; and to open what lies on disk.
_FROM_NOTHING, _EACH_100_MB, _FROM_DISK = 1.5, 1.0, 0.5
_SEED = 7
# Any number of samples, each of one shape.
_ANY = -1
# Batches that came alone before another session is compiled for them: it takes half a second and more, and saves 5 to 20 ms each time.
_OFTEN = 8
_FILES = ("model.xml", "model.bin")
# What a tracer says of numbers that it takes for constants; that it follows one branch only, it says too, and that is seldom wrong.
_FROZEN = re.compile(r"Converting a tensor to a Python (integer|float|number|index|list)")


class OpenVino(Engine):
    """OpenVINO's CPU plug-in (extra `cpu`).

    EfficientNet-Lite0 on two cores with 396 photos in memory: 1.0 s where eager takes 4.2 s in float32, 0.5 s where it takes 2.6 s in
    bfloat16; cosine 1.0 and 0.9993.
    """

    starts_at_once = False

    def __init__(self) -> None:
        self._many: Sessions[Session] = Sessions()
        self._alone: Sessions[Session] = Sessions()
        self._came: Sessions[list[int]] = Sessions()
        self._room: Sessions[int] = Sessions()
        self._any_size: Sessions[bool] = Sessions()

    def refusal(self, backbone: Backbone) -> str:
        """It runs networks of torch on a CPU, in float32 anywhere and in bfloat16 where the processor has the units."""
        if not isinstance(backbone, NetworkBackbone) or device().kind != "cpu":
            return "it runs networks of torch on a CPU"
        if backbone.architecture.source == "keras":
            return "its converter does not know what Keras makes of a network on torch"
        if backbone.specs[0].precision not in _HINTS.keys() & device().units:
            return f"it has no arithmetic for {backbone.specs[0].precision} on this processor"
        return (
            ""
            if importlib.util.find_spec("openvino")
            else str(ExtraMissing.of("openvino", "cpu", purpose="the engine"))
        )

    def gain(self, backbone: Backbone) -> float:
        """As measured: 4 with EfficientNet-Lite0, 2 with MiniLM and Whisper's encoder."""
        return 4.0 if backbone.preparation.modality == "image" else 2.0

    def setup(self, backbone: Backbone) -> float:
        """Seconds to convert and compile, to open from disk, or nothing."""
        assert isinstance(backbone, NetworkBackbone)
        if self._many.ready(backbone) or self._alone.ready(backbone):
            return 0.0
        if (_folder(backbone) / "graph.json").exists():
            return _FROM_DISK
        weights = sum(tensor.numel() * tensor.element_size() for tensor in backbone.module.parameters())
        return _FROM_NOTHING + _EACH_100_MB * weights / 1e8

    def forms(self, backbone: Backbone) -> int:
        """Sessions that are ready."""
        assert isinstance(backbone, NetworkBackbone)
        return self._many.ready(backbone) + self._alone.ready(backbone)

    def forget(self, backbone: Backbone) -> None:
        """Drop the session and the artefact. The next session has no fixed shapes: a smaller batch takes less memory there."""
        assert isinstance(backbone, NetworkBackbone)
        for sessions in (self._many, self._alone):
            sessions.drop(backbone)
        self._any_size.of(backbone, bool)
        shutil.rmtree(_folder(backbone), ignore_errors=True)

    def run(self, backbone: Backbone, batches: Iterable[Batch]) -> Iterator[tuple[Float[np.ndarray, "n d"], ...]]:
        """Rows of each batch in order; twice as many batches as streams are taken ahead."""
        assert isinstance(backbone, NetworkBackbone)
        given = iter(batches)
        first = list(islice(given, 2))
        if first:
            yield from self._session(backbone, alone=len(first) == 1).run(backbone, chain(first, given))

    def _session(self, backbone: NetworkBackbone, *, alone: bool) -> "Session":
        """What to run on: many batches beside each other, or one batch alone with all cores, and as small as it comes.

        Among many, a batch has one core, and a part-filled one of pictures is filled up: one photo takes as long as four, and a sentence
        10 ms where it takes 5. The second session is compiled for what comes again and again, as one batch is also the end of other runs.
        """
        fixed = backbone.preparation.modality == "image" and not self._any_size.ready(backbone)
        if alone and (self._alone.ready(backbone) or not self._many.ready(backbone) or self._often(backbone)):
            return self._alone.of(backbone, lambda: Session.start(backbone, batch=_ANY if fixed else 0, streams=1))
        batch = self._room.of(backbone, lambda: _full_batch(backbone)) if fixed else 0
        return self._many.of(backbone, lambda: Session.start(backbone, batch=batch))

    def _often(self, backbone: NetworkBackbone) -> bool:
        """Whether a batch came alone as often as compiling once more is worth."""
        count = self._came.of(backbone, lambda: [0])
        count[0] += 1
        return count[0] > _OFTEN


PLUGIN = OpenVino()


def _rows(request: Any, n: int) -> tuple[np.ndarray, ...]:
    """The first n rows of each output, copied out of the request's own memory."""
    request.wait()
    return tuple(tensor.data[:n].astype(np.float32) for tensor in request.output_tensors)


@dataclass(frozen=True)
class Session:
    """A compiled network.

    Attributes:
        compiled: the network.
        ahead: batches that are under way at once.
        names: its inputs in order, of `values` and `lengths`; one that the network does not use is not there.
        batch: rows that its values have room for; 0 where any number of any length may come, -1 where any number of one shape may.
    """

    compiled: Any
    ahead: int
    names: tuple[str, ...]
    batch: int
    _requests: list[list[Any]] = field(default_factory=list)

    @classmethod
    def start(cls, backbone: NetworkBackbone, *, batch: int = 0, streams: int | None = None) -> "Session":
        """Open the artefact on disk, or make it, and compile it for this processor.

        Args:
            backbone: the network.
            batch: samples that a batch has room for; -1 for any number, 0 for any number of any length.
            streams: batches that are computed at once, which share the cores; None: one for each core.
        """
        ov = _library()
        folder = _folder(backbone)
        # What a person's own module calls is no part of its identity: its graph is never taken from an earlier process.
        names = None if backbone.specs[0].source == "torch" else _intact(folder)
        if names is None:
            _convert(backbone, folder)
            names = _intact(folder)
        if names is None:
            raise CacheError(f"the compiled network in {folder} was damaged twice: something else writes there")
        core: Any = ov.Core()
        model = core.read_model(folder / "model.xml")
        if batch:
            model.reshape(_shapes(backbone, names, batch))
        cores = max(1, min(_MOST_STREAMS, _cores()))
        streams = streams or cores
        compiled = core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": _HINTS[backbone.specs[0].precision],
                "NUM_STREAMS": str(streams),
                "INFERENCE_NUM_THREADS": cores,
                "ENABLE_CPU_PINNING": False,
            },
        )
        with contextlib.suppress(OSError):  # a cache that is not ours to write
            os.utime(folder)  # what is used stays when the cache is pruned by age
        return cls(compiled, 2 * streams, names, batch)

    def run(self, backbone: NetworkBackbone, batches: Iterable[Batch]) -> Generator[tuple[np.ndarray, ...], None, None]:
        """Rows of each batch in order; none may be larger than the session has room for."""
        requests = self._borrowed()
        free = list(requests)
        busy: deque[tuple[Any, int]] = deque()
        try:
            for batch in batches:
                if not free:
                    request, n = busy.popleft()
                    yield _rows(request, n)
                    free.append(request)
                request = free.pop()
                request.start_async(self.inputs(backbone, batch), share_inputs=True)
                busy.append((request, len(batch)))
            while busy:
                yield _rows(*busy.popleft())
        finally:
            for request, _ in busy:
                request.cancel()
                with contextlib.suppress(RuntimeError):  # it says that it was cancelled
                    request.wait()
            self._requests.append(requests)

    def _borrowed(self) -> list[Any]:
        """Places for batches under way, which nobody else uses meanwhile."""
        try:
            return self._requests.pop()
        except IndexError:
            return [self.compiled.create_infer_request() for _ in range(self.ahead)]

    def inputs(self, backbone: NetworkBackbone, batch: Batch) -> dict[int, np.ndarray]:
        """A batch as the network's inputs: the front is run here, in torch and in float32."""
        import torch

        with torch.inference_mode():
            front = backbone.module.front(as_tensor(batch.values), as_tensor(batch.lengths)).numpy()
        given = {"values": front, "lengths": batch.lengths}
        return {place: np.ascontiguousarray(_filled(given[name], self.batch)) for place, name in enumerate(self.names)}


def _filled(array: np.ndarray, n: int) -> np.ndarray:
    """The array with its first axis filled up to n by repeating its first row."""
    missing = n - len(array)
    return array if missing <= 0 else np.concatenate([array, np.repeat(array[:1], missing, axis=0)])


def _folder(backbone: NetworkBackbone) -> Path:
    """Where the artefact of a backbone lies. Its name hangs on all that decides the graph."""
    parts = [spec.fingerprint for spec in backbone.specs]
    parts += [str(_VERSION), *_versions()]
    return cache_root() / "engines" / "openvino" / of_text("\n".join(parts)).hex()


@functools.cache
def _versions() -> tuple[str, ...]:
    """Those of the libraries that decide a graph, as far as they are installed."""
    found = []
    for name in ("openvino", "torch", "timm", "transformers"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{name} {metadata.version(name)}")
    return tuple(found)


def _shapes(backbone: NetworkBackbone, names: tuple[str, ...], batch: int) -> dict[int, list[int]]:
    """Fixed shapes of the inputs, at which EfficientNet-Lite0 in bfloat16 is 8 % faster than at open ones (float32: 1 %)."""
    view = backbone.preparation.probes(1, _SEED).values[0]
    shapes = {"values": [batch, *view.shape], "lengths": [batch]}
    return {place: shapes[name] for place, name in enumerate(names)}


def _full_batch(backbone: Backbone) -> int:
    """Samples that fill a batch of the preparation's budget."""
    view = backbone.preparation.probes(1, _SEED).values[0]
    return max(1, int(1.0 / backbone.preparation.cost(view) + 1e-9))


def _convert(backbone: NetworkBackbone, folder: Path) -> None:
    """Trace the network with a batch of its own probes and write the graph.

    OpenVINO's front end is called directly: its `convert_model` would report its use over the network.
    """
    ov = _library()
    import torch
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    class Body(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.readout = backbone.module

        def forward(self, values: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return self.readout.body(values, lengths)

    probes = backbone.preparation.probes(3, _SEED)
    values, lengths = as_tensor(probes.values), as_tensor(probes.lengths)
    with warnings.catch_warnings(record=True) as said, torch.no_grad():
        warnings.simplefilter("always")
        front = backbone.module.front(values, lengths)
        decoder = TorchScriptPythonDecoder(Body().eval(), example_input=(front, lengths))
        frontend: Any = FrontEndManager().load_by_framework("pytorch")
        model: Any = frontend.convert(frontend.load(decoder))
    frozen = [str(each.message) for each in said if _FROZEN.search(str(each.message))]
    if frozen and backbone.preparation.modality != "image":
        raise BackboneError(
            "the network takes a number out of its input, which tracing would make a constant of every batch"
        )
    names = [_name(each, front) for each in model.inputs]
    with whole_directory(folder) as making:
        ov.save_model(model, making / "model.xml", compress_to_fp16=False)
        files = {name: sha256_file(making / name) for name in _FILES}
        (making / "graph.json").write_text(json.dumps({"inputs": names, "files": files}), encoding="utf-8")


def _intact(folder: Path) -> tuple[str, ...] | None:
    """The names of the graph's inputs, None where the artefact is not there or is not what was written."""
    try:
        known = json.loads((folder / "graph.json").read_text(encoding="utf-8"))
        whole = all(sha256_file(folder / name) == known["files"][name] for name in _FILES)
        return tuple(known["inputs"]) if whole else None
    except (OSError, ValueError, KeyError):
        return None


def _name(given: Any, front: Any) -> str:
    """Which of our two inputs one of the graph's is, by its rank."""
    return "lengths" if given.partial_shape.rank.get_length() == 1 and front.dim() != 1 else "values"


def _library() -> Any:
    """OpenVINO, imported without its telemetry, which would report the import over the network."""
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    name = "openvino_telemetry"
    hidden = name not in sys.modules
    if hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # to import it now is an ImportError, and a stub takes its place
    try:
        return importlib.import_module("openvino")
    finally:
        if hidden:
            del sys.modules[name]


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
