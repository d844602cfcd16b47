"""A server's beginning and its end: who asks before there are models, and what is under way when it is told to stop."""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

import headstart as hs
from headstart.core.errors import ModelError
from headstart.serving import running as inner
from support.cache import cache_in
from support.made import reviews
from support.serving import PATIENCE, program, running, slowly

# A model is not open before there is a file.
_WAITING = """
import os, time
from headstart.serving import running
inner = running.load
def waiting(path):
    while not os.path.exists(os.environ["GO"]):
        time.sleep(0.02)
    return inner(path)
running.load = waiting
"""
SLOW = b"slow " * 2000


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models of one modality."""
    place = tmp_path_factory.mktemp("served")
    with cache_in(place / "cache"):
        hs.fit(reviews(place / "reviews.csv"), backbone="toy:text").save(place / "texts")
        hs.fit(reviews(place / "others.csv", seed=5), backbone="toy:text").save(place / "others")
    return place


@contextmanager
def waiting(models: Path, go: Path, *options: str) -> Iterator[tuple["subprocess.Popen[str]", httpx.Client]]:
    """A server whose models are not open before there is a file."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable,
        *program(_WAITING),
        "serve",
        str(models / "texts"),
        "--json",
        "--port",
        str(port),
        *options,
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", env=os.environ | {"GO": str(go)}
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, trust_env=False) as client:
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end:
                with suppress(httpx.TransportError):
                    client.get("/healthz", timeout=2)
                    break
                time.sleep(0.05)
            yield process, client
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def test_before_its_models_are_open_it_lives_and_is_not_ready(models: Path, tmp_path: Path) -> None:
    with waiting(models, tmp_path / "go") as (process, client):
        assert client.get("/healthz", timeout=5).json() == {"alive": True}
        early = client.get("/readyz", timeout=5)
        assert (early.status_code, early.json()) == (503, {"ready": False})
        assert client.get("/openapi.json", timeout=5).status_code == 200
        found: list[int] = []
        asking = threading.Thread(target=lambda: found.append(client.post("/predict", content=b"warm").status_code))
        asking.start()
        time.sleep(0.3)
        assert not found
        (tmp_path / "go").touch()
        asking.join(PATIENCE)
        assert found == [200], "who asks meanwhile waits"
        assert client.get("/readyz").json() == {"ready": True}
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["address"].startswith("http://127.0.0.1:")


def test_it_waits_no_longer_than_a_request_may_take(models: Path, tmp_path: Path) -> None:
    with waiting(models, tmp_path / "go", "--max-wait", "0.5s") as (_, client):
        answer = client.post("/predict", content=b"warm")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert client.get("/models").status_code == 503


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_before_its_models_are_open_it_ends_at_once(models: Path, tmp_path: Path, how: int) -> None:
    with waiting(models, tmp_path / "go") as (process, client):
        found: list[int] = []
        asking = threading.Thread(target=lambda: found.append(client.post("/predict", content=b"warm").status_code))
        asking.start()
        time.sleep(0.3)
        began = time.monotonic()
        process.send_signal(how)
        _, said = process.communicate(timeout=PATIENCE)
        assert time.monotonic() - began < 8
        asking.join(PATIENCE)
        assert found == [503]
        assert (process.returncode, said) == (0, "headstart: told to stop before the models were open\n")


def test_what_takes_longer_than_the_grace_is_given_up_and_the_process_ends(models: Path) -> None:
    with running(models / "texts", "--grace", "1s", prelude=slowly(60)) as found:
        statuses: list[int] = []
        asking = threading.Thread(
            target=lambda: statuses.append(found.client.post("/predict", content=SLOW).status_code)
        )
        asking.start()
        time.sleep(0.5)
        began = time.monotonic()
        status, said = found.stop()
        assert time.monotonic() - began < 12, "whatever its threads are at"
        asking.join(PATIENCE)
        assert (status, statuses) == (0, [503])
        assert said.startswith("headstart: Cancel 1 running task")
        assert said.count("\n") == 1


@pytest.mark.parametrize("route", ["/predict?model=texts", "/explain?model=others"])
def test_what_is_decoded_keeps_no_other_from_threads_of_its_own(models: Path, route: str) -> None:
    """Eight at once take four fifths of the room for predictions, and explanations none of it."""
    with running(models / "texts", models / "others", prelude=slowly(60)) as found, ExitStack() as stack:
        for _ in range(9):
            stack.enter_context(found.asked(route, b"slow " * 4000))
        time.sleep(0.5)
        began = time.monotonic()
        assert found.client.post("/predict?model=others", content=b"warm " * 1000).status_code == 200
        assert time.monotonic() - began < 10


