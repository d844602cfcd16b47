"""A folder with one folder per class, with or without train, val and test folders above them, or a folder of unlabelled files."""

import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from headstart.core.errors import DataError, UsageError
from headstart.data.parts import part_of, parts_of
from headstart.data.reading import Reader, ReadOptions
from headstart.data.samples import PARTS, Samples
from headstart.data.sniffing import sort_files
from headstart.data.targets import to_target
from headstart.data.walking import Walk, groups_of_files, ignored_note, is_table, walk


@dataclass(frozen=True)
class _Tree:
    """A folder as it was understood.

    Attributes:
        files: paths below the root that belong to a class.
        labels: their classes.
        parts: their parts, or None where there are none.
        classes: the class folders of each part, paths below the root; the one key is `train` where there are no parts.
        notes: what was decided.
    """

    files: list[str]
    labels: list[str]
    parts: list[str] | None
    classes: dict[str, list[str]]
    notes: tuple[str, ...]


class FolderReader(Reader):
    """Class folders. The folder's name is the label; deeper folders are part of their class."""

    fallback = True

    def accepts(self, source: tuple[Path, ...]) -> bool:
        """Whether the source is one folder."""
        return len(source) == 1 and source[0].is_dir()

    def read(self, source: tuple[Path, ...], options: ReadOptions) -> Samples:
        """Read class folders, or with `labelled=False` every file below the folder.

        Raises:
            DataError: the folder is empty, has no class folders, or a class folder of the training part has no usable file.
            UsageError: a column is asked for.
        """
        (root,) = source
        for role in ("input", "target"):
            if name := getattr(options, role):
                raise UsageError(f"{root} is a folder, which has no columns, and got the {role} column {name!r}")
        found = walk(root)
        if not found.files:
            raise DataError(_empty(root, found))
        tree = _tree(root, found) if options.labelled else None
        files = tree.files if tree else found.files
        usable = sort_files(_absolute(root, files), files, wanted=options.modality, source=str(root))
        table: dict[str, object] = {"id": pa.array(files, pa.string())}
        table["input"] = pa.array(_absolute(root, files), pa.string())
        notes: tuple[str, ...] = (f"every file below {root} is read, without labels",)
        if tree:
            notes = (*_check_classes(root, tree, usable.kept, found), *tree.notes)
            labels = pa.chunked_array([pa.array(tree.labels, pa.string())])
            # A folder is a class, also where its name is a number.
            named = replace(options, task=options.task or "single_label")
            target = to_target(labels, options=named, where=lambda row: files[row])
            table["target"] = _checked(target.missing, target.values, files)
            table |= {} if tree.parts is None else {"split": pa.array(tree.parts, pa.string())}
        groups = None
        if options.group is not None:
            groups = groups_of_files([files[row] for row in usable.kept], options.group)
        whole = pa.table(table).take(pa.array(usable.kept))
        return Samples(
            whole if groups is None else whole.append_column("group", pa.array(groups, pa.string())),
            modality=usable.modality,
            inline=False,
            source=str(root),
            target_name="label" if tree else None,
            skipped=(*found.skipped, *usable.skipped),
            notes=(*notes, *ignored_note(found.ignored)),
        )


PLUGIN = FolderReader()


def _absolute(root: Path, files: list[str]) -> list[str]:
    home = os.path.abspath(root)  # noqa: PTH100  (strings, 100,000 of them)
    return [os.path.join(home, *path.split("/")) if os.sep != "/" else f"{home}/{path}" for path in files]  # noqa: PTH118


def _empty(root: Path, found: Walk) -> str:
    met = f", only {sum(found.ignored.values())} hidden or left-over entries" if found.ignored else ""
    wrong = f"; {found.skipped[0].input} {found.skipped[0].reason}" if found.skipped else ""
    return f"{root} has no files{met}{wrong}: expected one folder per class with files in it, such as {root.name}/ants/1.jpg"


def _tree(root: Path, found: Walk) -> _Tree:
    """Which folders are parts, which are classes, and which files belong to them.

    Raises:
        DataError: there are no class folders.
    """
    base = _base(found)
    below = [path.removeprefix(base) for path in found.folders if path.startswith(base)]
    parents = {path.split("/", 1)[0] for path in below if "/" in path}
    top = [path for path in below if path and "/" not in path]
    parts = parts_of(top)
    if not parts or not (
        all(part_of(name) for name in top) or any(name in parents for names in parts.values() for name in names)
    ):
        return _classes(root, found, base, top)
    for part, names in parts.items():
        if len(names) > 1:
            raise DataError(f"{root} has the folders {' and '.join(names)}, which both mean the part {part}: keep one")
    return _parts(root, found, base, {part: names[0] for part, names in parts.items()})


