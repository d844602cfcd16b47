"""Networks that another framework runs, read as a network of torch is.

`open_graph` reads a `Graph` with the machinery for torch networks, so that layers, poolings
and their refusals are the same everywhere. The backbone is no `TorchBackbone`: engines that compile, move or narrow a network of torch
refuse it, and the engine `eager` runs it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from headstart.backbones.backbone import Architecture, Backbone, BackboneRequest
from headstart.backbones.feeds import Colour, Feed, ImageFeed, Layout, Outcome
from headstart.backbones.graph import Graph, Port, layers_of
from headstart.backbones.network import Network, NetworkBackbone, colour, described_by, freeze, recipe_of, refreeze
from headstart.backbones.precision import FLOAT32, settle
from headstart.core.errors import BackboneError, ModelError, UsageError, gist, is_out_of_memory
from headstart.core.spec import BackboneSpec
from headstart.data.modalities import preparation
from headstart.data.modalities.audio import AudioRecipe
from headstart.data.modalities.image import ImageRecipe
from headstart.data.modalities.text import TextRecipe
from headstart.data.preparation import Batch, Preparation

_PIXELS, _SAMPLES, _WHOLE = (
    ("float32", "float16", "float64", "uint8"),
    ("float32", "float16", "float64"),
    ("int64", "int32"),
)
# What exporters call the inputs of a text network.
_TEXT_NAMES = {
    "ids": ("input_ids", "input_word_ids", "input_tokens", "ids", "tokens"),
    "mask": ("attention_mask", "input_mask", "mask"),
    "types": ("token_type_ids", "input_type_ids", "segment_ids"),
}


@dataclass(frozen=True)
class GraphBackbone(Backbone):
    """A graph that is read.

    Attributes:
        readout: reads it as a network of torch is read.
    """

    specs: tuple[BackboneSpec, ...]
    preparation: Preparation
    architecture: Architecture
    readout: NetworkBackbone
    warnings: tuple[str, ...] = field(default=())

    def embed(self, batch: Batch) -> tuple[Float[np.ndarray, "n d"], ...]:
        """Rows of a batch, one array per spec.

        Raises:
            BackboneError: the graph takes no such batch, or makes other rows of it than one a sample of its specs' width.
        """
        rows = self.readout.embed(batch)
        for row, spec in zip(rows, self.specs, strict=True):
            if row.shape != (len(batch), spec.dim):
                raise BackboneError(
                    f"{spec.title} makes rows {row.shape} of {len(batch)} samples, and its rows are of {spec.dim} numbers"
                )
        return rows

    def tensors(self) -> dict[str, np.ndarray]:
        """The graph's content."""
        return self.readout.tensors()


class Places(nn.Module):
    """Named places at which a readout's hooks see what passes. The path of a place is its name: dots make modules within modules."""

    def __init__(self, layers: Sequence[str]) -> None:
        super().__init__()
        for name in layers:
            _add_place(self, name.split("."))

    def show(self, layer: str, output: torch.Tensor) -> None:
        """Let a layer's output pass its place."""
        self.get_submodule(layer)(output)


class GraphNet(Places):
    """A graph as a module: its tensors are the graph's content, its modules the layers."""

    def __init__(self, graph: Graph, layer: str) -> None:
        super().__init__(graph.layers)
        self._graph, self._read = graph, layers_of(layer)
        for name, array in graph.content.items():
            self.register_buffer(name, as_torch(array))

    def forward(self, inputs: Mapping[str, np.ndarray]) -> torch.Tensor | None:
        """Run the graph and show what is read; returns the default output where that is read.

        Raises:
            BackboneError: the graph takes no such batch, or makes something else than numbers of it.
        """
        default = self._graph.layers[0]
        names = tuple(dict.fromkeys(name or default for name in self._read))
        try:
            outputs = dict(zip(names, map(as_torch, self._graph.run(inputs, names)), strict=True))
        except Exception as error:  # whatever its library raises for a graph that is not what its inputs say
            if is_out_of_memory(error):
                raise
            raise BackboneError(
                f"{self._graph.title} cannot be run on what is prepared for it: {gist(error)}"
            ) from error
        for name in filter(None, self._read):
            self.show(name, outputs[name])
        return outputs[default] if "" in self._read else None


class GraphImageFeed(ImageFeed):
    """Pixels for a graph: scaled where it takes numbers, as they are where it takes bytes."""

    def __init__(self, net: GraphNet, port: Port, *, channels_last: bool, colour: Colour) -> None:
        super().__init__(net, Layout(channels_last=channels_last), colour=colour)
        self.port = port

    def forward(self, values: torch.Tensor, lengths: torch.Tensor) -> Outcome:
        """Run the graph."""
        del lengths
        pixels = values.permute(0, 3, 1, 2) if self.port.dtype == "uint8" else self.pixels(values)
        pixels = pixels.permute(0, 2, 3, 1) if self.layout.channels_last else pixels
        return Outcome(self.net({self.port.name: np.ascontiguousarray(pixels.numpy(), dtype=self.port.dtype)}))


