"""Where and how narrow the loop runs: the device, the layout of convolutions, and which attention."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import nn

from headstart.backbones.precision import device
from headstart.tuning.classifier import Trainable


def open_accelerator(*, narrow: bool) -> Any:
    """Of accelerate, for this machine's device.

    Args:
        narrow: train in bfloat16 where the device has the units.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    here = device()
    # The first precision of a process would be that of every later tuning in it.
    AcceleratorState._reset_state()  # noqa: SLF001
    mixed = "bf16" if narrow and "bfloat16" in here.units else "no"
    return Accelerator(mixed_precision=mixed, cpu=here.kind == "cpu")


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


def memory(kind: str) -> int:
    """Bytes that this process holds: on the device where that has its own, else in all."""
    if kind == "cuda":
        return int(torch.cuda.memory_allocated())
    import psutil  # accelerate brings it

    return int(psutil.Process().memory_info().rss)
