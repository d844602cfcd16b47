"""`cache`: what the feature store holds, whether it is whole, and making room."""

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headstart.core.errors import UsageError, suggest
from headstart.core.files import cache_root
from headstart.core.progress import Progress, silent
from headstart.features.checking import Checked, check
from headstart.features.housekeeping import Artefact, Stored, artefacts, remove, remove_artefact, stored, sweep
from headstart.features.sketches import FOLDER as SKETCHES
from headstart.features.sketches import CheckedSketches, check_sketches, list_sketches


@dataclass(frozen=True)
class CacheListing:
    """What lies in the cache.

    Attributes:
        root: its folder.
        stored: the rows of each backbone, most recently used first.
        artefacts: what engines compiled, most recently used first.
        sketches: what the data gate keeps of samples, such as small images, most recently used first.
    """

    root: Path
    stored: tuple[Stored, ...]
    artefacts: tuple[Artefact, ...]
    sketches: tuple[Artefact, ...] = ()

    @property
    def bytes(self) -> int:
        """Of all rows, all that engines compiled, and all sketches."""
        beside = (*self.artefacts, *self.sketches)
        return sum(each.bytes for each in self.stored) + sum(each.bytes for each in beside)

    def to_json(self) -> dict[str, Any]:
        """The JSON of `headstart cache list --json`."""
        return {
            "root": str(self.root),
            "bytes": self.bytes,
            "features": [_stored(each) for each in self.stored],
            "engines": {"entries": len(self.artefacts), "bytes": sum(each.bytes for each in self.artefacts)},
            "sketches": {"entries": len(self.sketches), "bytes": sum(each.bytes for each in self.sketches)},
        }


@dataclass(frozen=True)
class CacheCheck:
    """What `verify` found.

    Attributes:
        root: the cache's folder.
        checked: the rows of each backbone.
        sketches: those of each maker.
    """

    root: Path
    checked: tuple[Checked, ...]
    sketches: tuple[CheckedSketches, ...] = ()

    @property
    def rows(self) -> int:
        """Rows that were compared with their checksum, or looked at where they have none."""
        return sum(each.rows + each.unknown for each in self.checked)

    @property
    def damaged(self) -> int:
        """Backbones some of whose rows are not what was written."""
        return sum(bool(each.harms) for each in self.checked)

    @property
    def harmed(self) -> str:
        """What is damaged, in words; empty where nothing is."""
        rows = f"the rows of {self.damaged} of {len(self.checked)} backbones" if self.damaged else ""
        count = sum(each.damaged for each in self.sketches)
        return " and ".join(filter(None, (rows, f"{count:,} sketches" if count else "")))

    @property
    def whole(self) -> bool:
        """Whether nothing is damaged, or all that was is dropped now."""
        sound = not any(each.harms and not each.mended for each in self.checked)
        return sound and not any(each.damaged and not each.mended for each in self.sketches)

    def to_json(self) -> dict[str, Any]:
        """The JSON of `headstart cache verify --json`."""
        return {
            "root": str(self.root),
            "whole": self.whole,
            "rows": self.rows,
            "features": [
                {
                    "backbone": each.stored.title,
                    "fingerprint": each.stored.folder.name,
                    "rows": each.rows,
                    "without_checksum": each.unknown,
                    "dropped": each.dropped,
                    "damage": [
                        {"file": harm.file, "first": harm.first, "rows": harm.rows, "reason": harm.reason}
                        for harm in each.harms
                    ],
                }
                for each in self.checked
            ],
            "sketches": [asdict(each) for each in self.sketches],
        }


@dataclass(frozen=True)
class PruneOptions:
    """What may go. `older_than`, `to` and `orphans` each name something; `backbone` alone names all rows of that backbone.

    Attributes:
        older_than: rows, sketches and compiled artefacts that were last used so many seconds ago, or longer.
        to: bytes that may stay; what was used longest ago goes first.
        backbone: only the rows of this backbone, such as `timm:resnet50`; sketches and compiled artefacts stay.
        orphans: only what no run can use: files that killed processes left behind, and rows of other versions of headstart.
        dry_run: remove nothing; only say what would go.
    """

    older_than: float | None = None
    to: int | None = None
    backbone: str | None = None
    orphans: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class Removed:
    """Something that was removed, or that could not be because another process uses it.

    Attributes:
        what: the backbone's title, `engines`, `sketches`, or `files left behind by killed processes`.
        path: where it was.
        rows: how many rows.
        bytes: how much room.
    """

    what: str
    path: Path
    rows: int
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """One entry of `headstart cache prune --json`."""
        return {"what": self.what, "path": str(self.path), "rows": self.rows, "bytes": self.bytes}


@dataclass(frozen=True)
class Pruned:
    """What `prune` freed.

    Attributes:
        root: the cache's folder.
        dry_run: whether nothing was removed.
        removed: what went, or would go.
        kept: what would have gone, but another process has it open.
        left: bytes of rows, sketches and compiled artefacts that are still there.
    """

    root: Path
    dry_run: bool
    removed: tuple[Removed, ...]
    kept: tuple[Removed, ...]
    left: int

    @property
    def bytes(self) -> int:
        """How much room was made."""
        return sum(each.bytes for each in self.removed)

    def to_json(self) -> dict[str, Any]:
        """The JSON of `headstart cache prune --json`."""
        return {
            "root": str(self.root),
            "dry_run": self.dry_run,
            "freed": self.bytes,
            "left": self.left,
            "removed": [each.to_json() for each in self.removed],
            "kept": [each.to_json() for each in self.kept],
        }


