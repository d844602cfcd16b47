"""`Samples`: a lazy, ordered table of items. It decodes nothing and makes no Python object per item."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headstart.core.errors import DataError, Skipped
from headstart.data.places import file_of

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Samples:
    """A lazy, ordered table of items of one modality.

    Attributes:
        table: the columns `id` (string, unique: a path relative to the source, or `FILE:ROW`), `input` (string: the path of a file,
            its place in one as `data.places` writes it, or the text itself), and where they are known `target` (string, list of strings, or float64), `split` (string, one of
            `train`, `val`, `test`) and `group` (string). A null target means unlabelled.
        modality: `image`, `text` or `audio`.
        inline: whether `input` is the sample itself (texts of a table) rather than a file's path.
        source: what was read, as the person wrote it.
        target_name: what the target column was called, `label` for class folders, None where there is none.
        skipped: inputs that the reader left out, each with its reason.
        notes: what the reader understood or decided, one sentence each.
    """

    table: pa.Table
    modality: str
    inline: bool
    source: str
    target_name: str | None = None
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def ids(self) -> list[str]:
        """The n ids, in order."""
        return list(self.table.column("id").to_pylist())

    @property
    def inputs(self) -> list[str]:
        """The n inputs, in order: paths, or the texts themselves where `inline`."""
        return list(self.table.column("input").to_pylist())

    @property
    def has_target(self) -> bool:
        """Whether any sample carries a target."""
        return "target" in self.table.column_names and self.table.column("target").null_count < len(self)

    @property
    def groups(self) -> np.ndarray | None:
        """(n,) group names as an object array, or None where no group is known."""
        return self._names("group")

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that the samples are split into, in the order train, val, test; empty where there is no split."""
        if "split" not in self.table.column_names:
            return ()
        present = set(pc.unique(self.table.column("split")).to_pylist())
        return tuple(part for part in PARTS if part in present)

    @property
    def evaluated_part(self) -> str:
        """The part that figures are of where nobody says another: `test`, else `val`; empty where there is neither."""
        return next((part for part in ("test", "val") if part in self.parts), "")

    def part(self, name: str) -> "Samples":
        """The samples of one part, in order.

        Raises:
            DataError: there is no such part.
        """
        if name not in self.parts:
            have = ", ".join(self.parts) or "no split at all"
            raise DataError(f"{self.source} has no part {name!r}: it has {have}")
        return replace(self, table=self.table.filter(pc.equal(self.table.column("split"), name)))

    def take(self, rows: Sequence[int] | np.ndarray) -> "Samples":
        """The samples at these positions, in this order."""
        return replace(self, table=self.table.take(pa.array(np.asarray(rows, dtype=np.int64))))

    def with_column(self, name: str, values: pa.Array | pa.ChunkedArray) -> "Samples":
        """The same samples with the column `name` added or replaced by n values."""
        table = self.table.drop_columns([name]) if name in self.table.column_names else self.table
        return replace(self, table=table.append_column(name, values))

    def path(self, row: int) -> Path:
        """The file of one sample, or the one that it lies in.

        Raises:
            DataError: the samples are inline.
        """
        if self.inline:
            raise DataError(f"the samples of {self.source} are texts in a table, not files")
        return Path(file_of(self.table.column("input")[row].as_py()))

    def _names(self, column: str) -> np.ndarray | None:
        if column not in self.table.column_names:
            return None
        values = self.table.column(column)
        return None if values.null_count == len(self) else np.asarray(values.to_pylist(), dtype=object)


def make_samples(
    ids: Sequence[str],
    inputs: Sequence[str],
    *,
    modality: str,
    inline: bool,
    source: str,
    target: Sequence[object] | pa.Array | None = None,
    split: Sequence[str] | None = None,
    group: Sequence[str] | None = None,
) -> Samples:
    """Samples from plain sequences: the way for Python callers and tests; readers build the Arrow table themselves.

    Args:
        ids: n unique names.
        inputs: n paths or texts.
        modality: `image`, `text` or `audio`.
        inline: whether `inputs` are the texts themselves.
        source: what to call the collection in errors and reports.
        target: n targets, or None where none is known.
        split: n names of parts, or None.
        group: n names of groups, or None.
    """
    arrays = {"id": pa.array(ids, pa.string()), "input": pa.array(inputs, pa.string())}
    columns = {"target": target, "split": split, "group": group}
    arrays |= {name: pa.array(values) for name, values in columns.items() if values is not None}
    named = "label" if target is not None else None
    return Samples(pa.table(arrays), modality=modality, inline=inline, source=source, target_name=named)
