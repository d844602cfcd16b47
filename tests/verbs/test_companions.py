"""What a report shows beside a model's figures, and that it says why where it cannot."""

from pathlib import Path

import pytest

import headstart as hs
from headstart.core.errors import DataError
from headstart.verbs import companions
from support.made import photos


@pytest.fixture
def model(tmp_path: Path) -> hs.Model:
    photos(tmp_path / "photos")
    return hs.fit(tmp_path / "photos", backbone="toy:image")


def test_a_gate_that_fails_is_told(model: hs.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise DataError("nothing can be read")

    monkeypatch.setattr(companions, "check", fails)
    monkeypatch.setattr(companions, "curve", fails)
    data = str(tmp_path / "photos")
    assert companions.audit_of(model, data) == (None, "the data was not checked: nothing can be read")
    assert companions.curve_of(model, data) == (None, "no learning curve was drawn: nothing can be read")


def test_many_samples_get_no_curve_unasked(model: hs.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(companions, "MOST_ROWS", 3)
    drawn, why = companions.curve_of(model, str(tmp_path / "photos"))
    assert drawn is None
    assert why == "no learning curve was drawn: of more than 3 training samples  headstart curve  makes one"


def test_where_both_can_be_made_nothing_is_said(model: hs.Model, tmp_path: Path) -> None:
    found, silent = companions.audit_of(model, str(tmp_path / "photos"))
    assert found is not None
    assert silent == ""
