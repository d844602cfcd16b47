"""`suspects_page`: what `check` found, with the items in question to look at, as one HTML file that needs no network and runs no script."""

import shlex
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from headstart.audit.findings import KINDS, Audit, Suspect, heading, likeness, parts_in_words
from headstart.audit.neighbours import MOST_ROWS
from headstart.core.files import check_place, write_whole
from headstart.core.progress import Progress, silent
from headstart.core.spec import BackboneSpec
from headstart.data.preparation import Preparation
from headstart.data.samples import Samples
from headstart.features.choosing import AUTO
from headstart.features.contents import content_of
from headstart.reporting.galleries import name_of
from headstart.reporting.making import installed
from headstart.reporting.markup import PALETTE, check_installed, environment, own, policy_hash
from headstart.reporting.media import shorten, show_at
from headstart.reporting.story import Media, Reproduction
from headstart.reporting.words import ITEMS, now, sentence
from headstart.verbs.check import CheckOptions
from headstart.verbs.rows import Data, labelled_if_it_can, opened

MOST_ITEMS = 48
"""Suspects of a kind that are shown."""

MOST_BYTES = 9_000_000
"""What all that is shown may take on the page: where it would be more, fewer suspects of each kind are shown."""

# What one item takes on the page at most: its picture or clip in base64, and its words.
_BYTES = {"image": 16_000, "text": 6_000, "audio": 70_000}
# Suspects of these kinds are no items that could be shown.
_WORDS_ONLY = frozenset({"group", "unreadable"})
_LONGEST_SENTENCE, _LONGEST_REASON, _MOST_SENTENCES = 400, 220, 40
_STAGE = "drawing"


@dataclass(frozen=True)
class Side:
    """An item: its id, its label and part, or empty, and what shows it."""

    id: str
    label: str
    part: str
    media: Media


@dataclass(frozen=True)
class Card:
    """A suspect.

    Attributes:
        sides: the item, and its twin where it has one.
        alike: how alike the two are, or empty.
        torn: whether they have two labels.
        suggestion: the label that the item would rather have, or empty.
        why: what was seen.
    """

    sides: tuple[Side, ...]
    alike: str
    torn: bool
    suggestion: str
    why: str


@dataclass(frozen=True)
class Section:
    """The suspects of one kind: its heading, those that are shown, and how many more there are."""

    kind: str
    heading: str
    cards: tuple[Card, ...]
    more: int


@dataclass(frozen=True)
class Suspicions:
    """Everything on the page.

    Attributes:
        title: what the data is called.
        modality: `image`, `text` or `audio`.
        counted: how many items were looked at, in words.
        findings: severity, kind and sentence of each.
        parts: class counts, a text a part.
        understood: how the data was read.
        sections: the suspects, by kind.
        reproduction: how to get the same page again.
        made: when.
    """

    title: str
    modality: str
    counted: str
    findings: tuple[tuple[str, str, str], ...]
    parts: tuple[str, ...]
    understood: tuple[str, ...]
    sections: tuple[Section, ...]
    reproduction: Reproduction
    made: str


def suspects_page(
    data: Data,
    audit: Audit,
    *,
    out: str | Path,
    options: CheckOptions = CheckOptions(),
    progress: Progress = silent,
) -> Path:
    """Write one self-contained HTML file on which a person looks at what `check` found: photos, texts, or recordings to play.

    Copies stand side by side, and labels beside those that the items would rather have. At most 48 suspects of a kind are shown, and
    the file stays under 10 MB. Photos, sounds and texts of these items become part of it.

    Args:
        data: what was checked.
        audit: what `check` found in it.
        out: the file to write; one that is there is replaced.
        options: those of the check: how the data is read, and the backbone, as which sees them photos and recordings are shown.
        progress: the stage `drawing`, in items.

    Returns:
        The file.

    Raises:
        ExtraMissing: jinja2 is not installed.
        UsageError: `out` is a folder, or lies inside the data.
        DataError: the data cannot be used.
    """
    check_installed("jinja2", purpose="the page of suspects")
    target = Path(out)
    for place in [data] if isinstance(data, str | Path) else () if isinstance(data, Samples) else data:
        check_place(target, outside=place, what="the page")
    samples = labelled_if_it_can(data, options.reading)
    check_place(target, outside=samples.source, what="the page")
    backbone = opened(samples.modality, options)
    gathered = gather(
        samples,
        audit,
        preparation=backbone.preparation,
        reproduction=_reproduction(samples, backbone.specs[0], options=options, page=target.name),
        progress=progress,
    )
    write_whole(target, render(gathered).encode("utf-8"))
    return target


