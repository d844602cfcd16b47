"""Other looks at the same sample that cannot change its label: crops and, where it was found safe, mirroring of pictures; louder and later sound."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """What is changed at random.

    Attributes:
        modality: `image`, `audio` or `text`; texts stay as they are.
        least: the smallest share of a picture's area that a crop keeps; 1.0: no crops.
        flip: whether pictures are mirrored.
    """

    modality: str
    least: float = 0.5
    flip: bool = False

    def __call__(self, values: torch.Tensor, lengths: torch.Tensor, *, generator: torch.Generator) -> torch.Tensor:
        """The batch, changed; of the same shape and type.

        Args:
            values: (n, h, w, 3) uint8, (n, t) token ids, or (n, s) samples.
            lengths: (n,).
            generator: on the CPU, so that a seed means the same everywhere.
        """
        if self.modality == "image":
            return _looked_at(values, self, generator)
        return _heard(values, lengths, generator) if self.modality == "audio" else values


def _looked_at(values: torch.Tensor, how: Augmentation, generator: torch.Generator) -> torch.Tensor:
    n = len(values)
    draw = torch.rand((n, 5), generator=generator)
    area = how.least + (1 - how.least) * draw[:, 0]
    ratio = torch.exp((draw[:, 1] - 0.5) * 2 * torch.log(torch.tensor(4 / 3))) if how.least < 1 else torch.ones(n)
    wide, high = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    mirror = torch.where(draw[:, 4] < 0.5, -1.0, 1.0) if how.flip else torch.ones(n)
    theta = torch.zeros((n, 2, 3))
    theta[:, 0, 0], theta[:, 0, 2] = wide * mirror, (1 - wide) * (2 * draw[:, 2] - 1)
    theta[:, 1, 1], theta[:, 1, 2] = high, (1 - high) * (2 * draw[:, 3] - 1)
    pixels = values.permute(0, 3, 1, 2).float()
    grid = functional.affine_grid(theta.to(values.device), list(pixels.shape), align_corners=False)
    seen = functional.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return seen.round().clamp(0, 255).to(values.dtype).permute(0, 2, 3, 1)


def _heard(
    values: Float[torch.Tensor, "n s"], lengths: torch.Tensor, generator: torch.Generator
) -> Float[torch.Tensor, "n s"]:
    """Up to 6 dB louder or softer, and up to a tenth of the clip later or earlier, silence coming in."""
    draw = torch.rand((len(values), 2), generator=generator)
    gain = (10 ** ((draw[:, 0] - 0.5) * 12 / 20)).to(values.device, values.dtype)
    out = torch.zeros_like(values)
    for row, (clip, length) in enumerate(zip(values, lengths.tolist(), strict=True)):
        shift = int((draw[row, 1] - 0.5) * 0.2 * length)
        whole = clip[:length]
        out[row, max(0, shift) : length + min(0, shift)] = whole[max(0, -shift) : length - max(0, shift)]
    return out * gain[:, None]
