"""ImageNet as it is handed out: folders of synsets, and the validation folder with the devkit's or Kaggle's ground truth."""

import csv
import json
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from headstart.core.errors import DataError, Skipped, UsageError
from headstart.data.reading import Reader, ReadOptions
from headstart.data.samples import Samples
from headstart.data.sniffing import sort_files
from headstart.data.walking import groups_of_files, ignored_note, list_folder, walk

_SYNSET = re.compile(r"n\d{8}")
_NUMBERED = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG", re.IGNORECASE)
_INSIDE = ("", "Data/CLS-LOC", "ILSVRC/Data/CLS-LOC")
_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_BESIDE = ("", "data", "ILSVRC2012_devkit_t12", "ILSVRC2012_devkit_t12/data", "devkit", "devkit/data")


@dataclass(frozen=True)
class _Listed:
    """Files and their synsets, before any is looked at.

    Attributes:
        files: paths below the root.
        synsets: of each.
        parts: of each, `train` or `val`.
        skipped: files without a label, and folders that cannot be read.
        notes: what was decided.
    """

    files: list[str]
    synsets: list[str]
    parts: list[str]
    skipped: list[Skipped]
    notes: list[str]


class ImageNetReader(Reader):
    """ILSVRC's folders. Names of files are listed; few files are opened."""

    def accepts(self, source: tuple[Path, ...]) -> bool:
        """Whether the source is a folder whose train or val folder holds folders of synsets, or numbered validation files."""
        return len(source) == 1 and source[0].is_dir() and _base(source[0]) is not None

    def read(self, source: tuple[Path, ...], options: ReadOptions) -> Samples:
        """Read the parts train and val; the labels are the names of the synsets where a list of them lies beside.

        Raises:
            DataError: no file can be used, or the ground truth is damaged.
            UsageError: a column is asked for.
        """
        (root,) = source
        for role in ("input", "target"):
            if name := getattr(options, role):
                raise UsageError(f"{root} holds ImageNet's folders, which have no columns, and got the {role} {name!r}")
        base = root / (_base(root) or "")
        homes = _homes(root, base)
        listed = _Listed([], [], [], [], [])
        for part in ("train", "val"):
            if (base / part).is_dir():
                _list(root, base / part, part, homes, options, listed)
        home = os.path.abspath(root)  # noqa: PTH100
        paths = [f"{home}/{name}" for name in listed.files]
        usable = sort_files(paths, listed.files, wanted=options.modality, source=str(root))
        table: dict[str, Any] = {
            "id": pa.array(listed.files, pa.string()),
            "input": pa.array(paths, pa.string()),
            "split": pa.array(listed.parts, pa.string()),
        }
        notes = listed.notes
        if options.labelled:
            names, told = _names(homes, set(listed.synsets))
            table["target"] = pa.array([names.get(synset, synset) for synset in listed.synsets], pa.string())
            notes = [*notes, *told]
        whole = pa.table(table).take(pa.array(usable.kept))
        if options.group is not None:
            groups = groups_of_files(whole.column("id").to_pylist(), options.group)
            whole = whole.append_column("group", pa.array(groups, pa.string()))
        return Samples(
            whole,
            modality=usable.modality,
            inline=False,
            source=str(root),
            target_name="label" if options.labelled else None,
            skipped=(*listed.skipped, *usable.skipped),
            notes=tuple(notes),
        )


PLUGIN = ImageNetReader()


def _base(root: Path) -> str | None:
    """The folder below the root that holds train and val, or None where none does."""
    for inside in _INSIDE:
        for part in ("train", "val"):
            folder = root / inside / part
            if not folder.is_dir():
                continue
            try:
                folders, files = list_folder(folder)
            except DataError:
                continue
            synsets = bool(folders) and all(_SYNSET.fullmatch(name) for name in folders)
            numbered = part == "val" and not folders and any(_NUMBERED.fullmatch(name) for name in files)
            if synsets or numbered:
                return inside
    return None


def _homes(root: Path, base: Path) -> list[Path]:
    """Where the lists may lie: beside train and val, in a folder above them up to the root, or in the devkit there."""
    above = [base, *(folder for folder in base.parents if folder == root or root in folder.parents)]
    return [folder / beside for folder in above for beside in _BESIDE]


def _beside(homes: list[Path], name: str) -> Path | None:
    return next((home / name for home in homes if (home / name).is_file()), None)


