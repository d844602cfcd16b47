"""What the frozen blocks below the lowest trained one give, computed once for every view and mapped from disk.

It pays where a strategy leaves the lower blocks as they are and the views stay as they are: texts, and the seeded looks of a distillation.
With fresh augmentation every step sees new views, and with all blocks trained there is nothing below.
"""

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import nn

from headstart.backbones.readout import block_paths
from headstart.core.progress import Progress, silent
from headstart.tuning.classifier import Classifier, Trainable
from headstart.tuning.devices import attention_for
from headstart.tuning.strategies.strategy import depths
from headstart.tuning.views import Views

STAGE = "frozen blocks"
_AT_ONCE = 64
# Of the room on the disk, what may be filled.
_ROOM = 0.25
# In units of the largest score: what rounding in bfloat16 may change when a batch is padded otherwise.
_ALIKE = 0.05


@dataclass
class Kept:
    """The outputs of one block for every view.

    Attributes:
        below: paths of the blocks before it, which give what they get.
        block: its path.
        values: all of them, flat, as raw two- or four-byte numbers.
        shapes: of each view's.
        begins: where each begins.
        dtype: what the numbers are.
        now: those of the batch that is about to run.
    """

    below: tuple[str, ...]
    block: str
    values: np.ndarray
    shapes: tuple[tuple[int, ...], ...]
    begins: np.ndarray
    dtype: torch.dtype
    now: torch.Tensor | None = None

    def recall(self, views: np.ndarray, device: torch.device) -> None:
        """Make ready what a batch of views needs; sequences are padded with 0 to the longest, which masks hide."""
        shapes = [self.shapes[int(view)] for view in views]
        whole = (max(shape[0] for shape in shapes), *shapes[0][1:])
        found = torch.zeros((len(views), *whole), dtype=self.dtype)
        for row, (view, shape) in enumerate(zip(views, shapes, strict=True)):
            begin = int(self.begins[int(view)])
            flat = np.array(self.values[begin : begin + int(np.prod(shape))])
            found[row, : shape[0]] = torch.from_numpy(flat).view(self.dtype).reshape(shape)
        found = found.to(device)
        self.now = found.to(memory_format=torch.channels_last) if found.dim() == 4 else found

    def install(self, classifier: Classifier) -> None:
        """Let a classifier's blocks below recall instead of compute."""
        for path in self.below:
            module: Any = classifier.net.get_submodule(path)
            module.forward = MethodType(_given, module)
        kept = self

        def recalled(_module: nn.Module, *_given: Any, **_named: Any) -> torch.Tensor:
            assert kept.now is not None
            return kept.now

        last: Any = classifier.net.get_submodule(self.block)
        last.forward = MethodType(recalled, last)


def _given(_module: nn.Module, *given: Any, **named: Any) -> Any:
    return given[0] if given else next(iter(named.values()))


def keep(
    trainable: Trainable, views: Views, *, fixed: bool, accelerator: Any, progress: Progress = silent
) -> tuple[Kept | None, str]:
    """Compute what lies below the lowest trained block, where that pays.

    Args:
        trainable: at its start, on its device.
        views: of all samples.
        fixed: whether the views stay as they are.
        accelerator: of the training.
        progress: stage `frozen blocks`, in views.

    Returns:
        What was kept, or None, and a sentence that says why.
    """
    blocks = block_paths(trainable.classifier.net)
    deep = depths(trainable.classifier.net, blocks)
    lowest = min(deep[name] for name in trainable.shares)
    if lowest < 2:
        return None, "every step runs the whole network, as its first blocks are trained as well"
    if not fixed:
        return None, "every step runs the whole network, as it sees other views each time"
    below = blocks[: lowest - 2]
    read = {path for each in trainable.classifier.readout.reads for path in each.paths}
    if read & set(below):
        return None, "every step runs the whole network, as a block is read that would be left out"
    kept, reason = _filled(trainable, views, below, blocks[lowest - 2], accelerator=accelerator, progress=progress)
    if kept is None:
        return None, f"every step runs the whole network, as {reason}"
    many = f"the first {lowest - 1} of {len(blocks)} blocks"
    size = f"{kept.values.nbytes / 1e6:,.0f} MB"
    return (
        kept,
        f"what {many} give was computed once ({size}), as only what follows them is trained and the views stay as they are",
    )


