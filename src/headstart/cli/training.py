"""What `tune` and `distil` have in common: where they write, and how they hand over."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from headstart.model.model import Model


class Found(Protocol):
    """What a training came to."""

    @property
    def model(self) -> "Model":
        """What is written."""

    def to_json(self, model: str | None = None) -> dict[str, Any]:
        """What is printed with `--json`."""


F = TypeVar("F", bound=Found)


def places(options: argparse.Namespace, *, source: str) -> tuple[Path, Path]:
    """The directory of the model to come and the run's folder.

    Args:
        options: of the command line.
        source: the directory of the model that it is made of, which stays as it is.

    Raises:
        UsageError: one of them holds something else, or lies where it must not.
    """
    from headstart.core.files import check_apart, refuse_inside_data
    from headstart.model.saving import refuse_if_not_ours
    from headstart.tuning.runs import check_folder

    out = Path(options.out)
    check_apart(out, source)
    refuse_if_not_ours(out)
    refuse_inside_data(out, options.data)
    folder = Path(options.folder) if options.folder else out.with_name(f"{out.name}.tuning")
    check_folder(folder)
    check_apart(folder, out, options.data, source)
    return out, folder


def deliver(found: F, options: argparse.Namespace, *, out: Path, folder: Path, show: Callable[[F, Path], None]) -> int:
    """Save the model, remove the run and show what was found; of several processes the first one does."""
    from headstart.cli.output import print_json
    from headstart.tuning.devices import wait_and_lead
    from headstart.tuning.runs import clear

    if not wait_and_lead():
        return 0
    found.model.save(out)
    clear(folder)
    if options.json:
        print_json(found.to_json(str(out)))
    else:
        show(found, out)
    return 0
