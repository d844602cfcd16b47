"""Hugging Face data sets: a folder that `save_to_disk` wrote, read without the library, or `hf:OWNER/NAME` from its hub or cache."""

import importlib.util
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from headstart.core.errors import DataError, ExtraMissing
from headstart.core.offline import is_offline
from headstart.data.arrow import read_arrow
from headstart.data.columns import TARGETS
from headstart.data.parts import part_of, parts_of
from headstart.data.readers.table import samples_of
from headstart.data.reading import Reader, ReadOptions
from headstart.data.samples import PARTS, Samples
from headstart.data.tables import TableFile

_SAID = 300
_SPLITS, _STATE = "dataset_dict.json", "state.json"


class HuggingFaceReader(Reader):
    """Data sets of Hugging Face. Their files are memory-mapped, and no code comes with them."""

    prefix = "hf:"

    def accepts(self, source: tuple[Path, ...]) -> bool:
        """Whether the source is `hf:NAME`, or a folder that `save_to_disk` wrote."""
        if len(source) != 1:
            return False
        (root,) = source
        saved = (root / _SPLITS).is_file() or ((root / _STATE).is_file() and bool(list(root.glob("*.arrow"))))
        return str(root).startswith(self.prefix) or saved

    def read(self, source: tuple[Path, ...], options: ReadOptions) -> Samples:
        """Read the splits that are called after parts; where none is, all of them as one.

        Raises:
            DataError: there is no such data set, or a file of it is damaged; says which.
            ExtraMissing: it is asked for by name, and `datasets` is not installed.
        """
        (root,) = source
        named = str(root).startswith(self.prefix)
        splits, notes = _by_name(str(root).removeprefix(self.prefix), options) if named else (_saved(root), ())
        empty = [split for split in splits if not splits[split]]
        parts = {split: part for split in splits if split not in empty and (part := part_of(split))}
        for part, names in parts_of(parts).items():
            if len(names) > 1:
                raise DataError(f"{root} has more than one split for the part {part}: keep one of {', '.join(names)}")
        used = sorted(parts, key=lambda split: PARTS.index(parts[split])) or [each for each in splits if splits[each]]
        left = [split for split in splits if split not in used and split not in empty]
        notes += (f"the split {', '.join(left)} is neither train, val nor test, and is not read",) if left else ()
        notes += (f"the split {', '.join(empty)} has no rows",) if empty else ()
        if not used:
            raise DataError(f"{root} has no rows in any split: {', '.join(splits)}")
        files = {split: _labelled(read_arrow(splits[split], split), options) for split in used}
        return samples_of(files, options, title=str(root), notes=notes, parts=parts)


PLUGIN = HuggingFaceReader()


def _labelled(file: TableFile, options: ReadOptions) -> TableFile:
    """Without a column of labels that holds none: so are test parts handed out whose labels are kept secret."""
    asked = {options.target.lower()} if options.target else {*TARGETS}
    empty = [
        name
        for name in file.table.column_names
        if name.lower() in asked and len(file.table) and pc.all(pc.is_null(file.table.column(name))).as_py()
    ]
    return replace(file, table=file.table.drop_columns(empty))


def _saved(root: Path) -> dict[str, list[Path]]:
    """The Arrow files of each split of a saved data set; of one without splits under its own name, or `all`.

    Raises:
        DataError: a file that it names is not there.
    """
    if not (root / _SPLITS).is_file():
        state = _json(root / _STATE)
        return {str(state.get("_split") or "all"): _files(root, state)}
    names = _json(root / _SPLITS).get("splits")
    if not isinstance(names, list) or not names or any(Path(str(name)).name != name for name in names):
        raise DataError(f"{root / _SPLITS} names {names or 'no splits'}, and folders beside it were expected")
    return {str(name): _files(root / str(name), _json(root / str(name) / _STATE)) for name in names}


def _files(folder: Path, state: Mapping[str, Any]) -> list[Path]:
    try:
        names = [str(each["filename"]) for each in state["_data_files"]]
    except (KeyError, TypeError) as error:
        raise DataError(f"{folder / _STATE} names no Arrow files: save the data set again") from error
    inside = [name for name in names if Path(name).name == name]
    if len(inside) != len(names):
        raise DataError(f"{folder / _STATE} names {names}, and files beside it were expected")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise DataError(f"{folder / missing[0]} is missing, and {_STATE} names it: copy the data set again")
    return [folder / name for name in names]


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): copy the data set again") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} is no object of JSON: save the data set again")
    return value


def _by_name(asked: str, options: ReadOptions) -> tuple[dict[str, list[Path]], tuple[str, ...]]:
    """The Arrow files, and a note of the configuration, of each split of `OWNER/NAME[:CONFIG]`, or of a folder of data files, fetched where they are not here.

    Raises:
        DataError: whatever `datasets` says against it.
    """
    if importlib.util.find_spec("datasets") is None:
        raise ExtraMissing.of("datasets", "huggingface", purpose=f"the data set hf:{asked}")
    name, _, config = asked.partition(":")
    if not name:
        raise DataError("hf: is followed by the name of a data set, such as hf:OWNER/NAME or hf:OWNER/NAME:CONFIG")
    import datasets

    try:
        with _offline():
            found = datasets.load_dataset(name, config or None)
    except Exception as error:
        if is_offline(options.offline):
            raise _refusal(asked, error, "is not on this machine, and no socket is to be opened") from error
        try:
            found = datasets.load_dataset(name, config or None)
        except Exception as second:
            raise _refusal(asked, second, "cannot be fetched or read") from second
    files = {str(split): [Path(each["filename"]) for each in one.cache_files] for split, one in found.items()}
    configs = sorted({str(one.info.config_name) for one in found.values()})
    return files, (f"hf:{name} is read in the configuration {', '.join(configs)}",)


def _refusal(asked: str, error: Exception, what: str) -> DataError:
    said = " ".join(str(error).split())
    return DataError(f"hf:{asked} {what}: {said[:_SAID]}")


@contextmanager
def _offline() -> Iterator[None]:
    """The library looks into its cache only. It asks two modules whether it may do more, and takes no argument for it."""
    import datasets
    from huggingface_hub import constants

    kept = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    said = datasets.logging.get_verbosity()
    datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    datasets.logging.set_verbosity_error()  # that it looks into the cache only is no warning here
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = kept
        datasets.logging.set_verbosity(said)
