"""Arrow IPC, as a file (Feather) or a stream: how much it holds is asked before any of it is unpacked.

Both are a sequence of messages; a file has an index of them at its end, and is read as the stream that it contains.
A buffer that is packed begins with the number of its bytes, unpacked: ten megabytes of them can hold ten gigabytes. The
header of a message is a FlatBuffers table (Message.fbs of the Arrow format), of which the few fields read here are
found by their places.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa

from kline_core.bars.readers.contents import too_large

FILE: Final = b"ARROW1"
"""How a file begins and ends."""
STREAM: Final = b"\xff\xff\xff\xff"
"""How a stream begins, as every message in it does."""
_END: Final = STREAM + bytes(4)
_HEADER, _ROWS, _BUFFERS, _COMPRESSION, _DATA = 2, 0, 2, 3, 1
"""Places of fields: of a message its header; of a record batch its number of rows, buffers and their packing; of a
dictionary its record batch."""


def is_ipc(data: bytes) -> bool:
    """Whether contents are an Arrow IPC file or stream, by their first bytes."""
    return data.startswith(FILE) or (data.startswith(STREAM) and 0 < int.from_bytes(data[4:8], "little") < 2**28)


def read_ipc(data: bytes, path: Path, max_bytes: int) -> pa.Table:
    """All columns.

    Raises `FileTooLargeError` if it holds more than `max_bytes`, and `pyarrow.ArrowException`, ValueError or OSError if
    it is damaged.
    """
    stream = pa.py_buffer(data)
    if data.startswith(FILE):
        if len(data) < 24 or not data.endswith(FILE):
            raise ValueError("it ends before its time")
        stream = stream.slice(8)
    size = 0
    for claimed in _claimed(stream):
        size += claimed
        if size > max_bytes:
            raise too_large(path, max_bytes)
    table = pa.ipc.open_stream(stream).read_all()
    # In full: offsets, codes and text that lead out of their buffers would end the process where they are used.
    table.validate(full=True)
    return table


def _claimed(stream: pa.Buffer) -> Iterator[int]:
    """Bytes, unpacked, that each message says its buffers hold, and for its rows at least."""
    source = pa.BufferReader(stream)
    reader = pa.ipc.MessageReader.open_stream(source)
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            break
        try:
            yield _size(message)
        except (struct.error, IndexError, AttributeError) as error:
            raise ValueError("the header of a message is damaged") from error
    if stream.slice(source.tell() - len(_END), len(_END)).to_pybytes() != _END:
        # What was cut off between two messages would count as whole.
        raise ValueError("it has no end mark, so that more may have followed")


def _size(message: pa.Message) -> int:
    if message.type not in ("record batch", "dictionary"):
        return 0
    head = message.metadata.to_pybytes()
    table = _follow(head, _field(head, _follow(head, 0), _HEADER))
    if message.type == "dictionary":
        table = _follow(head, _field(head, table, _DATA))
    rows = _field(head, table, _ROWS)
    size = 8 * struct.unpack_from("<q", head, rows)[0] if rows else 0
    buffers = _field(head, table, _BUFFERS)
    if not buffers:
        return max(size, 0)
    packed = bool(_field(head, table, _COMPRESSION))
    vector = _follow(head, buffers)
    (count,) = struct.unpack_from("<I", head, vector)
    unpacked = 0
    for offset, length in struct.iter_unpack("<qq", head[vector + 4 : vector + 4 + 16 * count]):
        claimed = length
        if packed and length >= 8:
            # Minus one: this buffer is not packed after all.
            (claimed,) = struct.unpack("<q", message.body.slice(offset, 8).to_pybytes())
        unpacked += max(claimed, length)
    return max(size, unpacked)


def _follow(head: bytes, at: int) -> int:
    """Place that the offset at a place leads to."""
    return at + int(struct.unpack_from("<I", head, at)[0])


def _field(head: bytes, table: int, number: int) -> int:
    """Place of a field of a table, 0 if it is not there."""
    fields = table - struct.unpack_from("<i", head, table)[0]
    (length,) = struct.unpack_from("<H", head, fields)
    at = 4 + 2 * number
    place = struct.unpack_from("<H", head, fields + at)[0] if at + 2 <= length else 0
    return table + int(place) if place else 0
