"""Tiny fixed functions for tests and examples: mean pixels, hashed tokens, banded energies, each through a fixed random projection."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from headstart.backbones.backbone import Architecture, Backbone, BackboneRequest, CatalogueEntry, Source
from headstart.backbones.network import prepared_by
from headstart.core import digests, recipes
from headstart.core.errors import BackboneError, ModelError, UsageError, suggest
from headstart.core.spec import BackboneSpec
from headstart.data.modalities import preparation
from headstart.data.preparation import Batch, Preparation

if TYPE_CHECKING:
    import torch

_DIM = 24
_GRID = 8
_HASHES = 4096
_FRAME, _BANDS = 400, 32
_INPUTS = {"image": _GRID * _GRID * 3, "text": _HASHES, "audio": _BANDS}
_BASES: dict[str, dict[str, object]] = {
    "image": {"size": 32, "crop": 1.0, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)},
    "text": {"max_tokens": 128},
    "audio": {"rate": 8000, "window": 10.0, "buckets": (1.0, 2.0, 5.0)},
}


@dataclass(frozen=True)
class ToyBackbone(Backbone):
    """A fixed function in NumPy.

    Attributes:
        projection: (inputs, 24) float32, its only tensor.
    """

    specs: tuple[BackboneSpec, ...]
    preparation: Preparation
    architecture: Architecture
    projection: Float[np.ndarray, "inputs d"]
    warnings: tuple[str, ...] = ()

    def embed(self, batch: Batch) -> tuple[Float[np.ndarray, "n d"], ...]:
        """Rows of a batch."""
        if self.specs[0].modality == "text":
            return (_text_rows(batch, self.projection),)
        measure = _mean_pixels if self.specs[0].modality == "image" else _band_energies
        return ((measure(batch) @ self.projection).astype(np.float32),)

    def tensors(self) -> dict[str, np.ndarray]:
        """The projection."""
        return {"projection": self.projection}


class Toy(Source):
    """The toy backbones `image`, `text` and `audio`."""

    def catalogue(self) -> tuple[CatalogueEntry, ...]:
        """Nothing: toys are for tests and are not offered."""
        return ()

    def open(self, request: BackboneRequest) -> Backbone:
        """The toy of that name; `prepare` may change its recipe.

        Raises:
            BackboneError: there is no such toy, or another layer, pooling or weights are asked for: it has none.
            UsageError: a preparation option is wrong.
        """
        if request.name not in _INPUTS:
            raise BackboneError(f"there is no backbone toy:{request.name}.{suggest(request.name, _INPUTS)}")
        if request.layer or request.pooling or request.weights is not None:
            raise BackboneError(f"toy:{request.name} has no layers, poolings or weights to choose: leave them out")
        if request.precision not in {"", "float32"}:
            raise UsageError(f"a backbone runs in float32, and got the precision {request.precision!r}")
        base, assets = dict(_BASES[request.name]), {}
        if request.name == "text":
            assets["tokenizer.json"] = _tokenizer()
            base["tokenizer"] = digests.of_bytes(assets["tokenizer.json"]).hex()
        recipe = recipes.to_string(request.name, prepared_by(request.name, base, request=request))
        return _toy(request.name, preparation(recipe, assets), _projection(request.name))

    def rebuild(
        self,
        architecture: Architecture,
        specs: tuple[BackboneSpec, ...],
        *,
        assets: Mapping[str, bytes],
        tensors: Callable[[], Mapping[str, np.ndarray]],
        module: "torch.nn.Module | None" = None,
    ) -> Backbone:
        """The toy that was saved.

        Raises:
            ModelError: the projection is missing or has another shape, or is not the one that was saved.
        """
        del module
        found = dict(tensors())
        shape = (_INPUTS.get(architecture.name, 0), _DIM)
        if set(found) != {"projection"} or found["projection"].shape != shape:
            received = {name: array.shape for name, array in found.items()}
            raise ModelError(
                f"toy:{architecture.name} has one tensor, projection {shape}, and the saved ones are {received}"
            )
        backbone = _toy(architecture.name, preparation(specs[0].prepare, dict(assets)), found["projection"])
        if backbone.specs != specs:
            raise ModelError(f"the rebuilt backbone {specs[0].title} differs from the saved one")
        return backbone


PLUGIN = Toy()


def _toy(name: str, prepared: Preparation, projection: np.ndarray) -> ToyBackbone:
    projection = np.array(projection, dtype=np.float32)
    projection.flags.writeable = False
    spec = BackboneSpec(
        source="toy",
        name=name,
        architecture="",
        weights=digests.of_tensors({"projection": projection}),
        layer="",
        pooling="mean",
        prepare=prepared.recipe,
        modality=name,
        dim=_DIM,
        precision="float32",
    )
    return ToyBackbone((spec,), prepared, Architecture("toy", name, {}, "Apache-2.0"), projection)


@cache
def _projection(name: str) -> Float[np.ndarray, "inputs d"]:
    """Random signs scaled to keep lengths, the same everywhere: made by bit arithmetic, not by a generator that may change."""
    index = np.arange(_INPUTS[name] * _DIM, dtype=np.uint64).reshape(-1, _DIM) + np.uint64(len(name))
    mixed = _mixed(index)
    return np.asarray((2.0 * (mixed & np.uint64(1)).astype(np.float32) - 1.0) / np.sqrt(_DIM), dtype=np.float32)


def _mixed(x: np.ndarray) -> np.ndarray:
    """SplitMix64, by G. Steele, D. Lea and C. Flood, 2014."""
    x = x * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))


def _mean_pixels(batch: Batch) -> Float[np.ndarray, "n 192"]:
    """Mean pixels of an 8 by 8 grid, around zero."""
    n, height, width, _ = batch.values.shape
    rows, columns = (np.arange(_GRID) * size // _GRID for size in (height, width))
    sums = np.add.reduceat(np.add.reduceat(batch.values, rows, axis=1, dtype=np.float32), columns, axis=2)
    areas = np.diff(rows, append=height)[:, None] * np.diff(columns, append=width)
    return np.asarray((sums / areas[..., None] / 255 - 0.5).reshape(n, -1), dtype=np.float32)


def _text_rows(batch: Batch, projection: np.ndarray) -> Float[np.ndarray, "n d"]:
    """Sums of the projection's rows that the token ids hash to, over the root of their number."""
    real = np.arange(batch.values.shape[1]) < batch.lengths[:, None]
    hashed = (_mixed(batch.values.astype(np.uint64)) % np.uint64(_HASHES)).astype(np.int64)
    sums = np.einsum("ntd,nt->nd", projection[hashed], real.astype(np.float32))
    return np.asarray(sums / np.sqrt(np.maximum(batch.lengths, 1))[:, None], dtype=np.float32)