class GraphSequenceFeed(Feed):
    """Token ids with a mask of what is no padding and types of 0, or samples, for a graph, which may want them at one length."""

    def __init__(self, net: GraphNet, ports: Mapping[str, Port]) -> None:
        super().__init__(net, Layout(has_class_token=True))
        self.ports = dict(ports)
        self.length = next(iter(ports.values())).shape[1]
        self.fixed = self.length is not None

    def front(self, values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Padded to the length that the graph wants."""
        del lengths
        return values if self.length is None else nn.functional.pad(values, (0, self.length - values.shape[1]))

    def forward(self, values: torch.Tensor, lengths: torch.Tensor) -> Outcome:
        """Run the graph."""
        real = torch.arange(values.shape[1]) < lengths[:, None]
        arrays = {"ids": values, "samples": values, "mask": real, "types": torch.zeros_like(values)}
        return Outcome(
            self.net({port.name: arrays[kind].numpy().astype(port.dtype) for kind, port in self.ports.items()})
        )


def open_graph(graph: Graph, request: BackboneRequest, *, architecture: Architecture) -> GraphBackbone:
    """The backbone that reads a graph as a person asks for.

    Raises:
        BackboneError: the graph takes something else than images, texts or recordings, has no such layer, or cannot be run.
        UsageError: a pooling, precision or preparation option does not exist or does not fit.
    """
    if settle(request.precision, {}) != FLOAT32:
        raise UsageError(
            f"{graph.title} runs in float32 only, and got the precision {request.precision!r}: leave it out"
        )
    modality = str(request.prepare.get("modality") or modality_of(graph))
    base = base_of(graph, modality, rate=request.prepare.get("rate"))
    recipe, assets = described_by(request, modality=modality, base=base)
    network = _network(graph, preparation(recipe, assets), layer=request.layer, architecture=architecture)
    found = freeze(network, layer=request.layer, pooling=request.pooling, precision=FLOAT32)
    unsaid = modality == "image" and not {"mean", "std"} & set(request.prepare)
    return _backbone(found, (scale_warning(graph.title),) if unsaid and graph.inputs[0].dtype != "uint8" else ())


def reopen_graph(
    graph: Graph, specs: tuple[BackboneSpec, ...], *, architecture: Architecture, assets: Mapping[str, bytes]
) -> GraphBackbone:
    """The backbone of a graph that was saved, read as its specs say.

    Raises:
        ModelError: the graph cannot be run, or what comes out is not what the specs say.
    """
    layer = ",".join(spec.layer for spec in specs)
    try:
        network = _network(graph, preparation(specs[0].prepare, dict(assets)), layer=layer, architecture=architecture)
        return _backbone(refreeze(network, specs, tensors=lambda: graph.content), ())
    except (BackboneError, UsageError) as error:
        raise ModelError(f"the saved backbone {graph.title} cannot be read: {error}") from error


def scale_warning(title: str) -> str:
    """The sentence for pixels whose scale nobody has said."""
    return (
        f"nothing in the file of {title} says how it wants pixels scaled, so they have the mean and deviation of ImageNet: where it was trained"
        " with others, say so with --prepare mean=(0.5,0.5,0.5) --prepare std=(0.5,0.5,0.5)"
    )


def as_torch(array: np.ndarray) -> torch.Tensor:
    """A tensor over the array's own memory, or over a copy where torch could not write to it."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def _add_place(module: nn.Module, path: Sequence[str]) -> None:
    """Names that a module cannot have are left out: they cannot be asked for either."""
    name, rest = path[0], path[1:]
    if not name or (hasattr(module, name) and name not in module._modules):  # noqa: SLF001  (named_children skips doubles)
        return
    if name not in module._modules:  # noqa: SLF001  (likewise)
        module.add_module(name, nn.Identity())
    if rest:
        _add_place(module.get_submodule(name), rest)


def _backbone(found: NetworkBackbone, warnings: tuple[str, ...]) -> GraphBackbone:
    return GraphBackbone(found.specs, found.preparation, found.architecture, found, warnings)


def modality_of(graph: Graph) -> str:
    """What a graph takes, told from the axes and types of its inputs.

    Raises:
        BackboneError: none of what headstart prepares.
    """
    first = graph.inputs[0] if graph.inputs else Port("", "", ())
    if len(graph.inputs) == 1 and len(first.shape) == 4 and first.dtype in _PIXELS:
        return "image"
    if len(graph.inputs) == 1 and len(first.shape) == 2 and first.dtype in _SAMPLES:
        return "audio"
    if graph.inputs and all(len(port.shape) == 2 and port.dtype in _WHOLE for port in graph.inputs):
        return "text"
    listed = ", ".join(f"{port.name} {port.dtype} {_shown(port.shape)}" for port in graph.inputs)
    raise BackboneError(
        f"{graph.title} takes {listed or 'nothing'}, and a backbone takes one batch of pixels (n, 3, h, w) or (n, h, w, 3), of token ids (n, t)"
        " with their masks, or of samples (n, s)"
    )


def _shown(shape: Sequence[int | None]) -> str:
    return "(" + ", ".join("any" if length is None else str(length) for length in shape) + ")"


def _channels_last(graph: Graph) -> bool:
    """Whether pixels lie (n, h, w, 3).

    Raises:
        BackboneError: no axis can be that of three channels.
    """
    shape = graph.inputs[0].shape
    first, last = shape[1] in {3, None}, shape[3] in {3, None}
    if not first and not last:
        raise BackboneError(f"{graph.title} takes {_shown(shape)}, and images are (n, 3, h, w) or (n, h, w, 3)")
    if first and last:
        return graph.channels_last if (shape[1] is None) == (shape[3] is None) else shape[3] == 3
    return last


def base_of(graph: Graph, modality: str, *, rate: object) -> dict[str, object]:
    """What the shapes of a graph's inputs settle of its preparation.

    Raises:
        BackboneError: the graph does not take the modality.
    """
    if modality != modality_of(graph):
        raise BackboneError(f"{graph.title} takes {modality_of(graph)} input, and got the modality {modality!r}")
    shape = graph.inputs[0].shape
    if modality == "image":
        sides = shape[1:3] if _channels_last(graph) else shape[2:4]
        known = {side for side in sides if side is not None}
        if len(known) > 1:
            raise BackboneError(
                f"{graph.title} takes images of {_shown(sides)} pixels, and headstart prepares square ones"
            )
        return {"size": known.pop()} if known else {}
    length = shape[1]
    if length is None:
        return {}
    if modality == "text":
        return {"max_tokens": length}
    window = length / (rate if isinstance(rate, int) and rate > 0 else AudioRecipe().rate)
    return {"window": window, "buckets": (window,)}


def _network(graph: Graph, prepared: Preparation, *, layer: str, architecture: Architecture) -> Network:
    """A graph with its feed.

    Raises:
        UsageError: the preparation makes samples of another size than the graph takes.
    """
    net, recipe, base = GraphNet(graph, layer), recipe_of(prepared), base_of(graph, prepared.modality, rate=None)
    feed: Feed
    if isinstance(recipe, ImageRecipe):
        if base.get("size", recipe.size) != recipe.size:
            raise UsageError(f"{graph.title} takes images of {base['size']} pixels, and got size={recipe.size}")
        feed = GraphImageFeed(net, graph.inputs[0], channels_last=_channels_last(graph), colour=colour(prepared))
    else:
        longest = recipe.max_tokens if isinstance(recipe, TextRecipe) else round(recipe.window * recipe.rate)
        length = graph.inputs[0].shape[1]
        if length is not None and longest > length:
            unit = "tokens" if isinstance(recipe, TextRecipe) else "samples"
            raise UsageError(f"{graph.title} takes {length} {unit}, and its preparation makes up to {longest}")
        feed = GraphSequenceFeed(net, _ports(graph) if isinstance(recipe, TextRecipe) else {"samples": graph.inputs[0]})
    return Network(feed, prepared, architecture, default_layer="", default_pooling="mean")


def _ports(graph: Graph) -> dict[str, Port]:
    """A text graph's inputs by what they are for.

    Raises:
        BackboneError: one of several is called by no name that says so.
    """
    if len(graph.inputs) == 1:
        return {"ids": graph.inputs[0]}
    found: dict[str, Port] = {}
    for port in graph.inputs:
        bare = port.name.partition(":")[0].lower()
        kind = next((kind for kind, names in _TEXT_NAMES.items() if bare in names and kind not in found), None)
        if kind is None:
            known = ", ".join(names[0] for names in _TEXT_NAMES.values())
            raise BackboneError(f"{graph.title} takes an input {port.name!r}, and headstart knows {known} of texts")
        found[kind] = port
    if "ids" not in found:
        raise BackboneError(f"{graph.title} has no input of token ids, such as input_ids")
    return dict(sorted(found.items()))