def _list(root: Path, folder: Path, part: str, homes: list[Path], options: ReadOptions, listed: _Listed) -> None:
    """Add the files of one part. Those of a flat folder get their synsets from the ground truth."""
    found = walk(folder)
    below = folder.relative_to(root).as_posix()
    listed.skipped.extend(Skipped(f"{below}/{one.input}", one.reason) for one in found.skipped)
    truth = None
    counts: Counter[str] = Counter()
    for name in found.files:
        synset, slash, _ = name.partition("/")
        if not slash:
            if truth is None:
                truth, told = _truth(homes) if part == "val" and options.labelled else ({}, "")
                listed.notes.extend([told] if told else [])
            synset = truth.get(name.rpartition(".")[0], "")
        if options.labelled and not _SYNSET.fullmatch(synset):
            reason = (
                f"is in no folder of a synset, and no {_TRUTH} with meta.mat, nor LOC_val_solution.csv, tells its label"
            )
            listed.skipped.append(Skipped(f"{below}/{name}", reason))
            continue
        listed.files.append(f"{below}/{name}")
        listed.synsets.append(synset)
        listed.parts.append(part)
        counts[synset] += 1
    told = f" of {len(counts)} synsets" if options.labelled else ""
    listed.notes.append(f"{below} is the part {part}: {sum(counts.values())} files{told}")
    listed.notes.extend(ignored_note(found.ignored))


def _truth(homes: list[Path]) -> tuple[dict[str, str], str]:
    """The synset of each validation file by its name without suffix, and a note.

    Raises:
        DataError: the ground truth is damaged.
    """
    solution = _beside(homes, "LOC_val_solution.csv")
    if solution is not None:
        with solution.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if len(row) > 1 and row[0] != "ImageId"]
        return {name: boxes.split(" ", 1)[0] for name, boxes, *_ in rows}, f"the labels of val are those of {solution}"
    truth, meta = _beside(homes, _TRUTH), _beside(homes, "meta.mat")
    if truth is None or meta is None:
        return {}, ""
    synsets = {number: synset for number, synset, _ in _meta(meta)}
    found = {}
    for row, line in enumerate(truth.read_text(encoding="utf-8").split(), start=1):
        if not line.isdecimal() or int(line) not in synsets:
            raise DataError(f"{truth} says {line!r} in line {row}: expected a number that {meta} knows")
        found[f"ILSVRC2012_val_{row:08d}"] = synsets[int(line)]
    return found, f"the labels of val are those of {truth}"


def _meta(path: Path) -> list[tuple[int, str, str]]:
    """Number, synset and words of each synset of the devkit.

    Raises:
        DataError: the file is damaged.
    """
    from scipy.io import loadmat

    try:
        rows = np.atleast_1d(loadmat(path, squeeze_me=True, variable_names=["synsets"])["synsets"])
        return [(int(row["ILSVRC2012_ID"]), str(row["WNID"]), str(row["words"])) for row in rows]
    except Exception as error:
        raise DataError(f"{path} is no meta.mat of ImageNet's devkit ({error}): download it again") from error


def _names(homes: list[Path], synsets: set[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The label of each synset: its first word, or all of its words where two synsets share the first (crane, maillot).

    Raises:
        DataError: a list is damaged.
    """
    for name in ("LOC_synset_mapping.txt", "words.txt", "imagenet_class_index.json", "meta.mat"):
        path = _beside(homes, name)
        if path is not None:
            words = {synset: text for synset, text in _words(path).items() if synset in synsets}
            short = {synset: text.split(",", 1)[0].strip() for synset, text in words.items()}
            often = Counter(short.values())
            names = {synset: text if often[text] == 1 else words[synset] for synset, text in short.items()}
            double = Counter(names.values())
            names = {synset: text if double[text] == 1 else f"{text} ({synset})" for synset, text in names.items()}
            lacking = synsets - set(names)
            more = (f"{path} does not name {len(lacking)} synsets, which are their own labels",) if lacking else ()
            return names, (f"synsets are named by {path}", *more)
    return {}, (
        "no LOC_synset_mapping.txt, words.txt, imagenet_class_index.json or meta.mat lies beside: synsets are the labels",
    )


def _words(path: Path) -> dict[str, str]:
    if path.suffix == ".mat":
        return {synset: words for _, synset, words in _meta(path)}
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            return {synset: name.replace("_", " ") for synset, name in json.loads(text).values()}
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{path} cannot be read as a list of synsets ({error}): download it again") from error
    pairs = (line.split(None, 1) for line in text.splitlines())
    return {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}
