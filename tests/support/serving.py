"""A real server on loopback, in a process of its own, ended by its id."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

PATIENCE = 60.0


def slowly(seconds: float) -> str:
    """A prelude of the server: an input that begins with `slow` is decoded so long, in its turn, and nothing can interrupt it.

    Each that begins is a line in the file BEGUN, if there is one.
    """
    return f"""
import os, time
from contextlib import contextmanager
from headstart.serving.served import Served
inner = Served._turn
def slow(self, content, *given):
    return slowed(inner(self, content, *given), content)
@contextmanager
def slowed(turn, content):
    with turn:
        if content.startswith(b"slow"):
            with open(os.environ.get("BEGUN", os.devnull), "a") as file:
                file.write("begun\\n")
            time.sleep({seconds})
        yield
Served._turn = slow
"""


# Runs the command line and writes the name of every file that is opened to be written from the first request on. With PLANT it spools uploads.
_WATCHED = """
import os, sys
from headstart.cli.main import main
if os.environ.get("PLANT"):
    import tempfile
    import headstart.serving.bodies as bodies
    inner_parts = bodies.parts_of
    def spooling(body, *given, **named):
        with tempfile.SpooledTemporaryFile(max_size=10) as file:
            file.write(body)
        return inner_parts(body, *given, **named)
    bodies.parts_of = spooling
log = os.open(os.environ["WATCHED"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
serving = False
def hook(event, arguments):
    global serving
    serving = serving or event == "headstart.serves"
    if not serving:
        return
    if event == "open":
        path, mode, flags = arguments
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            os.write(log, (str(path) + "\\n").encode())
    elif event.startswith(("tempfile.", "os.mkdir", "os.rename", "shutil.", "sqlite3.")):
        os.write(log, (event + "\\n").encode())
from headstart.cli import serve as command
inner = command._listening
def listening(options):
    said = inner(options)
    def then(address):
        said(address)
        sys.audit("headstart.serves")
    return then
command._listening = listening
sys.addaudithook(hook)
sys.exit(main(sys.argv[1:]))
"""


def program(prelude: str = "") -> list[str]:
    """What Python runs: the command line, after some lines of a test's."""
    if not prelude:
        return ["-m", "headstart.cli.main"]
    return ["-c", f"{prelude}\nimport sys\nfrom headstart.cli.main import main\nsys.exit(main(sys.argv[1:]))"]


@dataclass(frozen=True)
class Running:
    """A server that listens.

    Attributes:
        address: of it.
        process: its process.
        client: of HTTP.
    """

    address: str
    process: "subprocess.Popen[str]"
    client: httpx.Client

    @property
    def libraries(self) -> str:
        """The files that are mapped into its memory."""
        return Path(f"/proc/{self.process.pid}/maps").read_text(encoding="utf-8")

    def connected(self) -> socket.socket:
        """A connection to it."""
        host, port = self.address.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=20)

    def asked(self, path: str, content: bytes) -> socket.socket:
        """A connection that has asked for something, and waits for the answer."""
        found = self.connected()
        found.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n".encode())
        found.sendall(content)
        return found

    def stop(self) -> tuple[int, str]:
        """Tell it to stop as a system does; returns its status and what it wrote to standard error."""
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said


@contextmanager
def running(
    *arguments: str | Path, watched: Path | None = None, prelude: str = "", **environment: str
) -> Iterator[Running]:
    """`headstart serve ARGUMENTS` at a free port; gone at the end.

    Args:
        arguments: models and options.
        watched: a file for the names of files that are written once it serves.
        prelude: Python that runs before it: what it takes to see a fault quickly, or at all.
        environment: more of it.
    """
    begin = ["-c", _WATCHED] if watched is not None else program(prelude)
    more = environment | ({} if watched is None else {"WATCHED": str(watched)})
    process = subprocess.Popen(
        [sys.executable, *begin, "serve", *map(str, arguments), "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=os.environ | more,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate(timeout=PATIENCE)[1]
        address = json.loads(line)["address"]
        with httpx.Client(base_url=address, timeout=PATIENCE, trust_env=False) as client:
            yield Running(address, process, client)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=PATIENCE)
