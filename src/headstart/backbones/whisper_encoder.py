"""Whisper's encoder with its log-mel spectrogram, run only on the frames that exist.

Whisper itself pads every clip to 30 s. Here the table of positions is cut to the clip's bucket, which makes a clip of one second thirty
times cheaper; at 30 s the two are equal. Parameter names are those of transformers' `WhisperEncoder`, so its tensors load as they are.

Source: A. Radford et al., Robust Speech Recognition via Large-Scale Weak Supervision, 2022.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional

from headstart.backbones import mel
from headstart.backbones.fourier import ShortTime

RATE, HOP, WINDOW = 16000, 160, 400


@dataclass(frozen=True)
class WhisperSize:
    """The sizes of an encoder.

    Attributes:
        bands: mel bands.
        positions: the longest clip, in frames of 20 ms.
        width: d.
        heads: attention heads a block.
        blocks: blocks.
        hidden: width inside a block's feed-forward part.
    """

    bands: int
    positions: int
    width: int
    heads: int
    blocks: int
    hidden: int


class LogMel(nn.Module):
    """Waveform to Whisper's log-mel spectrogram: 25 ms windows every 10 ms, the loudest 80 dB, scaled to about [-1, 1]."""

    filters: torch.Tensor

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.register_buffer(
            "filters", torch.from_numpy(mel.slaney(bins=WINDOW // 2 + 1, bands=bands, rate=RATE)), persistent=False
        )
        self.power: nn.Module = ShortTime(WINDOW, HOP)

    def forward(self, wave: Float[torch.Tensor, "n s"]) -> Float[torch.Tensor, "n bands frames"]:
        """The spectrogram of each clip, with `s // 160` frames."""
        log = torch.clamp(self.filters @ self.power(wave)[..., :-1], min=1e-10).log10()
        loudest = log.amax(dim=(1, 2), keepdim=True)
        return (torch.maximum(log, loudest - 8.0) + 4.0) / 4.0


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Float[torch.Tensor, "n t d"]) -> Float[torch.Tensor, "n t d"]:
        q, k, v = (
            project(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v)
        mixed = self.out_proj(mixed.transpose(1, 2).flatten(2))
        assert isinstance(mixed, torch.Tensor)
        return mixed


class _Block(nn.Module):
    def __init__(self, size: WhisperSize) -> None:
        super().__init__()
        self.self_attn = _Attention(size.width, size.heads)
        self.self_attn_layer_norm = nn.LayerNorm(size.width)
        self.fc1 = nn.Linear(size.width, size.hidden)
        self.fc2 = nn.Linear(size.hidden, size.width)
        self.final_layer_norm = nn.LayerNorm(size.width)

    def forward(self, x: Float[torch.Tensor, "n t d"]) -> Float[torch.Tensor, "n t d"]:
        x = x + self.self_attn(self.self_attn_layer_norm(x))
        forward: torch.Tensor = self.fc2(functional.gelu(self.fc1(self.final_layer_norm(x))))
        return x + forward


class WhisperEncoder(nn.Module):
    """Two convolutions, learned-length sinusoid positions, pre-norm transformer blocks, a last norm."""

    def __init__(self, size: WhisperSize) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(size.bands, size.width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(size.width, size.width, kernel_size=3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(size.positions, size.width)
        self.layers = nn.ModuleList(_Block(size) for _ in range(size.blocks))
        self.layer_norm = nn.LayerNorm(size.width)

    def forward(self, spectrogram: Float[torch.Tensor, "n bands frames"]) -> Float[torch.Tensor, "n t d"]:
        """One token for two frames; at most `positions` tokens."""
        x = functional.gelu(self.conv1(spectrogram))
        x = functional.gelu(self.conv2(x)).transpose(1, 2)
        x = x + self.embed_positions.weight[: x.shape[1]]
        for layer in self.layers:
            x = layer(x)
        normed: torch.Tensor = self.layer_norm(x)
        return normed
