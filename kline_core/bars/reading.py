"""Reading of a delivery: the rows of every file and frame, each row checked by itself.

Small files are read several at a time; what comes of them stands in the order of the delivery all the same. A file that
holds more than `SMALL_BYTES`, unpacked, is read alone, so that no more than one of its size is in memory.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final, TypeAlias

from kline_core._cores import CORE_COUNT
from kline_core._text import harmless
from kline_core.bars.checked_file import CheckedFile
from kline_core.bars.readers import tables
from kline_core.bars.readers.contents import FileTooLargeError
from kline_core.bars.readers.frame import Frame, read_frame
from kline_core.bars.readers.raw_rows import RawRows
from kline_core.bars.rows_to_check import RowsToCheck, Table, reason_of
from kline_core.markets import Market

Progress = Callable[[int, int], None]
"""Called with the numbers of files read and to read."""

SMALL_BYTES: Final = 64 * 2**20
"""Bytes of a file, unpacked, up to which others are read at the same time."""
_GROUP_BYTES: Final = 4 * 2**20
"""Bytes, as they lie on the disk, of the files that a thread reads in one go, unless one of them has more."""
_MOST_THREADS: Final = 8

_Source: TypeAlias = tuple[str, Path | Frame | str]
"""Name of a source, and what it is: see `read_all`."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """Everything that a delivery holds."""

    names: list[str] = field(default_factory=list)
    """Names of all tables, under which they stand in the report."""
    parts: list[CheckedFile] = field(default_factory=list)
    """Rows of the tables that could be read, in the order of `names`."""
    errors: dict[str, str] = field(default_factory=dict)
    """Why the others cannot be used, by their names."""
    skipped: list[str] = field(default_factory=list)
    """Files in archives that no reader knows by their name, and sheets of workbooks without bars."""

    def add(self, tables: Iterable[Table]) -> None:
        """Add the tables of a source."""
        for table in tables:
            if table.outcome is None:
                self.skipped.append(table.name)
                continue
            self.names.append(table.name)
            if isinstance(table.outcome, str):
                self.errors[table.name] = table.outcome
            else:
                self.parts.append(table.outcome)


def read_all(
    sources: Mapping[str, Path | Frame | str],
    max_bytes: int,
    mapping: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    market: Market | None = None,
) -> Delivered:
    """Read files and frames.

    Args:
        sources: By the name under which it stands in the report, a file, a frame, or the reason why it is not read.
        max_bytes: Bytes that a file may hold, unpacked.
        mapping: Meaning to column name, by hand; None to tell the layouts by the columns.
        progress: Called after each file and frame.
        market: Market of the home, None if it has none.
    """
    found = Delivered()
    small = min(max_bytes, SMALL_BYTES)
    # No thread for files where there is but one core, or one file.
    threads = min(CORE_COUNT, _MOST_THREADS, len(sources))
    groups = _groups(sources, threads)
    bound = small if len(sources) > 1 else max_bytes
    done = 0
    with ThreadPoolExecutor(max(1, threads), "ingest") as pool:
        try:
            jobs = [
                pool.submit(_read_sources, group, bound, mapping, market, bound < max_bytes) if threads > 1 else None
                for group in groups
            ]
            for at, group in enumerate(groups):
                # What was read is not kept twice.
                job, jobs[at] = jobs[at], None
                if job is None:
                    outcomes = _read_sources(group, bound, mapping, market, bound < max_bytes)
                else:
                    outcomes = job.result()
                for source, held in zip(group, outcomes, strict=True):
                    if held is None:
                        (held,) = _read_sources([source], max_bytes, mapping, market, False)
                    found.add(held or [])
                    done += 1
                    if progress is not None:
                        progress(done, len(sources))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return found


def _groups(sources: Mapping[str, Path | Frame | str], threads: int) -> list[list[_Source]]:
    """The sources in their order, cut into what a thread reads in one go."""
    most = max(1, len(sources) // max(1, threads))
    groups: list[list[_Source]] = []
    left = 0
    for name, source in sources.items():
        size = _size(source) if isinstance(source, Path) else 0
        if not groups or size > left or len(groups[-1]) == most:
            groups.append([])
            left = _GROUP_BYTES
        groups[-1].append((name, source))
        left -= size
    return groups


def _size(file: Path) -> int:
    """Bytes of a file, 0 if that cannot be told; reading it tells why."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _read_sources(
    sources: Sequence[_Source],
    max_bytes: int,
    mapping: Mapping[str, str] | None,
    market: Market | None,
    provisional: bool,
) -> list[list[Table] | None]:
    """The tables of each source, or None in their place if it holds more than `max_bytes`, a `provisional` bound."""
    outcomes: list[list[Table] | None] = []
    checks = RowsToCheck(market)
    for name, source in sources:
        outcomes.append(_read_source(name, source, max_bytes, mapping, checks, provisional))
    checks.finish()
    return outcomes


def _read_source(
    name: str,
    source: Path | Frame | str,
    max_bytes: int,
    mapping: Mapping[str, str] | None,
    checks: RowsToCheck,
    provisional: bool,
) -> list[Table] | None:
    """The tables of one source, as `_read_sources`; those with rows are filled in when `checks` are made."""
    if isinstance(source, str):
        return [Table(name, source)]
    outcomes: list[Table] = []
    taken: set[str] = set()
    try:
        if not isinstance(source, Path):
            return [_table(name, partial(read_frame, source, name, mapping), checks, False)]
        for path, read in tables(source, max_bytes, mapping):
            shown = _unique(name + harmless(str(path)[len(str(source)) :]), taken)
            outcomes.append(Table(shown) if read is None else _table(shown, read, checks, provisional))
    except FileTooLargeError as error:
        if provisional:
            return None
        outcomes.append(Table(name, str(error)))
    except Exception as error:  # noqa: BLE001  whatever is wrong with one file must not keep out the others
        outcomes.append(Table(name, reason_of(name, error)))
    return outcomes


def _table(name: str, read: Callable[[], RawRows], checks: RowsToCheck, provisional: bool) -> Table:
    """A table whose rows are among those to check, or with the reason why it cannot be used.

    Raises `FileTooLargeError` if it is too large for a `provisional` bound.
    """
    try:
        return checks.add(name, read())
    except FileTooLargeError as error:
        if provisional:
            raise
        return Table(name, str(error))
    except Exception as error:  # noqa: BLE001  whatever is wrong with one table must not keep out the others
        return Table(name, reason_of(name, error))


def _unique(name: str, taken: set[str]) -> str:
    """The name with a number behind it, if another table of the file has it already."""
    found = next(each for number in count(1) if (each := name if number == 1 else f"{name} ({number})") not in taken)
    taken.add(found)
    return found
