"""Backbones of transformers for images, texts and recordings: BERT, E5, ViT, DINOv2, CLIP, wav2vec 2.0, HuBERT, Whisper, and their kin."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.backbones import hub, pretrained_folder
from headstart.backbones.backbone import Architecture, Backbone, BackboneRequest, Built, CatalogueEntry, Source
from headstart.backbones.known import TRANSFORMERS
from headstart.backbones.network import Network, colour, freeze, need, prepared_by, recipe_of, refreeze, within
from headstart.backbones.pretrained_folder import SPECTROGRAM, SentenceSettings, kept
from headstart.backbones.transformers_kinds import IMAGE, PARTS, check_contained, check_kind, modality_of, pooling_of
from headstart.core import digests, recipes
from headstart.core.errors import BackboneError, ModelError, WeightsMissing, gist, suggest
from headstart.core.spec import BackboneSpec
from headstart.data.modalities import preparation
from headstart.data.modalities.audio import AudioRecipe
from headstart.data.preparation import Preparation

if TYPE_CHECKING:
    import torch
    from torch import nn

    from headstart.backbones.feeds import Feed

_OWNERS = {repo.partition("/")[2]: repo for repo, *_ in TRANSFORMERS}
_LICENCES = {repo: licence for repo, _, _, licence in TRANSFORMERS}
# E5's cards ask for this prompt where rows serve as features; the folders themselves do not say it.
_E5 = re.compile(r"(intfloat/)?(multilingual-)?e5-(small|base|large)(-v2|-unsupervised)?")
# Sentence encoders, whose modules.json says how they pool.
_SENTENCE = re.compile(rf"{_E5.pattern}|(BAAI/)?bge-(small|base|large|m3)\b.*|sentence-transformers/.*")
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
# Tensors that only training uses; checkpoints may lack them.
_UNUSED = ("masked_spec_embed", "mask_token")


class TransformersSource(Source):
    """Any encoder of transformers, from the hub or a local folder. Code that a repository carries is never run."""

    def catalogue(self) -> tuple[CatalogueEntry, ...]:
        """Well-known models; every encoder opens by its hub name or as a folder."""
        return hub.known_entries(
            "transformers", [(repo, repo, modality, text, licence) for repo, modality, text, licence in TRANSFORMERS]
        )

    def entry(self, name: str) -> CatalogueEntry | None:
        """Any model of the hub under its owner's name; None for a folder."""
        if Path(name).expanduser().is_dir():
            return None
        repo = _OWNERS.get(name, name)
        listed = {each.backbone: each for each in self.catalogue()}
        if f"transformers:{repo}" in listed:
            return listed[f"transformers:{repo}"]
        folder = hub.cached(repo) if _HUB_NAME.fullmatch(repo) else None
        if folder is None and "/" not in repo:
            raise BackboneError(
                f"no model {name!r} is known and no folder of that name is here: write OWNER/NAME as the hub does."
                f"{suggest(name, _OWNERS)}"
            )
        modality = "" if folder is None else modality_of(pretrained_folder.read_json(folder / "config.json"), repo)
        return hub.known_entries(
            "transformers", [(repo, repo, modality, "A model of the hub that is not in the list", "")]
        )[0]

    def build(self, name: str) -> Built | None:
        """None: what a model is stands in its configuration, which comes with its weights."""
        del name
        return None

    def open(self, request: BackboneRequest) -> Backbone:
        """The encoder with the preparation, pooling, length limit and prompt that its own files state.

        Raises:
            BackboneError: the folder cannot be read as an encoder, or there is no such layer.
            UsageError: `prepare` asks for longer views than the network can read.
            WeightsMissing: the weights are not here.
            ExtraMissing: torch or transformers are not installed.
        """
        _library(request.name)
        folder, name = _folder(request)
        settings = pretrained_folder.sentence_settings(folder)
        config = pretrained_folder.read_json(settings.encoder / "config.json")
        modality = modality_of(config, name)
        _checked(kept(config), name)
        if settings.refused and not request.pooling:
            raise BackboneError(
                f"{name} ends in a module {settings.refused}, which headstart does not run: choose pooling 'mean' to read its encoder"
            )
        prepared = _prepared(modality, settings, request, config, name)
        state = request.weights if request.weights is not None and request.weights.is_file() else settings.encoder
        net, options = _load(
            config,
            settings.encoder,
            state,
            head=any(part.strip().startswith("model") for part in request.pooling.split(","))
            or pooling_of(config) == "model",
        )
        options["preprocessor"] = kept(pretrained_folder.preprocessor(settings.encoder))
        if settings.pooling:
            options["pooling"] = settings.pooling
        network = _network(Architecture("transformers", name, options, _LICENCES.get(name, "")), net, prepared)
        frozen = freeze(network, layer=request.layer, pooling=request.pooling, precision=request.precision)
        lacks = _SENTENCE.fullmatch(name) and not (folder / "modules.json").is_file() and not request.pooling
        return replace(frozen, warnings=(_incomplete(name, frozen.specs[0].pooling),)) if lacks else frozen

    def rebuild(
        self,
        architecture: Architecture,
        specs: tuple[BackboneSpec, ...],
        *,
        assets: Mapping[str, bytes],
        tensors: Callable[[], Mapping[str, np.ndarray]],
        module: "torch.nn.Module | None" = None,
    ) -> Backbone:
        """The encoder that was saved, built from its configuration.

        Raises:
            ModelError: this version of transformers cannot build it, or the tensors do not fit it.
        """
        del module
        _library(architecture.name)
        try:
            net = _build(architecture.options)
        except BackboneError as error:
            raise ModelError(f"transformers cannot build the saved backbone {architecture.name}: {error}") from error
        except Exception as error:  # whatever transformers raises for a configuration that it cannot use
            raise ModelError(
                f"transformers cannot build the saved backbone {architecture.name}: {gist(error)}"
            ) from error
        return refreeze(
            _network(architecture, net, preparation(specs[0].prepare, dict(assets))), specs, tensors=tensors
        )


