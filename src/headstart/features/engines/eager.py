"""Runs the backbone as it is, batch by batch, on the device that it is on."""

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float

from headstart.backbones.backbone import Backbone
from headstart.data.preparation import Batch
from headstart.features.engine import Engine


class Eager(Engine):
    """The plain way, which other engines are checked against."""

    def run(self, backbone: Backbone, batches: Iterable[Batch]) -> Iterator[tuple[Float[np.ndarray, "n d"], ...]]:
        """Rows of each batch in order."""
        return (backbone.embed(batch) for batch in batches)


PLUGIN = Eager()
