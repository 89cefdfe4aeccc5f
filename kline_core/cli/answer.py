"""What a command answers."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command has to say: to a person, to a program, and why it failed if it did after all."""

    text: str
    document: Any
    failure: str | None = None
