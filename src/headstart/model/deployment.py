"""The class shares where a model will be used, as `--deployment-prior` states them."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from headstart.core.errors import DataError, UsageError, suggest

TOLERANCE = 1e-3
"""Shares are typed by hand: their sum may differ from 1 by this."""
AT_OWN_SHARES = (
    "probabilities are under the deployment prior; log-loss, calibration error and the coverage of sets are of samples at their own"
    " class shares"
)
"""What a person has to know of figures of a model that has such shares."""


def read_prior(text: str | Mapping[str, float], *, task: str, labels: Sequence[str]) -> tuple[float, ...] | None:
    """The shares that a text or a CSV file states, in the order of the labels, adding up to 1; None for an empty text.

    Args:
        text: `a=0.3,b=0.7`, or the path of a CSV file with a line for each label: its name and its share, below a line of headings; or the
            shares by label.
        task: the task's name.
        labels: the k names.

    Raises:
        UsageError: samples of the task have not one label each, or a label or share is none; DataError: the file cannot be read.
    """
    if not text:
        return None
    if task != "single_label":
        raise UsageError(
            f"--deployment-prior is for labels of which a sample has one, and the task is {task}: leave it away"
        )
    pairs = _pairs(text)
    found: dict[str, float] = {}
    for label, share in pairs:
        if label not in labels:
            raise UsageError(f"the deployment prior names {label!r}, which is no label.{suggest(label, labels)}")
        if label in found:
            raise UsageError(f"the deployment prior names {label!r} twice")
        found[label] = _share(share, label=label)
    if missing := [label for label in labels if label not in found]:
        raise UsageError(f"the deployment prior has to give every label a share, and lacks {missing[0]!r}")
    total = math.fsum(found.values())
    if abs(total - 1.0) > TOLERANCE:
        raise UsageError(f"the shares of the deployment prior have to add up to 1, and add up to {total:.6g}")
    return tuple(found[label] / total for label in labels)


def _pairs(given: str | Mapping[str, float]) -> list[tuple[str, str]]:
    if not isinstance(given, str):
        return [(label, repr(float(share))) for label, share in given.items()]
    return _of_file(Path(given)) if "=" not in given or Path(given).is_file() else _of_text(given)


def _of_text(text: str) -> list[tuple[str, str]]:
    pairs = [part.rpartition("=") for part in text.split(",")]
    return [(label.strip(), share) for label, _, share in pairs]


def _of_file(path: Path) -> list[tuple[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"a deployment prior is written a=0.3,b=0.7 or as a CSV file, and {path} cannot be read as one: {error}"
        ) from error
    return [(row[0].strip(), row[1] if len(row) > 1 else "") for row in table[1:]]


def _share(text: str, *, label: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0.0 < share < 1.0:
        raise UsageError(
            f"the deployment prior has to give {label!r} a share between 0 and 1, and gives {text.strip()!r}"
        )
    return share
