"""What a backbone is, and what a source of backbones does."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from headstart.core import digests
from headstart.core.errors import UsageError
from headstart.core.spec import BackboneSpec
from headstart.data.preparation import Batch, Preparation

if TYPE_CHECKING:
    import torch


EVERY = "every"
"""The layer that stands for all blocks, each by itself, and the usual one last."""


@dataclass(frozen=True)
class BackboneRequest:
    """What a person asks for.

    Attributes:
        source: a plug-in of `backbones`, such as `timm`.
        name: an architecture or model name within it, such as `vgg16` or `google-bert/bert-base-uncased`, or a local directory.
        layer: empty for the default readout, a module path such as `encoder.layer.8`, a negative block index such as `-2`, `all` for
            the mean over all blocks, or several of these separated by commas, which are read in one pass; `every` for all blocks, each
            by itself, and the usual layer last.
        pooling: empty for the default, or `mean`, `cls`, `cls+mean`, `max`, `last`, `flat`, `model`, each with `+l2` for rows of
            length one; one for all layers, or one for each, separated by commas.
        weights: a local file to take the weights from instead of the hub: safetensors, or a `.pth` of tensors only.
        precision: the arithmetic, `float32`, `bfloat16` or `float16`; empty for the backbone's own on this kind of device, which is
            `float32` unless its file declares a narrower one.
        prepare: options that replace those of the backbone's own preparation, such as `{"size": 128}` or `{"long": "windows"}`.
        offline: open no socket.
        module: for source `torch` in Python: the user's own module.
    """

    source: str
    name: str
    layer: str = ""
    pooling: str = ""
    weights: Path | None = None
    precision: str = ""
    prepare: Mapping[str, Any] = field(default_factory=dict)
    offline: bool = False
    module: "torch.nn.Module | None" = None

    @classmethod
    def parse(cls, text: str) -> "BackboneRequest":
        """The request for `SOURCE:NAME`, such as `timm:resnet50`.

        Raises:
            UsageError: there is no colon.
        """
        source, colon, name = text.partition(":")
        if not colon or not source or not name:
            raise UsageError(f"a backbone is written SOURCE:NAME, such as timm:resnet50, and got {text!r}")
        return cls(source=source, name=name)


@dataclass(frozen=True)
class Architecture:
    """What rebuilds a backbone's network without its weights: literals only, as the manifest holds them.

    Attributes:
        source: the plug-in that rebuilds it.
        name: its name there.
        options: JSON values for the plug-in, such as a transformers configuration.
        licence: of the weights, as an SPDX identifier where known, else empty.
    """

    source: str
    name: str
    options: Mapping[str, Any]
    licence: str

    @property
    def digest(self) -> str:
        """32 hexadecimal digits of the options as canonical JSON, part of every spec; empty where there are none."""
        if not self.options:
            return ""
        return digests.of_text(json.dumps(dict(self.options), sort_keys=True, ensure_ascii=False)).hex()


class Backbone(ABC):
    """A frozen function from a prepared batch to rows.

    Attributes:
        specs: one per layer read; one forward pass fills them all.
        preparation: the host half of preparation.
        architecture: what rebuilds it from its tensors.
        warnings: sentences that a person should read before trusting the rows.
    """

    specs: tuple[BackboneSpec, ...]
    preparation: Preparation
    architecture: Architecture
    warnings: tuple[str, ...] = ()

    @abstractmethod
    def embed(self, batch: Batch) -> tuple[Float[np.ndarray, "n d"], ...]:
        """Rows of a batch, float32, one array per spec: the plain way, which engines are checked against."""

    @abstractmethod
    def tensors(self) -> dict[str, np.ndarray]:
        """The weights by name, for saving by value; their digest is `specs[0].weights`."""


class TorchBackbone(Backbone):
    """A backbone whose network is a torch module.

    Attributes:
        module: takes a prepared batch's values and lengths as tensors and returns a tuple of (n, d) rows. Its first operation is
            the device half of preparation. In eval mode, without gradients.
    """

    module: "torch.nn.Module"

    @abstractmethod
    def at(self, precision: str) -> "TorchBackbone":
        """The same network run at another precision; its rows have other specs."""


@dataclass(frozen=True)
class Speed:
    """How fast a backbone was on this machine, the reading and preparing of the samples included.

    Attributes:
        per_second: samples that were extracted in a second, in the fastest extraction so far.
        items: samples of that extraction.
        engine: what ran it.
        precision: the arithmetic.
        device: the GPU's name, or `cpu`.
    """

    per_second: float
    items: int
    engine: str
    precision: str
    device: str


@dataclass(frozen=True)
class Built:
    """What an architecture says without its weights.

    Attributes:
        parameters: of what is run: without a classifier.
        width: of a row at the default layer and pooling.
        input: what one view of a sample is, such as `224 x 224 pixels`.
        licence: of the weights as the library states it, else empty.
    """

    parameters: int
    width: int
    input: str
    licence: str


@dataclass(frozen=True)
class CatalogueEntry:
    """One pretrained model that a source knows.

    Attributes:
        backbone: `SOURCE:NAME`.
        modality: `image`, `text` or `audio`.
        description: one line.
        licence: SPDX identifier where there is one, or empty where unknown.
        size_bytes: of the weights where they are on this machine, else None.
        installed: whether the weights are on this machine.
        weights: where the weights are: their file or folder on this machine, else the address or the package they come from.
        digest: the SHA-256 of the weights, 64 hexadecimal digits; empty until they have been used on this machine.
        commercial: whether the licence allows commercial use; None where headstart does not know.
        parameters: of what is run; None until the architecture was built here.
        width: of a row at the default layer and pooling; None until the architecture was built here.
        input: what one view of a sample is; empty until the architecture was built here.
        speed: on this machine; None where it was never measured.
    """

    backbone: str
    modality: str
    description: str
    licence: str
    size_bytes: int | None
    installed: bool
    weights: str = ""
    digest: str = ""
    commercial: bool | None = None
    parameters: int | None = None
    width: int | None = None
    input: str = ""
    speed: Speed | None = None


class Source(ABC):
    """A plug-in of `backbones`."""

    @abstractmethod
    def catalogue(self) -> tuple[CatalogueEntry, ...]:
        """What the source offers by name; opens no socket and imports no heavy library."""

    def entry(self, name: str) -> CatalogueEntry | None:
        """A published model, listed or not, under its full name; None where the name stands for a person's own network. Opens no socket.

        Raises:
            BackboneError: there is no such model; the sentence has names that come near.
            ExtraMissing: the library that knows the name is not installed.
        """
        del name
        return None

    def build(self, name: str) -> Built | None:
        """What the architecture says without weights and without the network; None where it cannot be built so.

        Raises:
            BackboneError: there is no such model.
            ExtraMissing: a library is not installed.
        """
        del name
        return None

    @abstractmethod
    def open(self, request: BackboneRequest) -> Backbone:
        """The backbone that is asked for, frozen.

        Raises:
            WeightsMissing: the weights are not here; one sentence with both ways out.
            BackboneError: there is no such name or layer.
            ExtraMissing: a library is not installed.
        """

    @abstractmethod
    def rebuild(
        self,
        architecture: Architecture,
        specs: tuple[BackboneSpec, ...],
        *,
        assets: Mapping[str, bytes],
        tensors: Callable[[], Mapping[str, np.ndarray]],
        module: "torch.nn.Module | None" = None,
    ) -> Backbone:
        """The backbone that was saved: same specs, weights from `tensors`, nothing from the network.

        Args:
            architecture: what rebuilds the network.
            specs: what was read from it.
            assets: of the preparation.
            tensors: opens the saved weights.
            module: for source `torch`: the user's own module, where no installed entry point makes it; other sources need none.

        Raises:
            ModelError: tensors are missing, unknown, or of other shapes than the architecture's.
        """
