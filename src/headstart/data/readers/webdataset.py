"""WebDataset: tar shards in which the files of one sample share a name, `0001.jpg`, `0001.cls`, `0001.json`; read in place."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from headstart.core.errors import DataError, SampleError, Skipped, suggest
from headstart.data.archives import Member, members_of
from headstart.data.decoding import decode_text
from headstart.data.modalities import MODALITIES
from headstart.data.parts import part_of
from headstart.data.places import places
from headstart.data.readers.table import samples_of
from headstart.data.reading import Reader, ReadOptions
from headstart.data.samples import PARTS, Samples
from headstart.data.tables import TableFile, column_of
from headstart.data.walking import is_plain, list_folder, printable

_SHARD = re.compile(r"(?!cifar-100?-).+\.(tar|tar\.gz|tgz)", re.IGNORECASE)
# What a sample's class is written in, by the suffix of its file, best first.
_LABELS = ("cls", "label", "class")
_META = "json"


@dataclass(frozen=True)
class _Item:
    """One sample of a shard: its files by suffix."""

    id: str
    files: dict[str, Member]


@dataclass(frozen=True)
class _Input:
    """What is classified: the files of a sample with one of these suffixes."""

    modality: str
    suffixes: frozenset[str]

    def of(self, item: _Item) -> Member | None:
        """The sample's input, where it has one."""
        return next((member for suffix, member in item.files.items() if suffix in self.suffixes), None)


class WebDatasetReader(Reader):
    """Shards of WebDataset: one, several, or a folder of them. Their part is the first word of their name, or their folder's."""

    def accepts(self, source: tuple[Path, ...]) -> bool:
        """Whether the source is shards, or a folder that holds shards and no other files."""
        if len(source) == 1 and source[0].is_dir():
            return bool(_shards(source[0]))
        return bool(source) and all(path.is_file() and _SHARD.fullmatch(path.name) for path in source)

    def read(self, source: tuple[Path, ...], options: ReadOptions) -> Samples:
        """Read the shards.

        The input is the picture, recording or text of a sample, or what has the suffix that is asked for; the target its `.cls`, or where
        no sample has one a usual key of its `.json`, or whatever suffix or key is asked for.

        Raises:
            DataError: a shard is damaged, which names the member, or no sample has an input.
        """
        title = str(source[0]) if len(source) == 1 else f"{len(source)} shards"
        shards = _shards(source[0]) if len(source) == 1 and source[0].is_dir() else list(source)
        parts = {shard: _part(shard) for shard in shards}
        used = [shard for shard in shards if parts[shard]] or shards
        left = [each for each in shards if each not in set(used)]
        skipped = [Skipped(each.name, "is called after no part, and is not read") for each in left]
        common = Path(os.path.commonpath([os.path.abspath(shard.parent) for shard in shards]))  # noqa: PTH100
        items = {shard: list(_items(shard, common)) for shard in used}
        every = [item for each in items.values() for item in each]
        chosen = _input(every, options, title)
        label = _label(every, options)
        files: dict[str, TableFile] = {}
        for part in sorted({parts[shard] or "" for shard in used}, key=("", *PARTS).index):
            own = [item for shard in used if (parts[shard] or "") == part for item in items[shard]]
            skipped += [Skipped(item.id, "has no input in its shard") for item in own if chosen.of(item) is None]
            name = part or "all"
            files[name] = _table(
                [item for item in own if chosen.of(item)], chosen, label, folder=used[0].parent, name=name
            )
        asked = replace(options, input=chosen.modality, target=label or options.target)
        suffixes = " or ".join(f".{suffix}" for suffix in sorted(chosen.suffixes))
        told = f"read as WebDataset, {len(used)} shard{'s' if len(used) > 1 else ''}: the input is the {suffixes} of each sample"
        own_parts = {name: name for name in files if name in PARTS}
        samples = samples_of(files, asked, title=title, notes=(told,), parts=own_parts)
        return replace(samples, skipped=(*skipped, *samples.skipped))


PLUGIN = WebDatasetReader()


def _shards(root: Path) -> list[Path]:
    """The shards of a folder, or of its folders that are called after parts; none where other files lie beside them."""
    try:
        folders, files = list_folder(root)
        found = [root / name for name in files if _SHARD.fullmatch(name)]
        if found:
            return found if len(found) == len([name for name in files if not _about(name)]) else []
        inside = [(root / name, list_folder(root / name)[1]) for name in folders if part_of(name)]
    except DataError:
        return []
    return [folder / name for folder, names in inside for name in names if _SHARD.fullmatch(name)]


def _about(name: str) -> bool:
    """Whether a file beside shards only tells of them."""
    return name.lower().endswith((".json", ".md", ".txt", ".yaml", ".yml", ".idx"))


def _part(shard: Path) -> str:
    """`train` for `train-000001.tar`, `x_train_3.tar` and `train/000001.tar`; empty where neither says one."""
    words = [word for word in re.split(r"[-_.]", shard.name) if part_of(word)] or [shard.parent.name]
    return part_of(words[0]) or ""


