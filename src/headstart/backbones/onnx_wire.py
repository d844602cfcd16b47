"""Whether an ONNX file keeps tensors in other files, told from its bytes as protocol buffers lay them out, without the library `onnx`.

What serves an exported model has its runtime alone. The runtime opens what a tensor names, and a search for bytes is got round: the same
message can be written in many ways. The numbers of fields are those of the published onnx.proto.
"""

from collections.abc import Iterator, Mapping

# By message, the fields that lead to a tensor, and which message each holds.
_FIELDS: Mapping[str, Mapping[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}
# Of a tensor: `external_data`, whatever it is, and `data_location`, where it is another than 0, the file's own.
_DATA, _LOCATION = 13, 14
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
# Protocol buffers themselves allow no deeper nesting.
_DEEPEST = 100
_LONGEST_VARINT = 10
# What their own reader makes of a tag beyond is its last 32 bits, which are another field's.
_TAGS = 1 << 32


def keeps_elsewhere(content: bytes) -> bool:
    """Whether any tensor of a model lies in another file.

    Args:
        content: of the file.

    Raises:
        ValueError: it is no protocol buffer.
    """
    return _elsewhere(memoryview(content), "Model", 0)


def _elsewhere(content: memoryview, message: str, depth: int) -> bool:
    if depth > _DEEPEST:
        raise ValueError("it is nested more deeply than protocol buffers may be")
    known = _FIELDS[message]
    for field, part in _fields(content):
        if message == "Tensor" and (field == _DATA or (field == _LOCATION and part != 0)):
            return True
        if field in known and isinstance(part, memoryview) and _elsewhere(part, known[field], depth + 1):
            return True
    return False


def _fields(content: memoryview) -> Iterator[tuple[int, memoryview | int | None]]:
    """The number of each field, and its bytes or its whole number where it holds one.

    Raises:
        ValueError: the bytes end within one, or are laid out as none is.
    """
    place = 0
    while place < len(content):
        key, place = _varint(content, place)
        if key >= _TAGS:
            raise ValueError("it holds a tag of more than 32 bits, and protocol buffers have none")
        field, kind = key >> 3, key & 7
        part: memoryview | int | None = None
        if kind == _VARINT:
            part, place = _varint(content, place)
        elif kind == _BYTES:
            size, place = _varint(content, place)
            part = content[place : place + size]
            place += size
        elif kind in {_EIGHT, _FOUR}:
            place += 8 if kind == _EIGHT else 4
        else:
            raise ValueError("it holds a kind of field that ONNX has not")
        if not field or place > len(content):
            raise ValueError("it ends within a field, or is no protocol buffer")
        yield field, part


def _varint(content: memoryview, place: int) -> tuple[int, int]:
    """A number, and the place behind it."""
    value = 0
    for i, byte in enumerate(content[place : place + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value & (1 << 64) - 1, place + i + 1
    raise ValueError("it ends within a number, or has one that is too long")
