"""Runs the network on a CPU through OpenVINO, several batches at once on one thread each; the compiled form is kept on disk."""

import contextlib
import importlib.util
import os
import shutil
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

import numpy as np
from jaxtyping import Float

from headstart.backbones.backbone import Backbone
from headstart.backbones.exported import ExportedBackbone
from headstart.backbones.network import NetworkBackbone
from headstart.backbones.precision import device
from headstart.backbones.runtimes import HINTS, openvino_library
from headstart.core.errors import ExtraMissing
from headstart.core.threads import Threads
from headstart.data.preparation import Batch
from headstart.features.engine import Engine
from headstart.features.openvino_graphs import Graph, Runnable, folder_of, full_batch, graph_of
from headstart.features.sessions import Sessions

# Batches computed at once, on one thread each: no barrier between threads, so that decoding beside them holds up no other.
_MOST_STREAMS = 16
# Seconds to trace, convert and compile a network from nothing, and for each 100 MB of its weights; and to open what lies on disk.
_FROM_NOTHING, _EACH_100_MB, _FROM_DISK = 1.5, 1.0, 0.5
# Any number of samples, each of one shape.
_ANY = -1
# Batches that came alone before another session is compiled for them: it takes half a second and more, and saves 5 to 20 ms each time.
_OFTEN = 8


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
        self._begun: Sessions[Future[Session]] = Sessions()

    def refusal(self, backbone: Backbone) -> str:
        """It runs networks of torch on a CPU, in float32 anywhere and in bfloat16 where the processor has the units, and its own exports."""
        if isinstance(
            backbone, ExportedBackbone
        ):  # whose runtime is installed, as it was opened; no torch is needed to tell
            return "" if backbone.graph.runtime == "openvino" else "it runs networks of torch, and its own exports"
        if not isinstance(backbone, NetworkBackbone) or device().kind != "cpu":
            return "it runs networks of torch on a CPU"
        if backbone.architecture.source == "keras":
            return "its converter does not know what Keras makes of a network on torch"
        if backbone.specs[0].precision not in HINTS.keys() & device().units:
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
        assert isinstance(backbone, Runnable)
        if self._many.ready(backbone) or self._alone.ready(backbone):
            return 0.0
        if isinstance(backbone, ExportedBackbone) or (folder_of(backbone) / "graph.json").exists():
            return _FROM_DISK
        weights = sum(tensor.numel() * tensor.element_size() for tensor in backbone.module.parameters())
        return _FROM_NOTHING + _EACH_100_MB * weights / 1e8

    def forms(self, backbone: Backbone) -> int:
        """Sessions that are ready."""
        assert isinstance(backbone, Runnable)
        return self._many.ready(backbone) + self._alone.ready(backbone)

    def expect(self, backbone: Backbone) -> None:
        """Compile what many batches run on in a thread of its own, while a first one is run alone: a compiler has use for one core."""
        assert isinstance(backbone, Runnable)
        if self._many.ready(backbone) or self._begun.ready(backbone):
            return
        try:
            graph = graph_of(backbone)  # made once, before two want it
        except Exception:  # noqa: BLE001  (whoever runs the network meets it again, and knows what to do)
            return
        beside = Threads(1, name="headstart compiles")
        begun = beside.submit(lambda: self._of_many(backbone, graph))
        beside.stop(seconds=0.0)
        self._begun.of(backbone, lambda: begun)

    def forget(self, backbone: Backbone) -> None:
        """Drop the session and the artefact. The next session has no fixed shapes: a smaller batch takes less memory there."""
        assert isinstance(backbone, Runnable)
        for sessions in (self._many, self._alone, self._begun):
            sessions.drop(backbone)
        self._any_size.of(backbone, bool)
        if isinstance(backbone, NetworkBackbone):
            shutil.rmtree(folder_of(backbone), ignore_errors=True)

    def run(self, backbone: Backbone, batches: Iterable[Batch]) -> Iterator[tuple[Float[np.ndarray, "n d"], ...]]:
        """Rows of each batch in order; twice as many batches as streams are taken ahead."""
        assert isinstance(backbone, Runnable)
        given = iter(batches)
        first = list(islice(given, 2))
        if first:
            yield from self._session(backbone, alone=len(first) == 1).run(backbone, chain(first, given))

    def _session(self, backbone: Runnable, *, alone: bool) -> "Session":
        """What to run on: many batches beside each other, or one batch alone with all cores, and as small as it comes.

        Among many, a batch has one core, and a part-filled one of pictures is filled up: one photo takes as long as four, and a sentence
        10 ms where it takes 5. The second session is compiled for what comes again and again, as one batch is also the end of other runs.
        """
        if alone and (self._alone.ready(backbone) or not self._many.ready(backbone) or self._often(backbone)):
            return self._alone.of(
                backbone, lambda: Session.start(backbone, batch=_ANY if self._fixed(backbone) else 0, streams=1)
            )
        return self._many.of(backbone, lambda: self._expected(backbone) or self._of_many(backbone))

    def _expected(self, backbone: Runnable) -> "Session | None":
        """What was begun before it was needed."""
        if not self._begun.ready(backbone):
            return None
        begun = self._begun.of(backbone, Future)
        self._begun.drop(backbone)
        return begun.result()

    def _of_many(self, backbone: Runnable, graph: Graph | None = None) -> "Session":
        room = self._room.of(backbone, lambda: full_batch(backbone)) if self._fixed(backbone) else 0
        return Session.start(backbone, graph, batch=room)

    def _fixed(self, backbone: Runnable) -> bool:
        """Whether all samples are one shape, and no memory ran out with room for all of a batch."""
        return backbone.preparation.modality == "image" and not self._any_size.ready(backbone)

    def _often(self, backbone: Runnable) -> bool:
        """Whether a batch came alone as often as compiling once more is worth."""
        count = self._came.of(backbone, lambda: [0])
        count[0] += 1
        return count[0] > _OFTEN


