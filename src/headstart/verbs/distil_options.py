"""What a person may choose of a distillation."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.backbones.backbone import Backbone, BackboneRequest
from headstart.core.errors import UsageError
from headstart.data.samples import Samples
from headstart.verbs.tune_ground import check_length

if TYPE_CHECKING:
    from headstart.tuning.teaching import TeachingOptions

FROZEN = "frozen"
"""The strategy that trains a head alone, on the student's frozen rows."""


@dataclass(frozen=True)
class DistilOptions:
    """What a person may choose of a distillation.

    Attributes:
        student: the backbone that learns, as for `fit`; it may be of another family than the teacher's.
        unlabelled: samples of the same kind without labels, as a folder or table; equal ones of the data are left out.
        strategy: `auto`, `full(...)`, `last(...)`, `lora(...)`, `bitfit`, or `frozen`: a head alone, which takes seconds.
        budget: seconds for all of it.
        steps: of the long training, in place of what the budget affords.
        looks: seeded looks at each sample, the same for teacher and student; None: as many as a fifth of the budget affords, up to eight.
        kind: `kd` or `dkd` (decoupled), for the loss.
        temperature: of both sides' scores.
        features: the weight of matching the teacher's rows; 0: none.
        flip: whether pictures may be mirrored; None: found out.
        seed: decides what is set aside, looks and order.
        offline: open no socket.
        run: the folder that keeps what was settled, the teacher's outputs and checkpoints; None: a temporary one.
        track: `tensorboard` or `mlflow`, as for `tune`; empty: none.
    """

    student: str | BackboneRequest | Backbone
    unlabelled: str | Path | Samples | None = None
    strategy: str = "auto"
    budget: float = 600.0
    steps: int | None = None
    looks: int | None = None
    kind: str = "kd"
    temperature: float = 2.0
    features: float = 0.0
    flip: bool | None = None
    seed: int = 0
    offline: bool = False
    run: Path | None = None
    track: str = ""

    def check(self) -> None:
        """Refuse what cannot be, before anything is read.

        Raises:
            UsageError: an option is out of range.
        """
        check_length(self.budget, self.steps)
        if self.looks is not None and not 1 <= self.looks <= 64:
            raise UsageError(f"a student takes 1 to 64 looks at each sample, and got {self.looks}")

    @property
    def teaching(self) -> "TeachingOptions":
        """How the loss is made."""
        from headstart.tuning.teaching import TeachingOptions

        return TeachingOptions(self.kind, self.temperature, self.features)
