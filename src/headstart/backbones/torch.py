"""A user's own torch module, convolutional, recurrent or attention: an object in Python, an installed entry point on the command line."""

import copy
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.backbones.backbone import Architecture, Backbone, BackboneRequest, CatalogueEntry, Source
from headstart.backbones.network import Network, colour, described_by, freeze, need, prepared_by, refreeze
from headstart.core import recipes
from headstart.core.errors import BackboneError, ModelError, UsageError, suggest
from headstart.core.registry import entry_points
from headstart.core.spec import BackboneSpec
from headstart.data.modalities import MODALITIES, preparation
from headstart.data.preparation import Preparation

if TYPE_CHECKING:
    from torch import nn

GROUP = "headstart.modules"


class TorchSource(Source):
    """Modules that headstart does not know.

    In Python: `BackboneRequest("torch", "mine", module=net, prepare={"modality": "image", "size": 64})`; for texts `prepare` also names
    the file of a `tokenizer`. On the command line: the name of an entry point in the group `headstart.modules`, a function without
    parameters that returns the module, a recipe string such as `image(size=64)` and, for texts, the assets `{"tokenizer.json": bytes}`.

    A module for images takes (n, 3, h, w) float pixels, mean and deviation done; one for texts (n, t) token ids, padded with 0; one for
    recordings (n, s) samples; the last two also (n,) lengths where they take a second argument. It returns (n, d) rows, (n, t, d) tokens
    or (n, c, h, w) maps, which are pooled. To be batch-invariant it has to mask the padding by the lengths itself.

    Its identity is its tensors, its form as `repr` shows it, the source text of its classes, and the plain settings of its parts;
    functions that its `forward` calls elsewhere are not looked at.
    """

    def catalogue(self) -> tuple[CatalogueEntry, ...]:
        """The installed entry points; none is imported."""
        return tuple(
            CatalogueEntry(
                f"torch:{point.name}", "", f"A module of {point.value.partition(':')[0]}", "", None, installed=True
            )
            for point in sorted(_points().values(), key=lambda point: point.name)
        )

    def open(self, request: BackboneRequest) -> Backbone:
        """A frozen copy of the module; the person's own is left as it is.

        Raises:
            BackboneError: no module is given and no entry point has the name, or weights or layer do not fit.
            UsageError: `prepare` does not say what the module takes.
        """
        need("torch", f"the backbone torch:{request.name}")
        if request.module is not None:
            net, recipe, assets = copy.deepcopy(request.module), *_asked(request)
        else:
            net, recipe, assets = _from_point(request.name)
            modality, options = recipes.split(recipe)
            recipe = recipes.to_string(modality, prepared_by(_known(modality), options, request=request))
        if request.weights is not None:
            from headstart.backbones import weights

            weights.load(net, weights.read(request.weights), origin=str(request.weights))
        network = _network(request.name, net, preparation(recipe, assets))
        return freeze(network, layer=request.layer, pooling=request.pooling, precision=request.precision)

    def rebuild(
        self,
        architecture: Architecture,
        specs: tuple[BackboneSpec, ...],
        *,
        assets: Mapping[str, bytes],
        tensors: Callable[[], Mapping[str, np.ndarray]],
        module: "nn.Module | None" = None,
    ) -> Backbone:
        """The saved backbone: the saved tensors in a copy of `module`, or in what the entry point of its name makes.

        Raises:
            ModelError: there is neither, it is not the module that the model was fitted with, or the tensors do not fit.
        """
        need("torch", f"the backbone torch:{architecture.name}")
        from headstart.backbones import module_identity

        if module is None and architecture.name not in _points():
            raise ModelError(
                f"the backbone torch:{architecture.name} is a person's own module, which a model directory does not hold: give it with"
                f" hs.load(path, module=...), or install the package whose entry point {architecture.name!r} in {GROUP} makes it"
            )
        net = copy.deepcopy(module) if module is not None else _from_point(architecture.name)[0]
        network = _network(architecture.name, net, preparation(specs[0].prepare, dict(assets)))
        if other := module_identity.differences(network.architecture.options, architecture.options):
            raise ModelError(
                f"the module given for torch:{architecture.name} is not the one that the model was fitted with: it differs in {other};"
                " give the same classes with the same settings"
            )
        return refreeze(network, specs, tensors=tensors)


PLUGIN = TorchSource()


def _points() -> Mapping[str, metadata.EntryPoint]:
    return entry_points(GROUP)


def _from_point(name: str) -> tuple["nn.Module", str, dict[str, bytes]]:
    """What an entry point makes.

    Raises:
        BackboneError: there is none, or it makes something else.
    """
    import torch

    points = _points()
    if name not in points:
        raise BackboneError(
            f"there is no module {name!r}: in Python give BackboneRequest(module=...), on the command line install a package with an entry"
            f" point of that name in the group {GROUP}.{suggest(name, points)}"
        )
    made: Any = points[name].load()()
    if (
        not isinstance(made, tuple)
        or len(made) not in {2, 3}
        or not isinstance(made[0], torch.nn.Module)
        or not isinstance(made[1], str)
    ):
        raise BackboneError(
            f"the entry point {name!r} in {GROUP} has to return (module, recipe) or (module, recipe, assets), and returns {type(made).__name__}"
        )
    return made[0], made[1], dict(made[2]) if len(made) == 3 else {}


def _known(modality: Any) -> str:
    if modality not in MODALITIES.names():
        raise UsageError(
            "a module of one's own needs prepare={'modality': 'image' | 'text' | 'audio', ...}, which says what it takes, and got the modality"
            f" {modality!r}"
        )
    return str(modality)


def _asked(request: BackboneRequest) -> tuple[str, dict[str, bytes]]:
    """The recipe and assets that `prepare` describes."""
    return described_by(request, modality=_known(request.prepare.get("modality")), base={})


def _network(name: str, net: "nn.Module", prepared: Preparation) -> Network:
    from headstart.backbones import module_identity
    from headstart.backbones.feeds import PlainImageFeed, PlainSequenceFeed

    image = prepared.modality == "image"
    feed = PlainImageFeed(net, colour=colour(prepared)) if image else PlainSequenceFeed(net)
    return Network(
        feed=feed,
        preparation=prepared,
        architecture=Architecture("torch", name, module_identity.options(net), ""),
        default_layer="",
        default_pooling="mean",
    )
