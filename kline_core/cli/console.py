"""What the commands show a person: progress on standard error, tables and lists as text."""

import json
import sys
from typing import Any


def show(text: str, document: Any, as_json: bool) -> None:
    """An answer on standard output: for a person, or as one JSON document for a program."""
    print(json.dumps(document, ensure_ascii=False, allow_nan=False) if as_json else text)
    # At the interpreter's end it would be too late to notice that nobody reads.
    sys.stdout.flush()
