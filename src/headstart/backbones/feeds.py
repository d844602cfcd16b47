"""Feeding a network: the device half of preparation, then the network, one class for each way of calling one.

A feed takes a prepared batch as tensors. Its first operation is the device half (mean and deviation, attention mask, loudness, mel
spectrogram), so no engine, exporter or tuner can forget it.
"""

import inspect
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import nn

from headstart.backbones import mel
from headstart.backbones.fourier import Frames
from headstart.backbones.whisper_encoder import HOP, LogMel, WhisperEncoder
from headstart.core.errors import BackboneError


@dataclass(frozen=True)
class Outcome:
    """What one pass gives.

    Attributes:
        last: the network's last output: (n, d), (n, t, d), (n, c, h, w) or (n, h, w, c); None where it is several tensors.
        pooled: the network's own pooled output before a classifier, None where it has none.
    """

    last: torch.Tensor | None
    pooled: torch.Tensor | None = None


# Mean and standard deviation of each channel.
Colour = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class Layout:
    """How a network lays its outputs out.

    Attributes:
        prefix: leading tokens that stand for the whole input (class, registers).
        has_class_token: whether the first token stands for the whole input.
        channels_last: whether feature maps are (n, h, w, c).
    """

    prefix: int = 0
    has_class_token: bool = False
    channels_last: bool = False


_PLAIN, _CLASS_TOKEN = Layout(), Layout(has_class_token=True)


class Feed(nn.Module):
    """A network and its device half.

    Attributes:
        net: the network; its tensors are the backbone's, and layers are named from it.
        layout: how its outputs are laid out.
        fixed: whether every sample becomes one shape, however long it is.
    """

    fixed = False

    def __init__(self, net: nn.Module, layout: Layout = _PLAIN) -> None:
        super().__init__()
        self.net = net
        self.layout = layout

    def front(self, values: torch.Tensor, lengths: Int[torch.Tensor, " n"]) -> torch.Tensor:
        """The part of the device half that needs float32 whatever the network runs in, such as a spectrogram; as it comes where there is none."""
        del lengths
        return values

    @abstractmethod
    def forward(self, values: torch.Tensor, lengths: Int[torch.Tensor, " n"]) -> Outcome:
        """Run the network on what `front` made of a prepared batch."""

    def padded(self, values: torch.Tensor) -> int:
        """Input positions of a batch, padding included, from what `front` made of it."""
        return values.shape[1]

    def counts(self, lengths: torch.Tensor, *, tokens: int, padded: int) -> Int[torch.Tensor, " n"] | None:
        """How many of a layer's `tokens` positions are real, None where all are.

        Args:
            lengths: (n,) real input positions.
            tokens: positions of the layer.
            padded: input positions, padding included. Where a layer has fewer, as many are real as in proportion, rounded up.
        """
        return torch.clamp((lengths * tokens + padded - 1) // padded, 1, tokens)


class ImageFeed(Feed):
    """A network for images: pixels as bytes become numbers around zero."""

    fixed = True
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, net: nn.Module, layout: Layout = _PLAIN, *, colour: Colour) -> None:
        super().__init__(net, layout)
        for name, values in zip(("mean", "std"), colour, strict=True):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)

    def pixels(self, values: UInt8[torch.Tensor, "n h w 3"]) -> Float[torch.Tensor, "n 3 h w"]:
        """Channels first, from [0, 255] to [0, 1], mean subtracted, divided by the deviation."""
        scaled = values.permute(0, 3, 1, 2).to(self.mean.dtype) / 255
        return ((scaled - self.mean) / self.std).contiguous()

    def counts(self, lengths: torch.Tensor, *, tokens: int, padded: int) -> None:
        """Every position of an image is real."""
        del lengths, tokens, padded


class PlainImageFeed(ImageFeed):
    """`net(pixels)`: a user's own module."""

    def forward(self, values: torch.Tensor, lengths: torch.Tensor) -> Outcome:
        """Run the module."""
        del lengths
        return Outcome(_tensor(self.net(self.pixels(values)), self.net))


class TimmFeed(ImageFeed):
    """timm's two steps: the features, then the head as far as before its classifier."""

    def forward(self, values: torch.Tensor, lengths: torch.Tensor) -> Outcome:
        """Run both steps."""
        del lengths
        net: Any = self.net
        features = net.forward_features(self.pixels(values))
        # Networks of several branches, such as CrossViT, hand a list from one step to the other.
        return Outcome(tensor_of(features), net.forward_head(features, pre_logits=True))


