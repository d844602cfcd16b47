"""Image backbones of timm: `timm:resnet50`, `timm:vgg16`, `timm:vit_base_patch16_224`, and every other of its models."""

import difflib
import inspect
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.backbones import hub
from headstart.backbones.backbone import Architecture, Backbone, BackboneRequest, Built, CatalogueEntry, Source
from headstart.backbones.hub import known_entries
from headstart.backbones.known import TIMM
from headstart.backbones.licences import spdx
from headstart.backbones.network import Network, colour, freeze, measure, need, prepared_by, refreeze
from headstart.core import recipes
from headstart.core.errors import BackboneError, ModelError
from headstart.core.spec import BackboneSpec
from headstart.data.modalities import preparation
from headstart.data.modalities.image import ImageRecipe
from headstart.data.preparation import Preparation

if TYPE_CHECKING:
    import torch
    from torch import nn


class TimmSource(Source):
    """Any model of timm, with weights from the hub or a local file."""

    def catalogue(self) -> tuple[CatalogueEntry, ...]:
        """Well-known models; every name of timm opens, with or without its tag."""
        return known_entries(
            "timm", [(name, f"timm/{name}", "image", text, licence) for name, text, licence in TIMM], config=False
        )

    def entry(self, name: str) -> CatalogueEntry | None:
        """Any model of timm that has weights, under its name with the tag."""
        listed = {each.backbone: each for each in self.catalogue()}
        if f"timm:{name}" in listed:
            return listed[f"timm:{name}"]
        config = _pretrained_config(name)
        full = name if "." in name or not config.get("tag") else f"{name}.{config['tag']}"
        if f"timm:{full}" in listed:
            return listed[f"timm:{full}"]
        licence = spdx(str(config.get("license") or ""))
        known = [(full, _repo(config, name), "image", "A model of timm that is not in the list", licence)]
        return known_entries("timm", known, config=False)[0]

    def build(self, name: str) -> Built | None:
        """The network on torch's device `meta`: nothing is computed and no weights are needed."""
        config = _pretrained_config(name)
        recipe = prepared_by("image", _preparation_of(config), request=BackboneRequest("timm", name))
        licence = str(config.get("license") or "")
        prepared = preparation(recipes.to_string("image", recipe), {})
        return measure(_network({"model": name}, prepared, licence, on="meta"))

    def open(self, request: BackboneRequest) -> Backbone:
        """The model without its classifier. Its own preparation, which `prepare` may change: `size` too.

        Raises:
            BackboneError: there is no such model or layer, or the weights do not fit.
            WeightsMissing: the weights are not here.
            ExtraMissing: torch or timm are not installed.
        """
        _library(request.name)
        config = _pretrained_config(request.name)
        # First the weights: without them nothing else has to be built.
        path = _weights(request, config)
        base = _preparation_of(config)
        recipe = prepared_by("image", base, request=request)
        assert isinstance(recipe, ImageRecipe)
        options = {"model": request.name, **_size_options(request.name, recipe.size, int(base["size"]))}
        network = _network(
            options, preparation(recipes.to_string("image", recipe), {}), str(config.get("license") or "")
        )
        _fill(network.feed.net, path, config, request.name)
        return freeze(network, layer=request.layer, pooling=request.pooling, precision=request.precision)

    def rebuild(
        self,
        architecture: Architecture,
        specs: tuple[BackboneSpec, ...],
        *,
        assets: Mapping[str, bytes],
        tensors: Callable[[], Mapping[str, np.ndarray]],
        module: "torch.nn.Module | None" = None,
    ) -> Backbone:
        """The model that was saved.

        Raises:
            ModelError: timm has no such model any more, or the tensors do not fit it.
        """
        del module
        _library(architecture.name)
        if architecture.options.get("model") != architecture.name:
            raise ModelError(f"the saved backbone {architecture.name} names another model in its options")
        try:
            network = _network(architecture.options, preparation(specs[0].prepare, dict(assets)), architecture.licence)
        except (BackboneError, KeyError) as error:
            raise ModelError(f"timm cannot build the saved backbone {architecture.name}: {error}") from error
        return refreeze(network, specs, tensors=tensors)


PLUGIN = TimmSource()


def _library(name: str) -> Any:
    return need("timm", f"the backbone timm:{name}")


