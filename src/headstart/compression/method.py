"""What a method of compression is, and what it makes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headstart.backbones.backbone import Backbone
from headstart.backbones.exported import ExportedBackbone
from headstart.model.model import Model

if TYPE_CHECKING:
    from headstart.data.preparation import Batch


@dataclass(frozen=True)
class Source:
    """What is compressed.

    Attributes:
        model: as it was fitted.
        views: prepared views of training samples, several hundred: what quantisation is calibrated on.
        refit: a model of the same kind whose head is fitted anew on the rows of another backbone, from the training samples.
    """

    model: Model
    views: Sequence[np.ndarray] = field(repr=False)
    refit: Callable[[Backbone], Model]

    def batches(self) -> "Iterator[Batch]":
        """The views one by one, as batches: lengths are those of what will be asked."""
        for view in self.views:
            yield self.model.backbone.preparation.collate([view])


@dataclass(frozen=True)
class Candidate:
    """One way of compressing a model.

    Attributes:
        name: what the table calls it, such as `int8`.
        how: what is done, for a person.
        model: whose network is written: the source's, or one with another backbone and head.
        write: writes that network, with the head and temperature of the model that it is given, into a folder, and opens it.
    """

    name: str
    how: str
    model: Model
    write: Callable[[Model, Path], ExportedBackbone]


class Method(ABC):
    """A plug-in of `compression`."""

    @abstractmethod
    def refusal(self, model: Model) -> str:
        """Why it cannot compress this model here, as what follows "NAME is not tried: "; empty where it can."""

    @abstractmethod
    def candidates(self, source: Source) -> Iterator[Candidate]:
        """What it has to offer, each made where it is asked for."""
