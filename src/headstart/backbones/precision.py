"""Precision: the arithmetic that a network runs in, and what the device at hand has units for.

A backbone's precision is part of its identity. It is settled here, before any data is seen: what a person asks for, else what the
backbone's own file declares for the kind of device, else float32.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from headstart.core.errors import UsageError, suggest
from headstart.core.processor import units

if TYPE_CHECKING:
    import torch

FLOAT32, BFLOAT16, FLOAT16 = "float32", "bfloat16", "float16"
PRECISIONS = (FLOAT32, BFLOAT16, FLOAT16)
# Flags of processors that multiply bfloat16 numbers in hardware, as Linux names them: x86, then ARM.
_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


@dataclass(frozen=True)
class Device:
    """What networks run on here.

    Attributes:
        kind: `cpu`, `cuda` or `mps`.
        units: the precisions that it has hardware for.
    """

    kind: str
    units: frozenset[str]


@cache
def device() -> Device:
    """The device of this process: CUDA where torch finds one, else Apple's GPU, else the CPU."""
    import torch

    if torch.cuda.is_available():
        narrow = {FLOAT16, BFLOAT16} if torch.cuda.is_bf16_supported(including_emulation=False) else {FLOAT16}
        return Device("cuda", frozenset({FLOAT32, *narrow}))
    if torch.backends.mps.is_available():
        return Device("mps", frozenset({FLOAT32, FLOAT16}))
    return Device("cpu", frozenset({FLOAT32, BFLOAT16} if _cpu_has_bfloat16() else {FLOAT32}))


def settle(asked: str, declared: Mapping[str, str]) -> str:
    """The precision that a backbone is opened with.

    Args:
        asked: what a person gave, or empty.
        declared: by kind of device, the narrower precision that the backbone's own file declares because it was measured to keep its
            rows; it counts only where the device has the units.

    Raises:
        UsageError: there is no such precision.
    """
    if asked:
        if asked not in PRECISIONS:
            known = suggest(asked, PRECISIONS) or f" It is one of {', '.join(PRECISIONS)}."
            raise UsageError(f"there is no precision {asked!r}.{known}")
        return asked
    found = declared.get(device().kind, FLOAT32) if declared else FLOAT32
    return found if found in device().units else FLOAT32


@contextlib.contextmanager
def arithmetic(precision: str, kind: str) -> Iterator[None]:
    """Run torch at a precision: float32 in full, or matrix products and convolutions narrower under autocast.

    Args:
        precision: one of `PRECISIONS`.
        kind: the type of the device that the tensors are on.
    """
    import torch

    if precision != FLOAT32:
        with torch.autocast(kind, dtype=getattr(torch, precision)):
            yield
        return
    with _full(kind):
        yield


def cast_weights(module: "torch.nn.Module", precision: str) -> None:
    """Cast the weights of linear layers and convolutions, so that autocast need not at every call.

    Autocast keeps what it cast only of weights that are trained: a frozen network casts all of them for every batch, which was 19 of the
    30 ms that MiniLM took for one sentence. The layers multiply the same numbers either way. A subclass may do other things with its
    weights (standardise them, in timm's normalisation-free networks), so that it is left alone.

    Args:
        module: a frozen network of one's own.
        precision: what it is run at; nothing is done at float32.
    """
    import torch
    from torch import nn

    if precision == FLOAT32:
        return
    for layer in module.modules():
        if type(layer) in {nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d}:
            for name, given in layer.named_parameters(recurse=False):
                setattr(layer, name, nn.Parameter(given.detach().to(getattr(torch, precision)), requires_grad=False))


@contextlib.contextmanager
def _full(kind: str) -> Iterator[None]:
    """No TF32 in matrix products and convolutions on CUDA, whose 10 bits of mantissa are not the float32 that a spec promises."""
    import torch

    if kind != "cuda":
        yield
        return
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    switches: list[tuple[Any, str, object]] = [(cuda.matmul, "allow_tf32", False), (cudnn, "allow_tf32", False)]
    if hasattr(cudnn, "conv"):  # torch from 2.9 on, which refuses a mixture of its old and new switches
        switches = [(each, "fp32_precision", "ieee") for each in (cuda.matmul, cudnn.conv, cudnn.rnn)]
    kept = [getattr(owner, name) for owner, name, _ in switches]
    try:
        for owner, name, value in switches:
            setattr(owner, name, value)
        yield
    finally:
        for (owner, name, _), value in zip(switches, kept, strict=True):
            setattr(owner, name, value)


def _cpu_has_bfloat16() -> bool:
    """Whether the processor has bfloat16 units: asked of torch where it tells, else of Linux."""
    import torch

    ask = getattr(torch.cpu, "get_capabilities", None)  # torch from 2.11 on
    if ask is not None:
        found: Mapping[str, object] = ask()
        return any(bool(found.get(flag)) for flag in _BFLOAT16_FLAGS)
    return not _BFLOAT16_FLAGS.isdisjoint(units())
