"""What a target is: something that reads bytes from outside, and what may come of that."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.mutation import Mutate

LONGEST = 2_000
"""Characters of a message, at most: beyond, nobody reads it."""


class WrongError(AssertionError):
    """What was read is not what was in the file, or a promise about it does not hold."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a case that was not refused."""

    rejected: int = 0
    """Rows that were rejected, with their reason."""


@dataclass(frozen=True, slots=True)
class Target:
    """One door of the house: what comes in, and the check of what it let through."""

    guided_by: tuple[str, ...]
    """Parts of the paths of the source files whose lines count as reached."""
    seeds: Callable[[Path], list[bytes]]
    """Cases to begin with; the folder is for what they need to lie on disk."""
    take: Callable[[bytes, Path], Taken]
    """Reads a case, and raises what the house raises, or `WrongError`; the folder is as the case before left it."""
    mutate: Mutate


def check(ok: bool, what: str) -> None:
    """Raise `WrongError` unless a promise holds."""
    if not ok:
        raise WrongError(what)


def check_line(text: str) -> None:
    """Raise `WrongError` for a message that is no single printable line of a length that somebody reads."""
    check(text.isprintable() and bool(text.strip()), f"no printable line: {text[:200]!r}")
    check(len(text) <= LONGEST, f"a message of {len(text)} characters: {text[:200]!r}")
