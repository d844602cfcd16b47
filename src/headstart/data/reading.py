"""What every reader takes and gives."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path

from headstart.data.samples import Samples


@dataclass(frozen=True)
class ReadOptions:
    """What a person may say about their data. None means: find out.

    Attributes:
        target: the column that holds the target.
        input: the column that holds the text or the path of a file.
        group: the column that holds the group, or for files `parent` (the folder) or a regular expression with one group that is
            matched against the file's name, such as `^(BloodImage_[0-9]+)`.
        separator: what separates the labels of one multi-label cell, such as `|`.
        task: `single_label`, `multi_label` or `regression`.
        modality: `image`, `text` or `audio`.
        labelled: whether a target is wanted; an unlabelled folder is read with False.
        offline: open no socket; only data sets that are named rather than lying on a disk are fetched.
    """

    target: str | None = None
    input: str | None = None
    group: str | None = None
    separator: str | None = None
    task: str | None = None
    modality: str | None = None
    labelled: bool = True
    offline: bool = False

    def kept(self) -> dict[str, str | bool | None]:
        """What a saved model keeps, to read other data alike; not how it is fetched."""
        return {name: value for name, value in asdict(self).items() if name != "offline"}


class Reader(ABC):
    """A plug-in of `data.readers`: one way in which data is handed out.

    Attributes:
        fallback: asked only where no other reader accepts a source, as it would accept nearly any.
        prefix: what a source begins with that is a name and no path, such as `hf:`; empty where all are paths.
    """

    fallback: bool = False
    prefix: str = ""

    @abstractmethod
    def accepts(self, source: tuple[Path, ...]) -> bool:
        """Whether this reader is for such a source, judged by a look at names and first bytes."""

    @abstractmethod
    def read(self, source: tuple[Path, ...], options: ReadOptions) -> Samples:
        """Read the source. Nothing in it is ever written to.

        Raises:
            DataError: the source cannot be used; one sentence says what was expected, what was found and what to do.
        """
