"""All layers of a network at once: which there are to read."""

from dataclasses import replace

from headstart.backbones.backbone import Backbone, BackboneRequest
from headstart.backbones.choice import open_backbone
from headstart.core.errors import BackboneError

SCAN = "scan"
"""What stands for every layer where one is asked for."""


def open_every_layer(request: BackboneRequest) -> Backbone:
    """The backbone that reads its usual layer and each of its blocks, in one pass; specs in the order of the blocks, the usual one last.

    Raises:
        BackboneError: the network has no list of blocks.
    """
    from headstart.backbones.readout import block_paths

    usual = open_backbone(replace(request, layer="", pooling=""))
    net = getattr(getattr(getattr(usual, "module", None), "feed", None), "net", None)
    blocks = () if net is None else block_paths(net)
    if not blocks:
        raise BackboneError(f"{request.source}:{request.name} has no list of blocks to scan: name layers with --layer")
    own = usual.specs[0].layer
    wanted = [block for block in blocks if block != own]
    return open_backbone(replace(request, layer=",".join([*wanted, own]), pooling=""))
