"""`Story`: everything that the page shows, as frozen values. Numbers are already written as a person reads them."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """The first thing on the page.

    Attributes:
        sentence: what was measured, on what, and how sure it is.
        name: the figure's name.
        value: the figure.
        interval: its 95 % interval in words.
        span: where the low end, the figure and the high end stand on a scale from 0 to 1; None where it has no such scale.
        baseline: what knowing nothing would reach, in words, or empty.
        baseline_at: where that stands on the scale, or None.
    """

    sentence: str
    name: str
    value: str
    interval: str
    span: tuple[float, float, float] | None
    baseline: str = ""
    baseline_at: float | None = None


@dataclass(frozen=True)
class Check:
    """One question that was asked of the results.

    Attributes:
        kind: its key.
        question: it in words.
        state: `fine`, `doubt` or `unknown`.
        finding: what was found.
        advice: what to do about a doubt, or empty.
        anchor: the section that shows more, or empty.
    """

    kind: str
    question: str
    state: str
    finding: str
    advice: str = ""
    anchor: str = ""


@dataclass(frozen=True)
class Figure:
    """A figure of the table of figures: its name, itself, its interval, and what it means."""

    name: str
    value: str
    interval: str
    meaning: str


@dataclass(frozen=True)
class Plot:
    """A drawing with its words.

    Attributes:
        name: part of its ids on the page.
        title: what it shows.
        words: what a person who does not see it has to know.
        svg: the drawing, trusted markup made by `draw`.
    """

    name: str
    title: str
    words: str
    svg: str


@dataclass(frozen=True)
class Cell:
    """A cell of the confusion matrix: its count, its share of the row, and whether it is the right label."""

    count: int
    share: float
    right: bool


@dataclass(frozen=True)
class Confusion:
    """The confusion matrix: for each true label (a row) how often each label was predicted."""

    labels: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Pair:
    """Two labels that are taken for each other: the true one, the predicted one, how often, and the share of the true label."""

    true: str
    predicted: str
    count: int
    share: str


@dataclass(frozen=True)
class ClassRow:
    """One label of the table of labels.

    Attributes:
        label: its name.
        trained: training samples.
        support: evaluated samples.
        recall: the share of its samples that were found, with low and high end; None where it has none.
        precision: the share of its predictions that are right, with low and high end; None where it was never predicted.
        extra: average precision for several labels, else empty.
        confused: the label that it is most often taken for, or empty.
    """

    label: str
    trained: int
    support: int
    recall: tuple[float, float, float] | None
    precision: tuple[float, float, float] | None
    extra: str = ""
    confused: str = ""


@dataclass(frozen=True)
class Media:
    """What shows an item: its kind, a data URI (photos, recordings), a text, or the heights of a waveform from 0 to 1."""

    kind: str
    uri: str = ""
    text: str = ""
    wave: tuple[float, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Item:
    """An item of a gallery: its id, what it is, what was said of it, how sure that was, and why it is here."""

    id: str
    label: str
    said: str
    sure: str
    why: str
    media: Media


@dataclass(frozen=True)
class Gallery:
    """Some items, and out of how many."""

    items: tuple[Item, ...]
    total: int


@dataclass(frozen=True)
class MapSection:
    """The map of the rows.

    Attributes:
        plot: the drawing; its points stand in the order of `points`.
        method: how the map was made.
        points: for each point what hovering shows: id, label, prediction, and whether it is wrong.
        legend: the labels that have a colour, in the order of the colours.
        shown: how many items are on it.
        total: of how many.
        sheet: a data URI of one picture with a thumbnail for each point, or empty.
        tile: side of a thumbnail on the sheet, pixels.
        columns: thumbnails in a row of the sheet.
        neighbours: for each label the share of its items whose nearest item has the same label, and the label met most often else.
    """

    plot: Plot
    method: str
    points: tuple[tuple[str, str, str, int], ...]
    legend: tuple[str, ...]
    shown: int
    total: int
    sheet: str
    tile: int
    columns: int
    neighbours: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Candidate:
    """A head that was compared: its recipe, loss and accuracy out of fold, how it stands to the chosen one, and its seconds."""

    recipe: str
    loss: str
    accuracy: str
    against: str
    seconds: str
    chosen: bool


@dataclass(frozen=True)
class Stage:
    """A stage of the fit with its seconds and its share of all of them."""

    name: str
    seconds: str
    share: float


@dataclass(frozen=True)
class DataSection:
    """What was understood of the data and what is wrong with it.

    Attributes:
        understood: sentences.
        parts: samples by part.
        warnings: sentences.
        skipped: the first inputs that were left out, with their reasons.
        skipped_total: how many were.
        findings: severity and sentence of what an audit found; None where none was made.
    """

    understood: tuple[str, ...]
    parts: Mapping[str, int]
    warnings: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    skipped_total: int
    findings: tuple[tuple[str, str], ...] | None


@dataclass(frozen=True)
class Reproduction:
    """How to get the same again: commands, and facts such as versions and digests."""

    commands: tuple[str, ...]
    facts: Mapping[str, str]


@dataclass(frozen=True)
class Paired:
    """A figure of a tuned model beside that of what it had to beat, on the same samples.

    Attributes:
        name: of the figure.
        ours: the tuned model's.
        theirs: of what it had to beat.
        difference: ours less theirs, with its interval.
        p: how probable so large a difference were between equals.
    """

    name: str
    ours: str
    theirs: str
    difference: str
    p: str


@dataclass(frozen=True)
class TuningSection:
    """How a network was trained, and whether it paid.

    Attributes:
        sentences: what was decided, and on what.
        beaten: what it had to beat.
        part: the part that the pairs are of.
        pairs: the paired figures.
        plot: loss and rate by step; None where no step was taken.
    """

    sentences: tuple[str, ...]
    beaten: str
    part: str
    pairs: tuple[Paired, ...]
    plot: Plot | None


@dataclass(frozen=True)
class Story:
    """Everything on the page, in the order in which it is read."""

    title: str
    kind: str
    made: str
    facts: tuple[tuple[str, str], ...]
    verdict: Verdict
    checks: tuple[Check, ...]
    figures: tuple[Figure, ...]
    data: DataSection
    confusion: Confusion | None
    pairs: tuple[Pair, ...]
    classes: tuple[ClassRow, ...]
    reliability: tuple[Plot, ...]
    calibration: str
    coverage: Plot | None
    judged: tuple[str, ...]
    values: tuple[Plot, ...]
    map: MapSection | None
    errors: Gallery
    suspects: Gallery | None
    curve: Plot | None
    curve_sentence: str
    tuning: TuningSection | None
    candidates: tuple[Candidate, ...]
    stages: tuple[Stage, ...]
    reproduction: Reproduction
    families: int
    modality: str

    @property
    def chief(self) -> Check:
        """The chief doubt: the first check, in their order, that left one; else the last check, which says what always remains."""
        return next((check for check in self.checks if check.state == "doubt"), self.checks[-1])