class VisionFeed(ImageFeed):
    """An image network of transformers."""

    def __init__(self, net: nn.Module, layout: Layout = _PLAIN, *, colour: Colour) -> None:
        super().__init__(net, layout, colour=colour)
        # CLIP's tower returns its tokens before its last norm, and only its pooled output after it.
        unfinished = net.config.model_type == "clip_vision_model"  # type: ignore[union-attr]
        names = [name for name, _ in net.named_modules() if name.rpartition(".")[2] == "post_layernorm"]
        self.last_norm = names[0] if unfinished and names else ""

    def forward(self, values: torch.Tensor, lengths: torch.Tensor) -> Outcome:
        """Run the network; positions are interpolated where the size is not the one that it was trained at."""
        del lengths
        config, options = self.net.config, {}
        trained = getattr(config, "image_size", None)
        if isinstance(trained, int) and trained != values.shape[1] and _takes(self.net, "interpolate_pos_encoding"):
            options["interpolate_pos_encoding"] = True
        outcome = _outcome(self.net(pixel_values=self.pixels(values), **options), self.net)
        if not self.last_norm:
            return outcome
        return Outcome(self.net.get_submodule(self.last_norm)(outcome.last), outcome.pooled)


class TextFeed(Feed):
    """A text network of transformers: token ids and an attention mask."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net, _CLASS_TOKEN)
        self.pad = int(getattr(net.config, "pad_token_id", None) or 0)

    def forward(self, values: torch.Tensor, lengths: torch.Tensor) -> Outcome:
        """Run the network with the padding masked, and the ids of padding replaced by its own."""
        real = torch.arange(values.shape[1], device=values.device) < lengths[:, None]
        ids = values.masked_fill(~real, self.pad)
        return _outcome(self.net(input_ids=ids, attention_mask=real.to(torch.int64)), self.net)


class WaveFeed(Feed):
    """wav2vec 2.0, HuBERT, WavLM and their kin: the waveform itself.

    Networks whose first normalisation runs over time (`feat_extract_norm == "group"`) were trained without an attention mask; their
    batches hold clips of one length (`pad="none"`).
    """

    def __init__(self, net: nn.Module, *, normalise: bool, masked: bool) -> None:
        super().__init__(net)
        self.normalise = normalise
        self.masked = masked

    def forward(self, values: torch.Tensor, lengths: torch.Tensor) -> Outcome:
        """Scale each clip to mean 0 and deviation 1 over its real samples where the network wants that, then run it."""
        real = torch.arange(values.shape[1], device=values.device) < lengths[:, None]
        if self.normalise:
            values = _unit_variance(values, real, lengths)
        options = {"attention_mask": real.to(torch.int64)} if self.masked else {}
        return _outcome(self.net(input_values=values, **options), self.net)

    def counts(self, lengths: torch.Tensor, *, tokens: int, padded: int) -> torch.Tensor:
        """The network's own arithmetic of convolution lengths where it applies, else the proportion."""
        net: Any = self.net
        own = net._get_feat_extract_output_lengths  # noqa: SLF001  (transformers has no public name for it)
        if int(own(padded)) == tokens:
            return torch.clamp(own(lengths), 1, tokens)
        found = super().counts(lengths, tokens=tokens, padded=padded)
        assert found is not None
        return found


