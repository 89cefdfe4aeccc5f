"""Output of the commands on standard output, as text or JSON."""

import codecs
import json
import os
import sys
from typing import Any

from kline_core._text import harmless
from kline_core.errors import KlineError


class ReaderGoneError(Exception):
    """Whoever read standard output has closed it, as `head` does."""


def show(text: str, document: Any, as_json: bool) -> None:
    """Print an answer: its text for a person, or its document as one JSON document for a program.

    Raises `ReaderGoneError`, and `KlineError` where standard output cannot be written for another reason.
    """
    try:
        write((_json(document) if as_json else harmless(text, keep="\n")) + "\n")
    except OSError as error:
        raise KlineError(
            f"standard output cannot be written ({error.strerror or error}); what the command has stored is kept, "
            "run it again with another place for its answer"
        ) from error


def write(text: str) -> None:
    """Write text to standard output. Raises `ReaderGoneError`, and `OSError` where it cannot be written for another
    reason."""
    try:
        sys.stdout.write(text)
        # Flushed here, since a closed pipe shows too late at the interpreter's end.
        sys.stdout.flush()
    except BrokenPipeError as error:
        _give_up()
        raise ReaderGoneError from error
    except OSError:
        _give_up()
        raise


def _json(document: Any) -> str:
    """One JSON document, with what would steer a terminal escaped, and what an encoding lacks: a program reads the same
    from it."""
    whole = codecs.lookup(sys.stdout.encoding or "utf-8").name == "utf-8"
    text = json.dumps(document, ensure_ascii=not whole, allow_nan=False)
    return text if text.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def _give_up() -> None:
    """Lead standard output nowhere: what is left in its buffer must not raise again when it is flushed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