PLUGIN = TransformersSource()


def _library(name: str) -> Any:
    return need("transformers", f"the backbone transformers:{name}")


def _folder(request: BackboneRequest) -> tuple[Path, str]:
    """The folder with the files, and the name that the spec holds: the repository's, or the folder's own, never a path."""
    local = Path(request.name).expanduser()
    if request.weights is not None and request.weights.is_dir():
        return request.weights, _OWNERS.get(request.name, request.name) if not local.is_dir() else local.resolve().name
    if local.is_dir():
        return local, local.resolve().name
    if not _HUB_NAME.fullmatch(request.name):
        raise WeightsMissing(
            f"there is no folder {request.name!r}, and it is no name of the hub either: write OWNER/NAME or an existing folder"
        )
    repo = _OWNERS.get(request.name, request.name)
    # Older caches hold well-known models without their owner.
    asked = request.name if hub.cached(request.name) else repo
    return hub.fetch(asked, offline=request.offline, title=f"transformers:{request.name}"), repo


def _checked(config: Mapping[str, Any], name: str) -> None:
    """Refuse a configuration of which transformers would build what it does not have itself.

    Raises:
        BackboneError: says what.
    """
    check_kind(config, name)
    check_contained(config, name)


def _incomplete(name: str, pooling: str) -> str:
    return (
        f"{name} is a sentence encoder, and its folder here lacks modules.json, which says how it pools: its rows are pooled by {pooling},"
        " perhaps not as it was trained; open it once online, or choose the pooling"
    )


def _prepared(
    modality: str, settings: SentenceSettings, request: BackboneRequest, config: dict[str, Any], name: str
) -> Preparation:
    folder, assets = settings.encoder, {}
    most: float | None = None
    if modality == "image":
        base = pretrained_folder.image_options(folder, config, given_by_hand=request.prepare)
    elif modality == "text":
        most = pretrained_folder.position_limit(config)
        assets["tokenizer.json"] = pretrained_folder.tokenizer_json(folder, settings)
        base = {
            "max_tokens": pretrained_folder.token_limit(folder, config, settings=settings),
            "prefix": settings.prefix or ("query: " if _E5.fullmatch(name) else ""),
            "tokenizer": digests.of_bytes(assets["tokenizer.json"]).hex(),
        }
    else:
        base = pretrained_folder.audio_options(config, pretrained_folder.preprocessor(folder))
        most = base["window"] if config["model_type"] in {"whisper", SPECTROGRAM} else None
    recipe = within(prepared_by(modality, base, request=request), most=most, title=f"transformers:{name}")
    return preparation(recipes.to_string(modality, recipe), assets)


def _load(config: Mapping[str, Any], folder: Path, state: Path, *, head: bool) -> tuple["nn.Module", dict[str, Any]]:
    """The network with its weights, and the options that build it again."""
    from headstart.backbones import weights

    found = weights.read(state)
    if config["model_type"] == "whisper":
        options: dict[str, Any] = {"whisper": _whisper_size(config)}
        net = _build(options)
        names = {
            key.partition("encoder.")[2]: key for key in found if key.removeprefix("model.").startswith("encoder.")
        }
        weights.load(net, {name: found[key] for name, key in names.items()}, origin=f"{state.name} of {folder.name}")
        return net, options
    net, missing = _from_pretrained(config, folder, found)
    if not head and any(name.startswith("pooler.") for name in net.state_dict()):
        net.pooler = None  # type: ignore[assignment]
        missing = [name for name in missing if not name.startswith("pooler.")]
    for name in [name for name in missing if name.endswith(_UNUSED)]:
        net.get_parameter(name).data.zero_()
        missing.remove(name)
    if missing:
        listed = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise BackboneError(
            f"the weights of {folder.name} lack {len(missing)} tensors of {type(net).__name__} ({listed}): give those of this model"
        )
    clean = kept(json.loads(_config_text(net)))
    return net, {
        "config": clean,
        "part": PARTS.get(str(config["model_type"]), ""),
        "pooler": getattr(net, "pooler", None) is not None,
    }


