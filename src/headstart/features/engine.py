"""What an engine is."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float

from headstart.backbones.backbone import Backbone
from headstart.data.preparation import Batch


class Engine(ABC):
    """A plug-in of `features.engines`: owns device, streams and copies; NumPy only at its end. It is no part of a row's identity.

    Attributes:
        starts_at_once: whether its first row needs no compiling.
        scale: how many of the preparation's batch budgets one batch of this engine holds.
    """

    starts_at_once: bool = True
    scale: float = 1.0

    @abstractmethod
    def refusal(self, backbone: Backbone) -> str:
        """Why it cannot run this backbone here, as what follows "cannot be used: "; empty where it can."""

    def gain(self, backbone: Backbone) -> float:  # noqa: ARG002  (for some it is the same for all)
        """Rows a second, in parts of what eager makes on the same device, as measured. `auto` weighs it against `setup`."""
        return 1.0

    def setup(self, backbone: Backbone) -> float:  # noqa: ARG002  (most engines need none)
        """Seconds before its first row, as far as can be told: 0 where it starts at once or is ready in this process already."""
        return 0.0

    def forms(self, backbone: Backbone) -> int:  # noqa: ARG002  (most engines have one)
        """How many ways of running the network it has made ready: with each new one its rows are checked anew."""
        return 1

    def expect(self, backbone: Backbone) -> None:  # noqa: B027  (most engines have nothing to make)
        """Begin to make, beside what else is done, what batches that come one after another need and the very first does not."""

    def forget(self, backbone: Backbone) -> None:  # noqa: B027  (most engines keep nothing)
        """Drop what was made ready for the backbone, in this process and on disk: its rows were not to be believed, or memory ran out."""

    @abstractmethod
    def run(self, backbone: Backbone, batches: Iterable[Batch]) -> Iterator[tuple[Float[np.ndarray, "n d"], ...]]:
        """Rows of each batch in order, float32, one array per spec of the backbone. It may take several batches ahead.

        Whatever it raises is an event and no end: the batches that it has taken and not answered are run by another engine.
        """
