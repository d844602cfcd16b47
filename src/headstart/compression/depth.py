"""Fewer blocks: the head fitted on two earlier layers, and the rest of the network dropped.

That a head on several layers keeps what a network's end has made of them is from Evci et al., "Head2Toe" (2022), arXiv:2201.03529.
"""

from collections.abc import Iterator
from functools import partial

from headstart.backbones.network import NetworkBackbone
from headstart.backbones.precision import FLOAT32
from headstart.compression.half import ENGINES, quickest, written
from headstart.compression.method import Candidate, Method, Source, no_network

# Of the blocks, those that are kept.
_SHARES = (0.85, 0.7, 0.5, 0.35)


class Depth(Method):
    """What follows the last layer that is read is no part of the traced program, so that it is neither written nor run."""

    def refusal(self, source: Source) -> str:
        """It takes a list of blocks, and a network that reads one layer."""
        model = source.model
        if not isinstance(model.backbone, NetworkBackbone):
            return no_network(source)
        if model.report.tuned:
            return "the blocks that were trained are the last ones, and without them the head fits nothing"
        if len(model.backbone.specs) > 1:
            return "the model reads several layers"
        return "" if len(_blocks(model.backbone)) > 2 else "the network has no list of blocks"

    def candidates(self, source: Source) -> Iterator[Candidate]:
        """One for each share of the blocks that is kept. All layers that any of them reads come from one run over the samples."""
        from headstart.backbones.network import reread

        assert isinstance(source.model.backbone, NetworkBackbone)
        blocks = _blocks(source.model.backbone)
        precision, runtime = quickest(source)
        through = ENGINES[runtime]
        shares = dict.fromkeys(round(share * len(blocks)) for share in _SHARES)
        reads = {kept: _read(blocks, kept) for kept in shares if 0 < kept < len(blocks)}
        every = dict.fromkeys(layer for layers in reads.values() for layer in layers)
        source.extract(reread(source.model.backbone, layer=",".join(every)))
        for kept, read in reads.items():
            backbone = reread(source.model.backbone, layer=",".join(read))
            yield Candidate(
                f"{kept} of {len(blocks)} blocks",
                f"a head on {' and '.join(read)}, the blocks after it dropped, in {precision} through {through}",
                source.refit(backbone, "auto"),
                partial(written, precision=precision, runtime=runtime),
                anew=precision != FLOAT32,
            )


PLUGIN = Depth()


def _read(blocks: tuple[str, ...], kept: int) -> tuple[str, ...]:
    """The last of the blocks that are kept, and before it the one at half of them."""
    return tuple(dict.fromkeys(blocks[at - 1] for at in ((kept + 1) // 2, kept)))


def _blocks(backbone: NetworkBackbone) -> tuple[str, ...]:
    from headstart.backbones.readout import block_paths

    return block_paths(backbone.module.feed.net)
