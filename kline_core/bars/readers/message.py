"""What vendors answer instead of bars, and tools save under the name of a table: JSON, pages, and a sentence.

Such a file is refused with the vendor's own words: a limit of requests, a symbol that it does not know.
"""

import json
import re
from pathlib import Path
from typing import Final

from kline_core._text import harmless
from kline_core.errors import InputError

_HEAD: Final = 2_000
_LONGEST: Final = 200
_KEYS: Final = ("error message", "error", "note", "information", "message", "detail", "description")
_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)


def quoted_message(data: bytes) -> str:
    """What a document in JSON or HTML says, in words that follow what it is; empty if it says nothing."""
    head = data[:_HEAD].decode(errors="replace").lstrip("\ufeff \t\r\n")
    title = _TITLE.search(head)
    said = _of_json(data) if head.startswith(("{", "[")) else title[1] if title else ""
    words = harmless(" ".join(said.split()), longest=_LONGEST)
    return f", which says: {words}" if words else ""


def refuse_message(data: bytes, path: Path) -> None:
    """Raise `InputError` if a text file is no table, but one line without columns: what a vendor says in its place."""
    head = data[:_HEAD].decode(errors="replace").strip("\ufeff \t\r\n")
    # A header has its columns; a sentence has words.
    is_sentence = len(data) <= _HEAD and "\n" not in head and re.search(r"[a-z]{2} [a-z]", head, re.IGNORECASE)
    if head and is_sentence and not re.search(r"[;\t|]|,\S", head):
        words = harmless(" ".join(head.split()), longest=_LONGEST)
        raise InputError(
            f"{path}: is one line of text and no table, which says: {words}; fetch it again, as CSV",
            source=str(path),
            row=1,
            value=words,
        )


def _of_json(data: bytes) -> str:
    """The message that a JSON document carries, empty if it is none."""
    try:
        found = json.loads(data) if len(data) <= 100_000 else None
    except (ValueError, RecursionError):
        return ""
    for _ in range(4):
        if isinstance(found, str):
            return found
        if not isinstance(found, dict):
            return ""
        named = {str(key).lower(): value for key, value in found.items()}
        found = next((named[key] for key in _KEYS if key in named), next(iter(found.values()), ""))
    return ""
