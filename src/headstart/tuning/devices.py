"""Where and how narrow the loop runs: the device, the layout of convolutions, and which attention."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import nn

from headstart.backbones.backbone import Backbone
from headstart.backbones.precision import device
from headstart.core.errors import CacheError
from headstart.features.engines import ENGINES
from headstart.tuning.classifier import Trainable


def open_accelerator(*, narrow: bool) -> Any:
    """Of accelerate, for this machine's device.

    Args:
        narrow: train in bfloat16 where the device has the units.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState

    here = device()
    # The first precision of a process would be that of every later tuning in it.
    AcceleratorState._reset_state()  # noqa: SLF001
    mixed = "bf16" if narrow and "bfloat16" in here.units else "no"
    # Of several processes: a pooler or a block above the layer that is read gets no gradient.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(mixed_precision=mixed, cpu=here.kind == "cpu", kwargs_handlers=[unused])


def at_once(backbone: Backbone) -> str:
    """An engine that needs no conversion, for weights that are looked at once; always the same one, so that what hangs on it is too."""
    wanted = "cuda" if device().kind == "cuda" else "channels_last"
    return "eager" if ENGINES.get(wanted).refusal(backbone) else wanted


def to_layout(trainable: Trainable, accelerator: Any) -> None:
    """Convolutions run with their channels innermost, and on a CPU those in groups in float32."""
    trainable.classifier.to(accelerator.device)
    if accelerator.device.type == "cpu" and accelerator.mixed_precision != "no":
        widen_grouped(trainable.classifier)
    if any(each.dim() == 4 for each in trainable.classifier.parameters()):
        trainable.classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def widen_grouped(module: nn.Module) -> None:
    """Run convolutions in groups, such as depthwise ones, in float32 whatever the rest runs in.

    On a CPU their gradients take several times as long in bfloat16: 0.84 s a step of EfficientNet-Lite0 on 32 pictures of 128 pixels
    and two cores, and 0.40 s so.
    """
    for each in module.modules():
        if isinstance(each, nn.Conv2d) and each.groups > 1:
            each.forward = MethodType(_in_float32, each)  # type: ignore[method-assign]


def _in_float32(self: nn.Conv2d, values: torch.Tensor) -> torch.Tensor:
    with torch.autocast(values.device.type, enabled=False):
        found: torch.Tensor = type(self).forward(self, values.float())  # that of its class, which may pad
        return found


@contextmanager
def attention_for(kind: str) -> Iterator[None]:
    """On a CPU the plain way: there the other one takes twice the time for its gradients."""
    if kind != "cpu":
        yield
        return
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(SDPBackend.MATH):
        yield


@contextmanager
def without_denormals(kind: str) -> Iterator[None]:
    """On a CPU numbers below 1e-38 count as 0 meanwhile.

    The moments of a word that has not come for some hundred steps get there, and a step of AdamW over them takes twenty times as long.
    """
    flushes = kind == "cpu" and torch.set_flush_denormal(True)
    try:
        yield
    finally:
        if flushes:
            torch.set_flush_denormal(False)


def memory(kind: str) -> int:
    """Bytes that this process holds: on the device where that has its own, else in all."""
    if kind == "cuda":
        return int(torch.cuda.memory_allocated())
    import psutil  # accelerate brings it

    return int(psutil.Process().memory_info().rss)


def shared(batch: Int[np.ndarray, "b"], accelerator: Any) -> Int[np.ndarray, "c"]:
    """This process's share of a batch: as many for each, some samples twice where they cannot be divided."""
    processes = accelerator.num_processes
    return np.resize(batch, -(-len(batch) // processes) * processes)[accelerator.process_index :: processes]


def agreed(values: tuple[float, ...], accelerator: Any) -> tuple[float, ...]:
    """The means over all processes, so that all of them decide alike."""
    if accelerator.num_processes == 1:
        return values
    whole = accelerator.reduce(torch.tensor(values, device=accelerator.device, dtype=torch.float64), reduction="mean")
    return tuple(whole.tolist())


def check_together(step: int, accelerator: Any) -> None:
    """Refuse to go on where the processes begin at different steps, as on machines that do not share the run's folder.

    Raises:
        CacheError: they do; every one of them raises it.
    """
    mean, square = agreed((float(step), float(step) ** 2), accelerator)
    if square - mean**2 > 0.25 / accelerator.num_processes:
        raise CacheError("the processes do not see the same checkpoint: name a run's folder that all machines share")


def wait_and_lead() -> bool:
    """Wait for the other processes of `accelerate launch`, and say whether this one writes what all have made; true without others."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return True
    from accelerate import PartialState

    state = PartialState()
    state.wait_for_everyone()
    return bool(state.is_main_process)
