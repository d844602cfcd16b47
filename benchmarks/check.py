"""Planted faults that the data gate has to find: flipped labels, copies across the split, and items of another collection.

Labels are flipped in `train`, copies of training items are put into `test` (or `val`), strangers into `train`; seeds are fixed. The peer
is cleanlab's default score on the very same out-of-fold probabilities (extra `bench`). Rows of the originals come from the store.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

import headstart as hs
from figures import DATA, Figure, arguments, present, show
from headstart.audit.copies import find_copies
from headstart.audit.findings import Audit
from headstart.audit.labels import rank_labels
from headstart.audit.outliers import find_outliers
from headstart.data.samples import Samples, make_samples
from headstart.verbs.check import check, labels_of, out_of_fold
from headstart.verbs.rows import RowOptions, Rows, opened, rows_of

COPIES, STRANGERS, FLIPPED, SEEDS = 30, 20, 0.05, 5
FOUND = 28
FLIPS = ("ants_bees", "sst2", "cifar10")
PLANTED = ("ants_bees", "sst2", "cifar10", "blood_cells", "spoken_digits")
MIXED = {"blood_cells": "cifar10", "sst2": "trec", "spoken_digits": "yesno"}


def rows(samples: Samples) -> Rows:
    """Rows of the default backbone, from the store where they are there."""
    return rows_of(samples, opened(samples.modality, RowOptions()))


def flipped(samples: Samples, seed: int) -> tuple[Samples, np.ndarray]:
    """The samples with 5 % of their labels replaced by another one, drawn evenly; and which ones."""
    rng = np.random.default_rng(seed)
    labels = np.array(samples.table.column("target").to_pylist(), dtype=object)
    names = sorted(set(labels))
    wrong = np.zeros(len(labels), bool)
    wrong[rng.choice(len(labels), round(FLIPPED * len(labels)), replace=False)] = True
    for row in np.flatnonzero(wrong):
        labels[row] = rng.choice([name for name in names if name != labels[row]])
    return samples.with_column("target", pa.array(labels.tolist(), pa.string())), wrong


def label_errors(name: str, seeds: int) -> Iterator[Figure]:
    """How well flipped labels are ranked, beside cleanlab on the same probabilities."""
    from sklearn.metrics import average_precision_score

    train = hs.read(str(DATA / name)).part("train")
    ours, theirs, recall = [], [], []
    for seed in range(seeds):
        samples, wrong = flipped(train, seed)
        made = rows(samples)
        labels, _ = labels_of(made.samples, None)
        copies = find_copies(made.samples, made.x, digests=made.digests)
        probabilities, _ = out_of_fold(made, labels, copies=copies, seed=seed)
        assert labels is not None
        assert probabilities is not None
        scores = rank_labels(probabilities, labels.targets)
        ours.append(float(average_precision_score(wrong, scores)))
        most = np.argsort(-scores)[: round(0.1 * len(scores))]
        recall.append(float(wrong[most].sum() / wrong.sum()))
        theirs.append(_cleanlab(labels.targets, probabilities, wrong))
    peer = None if None in theirs else float(np.mean([each for each in theirs if each is not None]))
    yield Figure(
        f"{name}/label_precision",
        float(np.mean(ours)),
        "average precision",
        at_least=None if peer is None else peer - 0.005,
        peer=peer,
    )
    if name == "cifar10":
        yield Figure(f"{name}/label_precision_alone", float(np.mean(ours)), "average precision", at_least=0.7)
    bound = 0.8 if name == "cifar10" else None
    yield Figure(
        f"{name}/label_recall", float(np.mean(recall)), "share found among the 10 % most doubtful", at_least=bound
    )


def _cleanlab(targets: np.ndarray, probabilities: np.ndarray, wrong: np.ndarray) -> float | None:
    """Average precision of cleanlab's default score; None where it is not installed."""
    from sklearn.metrics import average_precision_score

    try:
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        print("cleanlab is not installed (extra bench), so there is no peer", file=sys.stderr)
        return None
    return float(average_precision_score(wrong, -get_label_quality_scores(targets, probabilities)))


def copied(name: str, folder: Path, seed: int = 0) -> tuple[Samples, dict[str, str]]:
    """The set with 30 altered copies of training items in the part that is evaluated; and the original of each copy."""
    samples = hs.read(str(DATA / name))
    train = samples.part("train")
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(train), COPIES, replace=False)
    ids, inputs = train.ids, train.inputs
    alter = {"image": _picture, "text": _text, "audio": _sound}[samples.modality]
    columns = {key: samples.table.column(key).to_pylist() for key in ("id", "input", "target", "split")}
    origin = {}
    for number, row in enumerate(chosen):
        key = f"planted/{number}"
        origin[key] = ids[row]
        columns["id"].append(key)
        columns["input"].append(alter(inputs[row], folder / f"{number}", number, rng))
        columns["target"].append(train.table.column("target")[int(row)].as_py())
        columns["split"].append(samples.evaluated_part)
    made = make_samples(
        columns["id"],
        columns["input"],
        modality=samples.modality,
        inline=samples.inline,
        source=name,
        target=columns["target"],
        split=columns["split"],
    )
    return made, origin


