"""What the commands show a person: progress on standard error, tables and lists as text."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from kline_core.progress import SampleCount
from kline_core.run_report import SymbolResult


def _pace() -> float:
    """Seconds between two states of a bar: a terminal overwrites them, a log keeps every one."""
    return 0.1 if sys.stderr.isatty() else 10.0


@contextmanager
def bar(what: str, unit: str) -> Iterator[Callable[..., None]]:
    """A progress bar on standard error, fed with what is done, what there is to do, and a note if there is one."""
    with tqdm(desc=what, unit=unit, mininterval=_pace(), file=sys.stderr, dynamic_ncols=True) as shown:

        def update(done: int, total: int, note: str = "") -> None:
            shown.total = total
            shown.set_postfix_str(note, refresh=False)
            shown.update(done - shown.n)

        yield update


@contextmanager
def sample_bar(expected: Mapping[str, int]) -> Iterator[Callable[[SymbolResult], None]]:
    """A progress bar over samples, fed with the results of symbols as they grow; failed and re-used stand beside it.

    `expected`: by symbol, at most how many samples it has; one that has fewer of them changes the total.
    """
    count = SampleCount(expected)
    with tqdm(
        desc="run", unit=" samples", total=count.total, mininterval=_pace(), file=sys.stderr, dynamic_ncols=True
    ) as shown:

        def update(result: SymbolResult) -> None:
            count.update(result)
            shown.total = count.total
            shown.set_postfix_str(f"failed {count.failed}, re-used {count.reused}", refresh=False)
            shown.update(count.finished - shown.n)

        yield update


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows as aligned text; columns of numbers to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(line[at]) for line in [list(header), *cells]) for at in range(len(header))]
    right = [bool(rows) and all(isinstance(row[at], int | float) for row in rows) for at in range(len(header))]

    def line(parts: Sequence[str]) -> str:
        padded = [p.rjust(w) if r else p.ljust(w) for p, w, r in zip(parts, widths, right, strict=True)]
        return "  ".join(padded).rstrip()

    return "\n".join([line(list(header)), line(["-" * width for width in widths]), *map(line, cells)])


def some(names: Sequence[str], shown: int = 8) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def show(text: str, document: Any, as_json: bool) -> None:
    """An answer on standard output: for a person, or as one JSON document for a program."""
    print(json.dumps(document, ensure_ascii=False, allow_nan=False) if as_json else text)
    # At the interpreter's end it would be too late to notice that nobody reads.
    sys.stdout.flush()
