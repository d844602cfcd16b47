"""What a server may be asked for, and how much a request may hold."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TypeVar

from headstart.core.errors import UsageError
from headstart.features.choosing import AUTO

MOST_NEIGHBOURS = 32
"""Nearest training examples that a request may ask for."""

UNDERSTOOD_TIMES = 11
"""Times its size that a body takes at most while it is understood, itself included: one character of four bytes makes all others take four."""

BESIDE, BESIDE_EACH = 300_000, 2_000
"""Bytes beside that: what the values of a JSON body and the parts of a form are made of, and how much of it an input may have."""

T = TypeVar("T")


def is_loopback(host: str) -> bool:
    """Whether it is a name of this machine that nobody else on the network reaches."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def by_name(named: Iterable[tuple[str, T]]) -> dict[str, T]:
    """What requests will ask for by name.

    Raises:
        UsageError: there is nothing, two have one name, or one has none.
    """
    found: dict[str, T] = {}
    for name, each in named:
        if not name:
            raise UsageError("each model has a name: give it one, NAME=DIR")
        if name in found:
            raise UsageError(f"two models are called {name!r}: give each a name of its own, NAME=DIR")
        found[name] = each
    if not found:
        raise UsageError("name at least one model")
    return found


@dataclass(frozen=True)
class Limits:
    """How much a request, and all of them together, may hold. What is above is refused before it is decoded.

    Attributes:
        body: bytes of one request.
        items: inputs of one request.
        pixels: width times height of a picture, as its header says.
        seconds: of a recording, as its header says.
        characters: of a text.
        tokens: that a text becomes.
        wait: seconds that a request may take: its body to arrive, and its answer to be made, each.
        queue: inputs that may be under way at once; beyond it requests are answered with 429.
        memory: bytes of bodies, and of what they are decoded to, that may be under way at once; likewise. At least `one_body`.
        explanations: that may be under way at once; likewise. They take no place of a prediction.
    """

    body: int = 32_000_000
    items: int = 64
    pixels: int = 50_000_000
    seconds: float = 600.0
    characters: int = 200_000
    tokens: int = 50_000
    wait: float = 30.0
    queue: int = 256
    memory: int = 400_000_000
    explanations: int = 8

    @property
    def one_body(self) -> int:
        """Bytes that a body of the largest size takes at most while it is understood."""
        return UNDERSTOOD_TIMES * self.body + BESIDE + BESIDE_EACH * self.items


@dataclass(frozen=True)
class ServeOptions:
    """What a person may choose of a server.

    Attributes:
        host: the address that it listens at; loopback unless told otherwise.
        port: 0 for any that is free.
        token: what requests have to carry as `Authorization: Bearer TOKEN`; empty for none.
        engine: what runs the backbones.
        limits: how much a request may hold.
        grace: seconds that requests under way have to end in when the server is told to stop.
        page: whether the page is served.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str = field(default="", repr=False)
    engine: str = AUTO
    limits: Limits = field(default_factory=Limits)
    grace: float = 20.0
    page: bool = True

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            UsageError: names it.
        """
        if not 0 <= self.port <= 65535:
            raise UsageError(f"a port is from 0 to 65535, and got {self.port}")
        if self.token and (not self.token.isascii() or not self.token.isprintable() or " " in self.token):
            raise UsageError("a token is of printable ASCII characters without spaces, as it travels in a header")
        if (needed := self.limits.one_body) > self.limits.memory:
            raise UsageError(
                f"some bodies of {self.limits.body:,} bytes never fit into a memory of {self.limits.memory:,}, as one takes up to"
                f" {needed:,} while it is understood: give memory={needed} or more"
            )
        for name, value in vars(self.limits).items():
            if not value > 0:
                raise UsageError(f"the limit of {name} is above 0, and got {value:g}")
        if not self.grace >= 0:
            raise UsageError(f"a grace is 0 s or more, and got {self.grace:g}")

    @property
    def local(self) -> bool:
        """Whether only this machine reaches it."""
        return is_loopback(self.host)
