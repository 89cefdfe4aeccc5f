"""Files that hold no table of bars, told by their first bytes, and what to deliver in their place."""

import re
from typing import Final

from kline_core.bars.readers.message import quoted_message

_TEXT: Final = "export the bars as CSV or Parquet"
_UNPACK: Final = "unpack it, or pack it as .zip, .gz or .zst"
_KINDS: Final = (
    (re.compile(rb"%PDF-"), "a PDF", _TEXT),
    (re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP", re.DOTALL), "a picture", _TEXT),
    (re.compile(rb"SQLite format 3\0"), "an SQLite database", _TEXT),
    (re.compile(rb".{8}DUCK", re.DOTALL), "a DuckDB database", "export the bars with COPY ... TO 'bars.parquet'"),
    (re.compile(rb"\x89HDF\r\n\x1a\n"), "an HDF5 file", "save it with DataFrame.to_parquet"),
    (re.compile(rb"\x80[\x02-\x05][\x80-\xff}\](c]"), "a pickle, which can run any program", "save it with to_parquet"),
    (re.compile(rb"\x93NUMPY"), "a NumPy array, whose columns have no names", _TEXT),
    (
        re.compile(rb"\x1f\x9d|BZh[1-9]1AY|\xfd7zXZ\0|\x04\x22\x4d\x18|7z\xbc\xaf\x27\x1c|Rar!\x1a\x07"),
        "packed in a way that is not read",
        _UNPACK,
    ),
    (re.compile(rb".{257}ustar", re.DOTALL), "a tar archive", "unpack it into a folder, or pack it as .zip"),
    (
        re.compile(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        "an old or encrypted Office file (.xls)",
        "open it, and save it as .xlsx without a password, or as CSV",
    ),
    (re.compile(rb"FEA1"), "Feather of version 1, which Arrow drops", "write it anew with DataFrame.to_feather"),
    (re.compile(rb"ORC[^ -~]|Obj\x01"), "an ORC or Avro file", "write it as Parquet"),
)
_BLANK = rb"(?:\xef\xbb\xbf)?\s*"
_MARKUP = (
    (re.compile(_BLANK + rb"<(?:!doctype|html|head|body|meta|table|script|!--)[\s>a-z-]", re.IGNORECASE), "a web page"),
    (re.compile(_BLANK + rb"<\?xml\s"), "XML"),
    (re.compile(_BLANK + rb'(?:\{\s*(?:"|\}|$)|\[\s*(?:[\[{"\]]|-?\d|$))'), "JSON"),
)


def foreign_kind(data: bytes) -> tuple[str, str] | None:
    """What a file without a table of bars is, in words that follow "is", and what to do; None if it may have one.

    JSON and pages are quoted, since vendors write their errors so.
    """
    head = data[:512]
    found = next(((kind, remedy) for form, kind, remedy in _KINDS if form.match(head)), None)
    if found is not None:
        return found
    # A binary file may begin with the same signs.
    kind = None if b"\0" in head else next((kind for form, kind in _MARKUP if form.match(head)), None)
    return None if kind is None else (f"{kind} and no table{quoted_message(data)}", "fetch it again, as CSV")
