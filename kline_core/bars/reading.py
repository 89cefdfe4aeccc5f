"""Reading of a delivery: the rows of every file and frame, each row checked by itself.

Small files are read several at a time; what comes of them stands in the order of the delivery all the same. A file that
holds more than `SMALL_BYTES`, unpacked, is read alone, so that no more than one of its size is in memory.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

import pandas as pd

from kline_core._text import harmless
from kline_core._threads import CORE_COUNT
from kline_core.bars.checked_file import CheckedFile
from kline_core.bars.columns import PAYMENTS
from kline_core.bars.convention import Adjustment
from kline_core.bars.readers import tables
from kline_core.bars.readers.contents import FileTooLargeError
from kline_core.bars.readers.frame import Frame, read_frame
from kline_core.bars.readers.raw_rows import RawRows
from kline_core.bars.row_checks import check_factors, check_rows
from kline_core.errors import InputError
from kline_core.markets import Market

Progress = Callable[[int, int], None]
"""Called with the numbers of files read and to read."""

SMALL_BYTES: Final = 64 * 2**20
"""Bytes of a file, unpacked, up to which others are read at the same time."""
LONGEST: Final = 200
"""Characters of a foreign text that are shown at the most."""
_MOST_THREADS: Final = 8


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
    with ThreadPoolExecutor(max(1, threads), "ingest") as pool:
        try:
            jobs = [
                pool.submit(_read_source, name, source, small, mapping, market, small < max_bytes)
                if threads > 1
                else None
                for name, source in sources.items()
            ]
            for done, ((name, source), job) in enumerate(zip(sources.items(), jobs, strict=True), start=1):
                outcomes = None if job is None else job.result()
                if outcomes is None:
                    outcomes = _read_source(name, source, max_bytes, mapping, market, False)
                for table, outcome in outcomes or []:
                    if outcome is None:
                        found.skipped.append(table)
                        continue
                    found.names.append(table)
                    if isinstance(outcome, str):
                        found.errors[table] = outcome
                    else:
                        found.parts.append(outcome)
                if progress is not None:
                    progress(done, len(sources))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return found


def _read_source(
    name: str,
    source: Path | Frame | str,
    max_bytes: int,
    mapping: Mapping[str, str] | None,
    market: Market | None,
    provisional: bool,
) -> list[tuple[str, CheckedFile | str | None]] | None:
    """What each table of a file or frame holds, why it cannot be used, or None for a file that no reader knows.

    None in place of all if it holds more than `max_bytes` and this bound is a `provisional` one.
    """
    if isinstance(source, str):
        return [(name, source)]
    outcomes: list[tuple[str, CheckedFile | str | None]] = []
    taken: set[str] = set()
    try:
        if not isinstance(source, Path):
            return [(name, _checked(name, partial(read_frame, source, name, mapping), market, False))]
        for path, read in tables(source, max_bytes, mapping):
            shown = _unique(name + harmless(str(path)[len(str(source)) :]), taken)
            outcomes.append((shown, None if read is None else _checked(shown, read, market, provisional)))
    except FileTooLargeError as error:
        if provisional:
            return None
        outcomes.append((name, str(error)))
    except Exception as error:  # noqa: BLE001  whatever is wrong with one file must not keep out the others
        outcomes.append((name, _reason(name, error)))
    return outcomes


def _checked(name: str, read: Callable[[], RawRows], market: Market | None, provisional: bool) -> CheckedFile | str:
    """The rows of one table after the checks of single rows, or why it cannot be used.

    Raises `FileTooLargeError` if it is too large for a `provisional` bound.
    """
    try:
        raw = read()
        layout = raw.layout
        if layout.factors is not None:
            checked = check_factors(raw.frame, name, layout.convention, market)
        else:
            # What tells payments in raw prices tells nothing in adjusted ones.
            tells = PAYMENTS if raw.adjustment is not Adjustment.RAW else ()
            rows = raw.frame.drop(columns=list(tells), errors="ignore")
            checked = check_rows(rows, name, layout.convention, market)
    except FileTooLargeError as error:
        if provisional:
            raise
        return str(error)
    except Exception as error:  # noqa: BLE001  whatever is wrong with one table must not keep out the others
        return _reason(name, error)
    rejected = checked.rejected
    if len(raw.malformed):
        rejected = pd.concat([raw.malformed.assign(source=name), rejected])
    notes = ((layout.note,) if layout.note else ()) + checked.notes
    return CheckedFile(
        source=name,
        bars=checked.bars,
        rejected=rejected,
        ignored=raw.ignored,
        layout=layout.name,
        mended=checked.mended,
        notes=notes,
        unadjusted=layout.unadjusted if raw.adjustment is Adjustment.RAW else "",
        adjustment=raw.adjustment,
        factors=layout.factors,
    )


def _reason(name: str, error: Exception) -> str:
    if isinstance(error, InputError):
        return str(error)
    reason = harmless(" ".join(str(error).split()), longest=LONGEST)
    return f"{name}: cannot be read: {type(error).__name__}: {reason}; write it anew as CSV in the plain layout"


def _unique(name: str, taken: set[str]) -> str:
    """The name with a number behind it, if another table of the file has it already."""
    found = next(each for number in count(1) if (each := name if number == 1 else f"{name} ({number})") not in taken)
    taken.add(found)
    return found
