"""The parts of the server that no socket is needed for: who waits for whom, and how much is let in."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future

import pytest

from headstart.cli.main import build_parser
from headstart.cli.serve import _serve
from headstart.core.errors import UsageError
from headstart.core.threads import Threads
from headstart.serving import running
from headstart.serving.admission import Admission, GivenUp, Turns
from headstart.serving.answering import Answering
from headstart.serving.bodies import room_for
from headstart.serving.options import Limits, ServeOptions
from headstart.serving.refusals import RefusedError
from headstart.serving.running import _named
from headstart.serving.served import Served
from headstart.serving.worker import Worker


def test_what_gathers_while_it_is_at_work_is_answered_together() -> None:
    sizes: list[int] = []
    first = threading.Event()

    def answer(work: Sequence[int]) -> list[int]:
        sizes.append(len(work))
        first.wait(10)
        return [2 * each for each in work]

    worker: Worker[int, int] = Worker(answer, most=4, name="test")
    futures = [worker.submit(0)]
    while not sizes:
        time.sleep(0.001)
    futures += [worker.submit(number) for number in range(1, 7)]
    first.set()
    assert [each.result(10) for each in futures] == [0, 2, 4, 6, 8, 10, 12]
    assert sizes == [1, 4, 2]
    worker.stop(seconds=10)
    assert not worker.alive


def test_one_that_fails_costs_no_other_its_answer() -> None:
    def answer(work: Sequence[int]) -> list[int]:
        if 13 in work:
            raise ValueError("thirteen")
        return list(work)

    worker: Worker[int, int] = Worker(answer, most=8, name="test")
    futures = [worker.submit(number) for number in (1, 13, 2)]
    assert (futures[0].result(10), futures[2].result(10)) == (1, 2)
    with pytest.raises(ValueError, match="thirteen"):
        futures[1].result(10)
    assert worker.alive
    worker.stop(seconds=10)


def test_what_waits_is_answered_before_the_end_and_nothing_is_taken_after_it() -> None:
    gate, seen = threading.Event(), []

    def answer(work: Sequence[int]) -> list[int]:
        gate.wait(10)
        seen.extend(work)
        return list(work)

    worker: Worker[int, int] = Worker(answer, most=1, name="test")
    futures = [worker.submit(number) for number in range(3)]
    futures[2].cancel()
    gate.set()
    worker.stop(seconds=10)
    assert [each.result(0) for each in futures[:2]] == [0, 1]
    assert seen == [0, 1], "what was given up before its turn is not computed"
    with pytest.raises(RuntimeError, match="stopped"):
        worker.submit(1)


def test_what_takes_long_is_answered_alone_and_what_is_given_up_is_let_go() -> None:
    gate, batches = threading.Event(), []

    def answer(work: Sequence[str]) -> list[str]:
        batches.append(list(work))
        gate.wait(10)
        return list(work)

    worker: Worker[str, str] = Worker(answer, most=8, name="test", alone=lambda work: work.startswith("long"))
    futures = [worker.submit("first")]
    while not batches:
        time.sleep(0.001)
    futures += [worker.submit(name) for name in ("a", "b", "long", "c", "d")]
    given_up = worker.submit("x")
    waiting = worker._queue[-1]
    given_up.cancel()
    assert waiting.work is None
    gate.set()
    assert [each.result(10) for each in futures] == ["first", "a", "b", "long", "c", "d"]
    assert batches == [["first"], ["a", "b", "c", "d"], ["long"]]
    worker.stop(seconds=10)


def test_the_oldest_is_answered_next_with_those_of_its_size() -> None:
    gate, batches = threading.Event(), []

    def answer(work: Sequence[int]) -> list[int]:
        batches.append(list(work))
        gate.wait(10)
        return list(work)

    worker: Worker[int, int] = Worker(answer, most=3, name="test", size=float)
    futures = [worker.submit(0)]
    while not batches:
        time.sleep(0.001)
    futures += [worker.submit(size) for size in (9, 50, 8, 48, 10, 51, 500)]
    futures[4].cancel()  # 48
    gate.set()
    assert [each.result(10) for each in futures if not each.cancelled()] == [0, 9, 50, 8, 10, 51, 500]
    assert batches == [[0], [9, 8, 10], [50, 51, 500]], "500 is as unlike 50 as can be, and nothing else waits"
    worker.stop(seconds=10)


def test_nothing_is_overtaken_for_ever() -> None:
    gate, answered = threading.Event(), []

    def answer(work: Sequence[float]) -> list[float]:
        gate.wait(10)
        answered.extend(work)
        if len(answered) < 40:  # as often as there is an answer the next one of the common size comes
            more.append(worker.submit(1.0 + len(answered) / 1000))
        return list(work)

    more: list[Future[float]] = []
    worker: Worker[float, float] = Worker(answer, most=2, name="test", size=lambda size: size)
    futures = [worker.submit(size) for size in (1.0, 1.0, 1.0, 100.0, 1.0, 1.0, 1.0)]
    gate.set()
    assert futures[3].result(10) == 100.0
    assert answered.index(100.0) < 9, "once it is the oldest it is the next"
    worker.stop(seconds=10)


def test_large_inputs_take_turns() -> None:
    turns, inside, most = Turns(), 0.0, 0.0
    lock = threading.Lock()

    def one(share: float) -> None:
        nonlocal inside, most
        with turns.of(share):
            with lock:
                inside += share
                most = max(most, inside)
            time.sleep(0.005)
            with lock:
                inside -= share

    threads = [threading.Thread(target=one, args=(share,)) for share in (0.9, 0.3, 0.1, 1.0, 0.5, 0.05) * 4]
    for each in threads:
        each.start()
    for each in threads:
        each.join(20)
        assert not each.is_alive()
    assert 0.5 < most <= 1 + 1e-6


def test_turns_are_taken_in_the_order_in_which_they_are_asked_for() -> None:
    turns, gate, order = Turns(), [threading.Event() for _ in range(3)], []

    def one(place: int, share: float) -> None:
        with turns.of(share):
            order.append(share)
            gate[place].wait(10)

    threads = [threading.Thread(target=one, args=given) for given in ((0, 0.3), (1, 1.0), (2, 0.2))]
    for place, each in enumerate(threads):
        each.start()
        while len(order) + len(turns._waiting) <= place:
            time.sleep(0.001)
    time.sleep(0.05)
    assert order == [0.3], "there would be room for the last, which would let the large one wait for ever"
    gate[1].set()
    gate[2].set()
    gate[0].set()
    for each in threads:
        each.join(10)
    assert order == [0.3, 1.0, 0.2]


def test_who_gives_up_leaves_the_place_to_the_next() -> None:
    turns, given_up, done = Turns(), threading.Event(), []

    def one(share: float, over: threading.Event | None) -> None:
        try:
            with turns.of(share, over):
                done.append(share)
        except GivenUp:
            done.append(-share)

    with turns.of(0.5):
        first = threading.Thread(target=one, args=(1.0, given_up))
        first.start()
        while not turns._waiting:
            time.sleep(0.001)
        second = threading.Thread(target=one, args=(0.5, None))
        second.start()
        time.sleep(0.05)
        assert done == []
        given_up.set()
        for each in (first, second):
            each.join(10)
        assert done == [-1.0, 0.5]
    with pytest.raises(GivenUp), turns.of(0.1, given_up):
        pass
    with turns.of(1.0):
        pass


def test_no_share_of_the_room_is_lost_by_rounding() -> None:
    turns = Turns()
    for number in range(1, 2000):
        with turns.of(1 / number), turns.of(1 / 3 if number > 1 else 0):
            pass
    assert turns._free == Turns()._free


def test_more_than_there_is_room_for_is_told_when_to_come_again() -> None:
    admission = Admission(Limits(queue=3, memory=100))
    with admission.inputs(2):
        with pytest.raises(RefusedError) as refused, admission.inputs(2):
            pass
        assert refused.value.status == 429
        assert int(refused.value.headers["Retry-After"]) >= 1
        with admission.inputs(1):
            assert admission.items == 3
    assert admission.items == 0
    with admission.hold(60) as shrink:
        with pytest.raises(RefusedError, match="under way"), admission.hold(50):
            pass
        shrink(10)
        with admission.hold(50) as grow:
            assert admission.bytes == 60
            with pytest.raises(RefusedError, match="under way"):
                grow(91)
            grow(90)
            assert admission.bytes == 100
    assert admission.bytes == 0
    with (
        pytest.raises(RefusedError, match="becomes 90 bytes, and this server holds 100") as never,
        admission.hold(90, beside=11),
    ):
        pass
    assert never.value.status == 413


def test_explanations_have_places_of_their_own() -> None:
    admission = Admission(Limits(queue=1, explanations=1))
    with admission.inputs(1), admission.explanation():
        with pytest.raises(RefusedError) as refused, admission.explanation():
            pass
        assert refused.value.status == 429
        assert admission.items == 1
    with admission.explanation():
        pass


def test_a_piece_that_takes_long_lets_others_through() -> None:
    order: list[str] = []

    def answer(work: Sequence[str]) -> list[str]:
        order.extend(work)
        if work[0] == "long":
            gate.wait(10)
            worker.between()
            order.append("end of long")
        return list(work)

    gate = threading.Event()
    worker: Worker[str, str] = Worker(answer, most=8, name="test", alone=lambda work: work.startswith("long"))
    futures = [worker.submit(name) for name in ("long", "a", "long too", "b")]
    futures[1].add_done_callback(lambda _: order.append("a answered"))
    gate.set()
    assert [each.result(10) for each in futures] == ["long", "a", "long too", "b"]
    assert order[:5] == ["long", "a", "b", "a answered", "end of long"]
    worker.stop(seconds=10)


def test_one_whose_worker_is_gone_is_not_ready() -> None:
    worker: Worker[str, str] = Worker(list, most=1, name="test")
    served = Served("a", None, "eager", Limits(), worker, *(Threads(1, name="test"), Turns()) * 2)  # type: ignore[arg-type]
    answering = Answering(["a"], Limits(), stopping=lambda: False)
    assert not answering.ready, "it is not open"
    answering.open([served])
    assert answering.ready
    served.stop(seconds=10)
    assert not answering.ready


def test_a_thread_that_fails_lives_on_and_what_is_given_up_is_not_done() -> None:
    threads, gate, done = Threads(1, name="test"), threading.Event(), []
    futures = [threads.submit(lambda: gate.wait(10)), threads.submit(lambda: done.append(1))]
    futures[1].cancel()
    failing = threads.submit(lambda: 1 // 0)
    last = threads.submit(lambda: 2)
    gate.set()
    with pytest.raises(ZeroDivisionError):
        failing.result(10)
    assert (last.result(10), done) == (2, [])
    threads.stop(seconds=10)


def test_slow_answers_make_a_client_wait_longer() -> None:
    admission = Admission(Limits())
    with admission.inputs(100):
        before = admission.wait
        for _ in range(50):
            admission.note(10.0, n=10)
        assert admission.wait > 10 * before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (ServeOptions(port=70000), "a port is from 0 to 65535"),
        (ServeOptions(token="two words"), "a token is of printable ASCII"),
        (ServeOptions(limits=Limits(pixels=0)), "the limit of pixels is above 0"),
        (ServeOptions(grace=-1), "a grace is 0 s or more"),
        (ServeOptions(limits=Limits(body=2, memory=1)), "never fit into"),
        (
            ServeOptions(limits=Limits(body=100_000, memory=1_527_999)),
            r"1,528,000 while it is understood: give memory=1528000 or more",
        ),
        (ServeOptions(limits=Limits(body=64_000_000)), r"give memory=704428000 or more"),
    ],
)
def test_options_that_cannot_be_are_refused(options: ServeOptions, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        options.check()


def test_what_a_body_takes_at_most_is_enough() -> None:
    ServeOptions().check()
    ServeOptions(limits=Limits(body=100_000, memory=1_528_000)).check()


@pytest.mark.parametrize(
    ("given", "memory"),
    [
        ([], 400_000_000),
        (["--max-body", "1MB"], 400_000_000),
        (["--max-body", "64MB"], 704_428_000),
        (["--max-items", "100000"], 552_300_000),
    ],
)
def test_no_body_below_the_limit_is_refused_for_good(
    monkeypatch: pytest.MonkeyPatch, given: list[str], memory: int
) -> None:
    found: list[ServeOptions] = []
    monkeypatch.setattr(running, "serve", lambda models, *, options, listening: found.append(options))
    _serve(build_parser().parse_args(["serve", "model", *given]))
    found[0].check()
    limits = found[0].limits
    for kind in ("application/json", "multipart/form-data; boundary=b", "image/png"):
        body = bytes(limits.body - 2) + "\xe4".encode()
        assert room_for(body, kind, limits=limits) <= limits.memory, "it is held where nothing else is"
    assert limits.memory == memory


def test_a_token_is_not_shown() -> None:
    assert "secret" not in repr(ServeOptions(token="secret"))


def test_models_have_names_of_their_own() -> None:
    assert list(_named(["a/one", "b/two"])) == ["one", "two"]
    assert list(_named({"x": "a/one", "y": "b/one"})) == ["x", "y"]
    with pytest.raises(UsageError, match="two models are called 'one'"):
        _named(["a/one", "b/one"])
    with pytest.raises(UsageError, match="each model has a name"):
        _named({"": "a/one"})
    with pytest.raises(UsageError, match="name at least one"):
        _named([])
