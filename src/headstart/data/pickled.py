"""Reading the plain values of a pickle without unpickling: its instructions are listed and never carried out, so none of them can run code.

Dictionaries, lists, tuples, texts, bytes and numbers become themselves; an array of NumPy becomes where its bytes lie. Whatever else a pickle
asks for is refused.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from headstart.core.errors import DataError

_MARK = object()
_VALUES = frozenset(
    {
        "BININT",
        "BININT1",
        "BININT2",
        "LONG1",
        "BINFLOAT",
        "SHORT_BINSTRING",
        "SHORT_BINUNICODE",
        "BINUNICODE",
        "SHORT_BINBYTES",
    }
)
# What is not copied, with the length of its head: the instruction and the size.
_LARGE = {"BINSTRING": 5, "BINBYTES": 5, "BINBYTES8": 9}
_GLOBALS = frozenset({"GLOBAL", "STACK_GLOBAL"})
_PUTS = frozenset({"BINPUT", "LONG_BINPUT", "MEMOIZE"})
_GETS = frozenset({"BINGET", "LONG_BINGET"})
_FRAMES = frozenset({"PROTO", "FRAME"})
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_ARRAYS = frozenset(
    {
        *(f"numpy.{core}.multiarray _reconstruct" for core in ("core", "_core")),
        "numpy ndarray",
        "numpy dtype",
    }
)


@dataclass(frozen=True)
class Bytes:
    """A text or bytes that are not copied: where they lie in the pickle."""

    offset: int
    length: int


@dataclass
class Made:
    """What a pickle would make with one of NumPy's own names: the name, what it is called with, and its state."""

    name: str
    given: tuple[Any, ...] = ()
    state: Any = None


def plain_values(content: bytes, *, source: str) -> Any:
    """What a pickle holds.

    Args:
        content: the whole pickle.
        source: what to call it.

    Raises:
        DataError: it is damaged, or asks for anything but plain values and arrays.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    try:
        for code, argument, position in pickletools.genops(content):
            if code.name == "STOP":
                return stack.pop()
            if code.name in _LARGE:
                stack.append(Bytes((position or 0) + _LARGE[code.name], len(argument or "")))
            elif code.name in _GLOBALS:
                stack.append(_named(stack, argument, source))
            else:
                _follow(code.name, argument, stack=stack, memo=memo, source=source)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{source} is a damaged pickle ({error}): download it again") from error
    raise DataError(f"{source} is a pickle that ends early: download it again")


def _named(stack: list[Any], argument: Any, source: str) -> Made:
    wanted = " ".join(reversed([stack.pop(), stack.pop()])) if argument is None else str(argument)
    if wanted not in _ARRAYS:
        raise DataError(
            f"{source} is a pickle that asks for {wanted.replace(' ', '.')}, which could run code: "
            "expected plain values and arrays only; take the file from its publisher"
        )
    return Made(wanted)


def _follow(name: str, argument: Any, *, stack: list[Any], memo: dict[int, Any], source: str) -> None:
    """Do one instruction of a closed list; none calls anything that the pickle names."""
    if name in _VALUES:
        stack.append(argument)
    elif name in _CONSTANTS:
        stack.append(_CONSTANTS[name])
    elif name in _PUTS:
        memo[len(memo) if argument is None else int(argument)] = stack[-1]
    elif name in _GETS:
        stack.append(memo[argument])
    elif name in _STEPS:
        _STEPS[name](stack)
    elif name not in _FRAMES:
        raise DataError(f"{source} is a pickle with the instruction {name}, which no plain values need")


def _marked(stack: list[Any]) -> list[Any]:
    """The values above the last mark, which goes as well."""
    at = max(i for i, value in enumerate(stack) if value is _MARK)
    above = stack[at + 1 :]
    del stack[at:]
    return above


def _tuple(n: int) -> Callable[[list[Any]], None]:
    def step(stack: list[Any]) -> None:
        values = tuple(stack[len(stack) - n :])
        del stack[len(stack) - n :]
        stack.append(values)

    return step


def _set(stack: list[Any], values: list[Any]) -> None:
    stack[-1].update(zip(values[::2], values[1::2], strict=True))


def _set_one(stack: list[Any]) -> None:
    value, key = stack.pop(), stack.pop()
    stack[-1][key] = value


def _append(stack: list[Any]) -> None:
    value = stack.pop()
    stack[-1].append(value)


def _extend(stack: list[Any], values: list[Any]) -> None:
    stack[-1].extend(values)


def _reduce(stack: list[Any]) -> None:
    given, made = stack.pop(), stack.pop()
    stack.append(Made(made.name, given))


def _build(stack: list[Any]) -> None:
    state = stack.pop()
    if not isinstance(stack[-1], Made):
        raise TypeError("a state belongs to no array")
    stack[-1].state = state


_STEPS: dict[str, Callable[[list[Any]], None]] = {
    "MARK": lambda stack: stack.append(_MARK),
    "EMPTY_DICT": lambda stack: stack.append({}),
    "EMPTY_LIST": lambda stack: stack.append([]),
    "EMPTY_TUPLE": lambda stack: stack.append(()),
    "TUPLE": lambda stack: stack.append(tuple(_marked(stack))),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "SETITEM": _set_one,
    "SETITEMS": lambda stack: _set(stack, _marked(stack)),
    "APPEND": _append,
    "APPENDS": lambda stack: _extend(stack, _marked(stack)),
    "REDUCE": _reduce,
    "BUILD": _build,
}
