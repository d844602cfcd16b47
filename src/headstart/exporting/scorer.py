"""The graph that is exported: a prepared batch to calibrated probabilities, and the rows that they are of."""

import copy

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from headstart.backbones.network import NetworkBackbone
from headstart.core.errors import UsageError
from headstart.exporting.spectra import by_products
from headstart.heads.modules import scores_of
from headstart.model.model import Model


class Scorer(nn.Module):
    """A model as one network, in float32: its backbone, head, temperature, link and deployment prior.

    It takes `values` as preparation makes them; `lengths` where the modality has any; and, where a sample may be cut into several views,
    `shares`: for each sample the part that each view has in its row.
    """

    shift: torch.Tensor

    def __init__(self, model: Model) -> None:
        """Copy a model's network.

        Raises:
            UsageError: the backbone is no network of torch.
        """
        super().__init__()
        if not isinstance(model.backbone, NetworkBackbone):
            raise UsageError(
                f"{model.report.backbone} is no network of torch, and only those are exported: it can be used where it is from"
            )
        self.readout = copy.deepcopy(model.backbone.at("float32").module)
        by_products(self.readout)
        self.head = scores_of(model.head)
        self.link = model.head.link
        self.temperature = float(model.temperature)
        self.shifted = model.prior is not None and model.deployment_prior is not None
        shift = np.array(model.deployment_prior) / np.array(model.prior) if self.shifted else np.ones(1)
        self.register_buffer("shift", torch.tensor(shift, dtype=torch.float32))

    def forward(
        self, values: torch.Tensor, *others: torch.Tensor
    ) -> tuple[Float[torch.Tensor, "n k"], Float[torch.Tensor, "n d"]]:
        """Calibrated probabilities, or values for regression, and rows.

        Args:
            values: (v, ...) prepared views.
            others: (v,) lengths, where the modality has any, and (n, v) shares of the views.
        """
        lengths = others[0] if others else torch.ones(values.shape[0], dtype=torch.int64, device=values.device)
        # Not `front`, which turns autocast off: a traced program would keep that.
        begun = self.readout.feed.front(values, lengths)
        rows = torch.cat([each.float() for each in self.readout.body(begun, lengths)], dim=1)
        if len(others) > 1:
            rows = others[1] @ rows
        scores = self.head(rows)
        if self.link == "identity":
            return scores, rows
        if self.link == "sigmoid":
            return torch.sigmoid(scores / self.temperature), rows
        found = torch.softmax(scores / self.temperature, dim=1)
        if self.shifted:
            found = found * self.shift
            found = found / found.sum(dim=1, keepdim=True)
        return found, rows
