"""What a method of compression is, and what it makes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line lists the methods, and must not wait for what they work on
    import numpy as np

    from headstart.backbones.backbone import Backbone
    from headstart.backbones.exported import ExportedBackbone
    from headstart.data.preparation import Batch
    from headstart.model.model import Model


@dataclass(frozen=True)
class Source:
    """What is compressed.

    Attributes:
        model: as it was fitted.
        views: prepared views of training samples, several hundred: what quantisation is calibrated on.
        refit: from another backbone and a head's recipe to a model of the same kind, whose head is fitted anew on that backbone's rows of the
            training samples.
        teach: a student that was taught by the model; None where none was named.
        views_of: the same samples as `views`, as another backbone's preparation makes them.
        extract: runs a backbone over the training samples and keeps the rows of all layers that it reads, so that heads on any of them are fitted
            without another run.
        runtime: tells the quicker one for this network in float32, `openvino` or `onnx`; measured where it is first asked for.
    """

    model: "Model"
    views: "Sequence[np.ndarray]" = field(repr=False)
    refit: "Callable[[Backbone, str], Model]"
    teach: "Callable[[], Model] | None" = None
    views_of: "Callable[[Backbone], Sequence[np.ndarray]]" = field(default=lambda _backbone: (), repr=False)
    extract: "Callable[[Backbone], object]" = field(default=lambda _backbone: None, repr=False)
    runtime: "Callable[[], str]" = field(default=lambda: "openvino", repr=False)

    def batches(self) -> "Iterator[Batch]":
        """The views one by one, as batches: lengths are those of what will be asked."""
        for view in self.views:
            yield self.model.backbone.preparation.collate([view])


def no_network(source: Source) -> str:
    """Why nothing of a model can be written, as what it has is no network of torch; empty where it is one."""
    from headstart.backbones.network import NetworkBackbone

    model = source.model
    return "" if isinstance(model.backbone, NetworkBackbone) else f"{model.report.backbone} is no network of torch"


@dataclass(frozen=True)
class Candidate:
    """One way of compressing a model.

    Attributes:
        name: what the table calls it, such as `int8`.
        how: what is done, for a person.
        model: whose network is written: the source's, or one with another backbone and head.
        write: writes that network, with the head and temperature of the model that it is given, into a folder, and opens it.
        anew: whether the head is fitted once more on the rows of what was written, as that of the source's own network is.
    """

    name: str
    how: str
    model: "Model"
    write: "Callable[[Model, Path], ExportedBackbone]"
    anew: bool = False


class Method(ABC):
    """A plug-in of `compression`."""

    @abstractmethod
    def refusal(self, source: Source) -> str:
        """Why it cannot compress this model here, as what follows "NAME is not tried: "; empty where it can."""

    @abstractmethod
    def candidates(self, source: Source) -> Iterator[Candidate]:
        """What it has to offer, each made where it is asked for."""
