"""`serve`: open the models, listen, and stop without losing an answer."""

import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.collector import PAUSED, SET_ASIDE
from headstart.core.errors import ExtraMissing
from headstart.core.shared import Shared
from headstart.model.loading import load
from headstart.model.model import Model
from headstart.serving.options import ServeOptions, by_name
from headstart.serving.quiet import unheard

if TYPE_CHECKING:
    import uvicorn

    from headstart.serving.answering import Answering
    from headstart.serving.served import Served

LOG = logging.getLogger("headstart.serving")

Source = Model | str | Path


def serve(
    models: Source | Sequence[Source] | Mapping[str, Source],
    *,
    options: ServeOptions = ServeOptions(),
    listening: Callable[[str], None] | None = None,
) -> None:
    """Answer over HTTP until the process is told to stop (SIGINT or SIGTERM), and then end what is under way.

    Nothing of a request reaches the disk: uploads stay in memory, no row is kept, and no log has a name or a content; what else is written
    to standard error meanwhile is thrown away.

    Args:
        models: one model or several, each a model or its directory, by name or under the names of their directories. Exported and
            compressed ones are served without torch.
        options: where it listens, what it lets in, and how much.
        listening: called with the address once requests are answered; from another thread.

    Raises:
        UsageError: an option cannot be, or two models have one name.
        ExtraMissing: the extra `serve` is not installed.
        ModelError: one of the models cannot be loaded.
        OSError: the address cannot be listened at.
    """
    options.check()
    stop = _Stop()
    with _told_once(stop.now):
        _check_installed()
        named = _named(models)
        with _bound(options) as bound:  # before the models are opened: who asks meanwhile waits, and is not turned away
            _run(named, options, stop=stop, bound=bound, listening=listening or (lambda _: None))


class _Stop:
    """Whether the server was told to stop, before it has begun too."""

    def __init__(self) -> None:
        self._told = threading.Event()
        self._server: Any = None

    def now(self, *_: Any) -> None:
        self._told.set()
        if self._server is not None:
            self._server.should_exit = True

    def of(self, server: Any) -> None:
        """Pass it on to the server, which takes the signals over while it runs."""
        self._server = server
        if self._told.is_set():
            server.should_exit = True

    def told(self) -> bool:
        return self._told.is_set() or bool(self._server is not None and self._server.should_exit)


def _run(
    named: Mapping[str, Source],
    options: ServeOptions,
    *,
    stop: _Stop,
    bound: socket.socket,
    listening: Callable[[str], None],
) -> None:
    """Serve, while the models are opened in another thread.

    Raises:
        Exception: whatever opening them raises.
    """
    from headstart.serving.answering import Answering

    answering = Answering(named, options.limits, stopping=stop.told)
    server = _server(answering, options)
    stop.of(server)
    address = _address(bound)
    failed: list[BaseException] = []
    over, entering = threading.Event(), threading.Lock()
    with ExitStack() as ending:

        def opening() -> None:
            try:
                with PAUSED.held(), ExitStack() as unused:
                    opened = _opened(named, options, told=stop.told)
                    unused.callback(_end, opened)
                    with entering:
                        if over.is_set() or stop.told():
                            return
                        ending.enter_context(_ONE_THREAD_OF_BLAS.held())
                        ending.enter_context(unheard())
                        ending.enter_context(SET_ASIDE.held())
                        answering.open(opened)
                        unused.pop_all()
                listening(address)
            except BaseException as error:  # noqa: BLE001  (raised again where the server was begun)
                failed.append(error)
                stop.now()

        opener = threading.Thread(target=opening, name="headstart opens", daemon=True)
        opener.start()
        try:
            server.run(sockets=[bound])
        finally:
            with entering:  # nothing is entered from now on
                over.set()
            answering.stop(seconds=1.0)  # nobody waits any more
    if failed:
        raise failed[0]
    if not answering.models:
        LOG.warning("told to stop before the models were open")


def _server(answering: "Answering", options: ServeOptions) -> "uvicorn.Server":
    import uvicorn

    from headstart.serving.app import application
    from headstart.serving.protocol import BoundedProtocol

    config = uvicorn.Config(
        application(answering, options),
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here goes by who asks
        timeout_graceful_shutdown=max(1, round(options.grace)),
        timeout_keep_alive=30,
    )
    return uvicorn.Server(config)


def _opened(named: Mapping[str, Source], options: ServeOptions, *, told: Callable[[], bool]) -> "list[Served]":
    """The models, ready to answer, or those of them that were open before it was told to stop; they take turns at what is large."""
    from headstart.serving.admission import Turns
    from headstart.serving.served import Served

    turns, found = (Turns(), Turns()), list[Served]()
    try:
        for name, model in named.items():
            if told():
                break
            opened = model if isinstance(model, Model) else load(Path(model))
            found.append(Served.of(opened, name=name, engine=options.engine, limits=options.limits, turns=turns))
    except BaseException:
        _end(found)
        raise
    return found


def _end(opened: "Sequence[Served]") -> None:
    """What is not answered with leaves no threads."""
    for each in opened:
        each.stop(seconds=0.0)


@contextmanager
def _one_thread_of_blas() -> Iterator[None]:
    """Products with a few rows are small, and BLAS' other threads turn for some time after each, waiting for the next."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1, user_api="blas"):
        yield


_ONE_THREAD_OF_BLAS = Shared(_one_thread_of_blas)


@contextmanager
def _told_once(end: Callable[..., None]) -> Iterator[None]:
    """Being told to stop ends the server, also before it has begun, and not the process as well: uvicorn raises the signal anew when it has stopped."""
    if threading.current_thread() is not threading.main_thread():  # which alone has signals
        yield
        return
    before = {each: signal.signal(each, end) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _check_installed() -> None:
    for library in ("starlette", "uvicorn", "httptools", "python_multipart", "prometheus_client"):
        try:
            __import__(library)
        except ImportError as error:
            raise ExtraMissing.of(library, "serve", purpose="serving") from error


def _named(models: Source | Sequence[Source] | Mapping[str, Source]) -> Mapping[str, Source]:
    """The models by name.

    Raises:
        UsageError: there is none, two have one name, or one has none.
    """
    if isinstance(models, Mapping):
        return by_name(models.items())
    several = [models] if isinstance(models, Model | str | Path) else list(models)
    return by_name(
        (f"model{i or ''}" if isinstance(each, Model) else Path(each).resolve().name, each)
        for i, each in enumerate(several)
    )


def _bound(options: ServeOptions) -> socket.socket:
    """A socket that listens.

    Raises:
        OSError: the address is taken, or is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((options.host, options.port))
        bound.listen(1024)
    except OSError as error:
        bound.close()
        raise OSError(error.errno, error.strerror, f"{options.host}:{options.port}") from error
    return bound


def _address(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
