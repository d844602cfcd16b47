"""What a format of exports is."""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.core.errors import ExtraMissing

if TYPE_CHECKING:
    from headstart.exporting.tracing import Traced


class Format(ABC):
    """A plug-in of `exporting`.

    Attributes:
        libraries: what has to be installed to write it, by the names that are imported.
        extra: the extra that installs them.
        runtime: the distribution that opens it, with the least version, as a line of requirements.txt.
        files: the names of the files that it writes; the first is the one that the runtime opens.
    """

    libraries: tuple[str, ...]
    extra: str
    runtime: str
    files: tuple[str, ...]

    def check_installed(self, purpose: str) -> None:
        """Refuse what cannot be written here.

        Raises:
            ExtraMissing: a library is not installed.
        """
        for library in self.libraries:
            if importlib.util.find_spec(library) is None:
                raise ExtraMissing.of(library, self.extra, purpose=purpose)

    @abstractmethod
    def write(self, traced: "Traced", folder: Path, *, told: Mapping[str, str]) -> None:
        """Write the graph into a folder.

        Args:
            traced: the model's graph.
            folder: where.
            told: what the file's own metadata hold, by name.

        Raises:
            ExportError: the format has no operator for something in the network.
        """
