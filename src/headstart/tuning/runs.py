"""What a tuning has settled, in its folder: the one place where time becomes a number of steps."""

import contextlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from headstart.core.errors import CacheError, UsageError
from headstart.core.files import is_part_of, write_whole
from headstart.tuning import checkpoint
from headstart.tuning.checkpoint import Checkpoint
from headstart.tuning.classifier import State
from headstart.tuning.loop import Trained

_FILE = "run.json"
TEACHER = "teacher.safetensors"
"""What a teacher gave, beside the run."""

_LEGS = ("long", "try-*")


@dataclass(frozen=True)
class Run:
    """A tuning, settled. From here on it is a function of this and of no clock.

    Attributes:
        identity: of the model, the data and the options: what else would be another run.
        steps: of the long training.
        tries: steps of each of the short ones that choose the rate; 0: none.
        batch: samples of a step.
        strategy: the recipe.
        flip: whether pictures are mirrored.
        seconds_per_step: as measured; it decides nothing any more.
        kept: whether what the frozen blocks give was computed once, which sums in another order than a whole pass does.
    """

    identity: str
    steps: int
    tries: int
    batch: int
    strategy: str
    flip: bool
    seconds_per_step: float
    kept: bool = False


@dataclass(frozen=True)
class Place:
    """Where a run is kept.

    Attributes:
        folder: of its own.
        identity: of the run.
    """

    folder: Path
    identity: str


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds something else than a run.

    Raises:
        UsageError: it is not empty, and no run's.
    """
    if folder.is_file() or (
        folder.is_dir()
        and not all(_half_written(each) for each in folder.iterdir())
        and not any((folder / name).exists() for name in (_FILE, TEACHER))
    ):
        raise UsageError(f"{folder} holds something else than a tuning's run: name an empty folder, or none")


def _half_written(path: Path) -> bool:
    """Whether a kill left it while one of a run's own files was written."""
    return is_part_of(path, (_FILE, TEACHER))


def clear(folder: Path) -> None:
    """Remove a run that has ended: what it wrote, and the folder where nothing else is in it."""
    for name in (_FILE, TEACHER):
        (folder / name).unlink(missing_ok=True)
    for each in filter(_half_written, list(folder.glob("*"))):
        each.unlink(missing_ok=True)
    for pattern in _LEGS:
        for leg in folder.glob(pattern):
            shutil.rmtree(leg, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def opened(place: Place) -> Run | None:
    """The run that a folder holds; None where it holds none.

    Raises:
        UsageError: it holds another one.
    """
    folder, identity = place.folder, place.identity
    try:
        run = Run(**json.loads((folder / _FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    if run.identity != identity:
        raise UsageError(
            f"{folder} holds the tuning of another model, other data or other options: finish that one, or remove the folder"
        )
    return run


def settle(folder: Path, run: Run) -> None:
    """Write it down.

    Raises:
        CacheError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / _FILE, json.dumps(asdict(run), indent=1).encode())
    except OSError as error:
        raise CacheError(f"the run cannot be written to {folder}: {error.strerror or error}") from error


def finish(folder: Path, trained: Trained, *, steps: int) -> None:
    """Keep what a leg ended with in place of its checkpoints.

    Raises:
        CacheError: it cannot be written.
    """
    tensors = _named("raw", trained.raw) | ({} if trained.average is None else _named("average", trained.average))
    facts = {"step": steps + 1, "done": True, "curve": trained.curve, "notes": trained.notes}
    checkpoint.save(folder, Checkpoint(tensors, facts))


def finished(folder: Path) -> Trained | None:
    """What a leg ended with; None where it has not."""
    found = checkpoint.load(folder)
    if found is None or not found.facts.get("done"):
        return None
    average = _state("average", found.tensors) if "average/head/weight" in found.tensors else None
    curve = tuple((int(step), float(loss), float(rate)) for step, loss, rate in found.facts["curve"])
    return Trained(_state("raw", found.tensors), average, curve, tuple(found.facts["notes"]))


def _named(which: str, state: State) -> dict[str, torch.Tensor]:
    head = {f"{which}/head/weight": state.weight, f"{which}/head/bias": state.bias}
    return {f"{which}/net/{name}": each for name, each in state.net.items()} | head


def _state(which: str, tensors: Mapping[str, torch.Tensor]) -> State:
    inside = f"{which}/net/"
    net = {name.removeprefix(inside): each for name, each in tensors.items() if name.startswith(inside)}
    return State(net, tensors[f"{which}/head/weight"], tensors[f"{which}/head/bias"])
