"""Checkpoints: tensors and JSON, written aside and renamed, so that a kill at any moment leaves the last one whole."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from headstart.core import digests
from headstart.core.errors import CacheError
from headstart.core.files import write_whole

_POINTER = "checkpoint.json"


@dataclass(frozen=True)
class Checkpoint:
    """Where a training stood.

    Attributes:
        tensors: weights, their moving average and the optimiser's moments, by name.
        facts: what is no tensor: the step, the curve, restarts.
    """

    tensors: Mapping[str, torch.Tensor]
    facts: Mapping[str, Any]


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the one before it goes once this one is whole.

    Raises:
        CacheError: it cannot be written, as on a full disk; the one before it still stands.
    """
    before = _pointer(folder)
    name = f"step-{int(checkpoint.facts['step']):08}.safetensors"
    content = save_tensors({key: each.detach().cpu().contiguous() for key, each in checkpoint.tensors.items()})
    told = {"file": name, "digest": digests.of_bytes(content).hex(), "facts": dict(checkpoint.facts)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / name, content)
        write_whole(folder / _POINTER, json.dumps(told).encode())
        if before is not None and before["file"] != name:
            (folder / before["file"]).unlink(missing_ok=True)
    except OSError as error:
        raise CacheError(
            f"the checkpoint cannot be written to {folder} ({error.strerror or error}): make room and type the same command again;"
            " it goes on from the last one"
        ) from error


def load(folder: Path) -> Checkpoint | None:
    """The last checkpoint of a folder; None where there is none that is whole."""
    pointer = _pointer(folder)
    if pointer is None:
        return None
    try:
        content = (folder / pointer["file"]).read_bytes()
        if digests.of_bytes(content).hex() != pointer["digest"]:
            return None
        return Checkpoint(load_tensors(content), pointer["facts"])
    except (OSError, SafetensorError):
        return None


def _pointer(folder: Path) -> dict[str, Any] | None:
    try:
        told = json.loads((folder / _POINTER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = (
        isinstance(told, dict)
        and set(told) == {"file", "digest", "facts"}
        and Path(str(told["file"])).name == told["file"]
    )
    return told if whole else None
