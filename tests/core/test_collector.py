"""The collector of cycles is paused while much is made, for whoever else wants it so too, and is never begun where somebody stopped it."""

import gc
import threading
from collections.abc import Iterator

import pytest

from headstart.backbones import choice
from headstart.backbones.backbone import BackboneRequest
from headstart.core.collector import PAUSED, SET_ASIDE


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = gc.isenabled()
    yield
    (gc.enable if before else gc.disable)()
    gc.unfreeze()


def test_it_is_paused_until_the_last_has_left_in_whatever_order() -> None:
    gc.enable()
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with PAUSED.held():
            inside.set()
            leave.wait(20)

    thread = threading.Thread(target=other)
    with PAUSED.held():
        thread.start()
        assert inside.wait(20)
        assert not gc.isenabled()
    assert not gc.isenabled(), "the other is still inside"
    leave.set()
    thread.join(20)
    assert gc.isenabled()


def test_an_error_leaves_it_as_it_was() -> None:
    gc.enable()
    with pytest.raises(KeyError), PAUSED.held():
        raise KeyError
    assert gc.isenabled()


def test_where_somebody_stopped_it_it_stays_stopped() -> None:
    gc.disable()
    with PAUSED.held():
        pass
    assert not gc.isenabled()


def test_what_is_set_aside_is_not_looked_through_until_it_ends() -> None:
    gc.unfreeze()
    with SET_ASIDE.held():
        assert gc.get_freeze_count() > 1000
    assert gc.get_freeze_count() == 0


def test_it_is_paused_while_a_backbone_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.enable()
    seen: list[bool] = []
    inner = choice.SOURCES.get("toy").open

    def told(request: BackboneRequest) -> object:
        seen.append(gc.isenabled())
        return inner(request)

    monkeypatch.setattr(choice.SOURCES.get("toy"), "open", told)
    choice.open_backbone("toy:text")
    assert seen == [False]
    assert gc.isenabled()
