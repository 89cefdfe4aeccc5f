"""Text for people: tables, lists, percentages, and errors in one line."""

from collections.abc import Sequence

from kline_core._secrets import masked
from kline_core.errors import KlineError


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


def percent(share: float, digits: int | None = None) -> str:
    """A share as text with its sign, to `digits` decimals or, if None, three significant digits: 0.05 is +5 %."""
    text = f"{100 * share:+.3g}" if digits is None else f"{100 * share:+.{digits}f}"
    return f"{text} %".replace("-", "−")


def one_line(error: Exception) -> str:
    """First line of an error, without secrets, and with its kind unless it is a `KlineError`."""
    text = masked((str(error).splitlines() or [""])[0])
    return text if isinstance(error, KlineError) else f"{type(error).__name__}: {text}"


def markdown_table(head: tuple[str, ...], rows: list[list[object]]) -> str:
    """Rows as a Markdown table whose columns are right-aligned."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---:|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])
