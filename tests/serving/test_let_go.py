"""What was answered is let go at once: a server that runs for weeks waits for no collector to give a request's memory back."""

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

import pytest

from headstart.core.threads import Threads
from headstart.serving.worker import Worker


class Piece(list[int]):
    """An input or a result that can be watched."""


@pytest.fixture(autouse=True)
def uncollected() -> Iterator[None]:
    """No collector that would find what is in a cycle."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def gone(seen: "weakref.ref[Piece]") -> bool:
    """Whether it is let go within a second: a thread may be about to do so."""
    end = time.monotonic() + 1
    while seen() is not None and time.monotonic() < end:
        time.sleep(0.001)
    return seen() is None


def failing(piece: Piece) -> Piece:
    raise ValueError(f"cannot read {len(piece)}")


def in_a_thread(work: Callable[[Piece], Piece], piece: Piece) -> "tuple[Threads, Future[Piece]]":
    threads = Threads(1, name="test")
    return threads, threads.submit(lambda: work(piece))


def in_a_worker(work: Callable[[Piece], Piece], piece: Piece) -> "tuple[Worker[Piece, Piece], Future[Piece]]":
    def answer(several: Sequence[Piece]) -> list[Piece]:
        return [work(each) for each in several]

    worker: Worker[Piece, Piece] = Worker(answer, most=8, name="test")
    return worker, worker.submit(piece)


@pytest.mark.parametrize("begun", [in_a_thread, in_a_worker])
def test_an_input_and_its_result_are_let_go(begun: Callable[..., tuple[Threads, "Future[Piece]"]]) -> None:
    piece = Piece(range(9))
    threads, future = begun(lambda given: Piece(reversed(given)), piece)
    seen, result = weakref.ref(piece), weakref.ref(future.result(10))
    del piece
    assert gone(seen), "what was done needs its input no more, whoever still holds the answer"
    del future
    assert gone(result)
    threads.stop(seconds=10)


@pytest.mark.parametrize("begun", [in_a_thread, in_a_worker])
def test_so_are_those_that_failed(begun: Callable[..., tuple[Threads, "Future[Piece]"]]) -> None:
    piece = Piece(range(9))
    threads, future = begun(failing, piece)
    assert isinstance(future.exception(10), ValueError)
    seen = weakref.ref(piece)
    del piece, future
    assert gone(seen), "an error knows where it was raised, and so the input"
    threads.stop(seconds=10)


def test_so_are_those_that_failed_together_with_others() -> None:
    gate, begun = threading.Event(), threading.Event()

    def answer(several: Sequence[Piece]) -> list[Piece]:
        if not several[0]:
            begun.set()
            gate.wait(10)
            worker.between()
        return [failing(each) if each else each for each in several]

    worker: Worker[Piece, Piece] = Worker(answer, most=8, name="test", alone=lambda work: not work)
    long = worker.submit(Piece())
    assert begun.wait(10)
    pieces = [Piece(range(n)) for n in (3, 4, 5)]
    futures, seen = [worker.submit(each) for each in pieces], [weakref.ref(each) for each in pieces]
    gate.set()
    assert {type(each.exception(10)) for each in futures} == {ValueError}
    assert long.result(10) == []
    pieces.clear()
    futures.clear()
    assert all(map(gone, seen))
    worker.stop(seconds=10)


@pytest.mark.parametrize("begun", [in_a_thread, in_a_worker])
def test_what_is_cancelled_while_it_runs_is_done_to_its_end(
    begun: Callable[..., tuple[Threads, "Future[Piece]"]],
) -> None:
    gate, running = threading.Event(), threading.Event()

    def slow(given: Piece) -> Piece:
        running.set()
        gate.wait(10)
        return Piece(reversed(given))

    threads, future = begun(slow, Piece(range(3)))
    assert running.wait(10)
    assert not future.cancel()
    gate.set()
    assert future.result(10) == [2, 1, 0]
    threads.stop(seconds=10)
