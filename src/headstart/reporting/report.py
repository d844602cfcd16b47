"""`report`: one HTML file that a person reads to know whether a model's results can be believed."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart.core.errors import UsageError
from headstart.core.files import lies_in, write_whole
from headstart.core.progress import Progress, silent
from headstart.model.items import Items
from headstart.model.loading import load
from headstart.model.model import Model
from headstart.reporting.evidence import Choice, collect
from headstart.reporting.gather import Sources, gather
from headstart.reporting.inputs import Audit, Curve
from headstart.reporting.markup import check_installed
from headstart.reporting.page import render


@dataclass(frozen=True)
class Page:
    """A report that was written.

    Attributes:
        path: the file.
        verdict: its first sentence.
        doubt: the chief doubt, in words.
        kind: the key of the check that left it.
        bytes: the size of the file.
        seconds: what took how long.
        notes: what the page could not show, and why, one sentence each.
    """

    path: Path
    verdict: str
    doubt: str
    kind: str
    bytes: int
    seconds: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __fspath__(self) -> str:
        """The file, so that a page may be opened like a path."""
        return str(self.path)

    def to_json(self) -> dict[str, Any]:
        """The object that `headstart report --json` prints (docs/json.md)."""
        return {
            "report": str(self.path),
            "verdict": self.verdict,
            "doubt": self.doubt,
            "kind": self.kind,
            "bytes": self.bytes,
            "seconds": dict(self.seconds),
            "notes": list(self.notes),
        }


def report(
    model: Model | str | Path,
    data: Items,
    *,
    out: str | Path,
    choice: Choice = Choice(),
    audit: Audit | str | None = None,
    curve: Curve | None = None,
    directory: Path | None = None,
    progress: Progress = silent,
) -> Page:
    """Write one self-contained HTML file: the verdict and its chief doubt, the data, labels, confidence, errors, and how it was made.

    The samples are those that `evaluate` would choose. Where the model was fitted on all of them, its recipe is fitted again without each
    of five folds, and the page is about out-of-fold predictions. Photos, sounds and texts of some samples become part of the file.

    Args:
        model: a model or the directory of one.
        data: labelled data, laid out like the training data or one part of it.
        out: the file to write; one that is there is replaced.
        choice: which part and target column, what runs the backbone, and the seed.
        audit: what `check` found in the data; its findings and suspects are then shown. A text says why it could not look, and is shown too.
        curve: what `curve` measured; it is then drawn.
        directory: where an opened model lies, for the commands that the page names.
        progress: stages `read` and `extract`, in samples, and `drawing`, in steps.

    Raises:
        ExtraMissing: matplotlib or jinja2 is not installed.
        UsageError: `out` is a folder, or lies inside the data or the model.
        DataError: the data cannot be used.
    """
    began = time.perf_counter()
    check_installed("matplotlib", "jinja2", purpose="the report")
    target = Path(out)
    _check_target(target, model, data)
    opened = model if isinstance(model, Model) else load(Path(model))
    evidence = collect(opened, data, choice=choice, progress=progress)
    collected = time.perf_counter()
    directory = directory if isinstance(model, Model) else Path(model)
    unchecked = audit if isinstance(audit, str) else ""
    sources = Sources(None if isinstance(audit, str) else audit, curve, directory, unchecked)
    story = gather(opened, evidence, sources=sources, seed=choice.seed, progress=progress)
    content = render(story).encode("utf-8")
    write_whole(target, content)
    ended = time.perf_counter()
    seconds = {"evidence": collected - began, "page": ended - collected, "total": ended - began}
    return Page(target, story.verdict.sentence, story.chief.finding, story.chief.kind, len(content), seconds)


def _check_target(target: Path, model: Model | str | Path, data: Items) -> None:
    """Refuse a place that no report may be written to, before anything is read."""
    if target.is_dir():
        raise UsageError(
            f"a report is a file, and {target} is a folder: name a file in it, such as {target / 'report.html'}"
        )
    if not target.absolute().parent.is_dir():
        raise UsageError(
            f"the folder {target.parent} of the report does not exist: make it first, or name another place"
        )
    for place, what in ((model, "the model"), (data, "the data")):
        if isinstance(place, str | Path) and lies_in(target, place):
            raise UsageError(f"{target} lies inside {what} {place}, which is never written to: name a place outside it")
