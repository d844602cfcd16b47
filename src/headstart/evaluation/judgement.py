"""`Judgement`: what a model's judge says of one prediction, as plain values."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Judgement:
    """What is said of one prediction beside its probabilities; without anything it says nothing.

    Attributes:
        set: the labels that it may be, at the coverage that the model was fitted with, most probable first.
        interval: lower and upper end of what a value may be, at that coverage.
        outlier: how unlike the training data the sample is, from 0 to 1: the share of held-out samples that are less unlike.
        is_outlier: whether that is past the threshold.
        abstain: why no answer is given, or empty where one is.
    """

    set: tuple[str, ...] | None = None
    interval: tuple[float, float] | None = None
    outlier: float | None = None
    is_outlier: bool = False
    abstain: str = ""

    def outlier_json(self) -> dict[str, float | bool] | None:
        """`outlier` as a prediction's JSON has it (docs/json.md)."""
        return None if self.outlier is None else {"score": self.outlier, "is": self.is_outlier}


NOTHING = Judgement()
"""What is said where a model carries no judge."""
