"""`verify`: whether a model directory is what was saved, and answers here as it did there."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.model import probe
from headstart.model.loading import card_of, unopened, verified


@dataclass(frozen=True)
class Verification:
    """What was found whole.

    Attributes:
        path: the directory.
        format: of the directory.
        task: of the model.
        backbone: its title.
        by: `value`, `reference` or `graph`: where its network is.
        files: how many files have the digest that the manifest states.
        bytes: of all of them.
        drift: the largest relative difference of the probe's rows from those that the model was saved with; None for an export to torch, which
            headstart does not open.
        saved_with: versions of libraries there that are others here, as `name there, here`.
        seconds: that it took.
    """

    path: Path
    format: int
    task: str
    backbone: str
    by: str
    files: int
    bytes: int
    drift: float | None
    saved_with: tuple[str, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The object that `headstart verify --json` prints (docs/json.md)."""
        return {**vars(self), "path": str(self.path), "saved_with": list(self.saved_with)}


def verify(path: str | Path, *, module: Any = None) -> Verification:
    """Take every step of loading, the probe too: what comes back is what was saved, or the error says at which step it is not.

    Of an export to torch every step is taken but the last two: its graph is compared with its digest, and not opened.

    Args:
        path: the model directory.
        module: the user's own network, for a model whose backbone is one.

    Raises:
        ModelError: at the first step that fails: keys, file list, digests, tensors, network, or rows that differ here.
    """
    began, place = time.perf_counter(), Path(path)
    here, drift = probe.libraries(), None
    if (manifest := unopened(place)) is None:
        found = verified(place, module=module)
        manifest, drift = found.manifest, found.drift or 0.0
    names = sorted({*manifest.libraries, *here})
    others = [(name, manifest.libraries.get(name, "none"), here.get(name, "none")) for name in names]
    return Verification(
        path=place,
        format=manifest.format,
        task=manifest.task,
        backbone=manifest.fit["backbone"],
        by=manifest.backbone["by"],
        files=len(manifest.files),
        bytes=sum((place / name).stat().st_size for name in manifest.files),
        drift=drift,
        saved_with=tuple(f"{name} {then}, here {now}" for name, then, now in others if then != now),
        seconds=time.perf_counter() - began,
    )


def card(path: str | Path) -> str:
    """The card of a model: its `README.md`, which the directory's own digests vouch for.

    Raises:
        ModelError: the directory is not what its manifest says.
    """
    return card_of(Path(path))
