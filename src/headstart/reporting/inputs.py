"""What the report reads of results that other verbs made, by the names of their attributes: an audit, a learning curve, a judge."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np


class Finding(Protocol):
    """One thing that an audit found."""

    @property
    def kind(self) -> str:
        """Such as `leak` or `label_error`."""

    @property
    def severity(self) -> str:
        """`error`, `warning` or `note`."""

    @property
    def count(self) -> int:
        """How many items it is about."""

    @property
    def sentence(self) -> str:
        """It in words."""


class Suspect(Protocol):
    """One item that an audit suspects."""

    @property
    def kind(self) -> str:
        """Such as `leak` or `label_error`."""

    @property
    def input(self) -> str:
        """The sample's id."""

    @property
    def label(self) -> str:
        """The label that it has."""

    @property
    def suggestion(self) -> str:
        """The label that it would rather have, or empty."""

    @property
    def score(self) -> float:
        """How strong the suspicion is, from 0 to 1."""

    @property
    def why(self) -> str:
        """The reason in words."""


class Audit(Protocol):
    """What a check of the data found."""

    @property
    def n(self) -> int:
        """Items that were looked at."""

    @property
    def understood(self) -> tuple[str, ...]:
        """How the data was understood, one sentence each."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found."""

    @property
    def suspects(self) -> tuple[Suspect, ...]:
        """The items in question, ranked within their kind."""

    @property
    def shift(self) -> Mapping[str, float]:
        """For each pair of parts, such as `train/test`, how well a classifier tells them apart: 0.5 not at all, 1 always."""


class CurvePoint(Protocol):
    """A figure at a number of labelled samples."""

    @property
    def n(self) -> int:
        """Labelled samples."""

    @property
    def value(self) -> float:
        """The figure."""

    @property
    def low(self) -> float:
        """Lower end of the interval."""

    @property
    def high(self) -> float:
        """Upper end of the interval."""


class Curve(Protocol):
    """A figure against the number of labels."""

    @property
    def metric(self) -> str:
        """The figure's name."""

    @property
    def points(self) -> tuple[CurvePoint, ...]:
        """What was measured."""

    @property
    def forecast(self) -> tuple[CurvePoint, ...]:
        """What more labels would probably give."""

    @property
    def sentence(self) -> str:
        """Whether more data will help."""


class Judgement(Protocol):
    """What a judge says of n predictions."""

    @property
    def sets(self) -> np.ndarray | None:
        """(n, k) bool: the labels that cannot be ruled out."""

    @property
    def intervals(self) -> np.ndarray | None:
        """(n, 2) ends of what each value may be."""

    @property
    def outliers(self) -> np.ndarray | None:
        """(n,) bool: whether a sample is unlike the training data."""