PLUGIN = OpenVino()


@dataclass(frozen=True)
class Session:
    """A compiled network.

    Attributes:
        compiled: the network.
        ahead: batches that are under way at once.
        graph: what it was compiled from.
        batch: rows that its values have room for; 0 where any number of any length may come, -1 where any number of one shape may.
    """

    compiled: Any
    ahead: int
    graph: Graph
    batch: int
    _requests: list[list[Any]] = field(default_factory=list)

    @classmethod
    def start(
        cls, backbone: Runnable, graph: Graph | None = None, *, batch: int = 0, streams: int | None = None
    ) -> "Session":
        """Read the graph and compile it for this processor.

        Args:
            backbone: the network.
            graph: of it; None: opened, or made where it is not there yet.
            batch: samples that a batch has room for; -1 for any number, 0 for any number of any length.
            streams: batches that are computed at once, which share the cores; None: one for each core.
        """
        graph = graph or graph_of(backbone)
        core: Any = openvino_library().Core()
        cores = max(1, min(_MOST_STREAMS, _cores()))
        streams = streams or cores
        compiled = core.compile_model(
            graph.read(backbone, core=core, batch=batch),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": HINTS[backbone.specs[0].precision],
                "NUM_STREAMS": str(streams),
                "INFERENCE_NUM_THREADS": cores,
                "ENABLE_CPU_PINNING": False,
            },
        )
        return cls(compiled, 2 * streams, graph, batch)

    def run(self, backbone: Runnable, batches: Iterable[Batch]) -> Generator[tuple[np.ndarray, ...], None, None]:
        """Rows of each batch in order; none may be larger than the session has room for."""
        requests = self._borrowed()
        free = list(requests)
        busy: deque[tuple[Any, int]] = deque()
        try:
            for batch in batches:
                if not free:
                    request, n = busy.popleft()
                    yield self._rows(request, n)
                    free.append(request)
                request = free.pop()
                request.start_async(self.inputs(backbone, batch), share_inputs=True)
                busy.append((request, len(batch)))
            while busy:
                yield self._rows(*busy.popleft())
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

    def inputs(self, backbone: Runnable, batch: Batch) -> dict[Any, np.ndarray]:
        """A batch as the network's inputs."""
        return self.graph.inputs(backbone, batch, room=self.batch)

    def _rows(self, request: Any, n: int) -> tuple[np.ndarray, ...]:
        request.wait()
        return self.graph.rows(request, n)


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