def _band_energies(batch: Batch) -> Float[np.ndarray, "n 32"]:
    """Log energies in 32 bands of frames of 50 ms, averaged over the frames that are real, at least one."""
    values = batch.values
    values = np.pad(values, ((0, 0), (0, -values.shape[1] % _FRAME)))
    frames = values.reshape(len(values), -1, _FRAME)
    power = np.abs(np.fft.rfft(frames, axis=2)[..., 1:]) ** 2
    edges = np.arange(_BANDS) * power.shape[2] // _BANDS
    bands = np.log(np.add.reduceat(power, edges, axis=2) + 1e-4)
    counts = np.maximum(batch.lengths // _FRAME, 1)
    real = np.arange(frames.shape[1]) < counts[:, None]
    return np.asarray(np.einsum("ntb,nt->nb", bands, real.astype(bands.dtype)) / counts[:, None], dtype=np.float32)


@cache
def _tokenizer() -> bytes:
    """A tokenizer of bytes: every text in every language has tokens, none of them unknown."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"[PAD]": 0} | {character: index + 1 for index, character in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["[PAD]"])
    # Written again so that the bytes, which are part of the identity, do not depend on the library's layout.
    return json.dumps(json.loads(tokenizer.to_str()), sort_keys=True, ensure_ascii=False).encode()