def test_what_is_abandoned_is_not_decoded_once_its_turn_comes(models: Path, tmp_path: Path) -> None:
    begun, large = tmp_path / "begun", ("--max-characters", "10000")
    with running(models / "texts", models / "others", *large, prelude=slowly(1), BEGUN=str(begun)) as found:
        with ExitStack() as stack:
            for _ in range(9):  # each takes the whole room
                stack.enter_context(found.asked("/predict?model=texts", SLOW))
            while not begun.exists():
                time.sleep(0.01)
            time.sleep(0.2)
        assert found.client.post("/predict?model=others", content=b"warm " * 2000).status_code == 200
        time.sleep(0.2)
        assert begun.read_text().splitlines() == ["begun"]


@pytest.fixture
def left() -> Callable[[], list[str]]:
    """The threads of models that a test has left behind, after a while."""
    before = set(threading.enumerate())

    def names() -> list[str]:
        end = time.monotonic() + 5
        while found := [each.name for each in set(threading.enumerate()) - before if "headstart" in each.name]:
            if time.monotonic() > end:
                break
            time.sleep(0.02)
        return found

    return names


@pytest.fixture
def stops(monkeypatch: pytest.MonkeyPatch) -> list[inner._Stop]:
    """What the servers of this process are told to stop with."""
    found: list[inner._Stop] = []

    class Stop(inner._Stop):
        def __init__(self) -> None:
            super().__init__()
            found.append(self)

    monkeypatch.setattr(inner, "_Stop", Stop)
    return found


def test_of_models_that_cannot_all_be_opened_none_leaves_a_thread(models: Path, left: Callable[[], list[str]]) -> None:
    with pytest.raises(ModelError):
        hs.serve([models / "texts", models / "missing"], options=hs.ServeOptions(port=0))
    assert left() == []


@pytest.mark.parametrize("also", [[], ["others"]])
def test_models_that_are_open_too_late_leave_no_thread(
    models: Path,
    stops: list[inner._Stop],
    left: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    also: list[str],
) -> None:
    gate = threading.Event()

    def late(path: Path) -> hs.Model:
        gate.wait(20)
        return hs.load(path)

    monkeypatch.setattr(inner, "load", late)
    named = [models / name for name in ("texts", *also)]
    serving = threading.Thread(target=hs.serve, args=(named,), kwargs={"options": hs.ServeOptions(port=0)})
    serving.start()
    while not (stops and stops[0]._server):
        time.sleep(0.01)
    stops[0].now()
    serving.join(10)
    assert not serving.is_alive(), "it waits for no model"
    gate.set()
    assert left() == []


def test_what_is_entered_while_it_is_told_to_stop_is_left_again(
    models: Path, stops: list[inner._Stop], left: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    inside: list[str] = []

    @contextmanager
    def entered() -> Iterator[None]:
        stops[0].now()
        serving.join(0.7)  # ends here, where nothing holds it
        inside.append("entered")
        yield
        inside.append("left")

    monkeypatch.setattr(inner, "unheard", entered)
    serving = threading.Thread(target=hs.serve, args=(models / "texts",), kwargs={"options": hs.ServeOptions(port=0)})
    serving.start()
    serving.join(20)
    assert left() == []
    assert inside == ["entered", "left"]


def test_while_it_serves_what_was_loaded_is_not_looked_through_for_cycles(
    models: Path, stops: list[inner._Stop], monkeypatch: pytest.MonkeyPatch
) -> None:
    gc.unfreeze()
    loading: list[bool] = []

    def told(path: Path) -> hs.Model:
        loading.append(gc.isenabled())
        return hs.load(path)

    monkeypatch.setattr(inner, "load", told)
    served = threading.Event()
    serving = threading.Thread(
        target=hs.serve,
        args=(models / "texts",),
        kwargs={"options": hs.ServeOptions(port=0), "listening": lambda _: served.set()},
    )
    serving.start()
    assert served.wait(PATIENCE)
    while not gc.isenabled():  # the thread that opened them is about to end
        time.sleep(0.01)
    aside = gc.get_freeze_count()
    stops[0].now()
    serving.join(PATIENCE)
    assert loading == [False]
    assert aside > 10_000
    assert gc.get_freeze_count() == 0


def test_two_models_of_one_modality_answer_for_themselves(models: Path) -> None:
    text = "film 3 was warm , clever and grim"
    with running(models / "texts", models / "others") as found:
        for name in ("texts", "others"):
            [answer] = found.client.post(f"/predict?model={name}", json={"inputs": [text]}).json()["predictions"]
            [expected] = hs.predict(models / name, [text])
            assert answer["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-6)
