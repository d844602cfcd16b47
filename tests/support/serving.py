"""A real server on loopback, in a process of its own, ended by its id."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

PATIENCE = 60.0

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

    def stop(self) -> tuple[int, str]:
        """Tell it to stop as a system does; returns its status and what it wrote to standard error."""
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said


@contextmanager
def running(*arguments: str | Path, watched: Path | None = None, **environment: str) -> Iterator[Running]:
    """`headstart serve ARGUMENTS` at a free port; gone at the end.

    Args:
        arguments: models and options.
        watched: a file for the names of files that are written once it serves.
        environment: more of it.
    """
    begin = ["-m", "headstart.cli.main"] if watched is None else ["-c", _WATCHED]
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
