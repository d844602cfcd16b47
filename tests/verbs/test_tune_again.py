"""Tuning a tuned model: what its network was trained on can neither choose nor decide any more."""

import shutil
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart.core.errors import DataError
from headstart.core.progress import silent
from headstart.model.model import Model
from headstart.model.split_record import SET_ASIDE, SplitRecord
from headstart.verbs.tune import TuneOptions, tune
from headstart.verbs.tune_ground import Ground, read_ground
from support.tunable import Stripes, network, stripes

STEPS = TuneOptions(steps=150, strategy="full(decay=1.0)")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stripes(tmp_path_factory.mktemp("again"), n=60)


@pytest.fixture(scope="module")
def frozen(data: Path) -> Model:
    return hs.fit(data, options=hs.FitOptions(backbone=network(), check=False))


@pytest.fixture(scope="module")
def tuned(frozen: Model, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Saved and loaded: what it was trained on has to be known then."""
    found = tune(frozen, data, options=STEPS)
    assert found.shipped
    folder = tmp_path_factory.mktemp("models") / "tuned"
    found.model.save(folder)
    return hs.load(folder, module=Stripes())


def test_the_card_says_whether_the_network_was_trained(frozen: Model, tuned: Model, tmp_path: Path) -> None:
    for model, said in ((frozen, "frozen"), (tuned, "trained")):
        assert f"Rows of the {said} backbone **" in hs.card(model.save(tmp_path / said))


def ground(model: Model, data: Path, seed: int, *, check: bool = True) -> Ground:
    asked = hs.FitOptions(seed=seed, check=check)
    return read_ground(model, data, asked=asked, new_labels=False, doubted=False, progress=silent)


def contents(ground: Ground, places: np.ndarray) -> set[bytes]:
    return {digest.tobytes() for digest in ground.extraction.features[0].digests[places]}


def test_with_any_seed_the_same_samples_are_set_aside(frozen: Model, tuned: Model, data: Path) -> None:
    first = ground(frozen, data, 0)
    # Near copies of what it was trained on are left out as well, and what is near hangs on the tuned rows: only equal ones count here.
    again, other = ground(tuned, data, 5, check=False), ground(frozen, data, 5)
    assert contents(again, again.aside) == contents(first, first.aside)
    assert contents(other, other.aside) & contents(first, first.train), "of a frozen network the seed decides"
    assert any("the network was tuned before, and not on these" in note for note in again.notes)


def test_of_new_samples_those_are_set_aside_that_it_was_not_trained_on(
    frozen: Model, tuned: Model, data: Path, tmp_path: Path
) -> None:
    first = ground(frozen, data, 0)
    more = shutil.copytree(data, tmp_path / "more")
    for place in sorted((stripes(tmp_path / "other", n=140) / "train").rglob("*.png"))[60:]:
        shutil.copy(place, more / "train" / place.parent.name / f"new-{place.name}")
    again = ground(tuned, more, 3)
    aside = contents(again, again.aside)
    assert not aside & contents(first, first.train)
    assert 0.15 * len(again.fit_rows) < len(aside) < 0.4 * len(again.fit_rows)
    assert aside - contents(first, first.aside), "new ones as well"


def test_where_it_was_trained_on_all_it_is_refused_in_a_sentence(
    frozen: Model, tuned: Model, data: Path, tmp_path: Path
) -> None:
    first = ground(frozen, data, 0)
    ids = [first.samples.ids[place] for place in first.train]
    for place in sorted((data / "train").rglob("*.png")):
        if any(place.match(f"*/{name}") for name in ids):
            target = tmp_path / "known" / "train" / place.parent.name / place.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(place, target)
    with pytest.raises(DataError, match=r"the network was tuned before on 96 of these 96 training samples") as error:
        ground(tuned, tmp_path / "known", 1)
    assert "\n" not in str(error.value)
    assert len(ground(frozen, tmp_path / "known", 1).aside) > 0


def test_what_it_was_trained_on_is_not_forgotten_by_a_second_tuning(frozen: Model, tuned: Model, data: Path) -> None:
    first = ground(frozen, data, 0)
    half = hs.read(str(data))
    kept = half.take(np.flatnonzero(np.arange(len(half)) % 3 > 0))
    with pytest.MonkeyPatch.context() as patch:
        from headstart.tuning.gate import Gate

        patch.setattr(Gate, "passed", property(lambda self: True))
        # As above: a near copy of what it was trained on, by the tuned rows, is rightly trained on as well.
        patch.setattr(sys.modules["headstart.verbs.tune"], "FitOptions", partial(hs.FitOptions, check=False))
        twice = tune(tuned, kept, options=replace(STEPS, steps=10, seed=9)).model
    digests = first.extraction.features[0].digests
    assert twice.split.taught_on(digests[first.train]).all()
    assert not twice.split.taught_on(digests[first.aside]).any()


def test_a_record_of_what_was_set_aside_counts_it_as_trained_with(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    digests = rng.integers(0, 256, (6, 16), dtype=np.uint8)
    record = SplitRecord.of({"train": digests[:2], "test": digests[4:]}, aside=digests[2:4])
    assert record.is_valid()
    assert record.fitted_on(digests).tolist() == [True] * 4 + [False] * 2
    assert record.taught_on(digests).tolist() == [True] * 2 + [False] * 4
    assert record.in_train(digests).tolist() == [True] * 4 + [False] * 2
    for wrong in (SET_ASIDE, SET_ASIDE | 4, 2 * SET_ASIDE, 0):
        parts = record.parts.copy()
        parts[3] = wrong
        assert not replace(record, parts=parts).is_valid()
