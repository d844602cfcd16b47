"""Fewer pixels: the same network on smaller pictures, its head fitted anew on their rows."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from headstart.backbones.network import NetworkBackbone
from headstart.backbones.precision import FLOAT32
from headstart.backbones.runtimes import INT8
from headstart.compression import int8
from headstart.compression.half import narrowest, written
from headstart.compression.method import Candidate, Method, Source, no_network
from headstart.core import recipes
from headstart.data.modalities import preparation
from headstart.data.modalities.image import ImageRecipe
from headstart.features.engines.channels_last import is_convolutional

# Of a side, and what sides are a multiple of.
_SHARES, _STEP = (0.86, 0.71), 16


class Pixels(Method):
    """A network of convolutions takes as long as there are pixels: three quarters of them at 192 a side in place of 224."""

    def refusal(self, source: Source) -> str:
        """It takes a frozen network of convolutions over images: a vision transformer has as many positions as it was trained on."""
        model = source.model
        if not isinstance(model.backbone, NetworkBackbone):
            return no_network(source)
        if model.modality != "image" or not is_convolutional(model.backbone):
            return "the network is not made of convolutions over images"
        return "the network was trained at its size" if model.report.tuned else ""

    def candidates(self, source: Source) -> Iterator[Candidate]:
        """One for each size, in bfloat16 where the processor has the units, else in 8 bits where they can be made."""
        backbone = source.model.backbone
        assert isinstance(backbone, NetworkBackbone)
        side = _recipe(backbone).size
        precision = narrowest()
        if precision == FLOAT32 and not int8.PLUGIN.refusal(source):
            precision = INT8
        for size in dict.fromkeys(_STEP * round(share * side / _STEP) for share in _SHARES):
            if not _STEP <= size < side:
                continue
            smaller = _resized(backbone, size)
            model = source.refit(smaller, source.model.report.head)
            write = partial(written, precision=precision)
            if precision == INT8:
                calibrates = replace(source, model=model, views=source.views_of(smaller))
                write = partial(int8.written, source=calibrates, precision=precision)
            how = f"pictures of {size} pixels a side in place of {side}, in {precision} through OpenVINO"
            yield Candidate(f"{size} pixels, {precision}", how, model, write, anew=True)


PLUGIN = Pixels()


def _recipe(backbone: NetworkBackbone) -> ImageRecipe:
    name, options = recipes.split(backbone.specs[0].prepare)
    return recipes.build(ImageRecipe, name, options=options)


def _resized(backbone: NetworkBackbone, size: int) -> NetworkBackbone:
    """The same network with another preparation."""
    name, _ = recipes.split(backbone.specs[0].prepare)
    recipe = recipes.to_string(name, replace(_recipe(backbone), size=size))
    specs = tuple(replace(spec, prepare=recipe) for spec in backbone.specs)
    return replace(backbone, specs=specs, preparation=preparation(recipe, dict(backbone.preparation.assets)))
