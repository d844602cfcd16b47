"""What a student learns from: a teacher's outputs beside the labels, and, where asked for, the teacher's rows.

The targets of a taught sample are one row of numbers: the label, or -1 where there is none, the teacher's k scores, and the d values of its
row where features are matched. So the loop that trains on labels trains on these.

Source: Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015; Zhao et al., Decoupled Knowledge Distillation, 2022;
Romero et al., FitNets: Hints for Thin Deep Nets, 2015.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch.nn import functional

from headstart.core.errors import UsageError
from headstart.tuning.losses import Loss

KINDS = ("kd", "dkd")
UNLABELLED = -1.0

# The weights of the decoupled loss: of the label against the rest, and of the rest among itself (Zhao et al., 2022).
_TARGET, _REST = 1.0, 2.0
# Half of a labelled sample's loss is its label's, half its teacher's.
_LABEL = 0.5


@dataclass(frozen=True)
class TeachingOptions:
    """How a student is taught.

    Attributes:
        kind: `kd`, the divergence from the teacher's probabilities, or `dkd`, in which that of the label and that among all others are
            weighed apart; for single labels.
        temperature: both sides' scores are divided by it, and the loss is multiplied by its square.
        features: the weight of the squared distance between the teacher's row and a linear map of the student's; 0: none.
    """

    kind: str = "kd"
    temperature: float = 2.0
    features: float = 0.0

    def check(self, link: str) -> None:
        """Refuse what cannot be.

        Raises:
            UsageError: an option is out of range, or does not suit the task.
        """
        if self.kind not in KINDS:
            raise UsageError(f"a student is taught by {' or '.join(KINDS)}, and got {self.kind!r}")
        if self.kind == "dkd" and link != "softmax":
            raise UsageError("dkd is for samples that have one label of several: use kd")
        if not 0 < self.temperature < float("inf"):
            raise UsageError(f"a temperature is a number above 0, and got {self.temperature:g}")
        if not 0 <= self.features < float("inf"):
            raise UsageError(f"the weight of features is a number from 0 up, and got {self.features:g}")


def taught_loss(link: str, options: TeachingOptions, *, k: int) -> Loss:
    """The loss of taught samples.

    Args:
        link: of the task.
        options: how.
        k: scores of a sample.

    Returns:
        From (n, k + d) scores and mapped rows, (n, 1 + k + d) or, for several labels at once, (n, 2 k + d) targets, and (n,) weights.
    """
    part = {"softmax": _single, "sigmoid": _several, "identity": _value}[link]
    labels = k if link == "sigmoid" else 1

    def loss(outputs: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        scores, mapped = outputs[:, :k], outputs[:, k:]
        own, teacher, rows = targets[:, :labels], targets[:, labels : labels + k], targets[:, labels + k :]
        each = part(scores, own, teacher, options)
        if options.features:
            each = each + options.features * ((mapped - rows) ** 2).mean(dim=1)
        return (each * weights).sum() / weights.sum().clamp(min=1e-9)

    return loss


def _single(
    scores: Float[torch.Tensor, "n k"],
    own: Float[torch.Tensor, "n 1"],
    teacher: Float[torch.Tensor, "n k"],
    options: TeachingOptions,
) -> Float[torch.Tensor, "n"]:
    """One label of several."""
    labelled = own[:, 0] >= 0
    label = own[:, 0].clamp(min=0).long()
    divergence = _decoupled if options.kind == "dkd" else _plain
    # Without a label the teacher's own choice is what the decoupled loss sets apart.
    aim = torch.where(labelled, label, teacher.argmax(dim=1))
    apart = options.temperature**2 * divergence(scores / options.temperature, teacher / options.temperature, aim)
    hard = functional.cross_entropy(scores, label, reduction="none")
    return torch.where(labelled, _LABEL * hard + (1 - _LABEL) * apart, apart)


def _plain(scores: torch.Tensor, teacher: torch.Tensor, aim: torch.Tensor) -> torch.Tensor:
    del aim
    return functional.kl_div(
        scores.log_softmax(dim=1), teacher.log_softmax(dim=1), reduction="none", log_target=True
    ).sum(dim=1)


def _decoupled(scores: torch.Tensor, teacher: torch.Tensor, aim: torch.Tensor) -> torch.Tensor:
    """The divergence of (label, rest), and that among the rest."""
    hidden = functional.one_hot(aim, scores.shape[1]).bool()

    def sides(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logs = values.log_softmax(dim=1)
        label = logs[hidden][:, None]
        rest = logs.masked_fill(hidden, -torch.inf).logsumexp(dim=1, keepdim=True)
        return torch.cat([label, rest], dim=1), values.masked_fill(hidden, -1e4).log_softmax(dim=1)

    (pair, among), (pair_of, among_of) = sides(scores), sides(teacher)
    target = functional.kl_div(pair, pair_of, reduction="none", log_target=True).sum(dim=1)
    rest = functional.kl_div(among, among_of, reduction="none", log_target=True).masked_fill(hidden, 0.0).sum(dim=1)
    return _TARGET * target + _REST * rest


def _several(
    scores: torch.Tensor, own: torch.Tensor, teacher: torch.Tensor, options: TeachingOptions
) -> Float[torch.Tensor, "n"]:
    """Several labels at once: the cross-entropy of each label with the teacher's probability, and with its own where it has one."""
    warm = options.temperature
    soft = functional.binary_cross_entropy_with_logits(scores / warm, (teacher / warm).sigmoid(), reduction="none")
    hard = functional.binary_cross_entropy_with_logits(scores, own.clamp(min=0), reduction="none")
    apart, label = warm**2 * soft.mean(dim=1), hard.mean(dim=1)
    return torch.where(own[:, 0] >= 0, _LABEL * label + (1 - _LABEL) * apart, apart)


def _value(
    scores: torch.Tensor, own: torch.Tensor, teacher: torch.Tensor, options: TeachingOptions
) -> Float[torch.Tensor, "n"]:
    """Values: the squared distance from the teacher's, and from its own where it has one (NaN: none)."""
    del options
    apart = (scores[:, 0] - teacher[:, 0]) ** 2
    known = ~own[:, 0].isnan()
    label = (scores[:, 0] - own[:, 0].nan_to_num()) ** 2
    return torch.where(known, _LABEL * label + (1 - _LABEL) * apart, apart)
