"""A table of words of which only those are parameters that the samples hold.

The gradient of a table of words is dense: of 30,000 words, or of the 250,000 of a network for many languages, every step fills, clips and
averages all rows, and keeps two moments of each. A row that no sample names has no gradient, so leaving it out changes nothing but that
weight decay no longer shrinks it.
"""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from headstart.backbones.feeds import TextFeed
from headstart.tuning.classifier import Trainable
from headstart.tuning.views import Views

# Of a table of which more occurs, too little would be saved.
_MOST = 0.5


class UsedWords(nn.Module):
    """Takes the place of a table: the same rows for the ids that occur, and no others."""

    place: torch.Tensor

    def __init__(self, table: nn.Embedding, used: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(table.weight.detach()[used].clone())
        place = torch.full((table.num_embeddings,), -1, dtype=torch.int64, device=used.device)
        place[used] = torch.arange(len(used), device=used.device)
        self.register_buffer("place", place, persistent=False)
        padding = table.padding_idx
        self.padding = None if padding is None or int(place[padding]) < 0 else int(place[padding])
        self.used = used
        self.whole = (table,)  # in a tuple, as a module within this one would be trained with it

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """The rows of ids that occur."""
        return functional.embedding(self.place[ids], self.weight, padding_idx=self.padding)

    def restored(self) -> nn.Embedding:
        """The whole table, with these rows in it."""
        (table,) = self.whole
        with torch.no_grad():
            table.weight[self.used.to(table.weight.device)] = self.weight.detach().to(table.weight.device)
        return table


def narrow(trainable: Trainable, views: Views) -> None:
    """Put the words that occur in the place of the table, where it is trained.

    Args:
        trainable: at its start; changed in place, and `restore` brings the table back.
        views: all that it is trained on.
    """
    feed, net = trainable.classifier.readout.feed, trainable.classifier.net
    named: Any = getattr(net, "get_input_embeddings", None)
    if not isinstance(feed, TextFeed) or named is None or not isinstance(table := named(), nn.Embedding):
        return
    paths = _paths(net, table)
    owners = {id(module) for module in net.modules() if getattr(module, "weight", None) is table.weight}
    if not any(f"{path}.weight" in trainable.shares for path in paths) or owners != {id(table)}:
        return
    used = torch.from_numpy(np.union1d(views.distinct, [feed.pad]).astype(np.int64))
    if len(used) > _MOST * table.num_embeddings:
        return
    words = UsedWords(table, used)
    for path in paths:
        net.set_submodule(path, words)


def told(net: nn.Module) -> str:
    """What of its words is trained, as the end of a sentence; empty where that is all of them or none."""
    found = [module for module in net.modules() if isinstance(module, UsedWords)]
    return "".join(f"; of {len(each.place):,} words the {len(each.used):,} that occur are trained" for each in found)


def restore(net: nn.Module) -> None:
    """Bring back every whole table."""
    for words in [module for module in net.modules() if isinstance(module, UsedWords)]:
        table = words.restored()
        for path in _paths(net, words):
            net.set_submodule(path, table)


def _paths(net: nn.Module, wanted: nn.Module) -> list[str]:
    return [path for path, module in net.named_modules(remove_duplicate=False) if module is wanted]