def _items(shard: Path, root: Path) -> Iterator[_Item]:
    """The samples: neighbouring files of one name up to its first dot.

    Raises:
        DataError: the archive is damaged, a sample has two files of one suffix, or a name comes again further on.
    """
    path = os.path.abspath(shard)  # noqa: PTH100
    title = os.path.relpath(path, root).replace(os.sep, "/")
    seen: set[str] = set()
    files: dict[str, Member] = {}
    key = ""
    for member in members_of(path):
        if not is_plain(member.name):
            raise DataError(f"{shard}: the member {printable(member.name)} has a name that is not UTF-8: pack it again")
        folder, _, base = member.name.rpartition("/")
        stem, _, suffix = base.partition(".")
        name = f"{folder}/{stem}" if folder else stem
        if files and name != key:
            yield _Item(f"{title}:{key}", files)
            files = {}
        if name != key and name in seen:
            raise DataError(
                f"{shard}: the sample {name} is there twice: make the shard again, its files beside each other"
            )
        seen.add(name)
        key = name
        if suffix.lower() in files:
            raise DataError(f"{shard}: the member {member.name} is there twice in one sample: make the shard again")
        files[suffix.lower()] = member
    if files:
        yield _Item(f"{title}:{key}", files)


def _input(items: Sequence[_Item], options: ReadOptions, title: str) -> _Input:
    """What is classified.

    Raises:
        DataError: no sample has such a file, or one has several.
    """
    present = list(dict.fromkeys(suffix for item in items for suffix in item.files))
    kinds = {suffix: _modality(suffix) for suffix in present}
    if options.input:
        suffix = options.input.lower().removeprefix(".")
        if suffix not in kinds:
            raise DataError(f"{title} has no files with the suffix .{suffix}.{suggest(suffix, present)}")
        return _Input(options.modality or kinds[suffix] or "text", frozenset({suffix}))
    taken = {options.target}
    for modality in [options.modality] if options.modality else ("image", "audio", "text"):
        suffixes = frozenset(suffix for suffix, kind in kinds.items() if kind == modality and suffix not in taken)
        if not suffixes:
            continue
        found = _Input(str(modality), suffixes)
        several = next((item for item in items if len(suffixes & set(item.files)) > 1), None)
        if several is not None:
            names = ", ".join(sorted(suffixes & set(several.files)))
            raise DataError(
                f"{title}: the sample {several.id} has {names}: say which with the input option, such as {names.split(',')[0]}"
            )
        return found
    listed = ", ".join(f".{suffix}" for suffix in present[:10]) or "no files"
    raise DataError(
        f"{title} holds {listed}, and no pictures, recordings or texts by their suffix: say which with the input option"
    )


def _modality(suffix: str) -> str | None:
    last = "." + suffix.rpartition(".")[2]
    return next((name for name in MODALITIES.names() if last in MODALITIES.get(name).suffixes), None)


def _label(items: Sequence[_Item], options: ReadOptions) -> str | None:
    """The suffix or the key of `.json` that holds the target, where it is asked for or usual; else the table's own rules find one."""
    if options.target or not options.labelled:
        suffix = (options.target or "").lower().removeprefix(".")
        return suffix if any(suffix in item.files for item in items) else options.target
    return next((suffix for suffix in _LABELS if any(suffix in item.files for item in items)), None)


def _table(items: Sequence[_Item], chosen: _Input, label: str | None, *, folder: Path, name: str) -> TableFile:
    """The samples as rows: the input's place, the label's text, and the keys of `.json`."""
    inputs = [member for item in items if (member := chosen.of(item))]
    columns: dict[str, Any] = _described(items)
    if label and any(label in item.files for item in items):
        columns[label] = pa.array([_text(item.files.get(label)) for item in items], pa.string())
    columns[chosen.modality] = _places(inputs)
    ids = pa.array([item.id for item in items], pa.string())
    return TableFile(pa.table(columns), np.arange(1, len(items) + 1), name, folder, ids=ids)


def _places(members: Sequence[Member]) -> pa.ChunkedArray:
    """Where the bytes of members lie, in their order."""
    chunks = []
    start = 0
    for end in range(1, len(members) + 1):
        if end == len(members) or members[end].archive != members[start].archive:
            part = members[start:end]
            begins, sizes = np.array([each.begin for each in part]), np.array([each.size for each in part])
            chunks.append(places(part[0].archive, begins, length=sizes, gzipped=part[0].gzipped))
            start = end
    return pa.chunked_array(chunks, pa.string())


def _text(member: Member | None) -> str | None:
    try:
        return None if member is None else decode_text(member.content()).strip()
    except SampleError as error:
        raise DataError(f"{member.archive}: the member {member.name} {error}") from error  # type: ignore[union-attr]


def _described(items: Sequence[_Item]) -> dict[str, pa.Array]:
    """The keys of the samples' `.json`, those left out that hold objects.

    Raises:
        DataError: one is no JSON object; names the member.
    """
    rows = [_object(item.files.get(_META)) for item in items]
    keys = dict.fromkeys(key for row in rows for key in row)
    nested = {key for row in rows for key, value in row.items() if isinstance(value, dict)}
    return {key: column_of([row.get(key) for row in rows]) for key in keys if key not in nested}


def _object(member: Member | None) -> dict[str, Any]:
    if member is None:
        return {}
    try:
        value = json.loads(member.content())
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{member.archive}: the member {member.name} is no JSON ({error}): make the shard again"
        ) from error
    if not isinstance(value, dict):
        raise DataError(
            f"{member.archive}: the member {member.name} holds {type(value).__name__}, and an object was expected"
        )
    return value