class WhisperFeed(Feed):
    """Whisper's encoder on its log-mel spectrogram."""

    def __init__(self, net: WhisperEncoder, *, bands: int) -> None:
        super().__init__(net)
        self.spectrogram = LogMel(bands)

    def front(self, values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """The spectrogram: eight bits of mantissa would drown its quiet bands in the rounding of the loud ones."""
        del lengths
        spectrogram: torch.Tensor = self.spectrogram(values)
        return spectrogram

    def forward(self, values: torch.Tensor, lengths: torch.Tensor) -> Outcome:
        """Run the encoder on the batch's bucket."""
        del lengths
        return Outcome(self.net(values))

    def padded(self, values: torch.Tensor) -> int:
        """Samples of the bucket: 160 a frame."""
        return values.shape[2] * HOP


@dataclass(frozen=True)
class FbankSize:
    """What the Audio Spectrogram Transformer's preparation fixes.

    Attributes:
        bands: mel bands.
        frames: frames of 10 ms that every clip is cut or padded to.
        rate: samples a second.
        mean: of log energies; subtracted.
        std: of log energies; twice of it divides.
    """

    bands: int
    frames: int
    rate: int
    mean: float
    std: float


class FbankFeed(Feed):
    """The Audio Spectrogram Transformer on Kaldi's log-mel filter bank: 25 ms Hann windows every 10 ms."""

    fixed = True
    filters: torch.Tensor
    window: torch.Tensor

    def __init__(self, net: nn.Module, *, size: FbankSize, prefix: int) -> None:
        super().__init__(net, Layout(prefix, has_class_token=True))
        self.size = size
        self.length, self.hop = size.rate // 40, size.rate // 100
        self.points = 1 << (self.length - 1).bit_length()
        filters = mel.kaldi(bins=self.points // 2 + 1, bands=size.bands, rate=size.rate)
        self.register_buffer("filters", torch.from_numpy(filters), persistent=False)
        self.register_buffer("window", torch.hann_window(self.length, periodic=False), persistent=False)
        self.power: nn.Module = Frames(self.points)

    def front(self, values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """The filter bank of each clip."""
        return self.filter_bank(values, lengths)

    def forward(self, values: torch.Tensor, lengths: torch.Tensor) -> Outcome:
        """Run the network on the filter bank of each clip."""
        del lengths
        return _outcome(self.net(input_values=values), self.net)

    def filter_bank(self, wave: torch.Tensor, lengths: torch.Tensor) -> Float[torch.Tensor, "n frames bands"]:
        """Kaldi's `compute-fbank-feats` without dither, frames past a clip's end zero, then scaled."""
        wave = nn.functional.pad(wave, (0, max(0, self.length - wave.shape[1])))
        frames = wave.unfold(1, self.length, self.hop)[:, : self.size.frames]
        frames = frames - frames.mean(dim=2, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], dim=2)
        power = self.power((frames - 0.97 * before) * self.window)
        energies = torch.clamp(power @ self.filters.T, min=torch.finfo(torch.float32).eps).log()
        real = torch.arange(frames.shape[1], device=wave.device) <= (lengths[:, None] - self.length) // self.hop
        energies = energies.masked_fill(~real[..., None], 0.0)
        energies = nn.functional.pad(energies, (0, 0, 0, self.size.frames - energies.shape[1]))
        return (energies - self.size.mean) / (2 * self.size.std)

    def counts(self, lengths: torch.Tensor, *, tokens: int, padded: int) -> None:
        """Every clip is padded to the same spectrogram, as in training."""
        del lengths, tokens, padded


class PlainSequenceFeed(Feed):
    """`net(values, lengths)`, or `net(values)` where it takes one argument: a user's own module for texts or recordings."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net, _CLASS_TOKEN)
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        takes = [each for each in inspect.signature(net.forward).parameters.values() if each.kind in positional]
        self.with_lengths = len(takes) > 1

    def forward(self, values: torch.Tensor, lengths: torch.Tensor) -> Outcome:
        """Run the module."""
        return Outcome(_tensor(self.net(values, lengths) if self.with_lengths else self.net(values), self.net))


def tensor_of(output: Any) -> torch.Tensor | None:
    """The tensor of a module's output: itself, the first of a tuple, the last hidden state of a transformers output.

    A list of several is one of equals, as of a network's branches: none of them is the output.
    """
    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, list) and len(output) > 1:
        return None
    if isinstance(output, tuple | list):
        return tensor_of(output[0]) if output else None
    found = getattr(output, "last_hidden_state", None)
    return found if isinstance(found, torch.Tensor) else None


def _tensor(output: Any, net: nn.Module) -> torch.Tensor:
    found = tensor_of(output)
    if found is None:
        raise BackboneError(
            f"{type(net).__name__} returns {type(output).__name__}, and a backbone's module returns a tensor"
        )
    return found


def _outcome(output: Any, net: nn.Module) -> Outcome:
    return Outcome(_tensor(output, net), getattr(output, "pooler_output", None))


def _takes(net: nn.Module, parameter: str) -> bool:
    return parameter in inspect.signature(net.forward).parameters


def _unit_variance(values: torch.Tensor, real: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    counts = lengths.clamp(min=1)[:, None].to(values.dtype)
    centred = (values - (values * real).sum(dim=1, keepdim=True) / counts) * real
    variance = (centred**2).sum(dim=1, keepdim=True) / counts
    return centred / torch.sqrt(variance + 1e-7)
