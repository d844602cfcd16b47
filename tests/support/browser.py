"""A real headless Chromium, driven over a pipe: what a page writes to its console, what it asks the network for, and what it shows.

The protocol is that of Chromium's developer tools: JSON messages that end with a zero byte, over file descriptors 3 and 4 of the browser.
No port is opened.
"""

import json
import os
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Seconds that an answer may take on a busy machine.
PATIENCE = 60.0
# Seconds of silence after which a page is taken to have settled.
QUIET = 0.4

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-pipe"),
)
# Puts the two ends of the pipes where the browser looks for them, and becomes the browser.
_BEGIN = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for place, end in zip((3, 4), ends):
    os.dup2(end, place)
os.execv(sys.argv[3], sys.argv[3:])
"""


def need_chromium() -> str:
    """The path of the browser; the test skips where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no Chromium is installed (looked for {', '.join(NAMES)}): on Debian  apt-get install chromium")
    return found


@dataclass
class Visit:
    """What a page did while it was open.

    Attributes:
        errors: what it wrote to its console as an error or warning, threw, or was refused.
        requests: every address that it asked for but its own file and data within it.
    """

    browser: "Browser"
    session: str
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression on the page."""
        answer = self.browser.call("Runtime.evaluate", self.session, expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def resize(self, width: int, height: int, *, dark: bool = False) -> None:
        """Show the page in a window of this size, in light or dark, and wait until it has settled."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.call("Emulation.setDeviceMetricsOverride", self.session, **metrics)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.browser.call("Emulation.setEmulatedMedia", self.session, features=scheme)
        self.browser.settle()

    def picture(self) -> bytes:
        """The window as PNG, in base64."""
        return self.browser.call("Page.captureScreenshot", self.session, format="png")["data"].encode()


class Browser:
    """One running browser. `open` shows a file."""

    def __init__(self, process: "subprocess.Popen[bytes]", write: int, read: int) -> None:
        self._process, self._write, self._read = process, write, read
        self._selector = selectors.DefaultSelector()
        self._selector.register(read, selectors.EVENT_READ)
        self._left, self._number = b"", 0
        self._visits: dict[str, Visit] = {}

    def open(self, place: Path | str) -> Visit:
        """Open a file or an address, and wait until it has loaded and settled."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        visit = self._visits[session] = Visit(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable", session)
        self.call("Page.navigate", session, url=place if isinstance(place, str) else place.absolute().as_uri())
        self.settle()
        return visit

    def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """Send a command and return its answer; what happens meanwhile is noted."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for got in self._messages(end - time.monotonic()):
                if got.get("id") == self._number:
                    assert "error" not in got, f"{method}: {got['error']}"
                    return dict(got["result"])
        raise AssertionError(f"the browser did not answer {method} within {PATIENCE:.0f} s")

    def settle(self) -> None:
        """Note what happens until nothing has happened for a moment."""
        end = time.monotonic() + PATIENCE
        while self._messages(QUIET):
            assert time.monotonic() < end, "the page does not come to rest"

    def _messages(self, patience: float) -> list[dict[str, Any]]:
        """What arrives within so many seconds; events are noted with their page."""
        if not self._selector.select(patience):
            return []
        received = os.read(self._read, 1 << 20)
        assert received, "the browser ended"
        *whole, self._left = (self._left + received).split(b"\0")
        found = [json.loads(each) for each in whole]
        for each in found:
            if (visit := self._visits.get(each.get("sessionId", ""))) is not None and "method" in each:
                _note(visit, each["method"], each["params"])
        # An unfinished message is no silence.
        return found or [{}]


@contextmanager
def browser(folder: Path, *flags: str) -> Iterator[Browser]:
    """A browser with a profile of its own in `folder`, begun with more flags; it is gone at the end."""
    program = need_chromium()
    to_browser, write = os.pipe()
    read, from_browser = os.pipe()
    ends = (str(to_browser), str(from_browser))
    command = [
        sys.executable,
        "-c",
        _BEGIN,
        *ends,
        program,
        *_FLAGS,
        *flags,
        f"--user-data-dir={folder}",
        "about:blank",
    ]
    process = subprocess.Popen(
        command, pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(to_browser)
    os.close(from_browser)
    try:
        yield Browser(process, write, read)
    finally:
        with suppress(OSError):
            os.write(write, json.dumps({"id": 0, "method": "Browser.close"}).encode() + b"\0")
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(write)
        os.close(read)


def _note(visit: Visit, method: str, event: dict[str, Any]) -> None:
    if method == "Runtime.consoleAPICalled" and event["type"] in {"error", "warning", "assert"}:
        visit.errors.append(" ".join(str(each.get("value", each.get("description"))) for each in event["args"]))
    elif method == "Runtime.exceptionThrown":
        details = event["exceptionDetails"]
        visit.errors.append(str(details.get("exception", {}).get("description") or details["text"]))
    elif method == "Log.entryAdded" and event["entry"]["level"] in {"error", "warning"}:
        visit.errors.append(event["entry"]["text"])
    elif method == "Network.requestWillBeSent":
        url = event["request"]["url"]
        if not url.startswith(("data:", "about:", "blob:")) and not (
            url.startswith("file:") and event["type"] == "Document"
        ):
            visit.requests.append(url)
