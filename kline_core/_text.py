"""Text for people: tables, lists, percentages, and what comes from outside made harmless."""

import errno
from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows as aligned text under a header; columns of numbers are right-aligned."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(line[at]) for line in [list(header), *cells]) for at in range(len(header))]
    right = [bool(rows) and all(isinstance(row[at], int | float) for row in rows) for at in range(len(header))]

    def line(parts: Sequence[str]) -> str:
        padded = [p.rjust(w) if r else p.ljust(w) for p, w, r in zip(parts, widths, right, strict=True)]
        return "  ".join(padded).rstrip()

    return "\n".join([line(list(header)), line(["-" * width for width in widths]), *map(line, cells)])


def abbreviated(names: Sequence[str], shown: int = 8) -> str:
    """The first `shown` names, and the number of the others."""
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def counted(number: int, noun: str) -> str:
    """A number with its noun, which takes an s unless it is one.

    >>> counted(1, "session"), counted(2, "session")
    ('1 session', '2 sessions')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def percent(share: float, digits: int | None = None) -> str:
    """A share as text with its sign, to `digits` decimals or, if None, three significant digits: 0.05 is +5 %."""
    text = f"{100 * share:+.3g}" if digits is None else f"{100 * share:+.{digits}f}"
    return f"{text} %".replace("-", "−")


def is_utf8(text: str) -> bool:
    """Whether text has no bytes that are not UTF-8; Python keeps those of names and of decoded lines as surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def harmless(text: object, keep: str = "", longest: int | None = None) -> str:
    """Text from outside as it may be shown: what would steer a terminal, or what nobody sees, is escaped as in `repr`.

    Letters of all scripts, signs and blanks stay. File names that are not UTF-8 become text that every stream takes.

    Args:
        text: The text, or what is to be shown as text.
        keep: Characters that stay all the same, such as the line feeds of a report.
        longest: Characters to show at most; a longer text ends in an ellipsis.
    """
    shown = str(text)
    if longest is not None and len(shown) > longest:
        shown = f"{shown[:longest]}..."
    if shown.isprintable():
        return shown
    return "".join(sign if sign.isprintable() or sign in keep else repr(sign)[1:-1] for sign in shown)


def quoted(value: object, longest: int = 200) -> str:
    """A value as `repr` has it, cut in its middle, for a message; its type alone if it has no `repr`.

    Python refuses to write whole numbers of more than 4,300 digits.
    """
    try:
        return shortened(repr(value), longest)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} too long to show"


def shortened(text: str, longest: int) -> str:
    """The text, cut in its middle if it has more than `longest` characters: a message ends with what to do."""
    if len(text) <= longest:
        return text
    return f"{text[: longest - longest // 3]} ... {text[-(longest // 3) :]}"


def refusal(error: Exception) -> str:
    """Why the system refuses a path, for a message; its own words for a loop of links say nothing to most people."""
    if getattr(error, "errno", None) == errno.ELOOP:
        return "a link on the way there leads back to itself"
    return getattr(error, "strerror", None) or str(error)


def markdown_table(head: tuple[str, ...], rows: list[list[object]], *, words: bool = False) -> str:
    """Rows as a Markdown table whose columns are right-aligned, or left-aligned if they hold words."""
    lines = ["| " + " | ".join(head) + " |", "|" + ("---|" if words else "---:|") * len(head)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])