def _from_pretrained(
    config: Mapping[str, Any], folder: Path, found: dict[str, "torch.Tensor"]
) -> tuple["nn.Module", list[str]]:
    """Load as transformers does, with its tolerance for prefixes and old names, and the names of what was not found."""
    import torch

    transformers = _library(folder.name)
    try:
        known = transformers.AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        if part := PARTS.get(str(config["model_type"]), ""):
            cls = getattr(transformers, part)
            known = getattr(known, "vision_config", known)
        else:
            with torch.device("meta"):
                cls = type(transformers.AutoModel.from_config(known, trust_remote_code=False))
    except (ValueError, KeyError, OSError) as error:
        raise BackboneError(
            f"transformers {transformers.__version__} has no encoder for {folder.name}: {str(error).strip().partition(chr(10))[0]}"
        ) from error
    precision = "dtype" if int(transformers.__version__.partition(".")[0]) >= 5 else "torch_dtype"
    options: dict[str, Any] = {precision: torch.float32}
    with hub.quiet():
        net, info = cls.from_pretrained(None, config=known, state_dict=found, output_loading_info=True, **options)
    wrong = info.get("mismatched_keys") or ()
    if wrong:
        raise BackboneError(
            f"the weights of {folder.name} have other shapes than its config.json says: {min(map(str, wrong))}"
        )
    return net, sorted(info["missing_keys"])


def _config_text(net: Any) -> str:
    return str(net.config.to_json_string(use_diff=False))


def _build(options: Mapping[str, Any]) -> "nn.Module":
    """The network without its weights, from the options that `_load` gave."""
    if "whisper" in options:
        from headstart.backbones.whisper_encoder import WhisperEncoder, WhisperSize

        return WhisperEncoder(WhisperSize(**options["whisper"]))
    config = dict(options["config"])
    if config != kept(config):
        raise BackboneError("its configuration holds what headstart never keeps of one")
    _checked(config, str(config.get("model_type")))
    transformers = _library(str(config.get("model_type")))
    kind, part = config.pop("model_type"), options["part"]
    if part and part not in PARTS.values():
        raise ValueError(f"there is no part {part!r}")
    known = transformers.AutoConfig.for_model(kind, **config)
    net: nn.Module = (
        getattr(transformers, part)(known)
        if part
        else transformers.AutoModel.from_config(known, trust_remote_code=False)
    )
    if not options["pooler"] and hasattr(net, "pooler"):
        net.pooler = None  # type: ignore[assignment]
    return net


def _network(architecture: Architecture, net: "nn.Module", prepared: Preparation) -> Network:
    options = architecture.options
    config = options.get("config", {"model_type": "whisper"})
    feed = _feed(net, config, options, prepared)
    audio = prepared.modality == "audio" and config["model_type"] != SPECTROGRAM
    return Network(
        feed=feed,
        preparation=prepared,
        architecture=architecture,
        # What speech encoders know of a word lies in their middle blocks, of a speaker in the first: the mean keeps both.
        default_layer="all" if audio else "",
        default_pooling=options.get("pooling") or pooling_of(config),
    )


def _feed(net: "nn.Module", config: Mapping[str, Any], options: Mapping[str, Any], prepared: Preparation) -> "Feed":
    from headstart.backbones import feeds
    from headstart.backbones.whisper_encoder import WhisperEncoder

    given = options.get("preprocessor", {})
    if isinstance(net, WhisperEncoder):
        return feeds.WhisperFeed(net, bands=net.conv1.in_channels)
    if prepared.modality == "image":
        prefix = IMAGE[config["model_type"]]
        registers = int(config.get("num_register_tokens") or 0)
        whole = prefix is not None
        layout = feeds.Layout((prefix or 0) + registers * whole, has_class_token=whole)
        return feeds.VisionFeed(net, layout, colour=colour(prepared))
    if prepared.modality == "text":
        return feeds.TextFeed(net)
    recipe = recipe_of(prepared)
    assert isinstance(recipe, AudioRecipe)
    if config["model_type"] == SPECTROGRAM:
        size = feeds.FbankSize(
            bands=int(config["num_mel_bins"]),
            frames=int(config["max_length"]),
            rate=recipe.rate,
            mean=float(given.get("mean", -4.2677393)),
            std=float(given.get("std", 4.5689974)),
        )
        return feeds.FbankFeed(net, size=size, prefix=2)
    return feeds.WaveFeed(net, normalise=bool(given.get("do_normalize", True)), masked=recipe.pad == "bucket")


def _whisper_size(config: Mapping[str, Any]) -> dict[str, int]:
    return {
        "bands": int(config.get("num_mel_bins", 80)),
        "positions": int(config.get("max_source_positions", 1500)),
        "width": int(config["d_model"]),
        "heads": int(config["encoder_attention_heads"]),
        "blocks": int(config["encoder_layers"]),
        "hidden": int(config["encoder_ffn_dim"]),
    }