def _pretrained_config(name: str) -> dict[str, Any]:
    """What timm knows of a model: the hub's name of its weights, size, mean, deviation, classifier.

    Raises:
        BackboneError: timm has no such model.
    """
    timm = _library(name)
    base, _, tag = name.partition(".")
    known = timm.list_models()
    if base not in known:
        near = difflib.get_close_matches(base, known, n=3)
        hint = f" Did you mean {' or '.join(near)}?" if near else " timm.list_models() has the names."
        raise BackboneError(f"timm has no model {name!r}.{hint}")
    tags = [each.partition(".")[2] for each in timm.list_models(f"{base}.*", pretrained=True)]
    if tag and tag not in tags:
        raise BackboneError(f"timm has no weights {name!r}: {base} comes with the tags {', '.join(tags) or '(none)'}")
    config = timm.models.get_pretrained_cfg(name)
    return dict(config.to_dict()) if config is not None else {}


def _weights(request: BackboneRequest, config: Mapping[str, Any]) -> Path:
    if request.weights is not None:
        return request.weights
    return hub.fetch(_repo(config, request.name), offline=request.offline, title=f"timm:{request.name}", config=False)


def _repo(config: Mapping[str, Any], name: str) -> str:
    repo = str(config.get("hf_hub_id") or "")
    if not repo:
        raise BackboneError(f"timm has no weights for {name}: give a local file with --weights PATH")
    # timm writes `timm/` for a repository that is named after the model and its tag.
    if repo.endswith("/"):
        repo += f"{config['architecture']}.{config['tag']}" if config.get("tag") else str(config["architecture"])
    return repo


def _preparation_of(config: Mapping[str, Any]) -> dict[str, Any]:
    data = _library("").data.resolve_model_data_config(None, pretrained_cfg=dict(config))
    mode = data.get("crop_mode", "center")
    return {
        "size": int(data["input_size"][-1]),
        "crop": float(data["crop_pct"]),
        "resize": "squash" if mode == "squash" else "shortest",
        "interpolation": str(data["interpolation"]).replace("random", "bicubic"),
        "mean": tuple(float(each) for each in data["mean"]),
        "std": tuple(float(each) for each in data["std"]),
    }


def _size_options(name: str, size: int, own: int) -> dict[str, Any]:
    """`img_size` where the size is not the model's own and its positions have to be laid out for it."""
    if size == own:
        return {}
    try:
        _create({"model": name, "img_size": size}, on="meta")
    except TypeError:
        return {}
    return {"img_size": size}


def _create(options: Mapping[str, Any], *, on: str = "cpu") -> "nn.Module":
    import torch

    name = str(options["model"])
    timm = _library(name)
    if not timm.is_model(name.partition(".")[0]):
        # Also keeps out names such as hf-hub:OWNER/NAME, for which timm would ask the hub.
        raise BackboneError(f"timm has no model {name!r}")
    extra = {key: options[key] for key in ("img_size",) if key in options}
    with torch.device(on):
        net: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, **extra)
    return net


def _network(options: Mapping[str, Any], prepared: Preparation, licence: str, *, on: str = "cpu") -> Network:
    import torch

    from headstart.backbones.feeds import Layout, TimmFeed

    net = _create(options, on=on)
    prefix = int(getattr(net, "num_prefix_tokens", 0) or 0)
    class_token = prefix > 0 and getattr(net, "cls_token", None) is not None
    channels_last = str(getattr(net, "output_fmt", "NCHW")).upper().endswith("NHWC")
    with torch.device(on):
        feed = TimmFeed(net, Layout(prefix, class_token, channels_last), colour=colour(prepared))
    # A class token that the classifier was trained on carries more together with the mean of the patches.
    trained = class_token and getattr(net, "global_pool", "") == "token"
    # Masked autoencoders never train theirs: only the patches say something.
    masked = class_token and str(options["model"]).partition(".")[2] == "mae"
    return Network(
        feed=feed,
        preparation=prepared,
        architecture=Architecture("timm", str(options["model"]), dict(options), spdx(licence)),
        default_layer="",
        default_pooling="mean" if masked else "cls+mean" if trained else "model",
    )


def _fill(net: "nn.Module", path: Path, config: Mapping[str, Any], name: str) -> None:
    """Put weights into the network: the classifier is left out, names of other checkpoints are mapped as timm maps them."""
    from headstart.backbones import weights

    found = dict(weights.read(path))
    source = sys.modules[type(net).__module__]
    expected = net.state_dict()
    convert = next(
        (getattr(source, each) for each in ("checkpoint_filter_fn", "_filter_fn") if hasattr(source, each)), None
    )
    if convert is not None and any(
        key not in found or found[key].shape != each.shape for key, each in expected.items()
    ):
        takes = len(inspect.signature(convert).parameters)
        found = dict((partial(convert, model=net) if takes > 1 else convert)(found))
    heads = config.get("classifier") or ()
    for head in (heads,) if isinstance(heads, str) else heads:
        if not any(key.startswith(f"{head}.") for key in expected):
            found = {key: tensor for key, tensor in found.items() if not key.startswith(f"{head}.")}
    weights.load(net, found, origin=f"{path.name} of timm:{name}")
