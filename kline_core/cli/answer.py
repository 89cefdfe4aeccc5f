"""Answer of a command."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer of a command: text for a person, a document for a program, and why it failed, if it did after all."""

    text: str
    document: Any
    failure: str | None = None
    code: int = 0
    """Exit code of an answer that is no failure."""
