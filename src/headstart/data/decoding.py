"""From bytes to text: UTF-8 with or without its mark, UTF-16 with one, and nothing guessed."""

import codecs
import re

from headstart.core.errors import SampleError

UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF32_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
# Control characters that are no part of any text: all of C0 but tab, line feed, vertical tab, form feed, return and escape.
_CONTROLS = frozenset(range(32)) - {9, 10, 11, 12, 13, 27}


# How Python shows an object that has no text of its own, with where it lies in memory.
_OBJECT = re.compile(r"<[^<>]* at 0x[0-9a-fA-F]+>")


def reason_of(error: Exception) -> str:
    """What a decoder says is wrong, without where its objects lie in memory, or its kind where it says nothing."""
    return _OBJECT.sub("the file", str(error)).strip().rstrip(".") or type(error).__name__


def text_of(content: bytes | str) -> str:
    """A sample's content as a text: itself, or what a file's bytes stand for.

    Raises:
        SampleError: the bytes are neither UTF-8 nor UTF-16 with a byte order mark.
    """
    return content if isinstance(content, str) else decode_text(content)


def bytes_of(content: bytes | str, what: str) -> bytes:
    """A sample's content as a file's bytes.

    Args:
        content: of the sample.
        what: it is prepared as, such as `an image`.

    Raises:
        SampleError: it is a text.
    """
    if isinstance(content, str):
        raise SampleError(f"{what} is prepared from a file's bytes, and got a text")
    return content


def decode_text(content: bytes) -> str:
    """The text that a file's bytes stand for; a byte order mark is not part of it.

    Raises:
        SampleError: the bytes are neither UTF-8 nor UTF-16 with a byte order mark.
    """
    marked = content.startswith(UTF16_MARKS) and not content.startswith(_UTF32_MARKS)
    try:
        return content.decode("utf-16") if marked else content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        kind = "UTF-16" if marked else "UTF-8"
        raise SampleError(
            f"is not {kind} text (at byte {error.start}): save it as UTF-8, or convert it with  iconv -f ENCODING -t UTF-8"
        ) from error


def looks_like_text(head: bytes) -> bool:
    """Whether bytes are the beginning of a text: decodable, but for a character cut off at the end, and without control characters."""
    if not head:
        return False
    if head.startswith(_UTF32_MARKS):
        return False
    if head.startswith(UTF16_MARKS):
        text = _begin(head[: len(head) // 2 * 2], "utf-16")
        return text is not None and "\0" not in text
    if any(byte in _CONTROLS for byte in head):
        return False
    return _begin(head, "utf-8-sig") is not None


def repair(text: str) -> str:
    """The text with paired surrogates joined and lone ones, which no encoding can hold, replaced by U+FFFD."""
    if not any("\ud800" <= character <= "\udfff" for character in text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _begin(head: bytes, encoding: str) -> str | None:
    """The text of which `head` is the beginning, or None where it is none."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(head, final=False)
    except UnicodeDecodeError:
        return None