def _picture(original: str, place: Path, number: int, rng: np.random.Generator) -> str:
    """Re-encoded at quality 75, halved, or cropped so that width and height shrink by 5 %: a third each."""
    from PIL import Image

    image = Image.open(original).convert("RGB")
    width, height = image.size
    quality = 75 if number % 3 == 0 else 95
    if number % 3 == 1:
        image = image.resize((max(1, width // 2), max(1, height // 2)), Image.Resampling.BICUBIC)
    if number % 3 == 2:
        across, down = round(0.95 * width), round(0.95 * height)
        left, top = int(rng.integers(0, width - across + 1)), int(rng.integers(0, height - down + 1))
        image = image.crop((left, top, left + across, top + down))
    image.save(place.with_suffix(".jpg"), "JPEG", quality=quality)
    return str(place.with_suffix(".jpg"))


def _text(original: str, place: Path, number: int, rng: np.random.Generator) -> str:  # noqa: ARG001  (one signature for all)
    """Upper case or a capital first letter, with other punctuation."""
    words = original.split()
    changed = " ".join(words).upper() if number % 2 else " ".join(words).capitalize()
    return changed.replace(",", ";").rstrip(" .!?") + ("!" if number % 3 else " ...")


def _sound(original: str, place: Path, number: int, rng: np.random.Generator) -> str:
    """Softer or louder, at another rate."""
    import soundfile
    import soxr

    sound, rate = soundfile.read(original, dtype="float32")
    other = (11_025, 16_000, 22_050)[number % 3]
    gain = float(rng.uniform(0.3, 0.9)) / max(1e-6, float(np.abs(sound).max()))
    soundfile.write(place.with_suffix(".wav"), soxr.resample(sound, rate, other) * gain, other)
    return str(place.with_suffix(".wav"))


def leaks(name: str) -> Iterator[Figure]:
    """How many planted copies are reported with their original, and how many pairs on the untouched set."""
    with tempfile.TemporaryDirectory() as folder:
        samples, origin = copied(name, Path(folder))
        found = check(samples)
        hits = {each.input for each in found.suspects if each.kind == "leak" and origin.get(each.input) == each.other}
        yield Figure(f"{name}/copies_found", len(hits), f"of {COPIES} planted copies", at_least=FOUND)
    untouched = check(str(DATA / name))
    each = 1000 / untouched.n
    near, reported = _pairs(untouched, exact=False), _pairs(untouched, exact=True)
    equal = reported - near
    yield Figure(f"{name}/equal_pairs_untouched", each * len(equal), "pairs of equal content per 1,000 items")
    yield Figure(
        f"{name}/pairs_untouched",
        each * len(near),
        "reported pairs per 1,000 items",
        at_most=1.0,
        changed="pairs of equal content are facts and count for themselves" if equal else "",
    )


def _pairs(audit: Audit, *, exact: bool) -> set[tuple[str, str]]:
    """The reported pairs, with or without those of equal content."""
    kinds = {"leak", "near_duplicate", "exact_duplicate"}
    found = (each for each in audit.suspects if each.kind in kinds)
    return {(each.input, each.other) for each in found if exact or each.score < 1.0}


def strangers(name: str, seeds: int) -> Iterator[Figure]:
    """How well items of another collection are told from a set's own by the outlier score, and how many are reported: means of draws."""
    from sklearn.metrics import roc_auc_score

    own = hs.read(str(DATA / name)).part("train")
    other = hs.read(str(DATA / MIXED[name]), options=hs.ReadOptions(labelled=False, modality=own.modality))
    areas, reported = [], []
    for seed in range(seeds):
        made = rows(mixed(own, other, seed))
        strange = np.array([each.startswith("stranger/") for each in made.samples.ids])
        copies = find_copies(made.samples, made.x, digests=made.digests)
        scores, far = find_outliers(made.x, apart=copies.groups)
        areas.append(float(roc_auc_score(strange, scores)))
        reported.append((int((far & strange).sum()), int((far & ~strange).sum())))
    yield Figure(f"{name}/strangers_from_{MIXED[name]}", float(np.mean(areas)), "AUROC", at_least=0.95)
    yield Figure(f"{name}/strangers_from_{MIXED[name]}_lowest", min(areas), f"AUROC, the lowest of {seeds} draws")
    found, beside = np.mean(reported, axis=0)
    yield Figure(f"{name}/strangers_reported", float(found), f"of {STRANGERS} strangers")
    yield Figure(f"{name}/others_reported", float(1000 * beside / len(own)), "of 1,000 of the set's own items")


def mixed(own: Samples, other: Samples, seed: int) -> Samples:
    """A collection and 20 items of another, drawn evenly, without labels."""
    some = np.random.default_rng(seed).choice(len(other), STRANGERS, replace=False)
    return make_samples(
        own.ids + [f"stranger/{number}" for number in range(STRANGERS)],
        own.inputs + [other.inputs[row] for row in some],
        modality=own.modality,
        inline=own.inline,
        source=own.source,
    )


def measure(*, quick: bool, only: str = "") -> Iterator[Figure]:
    """All figures, or those of the small sets, or of the sections `labels`, `copies` and `strangers` that are named."""
    sections: dict[str, tuple[tuple[str, ...], Callable[[str], Iterator[Figure]]]] = {
        "labels": (("ants_bees",) if quick else FLIPS, lambda name: label_errors(name, 1 if quick else SEEDS)),
        "copies": (("ants_bees", "spoken_digits") if quick else PLANTED, leaks),
        "strangers": (
            ("spoken_digits",) if quick else tuple(MIXED),
            lambda name: strangers(name, 1 if quick else SEEDS),
        ),
    }
    for section in only.split(",") if only else sections:
        names, measured = sections[section]
        for name in present(names):
            yield from measured(name)


def main() -> int:
    """Measure and print."""
    called = arguments(__doc__ or "")
    return show("check", measure(quick=called.quick, only=called.only), keep=called.keep, merge=bool(called.only))


if __name__ == "__main__":
    sys.exit(main())
