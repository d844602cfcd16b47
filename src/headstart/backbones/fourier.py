"""Power spectra: by the Fourier transform of torch, or by products with cosines and sines, which every runtime of exports has.

A window of N samples takes N^2 products in place of N log N; at N of 400 both take a small part of what the network behind them takes,
and agree to the rounding of float32.
"""

import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional


class ShortTime(nn.Module):
    """Power spectra of a waveform's windows (Hann), the first one around the first sample; ends are mirrored.

    Attributes:
        size: samples of a window.
        hop: samples from one window to the next.
    """

    window: torch.Tensor

    def __init__(self, size: int, hop: int) -> None:
        super().__init__()
        self.size, self.hop = size, hop
        self.register_buffer("window", torch.hann_window(size), persistent=False)

    def forward(self, wave: Float[torch.Tensor, "n s"]) -> Float[torch.Tensor, "n bins frames"]:
        """`size // 2 + 1` powers of each of `s // hop + 1` windows."""
        return torch.stft(wave, self.size, self.hop, window=self.window, return_complex=True).abs() ** 2

    def by_products(self) -> "ShortTimeByProducts":
        """The same by products."""
        return ShortTimeByProducts(self)


class ShortTimeByProducts(nn.Module):
    """`ShortTime` as one convolution with windowed cosines and sines."""

    kernels: torch.Tensor

    def __init__(self, of: ShortTime) -> None:
        super().__init__()
        self.size, self.hop = of.size, of.hop
        kernels = _waves(of.size, of.size) * of.window.double()
        self.register_buffer("kernels", kernels.float()[:, None], persistent=False)

    def forward(self, wave: Float[torch.Tensor, "n s"]) -> Float[torch.Tensor, "n bins frames"]:
        """As `ShortTime` does."""
        ends = functional.pad(wave[:, None], (self.size // 2, self.size // 2), mode="reflect")
        real, imaginary = functional.conv1d(ends, self.kernels, stride=self.hop).chunk(2, dim=1)
        return real**2 + imaginary**2


class Frames(nn.Module):
    """Power spectra of frames that are cut and windowed already, filled up with zeros to `points`."""

    def __init__(self, points: int) -> None:
        super().__init__()
        self.points = points

    def forward(self, frames: Float[torch.Tensor, "n f s"]) -> Float[torch.Tensor, "n f bins"]:
        """`points // 2 + 1` powers of each frame."""
        power: torch.Tensor = torch.fft.rfft(frames, n=self.points).abs() ** 2
        return power

    def by_products(self) -> "FramesByProducts":
        """The same by products."""
        return FramesByProducts(self.points)


class FramesByProducts(nn.Module):
    """`Frames` as one product with cosines and sines."""

    waves: torch.Tensor

    def __init__(self, points: int) -> None:
        super().__init__()
        self.register_buffer("waves", _waves(points, points).float(), persistent=False)

    def forward(self, frames: Float[torch.Tensor, "n f s"]) -> Float[torch.Tensor, "n f bins"]:
        """As `Frames` does."""
        real, imaginary = (frames @ self.waves[:, : frames.shape[-1]].T).chunk(2, dim=-1)
        return real**2 + imaginary**2


def _waves(size: int, points: int) -> Float[torch.Tensor, "b s"]:
    """Cosines, then sines, of the `points // 2 + 1` frequencies, in double precision."""
    turns = torch.arange(points // 2 + 1)[:, None] * torch.arange(size)[None] % points
    angles = turns.double() * (2 * torch.pi / points)
    return torch.cat([torch.cos(angles), -torch.sin(angles)])
