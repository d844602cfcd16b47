"""What an engine is."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float

from headstart.backbones.backbone import Backbone
from headstart.data.preparation import Batch


class Engine(ABC):
    """A plug-in of `features.engines`: owns device, streams and copies; NumPy only at its end. It is no part of a row's identity."""

    @abstractmethod
    def run(self, backbone: Backbone, batches: Iterable[Batch]) -> Iterator[tuple[Float[np.ndarray, "n d"], ...]]:
        """Rows of each batch in order, float32, one array per spec of the backbone."""
