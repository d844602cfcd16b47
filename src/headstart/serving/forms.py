"""Forms with files: every part of a body, in memory. Frameworks spool large parts into files, and decode texts by whatever a client names."""

import io
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from headstart.serving.refusals import malformed, too_large

_UTF8 = {b"utf-8", b"utf8"}
_LONGEST_TYPE = 1000
# Headers of a part, and bytes of each: a filename takes up to four a character.
_MOST_HEADERS, _LONGEST_HEADER = 8, 4224


@dataclass
class Part:
    """A part of a form.

    Attributes:
        filename: as the client says it; None for a field without a file.
        content: its bytes.
    """

    filename: str | None = None
    content: io.BytesIO = field(default_factory=io.BytesIO)  # which gives it without another copy
    disposition: bytearray = field(default_factory=bytearray)


class _Reading:
    """What the parser calls."""

    def __init__(self, most: int) -> None:
        self.parts: list[Part] = []
        self.ended = False
        self._most = most
        self._name, self._value = bytearray(), bytearray()

    def begin(self) -> None:
        if len(self.parts) == self._most:
            raise too_large(f"the form holds more than the {self._most:,} inputs that this server takes at once")
        self.parts.append(Part())

    def name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header(self) -> None:
        if bytes(self._name).lower() == b"content-disposition":
            self.parts[-1].disposition = self._value
        self._name, self._value = bytearray(), bytearray()

    def headers(self) -> None:
        _, options = parse_options_header(bytes(self.parts[-1].disposition))
        if b"name" not in options:
            raise malformed("the form cannot be read: a part has no name")
        if b"filename" in options:
            self.parts[-1].filename = options[b"filename"].decode("utf-8", "replace")

    def data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].content.write(memoryview(data)[start:end])

    def end(self) -> None:
        self.ended = True


def parts_of(body: bytes, content_type: str, *, most: int) -> list[Part]:
    """The parts of a form, in order.

    Args:
        body: all of it.
        content_type: the header, with the boundary.
        most: how many parts there may be.

    Raises:
        RefusedError: it is no form, is in another encoding than UTF-8, or has more parts.
    """
    if len(content_type) > _LONGEST_TYPE:  # it is read in a time that grows with the square of it
        raise malformed(f"the form cannot be read: its content type has more than {_LONGEST_TYPE:,} characters")
    _, options = parse_options_header(content_type)
    if options.get(b"charset", b"utf-8").lower() not in _UTF8:
        raise malformed("the form cannot be read: a form is in UTF-8, and this one says otherwise")
    if not options.get(b"boundary"):
        raise malformed("the form cannot be read: its content type names no boundary")
    reading = _Reading(most)
    try:
        parser = MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": reading.begin,
                "on_header_field": reading.name,
                "on_header_value": reading.value,
                "on_header_end": reading.header,
                "on_headers_finished": reading.headers,
                "on_part_data": reading.data,
                "on_end": reading.end,
            },
            max_header_count=_MOST_HEADERS,
            max_header_size=_LONGEST_HEADER,
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise malformed("the form cannot be read: it is not made of parts between its boundary") from error
    if not reading.ended:
        raise malformed("the form cannot be read: it ends before its last boundary")
    return reading.parts
