"""The options of the verbs that work on rows: how data is read, and what makes its rows."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.cli.arguments import add_running

if TYPE_CHECKING:
    from headstart.model.items import Items


def add_rows(parser: argparse.ArgumentParser, *, backbone: bool = True) -> None:
    """Columns, task, modality, backbone (where there is one), precision and engine."""
    data = parser.add_argument_group("data")
    data.add_argument("--target", metavar="COLUMN", help="the column that holds the label or number")
    data.add_argument("--input", metavar="COLUMN", help="the column that holds the text or the path of a file")
    data.add_argument(
        "--group", metavar="COLUMN", help="the column with the group (patient, speaker, slide) that must not be split"
    )
    data.add_argument(
        "--task", choices=["single_label", "multilabel", "multi_label", "regression"], help="what kind of target it is"
    )
    data.add_argument(
        "--separator", metavar="TEXT", help="what separates the labels of a multi-label cell, such as '|'"
    )
    data.add_argument("--modality", choices=["image", "text", "audio"], help="what the inputs are")
    rows = parser.add_argument_group("rows")
    if backbone:
        rows.add_argument("--backbone", metavar="SOURCE:NAME", help="such as timm:resnet50 (default: the first of the list for the "
                          "modality that is on this machine; see 'headstart models')")  # fmt: skip
    add_running(rows, "the backbone's own on this device")


def row_options(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of `RowOptions` that the command line gave."""
    from headstart.data.reading import ReadOptions

    task = "multi_label" if options.task == "multilabel" else options.task
    reading = ReadOptions(
        target=options.target,
        input=options.input,
        group=options.group,
        separator=options.separator,
        task=task,
        modality=options.modality,
        offline=options.offline,
    )
    return {
        "backbone": getattr(options, "backbone", None),
        "reading": reading,
        "offline": options.offline,
        "precision": options.precision,
        "engine": options.engine,
    }


def as_items(inputs: list[str], *, modality: str) -> "Items":
    """Among texts, what names a file is a file and everything else the text itself; for other modalities all are paths.

    Raises:
        UsageError: some texts are files and some are not.
    """
    from headstart.core.errors import UsageError

    if modality != "text":
        return Path(inputs[0]) if len(inputs) == 1 else [Path(each) for each in inputs]
    missing = [each for each in inputs if not _exists(each)]
    if missing and len(missing) < len(inputs):
        raise UsageError(f"some inputs name files and {missing[0]!r} does not; give either files or texts")
    if missing or not inputs:
        return list(inputs)
    return Path(inputs[0]) if len(inputs) == 1 else [Path(each) for each in inputs]


def _exists(text: str) -> bool:
    try:
        return bool(text.strip()) and Path(text).exists()
    except (OSError, ValueError):
        return False
