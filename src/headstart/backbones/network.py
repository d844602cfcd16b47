"""A torch network as a backbone: frozen, read, identified."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from headstart.backbones import weights
from headstart.backbones.backbone import Architecture, BackboneRequest, Built, TorchBackbone
from headstart.backbones.precision import arithmetic, cast_weights, settle
from headstart.core import digests, recipes
from headstart.core.errors import ExtraMissing, ModelError, UsageError, suggest
from headstart.core.spec import BackboneSpec
from headstart.data.modalities.audio import AudioRecipe
from headstart.data.modalities.image import ImageRecipe
from headstart.data.modalities.text import TextRecipe
from headstart.data.preparation import Batch, Preparation

if TYPE_CHECKING:
    import torch

    from headstart.backbones.feeds import Feed
    from headstart.backbones.readout import Readout

Recipe = ImageRecipe | TextRecipe | AudioRecipe
_RECIPES: dict[str, type[ImageRecipe] | type[TextRecipe] | type[AudioRecipe]] = {
    "image": ImageRecipe,
    "text": TextRecipe,
    "audio": AudioRecipe,
}


@dataclass(frozen=True)
class Network:
    """A network that has its weights, with all that a backbone needs beside it.

    Attributes:
        feed: the network and its device half.
        preparation: the host half.
        architecture: what rebuilds it.
        default_layer: what is read where nothing else is asked for.
        default_pooling: how.
        narrow: by kind of device, the precision narrower than float32 that was measured to keep the rows.
    """

    feed: "Feed"
    preparation: Preparation
    architecture: Architecture
    default_layer: str
    default_pooling: str
    narrow: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NetworkBackbone(TorchBackbone):
    """A frozen torch network. `freeze` makes one."""

    specs: tuple[BackboneSpec, ...]
    preparation: Preparation
    architecture: Architecture
    module: "Readout"
    warnings: tuple[str, ...] = field(default=())

    def embed(self, batch: Batch) -> tuple[Float[np.ndarray, "n d"], ...]:
        """Rows of a batch, one array per spec."""
        import torch

        net = self.module.feed.net
        device = next((each.device for each in chain(net.parameters(), net.buffers())), torch.device("cpu"))
        values, lengths = (as_tensor(array).to(device) for array in (batch.values, batch.lengths))
        with torch.inference_mode(), arithmetic(self.specs[0].precision, device.type):
            return tuple(row.float().cpu().numpy() for row in self.module(values, lengths))

    def placed(self, kind: str, *, channels_last: bool = False) -> "NetworkBackbone":
        """A copy whose tensors are on another device, or lie in memory with their channels innermost; weights are cast as `cast` does."""
        import torch

        module = copy.deepcopy(self.module).to(kind)
        if channels_last:
            module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        cast_weights(module, self.specs[0].precision)
        return replace(self, module=module)

    def cast(self) -> "NetworkBackbone":
        """A copy that runs at a narrow precision without casting its weights at every call; all other tensors are this one's own."""
        shared = {id(each): each for each in chain(self.module.parameters(), self.module.buffers())}
        module = copy.deepcopy(self.module, shared)
        cast_weights(module, self.specs[0].precision)
        return replace(self, module=module)

    def at(self, precision: str) -> "NetworkBackbone":
        """The same network run at another precision; its rows have other specs."""
        return replace(self, specs=tuple(replace(spec, precision=precision) for spec in self.specs))

    def tensors(self) -> dict[str, np.ndarray]:
        """The network's state dict as arrays."""
        return weights.arrays(self.module.feed.net)


def freeze(network: Network, *, layer: str, pooling: str, precision: str = "") -> NetworkBackbone:
    """The backbone that reads `network` at `layer`: in eval mode, without gradients, with the digest of its weights.

    Raises:
        BackboneError: the layer does not exist, or cannot be read so.
        UsageError: there is no such pooling or precision.
    """
    from headstart.backbones.readout import Readout, plan

    settled = settle(precision, network.narrow)
    feed = network.feed.float().eval().requires_grad_(requires_grad=False)
    reads = plan(
        feed, layer, pooling=pooling, default_layer=network.default_layer, default_pooling=network.default_pooling
    )
    readout = Readout(feed, reads).eval()
    widths = readout.settle(_trials(network))
    identity = weights.digest(feed.net)
    specs = tuple(
        BackboneSpec(
            source=network.architecture.source,
            name=network.architecture.name,
            architecture=network.architecture.digest,
            weights=identity,
            layer=read.layer,
            pooling=str(read.pooling),
            prepare=network.preparation.recipe,
            modality=network.preparation.modality,
            dim=width,
            precision=settled,
        )
        for read, width in zip(reads, widths, strict=True)
    )
    return NetworkBackbone(
        specs=specs, preparation=network.preparation, architecture=network.architecture, module=readout
    )