def _base(found: Walk) -> str:
    """The one folder in which archives often wrap a whole data set, or nothing."""
    base, files = "", set(found.files)
    while True:
        tops = {
            path[len(base) :].split("/", 1)[0]
            for path in (*found.folders, *found.files)
            if path.startswith(base) and path != base
        }
        if len(tops) != 1:
            return base if parts_of(tops) else ""
        base += f"{tops.pop()}/"
        if base.rstrip("/") in files or base.count("/") > 5:
            return ""


def _classes(root: Path, found: Walk, base: str, top: list[str]) -> _Tree:
    """The tree without parts."""
    inside = [path for path in found.files if "/" in path.removeprefix(base)]
    if not top:
        tables = [path for path in found.files if is_table(path)]
        hint = f"; {root / tables[0]} is a table: give that one instead" if tables else ""
        raise DataError(
            f"{root} has {len(found.files)} files and no class folders: expected one folder per class, "
            f"such as {root.name}/ants/1.jpg{hint}"
        )
    labels = [path.removeprefix(base).split("/", 1)[0] for path in inside]
    notes = (f"class folders of {root} and their files: {_counted(Counter(labels))}", *_beside(found.files, inside))
    return _Tree(inside, labels, None, {"train": [base + name for name in top]}, notes)


def _parts(root: Path, found: Walk, base: str, parts: dict[str, str]) -> _Tree:
    """The tree with parts.

    Raises:
        DataError: the training part has no class folders.
    """
    of_folder = {f"{base}{name}": part for part, name in parts.items()}
    classes: dict[str, list[str]] = {}
    for folder in found.folders:
        above, slash, _ = folder.rpartition("/")
        if slash and above in of_folder:
            classes.setdefault(of_folder[above], []).append(folder)
    if "train" in parts and "train" not in classes:
        raise DataError(f"{root / parts['train']} has no class folders: expected one folder per class in it")
    depth = base.count("/")
    files, labels, names = [], [], []
    for path in found.files:
        pieces = path.split("/")
        part = of_folder.get("/".join(pieces[: depth + 1]))
        if part is not None and len(pieces) > depth + 2:
            files.append(path)
            names.append(part)
            labels.append(pieces[depth + 1])
    counts = {part: Counter(label for label, own in zip(labels, names, strict=True) if own == part) for part in PARTS}
    notes = [
        f"{parts[part]}/ of {root} is the part {part}, with the classes {_counted(counts[part])}"
        for part in PARTS
        if part in classes
    ]
    notes += [
        f"{parts[part]}/ has no class folders, so its files have no labels and are not read"
        for part in parts
        if part not in classes
    ]
    return _Tree(files, labels, names, classes, (*notes, *_beside(found.files, files)))


def _beside(every: list[str], used: list[str]) -> tuple[str, ...]:
    """A note on files that are in no class folder."""
    inside = set(used)
    left = [path for path in every if path not in inside]
    if not left:
        return ()
    return (
        f"{len(left)} file{'s' if len(left) > 1 else ''} outside the class folders {'are' if len(left) > 1 else 'is'} not read, such as {left[0]}",
    )


def _counted(counts: Counter[str]) -> str:
    shown = ", ".join(f"{name} ({count})" for name, count in sorted(counts.items())[:12])
    return shown + (f" and {len(counts) - 12} more" if len(counts) > 12 else "")


def _check_classes(root: Path, tree: _Tree, kept: np.ndarray, found: Walk) -> tuple[str, ...]:
    """Refuse a class of the training part that has no usable file; note one of another part.

    Raises:
        DataError: as said.
    """
    depth = next(iter(tree.classes.values()))[0].count("/") + 1
    filled = {"/".join(tree.files[row].split("/")[:depth]) for row in kept}
    total = Counter("/".join(path.split("/")[:depth]) for path in tree.files)
    unread = {one.input: one.reason for one in found.skipped}
    notes = []
    for part, folders in tree.classes.items():
        for folder in folders:
            if folder in filled:
                continue
            held = total[folder]
            what = f"holds {held} files, none of which can be used" if held else unread.get(folder, "is empty")
            if part == "train":
                raise DataError(
                    f"the class folder {root / folder} {what}: put files of the class into it, or remove the folder"
                )
            notes.append(
                f"the class folder {root / folder} {what}, so the part {part} has no {folder.rsplit('/', 1)[-1]}"
            )
    return tuple(notes)


def _checked(missing: np.ndarray, values: pa.Array, files: list[str]) -> pa.Array:
    """The targets, all of which a folder's name has to give.

    Raises:
        DataError: a class folder's name means a missing value, such as `nan`.
    """
    if missing.any():
        row = int(np.flatnonzero(missing)[0])
        raise DataError(
            f"the folder of {files[row]} is called as programs call a missing label: give the class another name"
        )
    return values
