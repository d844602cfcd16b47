"""Errors that a person can act on: what was expected, what was received, and the way out."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


class HeadstartError(Exception):
    """Anything that headstart refuses, in one sentence for the person who asked. The command line prints it alone."""


class UsageError(HeadstartError):
    """An option or argument that does not exist or does not fit."""


class DataError(HeadstartError):
    """A source of samples that cannot be used as it is."""


class SampleError(DataError):
    """One sample that cannot be read. Verbs that go over many samples count and list it, and go on."""


class BackboneError(HeadstartError):
    """A backbone that does not exist, or that cannot be read at the layer asked for."""


class WeightsMissing(BackboneError):
    """Pretrained weights that are not on this machine."""


class ExtraMissing(HeadstartError):
    """A library of an optional extra that is not installed."""

    @classmethod
    def of(cls, library: str, extra: str, *, purpose: str) -> "ExtraMissing":
        """The sentence for a missing `library`, with the line to type; without an extra the library itself is what to install."""
        wanted = f"'headstart[{extra}]'" if extra else library
        return cls(f"{purpose} needs {library}, which is not installed: type  pip install {wanted}")


class FitError(HeadstartError):
    """Rows and targets from which no head can be fitted."""


class CacheError(HeadstartError):
    """The folder of the feature store cannot be used."""


class ModelError(HeadstartError):
    """A model directory that is not what its manifest says, or that this version cannot read."""


class ExportError(HeadstartError):
    """A model that cannot be written in a format, or whose export gives other answers than the model."""


@dataclass(frozen=True)
class Skipped:
    """An input that an operation left out, and why: it is counted, listed, and never replaced by something else."""

    input: str
    reason: str


# What allocators say: torch's for the CPU, CUDA's, the C++ library's, OpenVINO's.
_NO_MEMORY = (
    *("out of memory", "can't allocate memory", "cannot allocate memory"),
    *("bad_alloc", "failed to allocate", "not enough memory"),
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is short: libraries have no common kind for it."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or any(words in str(error).lower() for words in _NO_MEMORY)


def gist(error: BaseException) -> str:
    """The kind of an error and its first line, for a sentence: what libraries say goes on with stacks and advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def reason(error: Exception) -> str:
    """What an error says: the whole sentence of one of ours, the gist of any other."""
    return str(error) if isinstance(error, HeadstartError) else gist(error)


def suggest(received: str, known: Iterable[str]) -> str:
    """A clause that names the nearest of `known`, or all of them where none is near and they are few.

    Returns:
        Text to append to an error's sentence, beginning with a space, or an empty string.
    """
    names = sorted(known)
    near = difflib.get_close_matches(received, names, n=3, cutoff=0.6)
    if near:
        return f" Did you mean {' or '.join(repr(name) for name in near)}?"
    if 0 < len(names) <= 12:
        return f" There are: {', '.join(names)}."
    return ""
