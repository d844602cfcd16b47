"""Pooling: how tokens or positions become one row.

| name | row |
|---|---|
| `mean` | mean over the real tokens; over all positions of a feature map; class and register tokens of images are left out |
| `cls` | the first token: the class token of a vision transformer, `[CLS]` of a text encoder |
| `cls+mean` | the two side by side, 2d wide |
| `max` | maximum over what `mean` averages |
| `last` | the last real token, for causal text models |
| `flat` | everything, flattened; only where every sample has the same shape |
| `model` | the network's own pooled output, before its classifier |

`+l2` at the end scales each row to length one, as sentence-transformers folders with a `Normalize` module ask for: `mean+l2`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int

from headstart.core.errors import UsageError, suggest

POOLINGS = ("mean", "cls", "cls+mean", "max", "last", "flat", "model")
_L2 = "+l2"

# How the axes of a layer's output are read.
ROWS, TOKENS, CHANNELS_FIRST, NCHW, NHWC = "rows", "tokens", "channels_first", "nchw", "nhwc"


@dataclass(frozen=True)
class Pooling:
    """A pooling by name.

    Attributes:
        kind: one of `POOLINGS`.
        unit: whether rows are scaled to length one.
    """

    kind: str
    unit: bool

    @classmethod
    def parse(cls, text: str) -> "Pooling":
        """The pooling that `text` names, such as `mean` or `cls+l2`.

        Raises:
            UsageError: there is none of that name.
        """
        kind = text.removesuffix(_L2)
        if kind not in POOLINGS:
            raise UsageError(f"there is no pooling {text!r}.{suggest(kind, POOLINGS)}")
        return cls(kind=kind, unit=text.endswith(_L2))

    def __str__(self) -> str:
        return self.kind + _L2 * self.unit


def as_tokens(output: torch.Tensor, layout: str) -> Float[torch.Tensor, "n t d"]:
    """A layer's output with positions on the second axis and channels on the last."""
    if layout == NCHW:
        return output.flatten(2).transpose(1, 2)
    if layout == NHWC:
        return output.flatten(1, 2)
    if layout == CHANNELS_FIRST:
        return output.transpose(1, 2)
    return output


def pool(
    tokens: Float[torch.Tensor, "n t d"], kind: str, *, counts: Int[torch.Tensor, " n"] | None, prefix: int
) -> Float[torch.Tensor, "n d"]:
    """One row per sample.

    Args:
        tokens: positions on the second axis.
        kind: one of `POOLINGS` but `flat` and `model`, which need no tokens.
        counts: how many of the t tokens are real, at least 1; None where all are.
        prefix: leading tokens that stand for the whole image (class, registers), which `mean` and `max` leave out.
    """
    if kind == "cls":
        return tokens[:, 0]
    if kind == "cls+mean":
        return torch.cat([tokens[:, 0], pool(tokens, "mean", counts=counts, prefix=prefix)], dim=1)
    if kind == "last":
        last = (
            torch.full_like(tokens[:, 0, 0], tokens.shape[1] - 1, dtype=torch.int64) if counts is None else counts - 1
        )
        return tokens[torch.arange(tokens.shape[0], device=tokens.device), last]
    body = tokens[:, prefix:]
    if counts is None:
        return body.mean(dim=1) if kind == "mean" else body.amax(dim=1)
    real = (torch.arange(tokens.shape[1], device=tokens.device)[prefix:] < counts[:, None])[..., None]
    if kind == "max":
        return body.masked_fill(~real, -torch.inf).amax(dim=1)
    return body.masked_fill(~real, 0).sum(dim=1) / real.sum(dim=1).clamp(min=1)