def list_cache() -> CacheListing:
    """What lies in the cache. Reads no row.

    Raises:
        CacheError: the folder cannot be read.
    """
    return CacheListing(cache_root(), tuple(stored()), tuple(artefacts()), tuple(list_sketches()))


def verify_cache(*, mend: bool = False, progress: Progress = silent) -> CacheCheck:
    """Compare every stored row and sketch with its checksum, and the files with the index. Other processes may go on writing.

    Args:
        mend: take damaged rows and sketches out of their index, so that they are made again.
        progress: stage `verify`, in rows.

    Raises:
        CacheError: the folder fails.
    """
    found = stored()
    total, done, checked = sum(each.rows for each in found), 0, []
    for each in found:
        progress("verify", done, total)
        checked.append(check(each, mend=mend))
        done += each.rows
    progress("verify", total, total)
    sketches = tuple(check_sketches(each.path, mend=mend) for each in list_sketches())
    return CacheCheck(cache_root(), tuple(checked), sketches)


def prune_cache(options: PruneOptions) -> Pruned:
    """Make room in the cache. What another process has open stays, and is named.

    Raises:
        UsageError: nothing says what may go, or no rows of the backbone are stored.
        CacheError: the folder fails.
    """
    if options == PruneOptions(dry_run=options.dry_run):
        raise UsageError(
            "prune needs to know what may go: --older-than 30d, --to 5GB, --backbone SOURCE:NAME or --orphans (--dry-run only tells)"
        )
    found = stored()
    candidates = [each for each in found if options.backbone in {None, each.title, _name(each)}]
    if options.backbone is not None and not candidates:
        known = sorted({_name(each) for each in found})
        raise UsageError(f"no rows of {options.backbone!r} are stored.{suggest(options.backbone, known)}")
    beside = [*artefacts(), *list_sketches()] if options.backbone is None else []
    going = _going(options, candidates, beside, total=list_cache().bytes)
    removed: list[Removed] = []
    kept: list[Removed] = []
    for each in going:
        gone = options.dry_run or _remove(each)
        (removed if gone else kept).append(_removed(each))
    if options.orphans:
        removed += _sweep([each for each in candidates if each not in going], dry_run=options.dry_run)
    now = list_cache().bytes
    left = now - sum(each.bytes for each in removed) if options.dry_run else now
    return Pruned(cache_root(), options.dry_run, tuple(removed), tuple(kept), left)


def _going(
    options: PruneOptions, candidates: list[Stored], beside: list[Artefact], *, total: int
) -> list[Stored | Artefact]:
    """What goes, the least recently used first."""
    everything: list[Stored | Artefact] = [*candidates, *beside]
    everything.sort(key=lambda each: each.used)
    if options.backbone is not None and options.older_than is None and options.to is None and not options.orphans:
        return everything
    going: list[Stored | Artefact] = []
    now = time.time()
    for each in everything:
        old = options.older_than is not None and now - each.used >= options.older_than
        useless = options.orphans and isinstance(each, Stored) and not each.readable
        if old or useless:
            going.append(each)
            total -= each.bytes
    for each in everything:
        if options.to is not None and total > options.to and each not in going:
            going.append(each)
            total -= each.bytes
    return going


def _sweep(candidates: list[Stored], *, dry_run: bool) -> list[Removed]:
    swept = []
    for each in candidates:
        files, size = sweep(each, dry_run=dry_run)
        if files:
            swept.append(Removed("files left behind by killed processes", each.folder, 0, size))
    return swept


def _remove(each: Stored | Artefact) -> bool:
    if isinstance(each, Stored):
        return remove(each.folder)
    return remove(each.path) if each.kind == SKETCHES else remove_artefact(each)


def _removed(each: Stored | Artefact) -> Removed:
    if isinstance(each, Stored):
        return Removed(each.title, each.folder, each.rows, each.bytes)
    return Removed(each.kind, each.path, 0, each.bytes)


def _name(each: Stored) -> str:
    return each.title if each.spec is None else f"{each.spec.source}:{each.spec.name}"


def _stored(each: Stored) -> dict[str, Any]:
    spec = each.spec
    return {
        "backbone": _name(each),
        "layer": "" if spec is None else spec.layer,
        "pooling": "" if spec is None else spec.pooling,
        "precision": "" if spec is None else spec.precision,
        "dim": None if spec is None else spec.dim,
        "fingerprint": each.folder.name,
        "rows": each.rows,
        "bytes": each.bytes,
        "written": _moment(each.written),
        "used": _moment(each.used),
        "orphans": each.orphans,
        "readable": each.readable,
        "damaged": each.damaged,
    }


def _moment(seconds: float | None) -> str | None:
    return None if not seconds else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
