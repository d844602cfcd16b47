"""All layers of a network at once: which there are to read."""

from dataclasses import replace

from headstart.backbones.backbone import EVERY, Backbone, BackboneRequest
from headstart.backbones.choice import open_backbone

SCAN = "scan"
"""What stands for every layer where one is asked for."""


def open_every_layer(request: BackboneRequest) -> Backbone:
    """The backbone that reads its usual layer and each of its blocks, in one pass; specs in the order of the blocks, the usual one last.

    Raises:
        BackboneError: the network has no list of blocks.
    """
    return open_backbone(replace(request, layer=EVERY, pooling=""))
