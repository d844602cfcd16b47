"""Runs the network on an NVIDIA GPU: copies overlap with computing, and batches of one shape replay a recorded graph."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from headstart.backbones.backbone import Backbone
from headstart.backbones.network import NetworkBackbone, as_tensor
from headstart.backbones.precision import arithmetic, device
from headstart.data.preparation import Batch
from headstart.features.engine import Engine
from headstart.features.sessions import Sessions

if TYPE_CHECKING:
    import torch

# Batches on the device at once: one computes, one is copied in, one is copied out.
_AHEAD = 3
# Batches of one shape after which it is worth recording their kernels; the recording itself runs three of them.
_RECORDED_FROM = 8


class Cuda(Engine):
    """Pinned, asynchronous copies; pixels travel as bytes and are normalised there; the spec's precision under autocast.

    Batches of images are of one shape, so from the eighth on their kernels are replayed as one CUDA graph; texts and recordings, whose
    shapes change, are launched kernel by kernel.
    """

    scale = 32.0

    def __init__(self) -> None:
        self._sessions: Sessions[_Session] = Sessions()

    def refusal(self, backbone: Backbone) -> str:
        """It runs networks of torch where there is CUDA."""
        if not isinstance(backbone, NetworkBackbone) or device().kind != "cuda":
            return "it runs networks of torch on an NVIDIA GPU"
        return ""

    def gain(self, backbone: Backbone) -> float:  # noqa: ARG002  (a guess that puts it before eager)
        """It does what eager does, with copies and launches hidden."""
        return 1.2

    def forget(self, backbone: Backbone) -> None:
        """Drop the network on the device and its graphs, which hold memory of their own."""
        assert isinstance(backbone, NetworkBackbone)
        self._sessions.drop(backbone)

    def run(self, backbone: Backbone, batches: Iterable[Batch]) -> Iterator[tuple[Float[np.ndarray, "n d"], ...]]:
        """Rows of each batch in order; three batches are taken ahead."""
        assert isinstance(backbone, NetworkBackbone)
        session = self._sessions.of(backbone, lambda: _Session.start(backbone))
        busy: deque[tuple[Any, tuple[torch.Tensor, ...]]] = deque()
        for batch in batches:
            busy.append(session.begin(batch))
            if len(busy) >= _AHEAD:
                yield _arrived(*busy.popleft())
        while busy:
            yield _arrived(*busy.popleft())


PLUGIN = Cuda()


def _stream() -> Any:
    import torch

    return torch.cuda.Stream()  # type: ignore[no-untyped-call]


def _arrived(event: Any, rows: "tuple[torch.Tensor, ...]") -> tuple[np.ndarray, ...]:
    event.synchronize()
    return tuple(row.numpy().copy() for row in rows)


@dataclass
class _Session:
    """A network on the device, with a stream for copies in, one for computing, and its recorded graphs.

    Attributes:
        backbone: on the device.
        copies: the stream of copies in.
        computing: the stream of kernels and of copies out.
        seen: how many batches of each shape came.
        graphs: by shape, the recorded graph with its inputs and outputs; None where it could not be recorded.
    """

    backbone: NetworkBackbone
    copies: Any
    computing: Any
    seen: dict[tuple[int, ...], int] = field(default_factory=dict)
    graphs: dict[tuple[int, ...], tuple[Any, Any, Any, Any] | None] = field(default_factory=dict)

    @classmethod
    def start(cls, backbone: NetworkBackbone) -> "_Session":
        """Put the network on the device, images with their channels innermost."""
        import torch

        placed = backbone.placed("cuda", channels_last=backbone.preparation.modality == "image")
        torch.cuda.synchronize()  # the copies ran on another stream
        return cls(placed, _stream(), _stream())

    def begin(self, batch: Batch) -> "tuple[Any, tuple[torch.Tensor, ...]]":
        """Send a batch in, compute, and send its rows out; an event that says when they have arrived, and where they will be."""
        import torch

        with torch.cuda.stream(self.copies):
            values, lengths = (
                as_tensor(array).pin_memory().to("cuda", non_blocking=True) for array in (batch.values, batch.lengths)
            )
        self.computing.wait_stream(self.copies)
        with torch.cuda.stream(self.computing), torch.inference_mode():
            for tensor in (values, lengths):
                tensor.record_stream(self.computing)
            rows = self._rows(values, lengths)
            out = tuple(
                torch.empty(row.shape, dtype=torch.float32, pin_memory=True).copy_(row.float(), non_blocking=True)
                for row in rows
            )
            event: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(self.computing)
        return event, out

    def _rows(self, values: "torch.Tensor", lengths: "torch.Tensor") -> "tuple[torch.Tensor, ...]":
        shape = tuple(values.shape)
        self.seen[shape] = self.seen.get(shape, 0) + 1
        if not self.backbone.module.feed.fixed or self.seen[shape] < _RECORDED_FROM:
            return self._run(values, lengths)
        if shape not in self.graphs:
            self.graphs[shape] = self._tried(values, lengths)
        found = self.graphs[shape]
        if found is None:
            return self._run(values, lengths)
        graph, its_values, its_lengths, rows = found
        its_values.copy_(values, non_blocking=True)
        its_lengths.copy_(lengths, non_blocking=True)
        graph.replay()
        return tuple(row.clone() for row in rows)

    def _run(self, values: "torch.Tensor", lengths: "torch.Tensor") -> "tuple[torch.Tensor, ...]":
        with arithmetic(self.backbone.specs[0].precision, "cuda"):
            rows: tuple[torch.Tensor, ...] = self.backbone.module(values, lengths)
            return rows

    def _tried(self, values: "torch.Tensor", lengths: "torch.Tensor") -> tuple[Any, Any, Any, Any] | None:
        """A recorded graph that gives the rows of its kernels launched one by one; None where there is none."""
        import torch

        try:
            made = self._recorded(values, lengths)
            made[0].replay()
            torch.cuda.synchronize()
            same = all(
                torch.allclose(ours.float(), theirs.float(), rtol=1e-2, atol=1e-3)
                for ours, theirs in zip(made[3], self._run(values, lengths), strict=True)
            )
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            return None
        return made if same else None

    def _recorded(self, values: "torch.Tensor", lengths: "torch.Tensor") -> tuple[Any, Any, Any, Any]:
        """Record the kernels of a batch of this shape, after the warm-up that recording asks for."""
        import torch

        its_values, its_lengths = values.clone(), lengths.clone()
        for _ in range(3):
            self._run(its_values, its_lengths)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.computing):
            rows = self._run(its_values, its_lengths)
        return graph, its_values, its_lengths, rows
