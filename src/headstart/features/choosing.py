"""Choosing an engine: which ones can run a backbone here, which starts at once, and when a faster one pays.

The rule of `auto`: begin with the fastest engine that starts at once; go over to a faster one that has to be compiled as soon as it is
expected to save more time on the rows still missing than it takes to start. What was compiled is kept on disk. Where a compiled network
is ready in this process already, begin with it. No device runs slower than eager by this rule, but for the error of its two estimates:
the seconds a row takes are measured on the first batches, and what an engine gains was measured before.
"""

from dataclasses import dataclass

from headstart.backbones.backbone import Backbone
from headstart.core.errors import UsageError
from headstart.features.engines import ENGINES

AUTO, PLAIN = "auto", "eager"


@dataclass(frozen=True)
class Choice:
    """The engines that an extraction may run on.

    Attributes:
        first: the one to begin with.
        faster: those that have to be compiled first, fastest first.
    """

    first: str
    faster: tuple[str, ...] = ()


def choose(backbone: Backbone, engine: str) -> Choice:
    """The engines for a name, or for `auto`.

    Raises:
        UsageError: there is no such engine, or it cannot run this backbone here.
    """
    if engine != AUTO:
        if reason := ENGINES.get(engine).refusal(backbone):
            raise UsageError(f"the engine {engine} cannot be used: {reason}")
        return Choice(engine)
    usable = [name for name in ENGINES.names() if not ENGINES.get(name).refusal(backbone)]
    usable.sort(key=lambda name: -ENGINES.get(name).gain(backbone))
    first = next(name for name in usable if ENGINES.get(name).starts_at_once)
    gain = ENGINES.get(first).gain(backbone)
    faster = [
        name for name in usable if not ENGINES.get(name).starts_at_once and ENGINES.get(name).gain(backbone) > gain
    ]
    return Choice(first, tuple(faster))


def pays(backbone: Backbone, engine: str, *, now: str, seconds: float, setup: float) -> bool:
    """Whether to go over to a compiled engine.

    Args:
        backbone: what is run.
        engine: the one to go over to.
        now: the one that runs.
        seconds: what the rows still missing would take with the one that runs.
        setup: seconds that the other takes to start.
    """
    saved = seconds * (1 - ENGINES.get(now).gain(backbone) / ENGINES.get(engine).gain(backbone))
    return saved > setup


def settled(backbone: Backbone) -> str:
    """The engine that `auto` ends with where there is no end of samples, as in a process that goes on answering."""
    choice = choose(backbone, AUTO)
    return next(iter(choice.faster), choice.first)


def seconds_of_auto(backbone: Backbone, *, now: str, seconds: float) -> float:
    """What `auto` is expected to take for rows that take so many seconds on an engine that starts at once.

    Args:
        backbone: what is run.
        now: that engine.
        seconds: its time.
    """
    gain = ENGINES.get(now).gain(backbone)
    faster = (ENGINES.get(name) for name in choose(backbone, AUTO).faster)
    return min([seconds, *(each.setup(backbone) + seconds * gain / each.gain(backbone) for each in faster)])