def reread(backbone: NetworkBackbone, *, layer: str, pooling: str = "mean") -> NetworkBackbone:
    """A copy of a backbone that reads its network at another layer.

    Raises:
        BackboneError: the layer does not exist, or cannot be read so.
    """
    feed = copy.deepcopy(backbone.module.feed)
    for each in feed.modules():  # the copies of what reads the other layer
        each._forward_hooks.clear()  # noqa: SLF001  (torch gives a hook's handle to whoever put it there, and to nobody else)
    network = Network(feed, backbone.preparation, backbone.architecture, layer, pooling)
    return freeze(network, layer=layer, pooling=pooling, precision=backbone.specs[0].precision)


def measure(network: Network) -> Built:
    """What a network says without its weights, where it was built on torch's device `meta`, which computes nothing.

    Raises:
        BackboneError: it cannot be read at its default layer.
    """
    import torch

    from headstart.backbones.readout import Readout, plan

    layer, pooling = network.default_layer, network.default_pooling
    reads = plan(network.feed.eval(), "", pooling="", default_layer=layer, default_pooling=pooling)
    with torch.device("meta"):
        widths = Readout(network.feed, reads).eval().settle(_trials(network))
    return Built(
        parameters=count(network.feed.net),
        width=widths[0],
        input=input_text(network.preparation),
        licence=network.architecture.licence,
    )


def count(net: "torch.nn.Module") -> int:
    """How many parameters a network has."""
    return sum(each.numel() for each in net.parameters())


def input_text(preparation: Preparation) -> str:
    """What one view of a sample is, in words."""
    recipe = recipe_of(preparation)
    if isinstance(recipe, ImageRecipe):
        return f"{recipe.size} x {recipe.size} pixels"
    if isinstance(recipe, TextRecipe):
        return f"up to {recipe.max_tokens} tokens"
    return f"{recipe.rate / 1000:g} kHz, up to {recipe.window:g} s"


def refreeze(
    network: Network, specs: tuple[BackboneSpec, ...], *, tensors: Callable[[], Mapping[str, np.ndarray]]
) -> NetworkBackbone:
    """The backbone of a rebuilt network with its saved tensors, read as its specs say.

    Raises:
        ModelError: the tensors do not fit, or what comes out is not what the specs say.
    """
    weights.restore(network.feed.net, tensors(), title=f"{network.architecture.source}:{network.architecture.name}")
    layers, poolings = (",".join(getattr(spec, key) for spec in specs) for key in ("layer", "pooling"))
    backbone = freeze(network, layer=layers, pooling=poolings, precision=specs[0].precision)
    if backbone.specs != specs:
        wrong = next((ours, saved) for ours, saved in zip(backbone.specs, specs, strict=True) if ours != saved)
        keys = [key for key, value in wrong[0].to_json().items() if value != wrong[1].to_json()[key]]
        raise ModelError(f"the rebuilt backbone {wrong[1].title} differs from the saved one in {', '.join(keys)}")
    return backbone


def prepared_by(modality: str, base: Mapping[str, Any], *, request: BackboneRequest) -> Recipe:
    """The recipe of a backbone, with what the person asked for in place of its own options.

    Raises:
        UsageError: an option does not exist or has the wrong type; all are reported at once.
    """
    return recipes.build(_RECIPES[modality], modality, options={**base, **request.prepare})


