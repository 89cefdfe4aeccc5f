"""Files that hold no table of bars, told by their first bytes, and what to deliver in their place."""

import re
from typing import Final

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
_MARKUP = ((re.compile(_BLANK + rb"<\?xml\s"), "XML", _TEXT),)
_SHOWN = re.compile(rb"[\x20-\x7e]+")


def foreign_kind(data: bytes) -> tuple[str, str] | None:
    """What a file without a table of bars is, in words that follow "is", and what to do; None if it may have one."""
    head = data[:512]
    found = next(((kind, remedy) for form, kind, remedy in _KINDS if form.match(head)), None)
    if found is not None:
        return found
    for form, kind, remedy in _MARKUP:
        # A binary file may begin with the same signs.
        if b"\0" not in head and form.match(head):
            return f"{kind}, no table of bars{_beginning(head)}", remedy
    return None


def _beginning(head: bytes) -> str:
    """The first words of a text, which often say what went wrong."""
    text = b" ".join(_SHOWN.findall(head)).decode("ascii").split()
    shown = " ".join(text)[:80]
    return f" (it begins {shown!r})"
