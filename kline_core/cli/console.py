"""Output of the commands on standard output, as text or JSON."""

import json
import sys
from typing import Any

from kline_core._text import harmless


def show(text: str, document: Any, as_json: bool) -> None:
    """Print an answer: its text for a person, or its document as one JSON document for a program."""
    print(_json(document) if as_json else harmless(text, keep="\n"))
    # Flushed here, since a closed pipe shows too late at the interpreter's end.
    sys.stdout.flush()


def _json(document: Any) -> str:
    """One JSON document, with what would steer a terminal escaped: a program reads the same from it."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    return text if text.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
