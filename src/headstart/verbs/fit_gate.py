"""The data gate within a fit: copies stay together in every split and fold, and what it finds becomes part of the report."""

import dataclasses
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from headstart.audit.copies import Copies, find_copies, joined_with
from headstart.audit.gate import Subject, examine
from headstart.audit.neighbours import affordable
from headstart.core.errors import DataError
from headstart.data.samples import Samples
from headstart.data.splits import join_groups
from headstart.features.extraction import Extraction, facts_of
from headstart.model.model import join
from headstart.verbs.fit_data import FitData, FitOptions, split_again

SHARE = 0.25
"""Of the time that the fit takes with nothing stored, which the gate may add."""

# What extraction takes for an item on two cores, by what was measured with the embedded backbones; and what any fit takes, seconds.
_SECONDS_AN_ITEM = {"image": 0.005, "text": 0.001, "audio": 0.004}
_SECONDS_A_FIT = 4.0


@dataclass(frozen=True)
class Gate:
    """What the gate knows of the samples of a fit.

    Attributes:
        samples: those that have a row.
        extraction: their rows.
        copies: which are the same; None where the gate is switched off.
        most: items that are compared with each other.
    """

    samples: Samples
    extraction: Extraction
    copies: Copies | None
    most: int

    def together(self, inside: np.ndarray) -> Int[np.ndarray, "m"] | None:
        """What must share a fold among some of the samples: given groups, equal content and near copies, joined where they overlap.

        Args:
            inside: (n,) which samples.

        Returns:
            (m,) numbers; None where every one stands alone.
        """
        groups = self.samples.groups
        if self.copies is None:
            digests = self.extraction.features[0].digests[inside]
            return join_groups(None if groups is None else groups[inside], digests)
        names = joined_with(groups, self.copies)
        return _numbers(None if names is None else names[inside], grouped=groups is not None)


def open_gate(data: FitData, extraction: Extraction, *, options: FitOptions) -> tuple[Gate, FitData]:
    """Look for copies, and split anew where that set samples aside before near copies were known.

    Args:
        data: the fit's.
        extraction: its rows.
        options: the fit's.
    """
    samples = data.samples.take(extraction.kept)
    if not options.check:
        return Gate(samples, extraction, None, 0), data
    x, digests = join(extraction.features), extraction.features[0].digests
    most = _most(samples, x.shape[1])
    copies = find_copies(samples, x, digests=digests, most=most, seed=options.seed)
    if options.hold_out and not copies.exact.all():
        # Where near copies hold all samples of a label nothing can be set aside; equal ones stay together, and the findings tell the rest.
        with suppress(DataError):
            data = split_again(data, options, together=_names(data, extraction, samples, copies))
            samples = data.samples.take(extraction.kept)
    return Gate(samples, extraction, copies, most), data


def together_again(
    samples: Samples,
    x: Float[np.ndarray, "n d"],
    *,
    digests: UInt8[np.ndarray, "n 16"],
    groups: np.ndarray | None,
    seed: int,
) -> Int[np.ndarray, "n"] | None:
    """What shared a fold when a model was fitted on these samples, found again: as `Gate.together` has it.

    Args:
        samples: n samples with a row each.
        x: their rows.
        digests: their content digests.
        groups: (n,) the given groups; None without.
        seed: the fit's.
    """
    copies = find_copies(samples, x, digests=digests, most=_most(samples, x.shape[1]), seed=seed)
    return _numbers(joined_with(groups, copies), grouped=groups is not None)


def findings(
    gate: Gate,
    data: FitData,
    *,
    probabilities: Float[np.ndarray, "n k"] | None,
    labels: tuple[str, ...],
    options: FitOptions,
) -> tuple[dict[str, Any], ...]:
    """What the gate found, as the report holds it.

    Args:
        gate: of the fit.
        data: the fit's.
        probabilities: of every sample that has a row, by a head that was not fitted on it; None where there are none.
        labels: the k label names.
        options: the fit's.
    """
    if gate.copies is None:
        return ()
    single = data.task.name == "single_label"
    encoded = data.task.encode(gate.samples.table.column("target"), labels) if single else None
    subject = Subject(
        samples=gate.samples,
        x=join(gate.extraction.features),
        facts=facts_of(gate.extraction.features[0]),
        copies=gate.copies,
        targets=None if encoded is None else encoded.values,
        names=labels if single else (),
        probabilities=probabilities if single else None,
        skipped=data.samples.skipped + gate.extraction.skipped,
    )
    found = examine(subject, most=gate.most, seed=options.seed)
    return tuple(dataclasses.asdict(each) for each in found.findings)


def _most(samples: Samples, d: int) -> int:
    """Items that may be compared with each other within the gate's share of a fit: copies first, labels and outliers after the head."""
    budget = SHARE * (_SECONDS_A_FIT + _SECONDS_AN_ITEM[samples.modality] * len(samples))
    return affordable(budget / 2, d)


def _numbers(names: np.ndarray | None, *, grouped: bool) -> Int[np.ndarray, "m"] | None:
    """Numbers for the names; None where nothing was grouped and every name is another."""
    if names is None:
        return None
    numbers = np.unique(names.astype(str), return_inverse=True)[1].reshape(-1).astype(np.int64)
    return numbers if grouped or len(np.unique(numbers)) < len(numbers) else None


def _names(data: FitData, extraction: Extraction, samples: Samples, copies: Copies) -> list[str]:
    """What must be on one side, for every sample of the fit: one without a row stands alone."""
    known = joined_with(samples.groups, copies)
    names = [f"alone {row}" for row in range(len(data.samples))]
    own = np.arange(len(samples)) if known is None else known
    for place, name in zip(extraction.kept, own, strict=True):
        names[int(place)] = str(name)
    return names