def described_by(request: BackboneRequest, *, modality: str, base: Mapping[str, Any]) -> tuple[str, dict[str, bytes]]:
    """The recipe and the assets of a person's own network, which `prepare` describes: for texts it names the file of a `tokenizer`.

    Args:
        request: whose `prepare` may also name the modality.
        modality: what the network takes.
        base: options that the network itself settles.

    Raises:
        UsageError: a text network has no tokenizer, or an option does not exist or has the wrong type.
    """
    options = {key: value for key, value in request.prepare.items() if key != "modality"}
    assets: dict[str, bytes] = {}
    if modality == "text":
        path = Path(str(options.pop("tokenizer", "")))
        if not path.is_file():
            raise UsageError(
                f"a module for texts needs prepare={{'tokenizer': PATH}} with the file of its tokenizer.json, and got {str(path)!r}"
            )
        assets["tokenizer.json"] = path.read_bytes()
        options["tokenizer"] = digests.of_bytes(assets["tokenizer.json"]).hex()
    if modality not in _RECIPES:
        raise UsageError(f"there is no modality {modality!r}.{suggest(modality, _RECIPES)}")
    return recipes.to_string(modality, recipes.build(_RECIPES[modality], modality, options={**base, **options})), assets


def within(recipe: Recipe, *, most: float | None, title: str) -> Recipe:
    """The recipe, where the network can read all that it makes.

    Args:
        recipe: of texts or recordings.
        most: the network's own limit, in tokens or seconds; None where it has none.
        title: what the person calls the backbone.

    Raises:
        UsageError: a view may be longer than that.
    """
    if most is None or isinstance(recipe, ImageRecipe):
        return recipe
    if isinstance(recipe, TextRecipe):
        asked, key, unit = float(recipe.max_tokens), "max_tokens", "tokens"
    else:
        asked, key, unit = recipe.window, "window", "seconds"
    if asked > most:
        raise UsageError(f"{title} reads at most {most:g} {unit}, and got {key}={asked:g}: give {key}={most:g} or less")
    return recipe


def recipe_of(preparation: Preparation) -> Recipe:
    """The recipe that a preparation's string stands for."""
    return recipes.build(
        _RECIPES[preparation.modality], preparation.modality, options=recipes.split(preparation.recipe)[1]
    )


def colour(preparation: Preparation) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of an image preparation: its device half."""
    recipe = recipe_of(preparation)
    assert isinstance(recipe, ImageRecipe)
    return recipe.mean, recipe.std


def need(library: str, purpose: str, *, extra: str = "torch") -> Any:
    """A library of an extra, imported after torchvision was mended; untyped, as not every release of them has types.

    Keras runs on torch where nothing else is asked for. The first import in a process settles that, and TensorFlow imports Keras. transformers would
    fetch kernels, which are code, from the hub for some networks; it does so only where a person's environment asks for it.

    Raises:
        ExtraMissing: it is not installed.
    """
    import importlib.util
    import os
    import sys

    from headstart.backbones.torchvision_schemas import mend

    for name in ("torch", library):
        if importlib.util.find_spec(name) is None:
            raise ExtraMissing.of(name, extra, purpose=purpose)
    mend()
    if library in {"keras", "tensorflow"} and "keras" not in sys.modules:
        os.environ.setdefault("KERAS_BACKEND", "torch")
    if library == "transformers" and library not in sys.modules:
        os.environ.setdefault("USE_HUB_KERNELS", "NO")
    return importlib.import_module(library)


def as_tensor(array: np.ndarray) -> "torch.Tensor":
    """A tensor over the array's own memory, or over a copy where torch could not write to it."""
    import torch

    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def _trials(network: Network) -> list[tuple["torch.Tensor", "torch.Tensor"]]:
    """Small batches that show how a network's axes lie: one where every sample has one shape, else one of each of two lengths.

    A person's own module sees three samples, which are seldom taken for its layers or directions, a known network two.
    """
    import torch

    preparation, recipe = network.preparation, recipe_of(network.preparation)
    n = 3 if network.architecture.source == "torch" else 2
    if isinstance(recipe, ImageRecipe):
        shapes: list[tuple[int, ...]] = [(n, recipe.size, recipe.size, 3)]
    elif isinstance(recipe, TextRecipe):
        shapes = [(n, min(length, recipe.max_tokens)) for length in (8, 12)]
    else:
        least = max(recipe.minimum, 0.0)
        shapes = [(n, int(recipe.rate * min(recipe.window, max(least, seconds)))) for seconds in (1.0, 1.5)]
    kinds = {"image": torch.uint8, "text": torch.int64, "audio": torch.float32}
    return [
        (
            torch.zeros(shape, dtype=kinds[preparation.modality]),
            torch.full((n,), 1 if isinstance(recipe, ImageRecipe) else shape[1], dtype=torch.int64),
        )
        for shape in shapes[: 1 if network.feed.fixed else None]
    ]
