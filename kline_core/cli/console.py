"""Output of the commands on standard output, as text or JSON."""

import json
import sys
from typing import Any


def show(text: str, document: Any, as_json: bool) -> None:
    """Print an answer: its text for a person, or its document as one JSON document for a program."""
    print(json.dumps(document, ensure_ascii=False, allow_nan=False) if as_json else text)
    # Flushed here, since a closed pipe shows too late at the interpreter's end.
    sys.stdout.flush()
