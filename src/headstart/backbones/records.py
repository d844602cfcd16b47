"""What this machine remembers of pretrained models: `<cache>/models/NAME.json`, one file a model, written when it was first used."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from filelock import FileLock

from headstart.backbones.backbone import Speed
from headstart.core import digests
from headstart.core.files import cache_root, write_whole

# Characters of a name that show in its file's name.
_SHOWN = 120


@dataclass(frozen=True)
class Record:
    """One model as it was on this machine.

    Attributes:
        backbone: `SOURCE:NAME`.
        parameters: of what was run; None where the backbone is no torch module.
        width: of a row at the default layer and pooling; None until it was opened so.
        input: what one view of a sample is, at the default preparation; empty until it was opened so.
        digest: the SHA-256 of the weights; empty where their file was not found.
        tensors: the digest of the tensors in the network, by the digest of the architecture that they were put into.
        speeds: the fastest extraction, by machine.
    """

    backbone: str
    parameters: int | None = None
    width: int | None = None
    input: str = ""
    digest: str = ""
    tensors: Mapping[str, str] = field(default_factory=dict)
    speeds: Mapping[str, Speed] = field(default_factory=dict)


def folder() -> Path:
    """Where records lie."""
    return cache_root() / "models"


def read(backbone: str) -> Record | None:
    """The record of `SOURCE:NAME`; None where there is none that this version can read."""
    try:
        value = json.loads(_path(backbone).read_text(encoding="utf-8"))
        speeds = {machine: Speed(**speed) for machine, speed in value.pop("speeds").items()}
        # A later version may know more of a model; the digest that holds its weights counts all the same.
        known = {name: each for name, each in value.items() if name in Record.__dataclass_fields__}
        found = Record(**{**known, "tensors": dict(known["tensors"]), "speeds": speeds})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if found.backbone == backbone else None


def update(backbone: str, change: Callable[[Record | None], Record | None]) -> None:
    """Write what `change` makes of the record, None for nothing; other processes wait.

    Raises:
        OSError: the cache cannot be written.
    """
    with locked():
        old = read(backbone)
        new = change(old)
        if new is not None and new != old:
            write_json(_path(backbone), dataclasses.asdict(new))


def forget(backbone: str) -> bool:
    """Remove a record.

    Returns:
        Whether there was one.

    Raises:
        OSError: the cache cannot be written.
    """
    path = _path(backbone)
    if not path.is_file():
        return False
    with locked():
        path.unlink(missing_ok=True)
    return True


@contextmanager
def locked() -> Iterator[None]:
    """Nobody else writes records meanwhile."""
    folder().mkdir(parents=True, exist_ok=True)
    with FileLock(folder() / ".lock"):
        yield


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """A JSON file that is either whole or not there."""
    write_whole(path, json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True).encode())


def _path(backbone: str) -> Path:
    # The digest keeps names apart that are cut, or that a file system takes for one as it knows no case.
    return folder() / f"{quote(backbone, safe='')[:_SHOWN]}-{digests.of_text(backbone).hex()[:12]}.json"