def gather(
    samples: Samples,
    audit: Audit,
    *,
    preparation: Preparation,
    reproduction: Reproduction,
    progress: Progress = silent,
) -> Suspicions:
    """What the page shows, of samples and of what was found in them."""
    kinds = {kind: [each for each in audit.suspects if each.kind == kind] for kind in KINDS}
    most = _affordable([own for kind, own in kinds.items() if kind not in _WORDS_ONLY], samples.modality)
    chosen = {kind: own[: MOST_ITEMS if kind in _WORDS_ONLY else most] for kind, own in kinds.items()}
    to_show = [each for kind, own in chosen.items() if kind not in _WORDS_ONLY for each in own]
    shown = _shown(samples, to_show, preparation=preparation, progress=progress)
    in_parts = len(audit.parts) > 1
    return Suspicions(
        title=_called(samples),
        modality=samples.modality,
        counted=_counted(audit),
        findings=tuple(
            (each.severity, each.kind, sentence(shorten(_private(samples, each.sentence), _LONGEST_SENTENCE)))
            for each in audit.findings
        ),
        parts=tuple(shorten(each, 2 * _LONGEST_SENTENCE) for each in parts_in_words(audit.parts)),
        understood=tuple(
            sentence(shorten(_private(samples, note), _LONGEST_SENTENCE)) for note in audit.understood[:_MOST_SENTENCES]
        ),
        sections=tuple(
            Section(
                kind,
                heading(kind, len(own)),
                tuple(
                    _card(replace(each, why=_private(samples, each.why)), shown, parts=in_parts)
                    for each in chosen[kind]
                ),
                len(own) - len(chosen[kind]),
            )
            for kind, own in kinds.items()
            if own
        ),
        reproduction=reproduction,
        made=now(),
    )


def render(gathered: Suspicions) -> str:
    """The page as HTML. Every text of the data is escaped; the page's own style is all that is not."""
    light, dark = (
        "".join(f"--{name}:{pair[side]};" for name, pair in PALETTE.items()) + f"color-scheme:{scheme}"
        for side, scheme in enumerate(("light", "dark"))
    )
    style = (
        f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}@media print{{:root{{{light}}}}}\n"
        + own("page.css")
        + own("suspects.css")
    )
    template = environment().get_template("suspects.html.jinja")
    return template.render(page=gathered, style=style, style_hash=policy_hash(style))


def _affordable(kinds: Sequence[Sequence[Suspect]], modality: str) -> int:
    """How many suspects of each kind may be shown so that the page stays small."""
    for most in range(MOST_ITEMS, 1, -1):
        items = sum(1 + bool(each.other) for own in kinds for each in own[:most])
        if items * _BYTES[modality] <= MOST_BYTES:
            return most
    return 1


def _shown(
    samples: Samples, suspects: Sequence[Suspect], *, preparation: Preparation, progress: Progress
) -> Mapping[str, Media]:
    """What shows each item that is named, by its id."""
    names = dict.fromkeys(name for each in suspects for name in (each.input, each.other) if name)
    place = {name: row for row, name in enumerate(samples.ids) if name in names}
    content = content_of(samples)
    made: dict[str, Media] = {}
    with ThreadPoolExecutor(max_workers=4) as threads:
        media = threads.map(lambda row: show_at(preparation, content, position=row), place.values())
        for name, found in zip(place, media, strict=True):
            made[name] = found
            progress(_STAGE, len(made), len(place))
    return made


def _card(each: Suspect, shown: Mapping[str, Media], *, parts: bool) -> Card:
    items = [(each.input, each.label, each.part), (each.other, each.other_label, each.other_part)]
    sides = tuple(
        Side(name_of(name), name_of(label), part if parts else "", shown.get(name, Media("none")))
        for name, label, part in items
        if name
    )
    alike = "equal content" if each.score >= 1.0 else f"likeness {likeness(each.score)}"
    return Card(
        sides=sides,
        alike=alike if each.other else "",
        torn=bool(each.label and each.other_label and each.label != each.other_label),
        suggestion=name_of(each.suggestion),
        why=shorten(each.why, _LONGEST_REASON),
    )


def _called(samples: Samples) -> str:
    """What the data is called, without the folders of this machine."""
    return name_of(Path(samples.source).name or samples.source)


def _private(samples: Samples, text: str) -> str:
    return text.replace(samples.source, Path(samples.source).name or samples.source)


def _counted(audit: Audit) -> str:
    items = ITEMS[audit.modality] if audit.n != 1 else ITEMS[audit.modality].removesuffix("s")
    if not audit.findings:
        return (
            f"{audit.n:,} {items} looked at, and nothing was found: no copies, no odd files, no labels that look wrong."
        )
    return f"{audit.n:,} {items} looked at. Nothing was changed: what is done about each is yours to decide."


def _reproduction(samples: Samples, spec: BackboneSpec, *, options: CheckOptions, page: str) -> Reproduction:
    """The command, and what has to be the same for it to find the same."""
    words = ["headstart", "check", _called(samples), "--backbone", f"{spec.source}:{spec.name}"]
    reading = options.reading
    for option, value in (
        ("--target", reading.target),
        ("--input", reading.input),
        ("--group", reading.group),
        ("--separator", reading.separator),
        ("--task", reading.task),
        ("--modality", reading.modality),
        ("--precision", options.precision),
        ("--engine", "" if options.engine == AUTO else options.engine),
        ("--most", "" if options.most == MOST_ROWS else str(options.most)),
        ("--seed", str(options.seed or "")),
    ):
        words += [option, value] if value else []
    facts = {
        "Backbone": spec.title,
        "Fingerprint of its rows": spec.fingerprint,
        "Preparation": spec.prepare,
        "Made with": ", ".join(f"{name} {version}" for name, version in installed().items()),
    }
    return Reproduction((shlex.join([*words, "--page", page]),), facts)