def _filled(
    trainable: Trainable, views: Views, below: tuple[str, ...], block: str, *, accelerator: Any, progress: Progress
) -> tuple[Kept | None, str]:
    text = views.preparation.collate([views.view(0)]).values.ndim == 2 and views.values.dtype.kind in "iu"
    shapes: list[tuple[int, ...]] = [()] * len(views.shapes)
    begins = np.zeros(len(views.shapes), np.int64)
    end, dtype, done = 0, torch.float32, 0
    trainable.train_mode()
    with tempfile.TemporaryFile() as file, _caught(trainable.classifier, block) as caught:
        for numbers in _batches(views):
            found = _ran(trainable.classifier, views, numbers, caught, accelerator)
            if found is None:
                return None, "its blocks give something else than one tensor each"
            values, lengths = found
            dtype = values.dtype
            if not done and not _room(values, len(numbers), len(views.shapes)):
                return None, "what its frozen blocks give would fill more than a quarter of the disk"
            for row, number, length in zip(values, numbers, lengths, strict=True):
                own = row[:length] if text else row
                shapes[number], begins[number] = tuple(own.shape), end
                raw = _raw(own)
                file.write(raw.data)
                end += raw.size
            done += len(numbers)
            progress(STAGE, done, len(views.shapes))
        file.flush()
        mapped = np.memmap(file, dtype=np.int16 if dtype.itemsize == 2 else np.int32, mode="r")
    kept = Kept(below, block, mapped, tuple(shapes), begins, dtype)
    if not _alike(trainable.classifier, kept, views, accelerator):
        return None, "its last blocks need more than what the block before them gives"
    return kept, ""


def _raw(own: torch.Tensor) -> np.ndarray:
    return own.contiguous().view(torch.int16 if own.dtype.itemsize == 2 else torch.int32).numpy()


def _batches(views: Views) -> Iterator[np.ndarray]:
    """All views, those of one bucket and similar length together."""
    buckets: dict[Hashable, list[int]] = defaultdict(list)
    for number in range(len(views.shapes)):
        buckets[views.preparation.bucket(views.view(number))].append(number)
    for numbers in buckets.values():
        ordered = sorted(numbers, key=lambda number: views.shapes[number][0])
        for start in range(0, len(ordered), _AT_ONCE):
            yield np.array(ordered[start : start + _AT_ONCE])


@contextmanager
def _caught(classifier: Classifier, block: str) -> Iterator[list[Any]]:
    """What a block gives, at the end of a list."""
    found: list[Any] = []

    def take(_module: nn.Module, _given: Any, outcome: Any) -> None:
        found.append(outcome)

    handle = classifier.net.get_submodule(block).register_forward_hook(take)
    try:
        yield found
    finally:
        handle.remove()


def _ran(
    classifier: Classifier, views: Views, numbers: np.ndarray, caught: list[Any], accelerator: Any
) -> tuple[torch.Tensor, list[int]] | None:
    """What the block gave for a batch, on the CPU, with the length of each view; None where it is no tensor."""
    caught.clear()
    batch = _forward(classifier, views, numbers, accelerator)[1]
    found = caught[-1] if caught else None
    if not isinstance(found, torch.Tensor) or len(found) != len(numbers) or found.dim() < 2:
        return None
    if found.dtype.itemsize not in {2, 4}:
        return None
    return found.detach().cpu(), batch.lengths.tolist()


def _forward(classifier: Classifier, views: Views, numbers: np.ndarray, accelerator: Any) -> tuple[torch.Tensor, Any]:
    batch = views.batch(numbers)
    values, lengths = (
        torch.from_numpy(np.ascontiguousarray(each)).to(accelerator.device) for each in (batch.values, batch.lengths)
    )
    with torch.no_grad(), accelerator.autocast(), attention_for(accelerator.device.type):
        return classifier(values, lengths), batch


def _room(values: torch.Tensor, n: int, views: int) -> bool:
    needed = values.numel() * values.dtype.itemsize / n * views
    return needed < _ROOM * shutil.disk_usage(Path(tempfile.gettempdir())).free


def _alike(classifier: Classifier, kept: Kept, views: Views, accelerator: Any) -> bool:
    """Whether a batch scores the same with what was kept as without."""
    import copy

    numbers = next(_batches(views))[:16]
    whole = _forward(classifier, views, numbers, accelerator)[0]
    other = copy.deepcopy(classifier)
    kept.install(other)
    kept.recall(numbers, accelerator.device)
    try:
        short = _forward(other, views, numbers, accelerator)[0]
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError):
        return False
    return bool((whole - short).abs().max() <= _ALIKE * max(1.0, float(whole.abs().max())))
