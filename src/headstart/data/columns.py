"""Which column of a table is what: what a person says, else well-known names, else a question."""

from collections.abc import Sequence
from dataclasses import dataclass

from headstart.core.errors import DataError, suggest
from headstart.data.reading import ReadOptions

TEXTS = (
    "text", "sentence", "review", "content", "document", "comment", "question", "message", "tweet", "body", "utterance", "title",
    "headline", "description",
)  # fmt: skip
PATHS = (
    "path", "image", "audio", "file", "filename", "file_name", "filepath", "file_path", "image_path", "audio_path", "image_file",
    "audio_file", "img", "img_path", "photo", "picture", "recording", "wav", "clip",
)  # fmt: skip
TARGETS = (
    "label",
    "target",
    "class",
    "category",
    "labels",
    "tags",
    "tag",
    "sentiment",
    "class_name",
    "label_name",
    "y",
)
NUMBERS = ("score", "value", "rating", "price", "age")
SPLITS = ("split", "part", "fold", "subset", "set", "partition")


@dataclass(frozen=True)
class Columns:
    """The columns of a table that are used.

    Attributes:
        inputs: candidates for the input, best first; texts or paths, which their values tell.
        target: the target column, or None.
        group: the group column, or None.
        split: the split column, or None.
        notes: what was decided without being told.
    """

    inputs: tuple[str, ...]
    target: str | None
    group: str | None
    split: str | None
    notes: tuple[str, ...] = ()


def find_columns(names: Sequence[str], options: ReadOptions, *, source: str) -> Columns:
    """Find the columns of a table.

    Raises:
        DataError: a column that is asked for is not there, or none has a known name; lists the columns.
    """
    target = _target(names, options, source)
    group = None if options.group is None else _asked(names, options.group, "group", source)
    split = next(iter(_known(names, SPLITS, {target, group})), None)
    if options.input is not None:
        asked = _asked(names, options.input, "input", source)
        if asked == target:
            raise DataError(f"{source}: the column {target!r} cannot be both the input and the target")
        return Columns((asked,), target, group, split)
    used = {target, group, split}
    groups = (TEXTS, PATHS) if options.modality == "text" else (PATHS, TEXTS)
    inputs = tuple(name for known in groups for name in _known(names, known, used))
    if inputs:
        return Columns(inputs, target, group, split)
    rest = [name for name in names if name not in used]
    if len(rest) != 1:
        raise DataError(
            f"{source} has no column with a usual name for the input, such as text, path, image or audio, "
            f"but {_listed(names)}: say which with the input option; the first row has to name the columns"
        )
    return Columns((rest[0],), target, group, split, (f"the input is taken from the only other column, {rest[0]!r}",))


def _target(names: Sequence[str], options: ReadOptions, source: str) -> str | None:
    if options.target is not None:
        return _asked(names, options.target, "target", source)
    if not options.labelled:
        return None
    known = (*TARGETS, *NUMBERS) if options.task == "regression" else TARGETS
    found = _known(names, known, {options.input, options.group})
    if not found:
        raise DataError(
            f"{source} has no column with a usual name for the target, such as label, target, class or category, "
            f"but {_listed(names)}: say which with the target option; the first row has to name the columns"
        )
    return found[0]


def _asked(names: Sequence[str], name: str, role: str, source: str) -> str:
    if name in names:
        return name
    near = suggest(name, names).strip()
    listed = "" if near.startswith("There are") else f" The columns are {_listed(names)}."
    raise DataError(f"{source} has no column {name!r} for the {role}.{listed}{' ' + near if near else ''}")


def _known(names: Sequence[str], known: Sequence[str], used: set[str | None]) -> list[str]:
    """The columns with a well-known name, in whatever case, in the order in which the names are known."""
    plain = {name.strip().lower(): name for name in reversed(names) if name not in used}
    return [plain[word] for word in known if word in plain]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")
