"""Ingest of files and frames into the `bars` table, with every row accounted for.

1. Read each file by the reader of its layout (`kline_core.bars.readers`) and each frame as it is, and check every row
   by itself (`kline_core.bars.row_checks.check_rows`). Join the files that only adjust others to these
   (`kline_core.bars.side_files`).
2. Make one bar or none of the rows that share symbol and date, in one file or in several
   (`kline_core.bars.row_checks.reject_duplicates`).
3. Keep adjustment factors on all stored rows of a symbol or on none: a mixture would turn every earlier dividend into a
   jump. Rows with factors are rejected if stored rows have none, unless they replace all of those; rows without factors
   are rejected if the symbol has some, stored or in these files.
4. Chain factors that come on another base to the stored ones (`kline_core.bars.rebasing`).
5. Compare the remaining rows with the stored ones: new, updated or unchanged.
6. Write new and updated rows in one commit. If another writer commits in between, repeat steps 2 to 6.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from kline_core._text import harmless
from kline_core.bars.bar_days import reject_days
from kline_core.bars.checked_file import CheckedFile
from kline_core.bars.columns import BAR_COLUMNS, CHANGES
from kline_core.bars.comparison import Comparison, compare
from kline_core.bars.convention import Adjustment
from kline_core.bars.delivery import find_files, sources_by_name
from kline_core.bars.expected_rows import Expected, reject_unasked
from kline_core.bars.home_market import (
    agreed_market,
    keep_market,
    market_of_all,
    noted_market,
    reject_strangers,
    under_old_names,
    with_exchange,
)
from kline_core.bars.ingest_report import FileReport, IngestReport, NothingUsableError
from kline_core.bars.named_columns import kept_columns
from kline_core.bars.readers import suffixes
from kline_core.bars.readers.contents import MAX_FILE_BYTES
from kline_core.bars.readers.frame import Frame
from kline_core.bars.reading import Progress, read_all
from kline_core.bars.row_errors import rejected_frame
from kline_core.bars.rows_to_check import LONGEST
from kline_core.bars.shared_rows import SharedRows, one_frame
from kline_core.bars.side_files import join_side_files
from kline_core.bars.symbol_bars import symbol_day_keys
from kline_core.errors import InputError, SettingError
from kline_core.markets import Market
from kline_core.store.home import Home, TableChangedError
from kline_core.typing import Objects

_ATTEMPTS = 5
_NO_BARS = pd.DataFrame({name: [] for name in (*BAR_COLUMNS, *CHANGES)})
_NO_ROWS = SharedRows.of(_NO_BARS)


def ingest(
    sources: Sequence[Path | Frame],
    home: Home,
    progress: Progress | None = None,
    max_file_bytes: int = MAX_FILE_BYTES,
    columns: Mapping[str, str] | None = None,
    market: Market | None = None,
    frame_names: Sequence[str] = (),
    expected: Expected | None = None,
) -> IngestReport:
    """Write files, all files in folders, and frames into the `bars` table of a home, in one commit.

    A file that cannot be used is reported and does not keep out the others. Rows that are stored already change
    nothing; if all are, no new version of the table is made. A missing amount leaves the stored one as it is.

    Args:
        sources: Files in a layout that some reader knows (`kline_core.bars.readers`), folders that are searched for
            such files at every depth, and frames in the plain layout.
        home: Home that takes the bars.
        progress: Called after each file.
        max_file_bytes: Bytes that a file may hold, unpacked; one that holds more is not used.
        columns: Meaning to column name, by hand, for all sources (`kline_core.bars.named_columns`); None to tell their
            layouts by their columns, and to take the mapping that is kept with the home where none fits.
        market: Market of the home, kept with it; None for the one that is kept, or that the symbols of a home's first
            bars are of. Symbols of other markets are rejected.
        frame_names: Names of the frames in reports, in their order, all different; empty for their numbers.
        expected: What the frames were asked for; rows of other symbols and later days are rejected. None for no such
            bounds.

    Raises:
        InputError: The sources hold neither a file to read nor a frame.
        SettingError: `max_file_bytes` is below 1, or the home is of another market.
        NothingUsableError: No row of any file can be used; it carries the report.
        HomeError: The home cannot be read or written.
    """
    if max_file_bytes < 1:
        raise SettingError(
            f"max_file_bytes is {max_file_bytes}; it must be at least 1",
            parameter="max_file_bytes",
            value=max_file_bytes,
            bound="at least 1",
        )
    paths = [source for source in sources if isinstance(source, Path)]
    delivery = find_files(paths)
    named_sources = sources_by_name(sources, delivery, frame_names)
    if not named_sources:
        given = ", ".join(map(str, paths)) or "nothing"
        why = "".join(f" ({reason})" for reason in delivery.left_out[:1])
        raise InputError(
            f"no file to ingest in {given}{why}; give files or folders of type {', '.join(suffixes())}", source=given
        )
    known = agreed_market(home, noted_market(home.notes()), market)
    read = read_all(named_sources, max_file_bytes, columns or kept_columns(home), progress, known)
    parts = join_side_files(read.parts)
    bars = _concatenated([part.rows for part in parts])
    bare = _without_factor(bars, len(parts))
    # Their rows would be in memory twice.
    read.parts[:] = parts = [_without_rows(part, here) for part, here in zip(parts, bare, strict=True)]
    named = np.array([part.source for part in parts], dtype=object)
    adjusted = np.array([part.adjustment is not Adjustment.RAW for part in parts], dtype=bool)
    for _ in range(_ATTEMPTS):
        before = home.version("bars")
        notes = home.notes()
        kept = noted_market(notes)
        agreed = agreed_market(home, kept, market)
        if agreed is None and (before is None or not home.files("bars", before)):
            agreed = market_of_all(bars["symbol"].unique())
        taken = under_old_names(bars, home, before, notes)
        taken, nameless = with_exchange(taken, named, agreed, home, before)
        taken, foreign = reject_strangers(taken, named, agreed)
        taken, impossible, closed = reject_days(taken, named, agreed)
        taken, unasked = reject_unasked(taken, named, expected)
        compared = compare(taken, named, adjusted, home, before)
        try:
            if agreed is not None and kept is None and compared.changes and not keep_market(home, agreed):
                continue
            after = _store(compared, home, before)
        except TableChangedError:
            continue
        break
    else:
        raise TableChangedError(
            f"bars of home {home.uri} are being changed by other writers; ingest again later",
            home=home.uri,
            table="bars",
        )
    rejections = _ordered(
        [*(part.rejected for part in parts), nameless, foreign, impossible, unasked, *compared.rejected], read.names
    )
    accounts = _accounts(parts, compared, rejections, closed)
    report = IngestReport(
        files=[accounts.get(name) or FileReport(name, error=read.errors[name]) for name in read.names],
        rejections=rejections,
        restated=compared.restated,
        unadjusted=compared.unadjusted,
        rebased=compared.rebased,
        skipped=[*(harmless(name) for name in delivery.skipped), *read.skipped],
        left_out=[harmless(reason) for reason in delivery.left_out],
        market=None if agreed is None else agreed.name,
        version=after,
        changed=after != before,
        symbols=sorted(compared.names[np.unique(compared.bars["code"])].tolist()),
        since=_first_day(compared.bars),
    )
    if len(compared.bars) == 0:
        raise NothingUsableError(report)
    return report


def _first_day(bars: pd.DataFrame) -> np.datetime64 | None:
    return None if len(bars) == 0 else np.datetime64(bars["date"].min().date(), "D")


def _concatenated(rows: list[SharedRows]) -> pd.DataFrame:
    """Rows of all files with the number of their file; the index keeps the row numbers."""
    if not rows:
        return _NO_BARS.assign(file=[])
    bars = one_frame(rows)
    bars["file"] = np.repeat(np.arange(len(rows)), [len(own) for own in rows])
    return bars


def _without_factor(bars: pd.DataFrame, files: int) -> list[bool]:
    """Whether each of so many files holds a row of which nothing tells a factor."""
    bare = np.isnan(bars["adj_factor"].to_numpy(np.float64)) & ~bars["incremental"].to_numpy(bool)
    found: list[bool] = (np.bincount(bars["file"].to_numpy(np.int64)[bare], minlength=files) > 0).tolist()
    return found


def _store(compared: Comparison, home: Home, version: int | None) -> int:
    """Write the new and updated rows, and return the version that holds them."""
    changed = compared.new | compared.updated
    rows = compared.bars if changed.all() else compared.bars[changed]
    if len(rows) == 0:
        return home.version("bars") or 0 if version is None else version
    table = pa.Table.from_pandas(_sorted(rows, compared.names)[list(BAR_COLUMNS)], preserve_index=False)
    counts = {"new": int(compared.new.sum()), "updated": int(compared.updated.sum())}
    if counts["updated"]:
        return home.upsert("bars", table, ["symbol", "date"], counts, version)
    return home.append("bars", table, counts, version)


def _sorted(rows: pd.DataFrame, names: Objects) -> pd.DataFrame:
    """Rows by symbol and date, as files mostly have them."""
    rank = np.argsort(np.argsort(names))
    code = rank[rows["code"].to_numpy()]
    day = rows["date"].to_numpy().astype("datetime64[D]").astype(np.int64)
    key = symbol_day_keys(code, day)
    return rows if (key[1:] >= key[:-1]).all() else rows.iloc[np.argsort(key, kind="stable")]


def _accounts(
    parts: list[CheckedFile], compared: Comparison, rejections: pd.DataFrame, notes: Mapping[int, str]
) -> dict[str, FileReport]:
    """Report of each file that could be read, by its name; with more notes, by the number of the file."""
    file = compared.bars["file"].to_numpy(dtype=np.int64)
    kept, new, updated = (
        np.bincount(file[rows], minlength=len(parts)).tolist() for rows in (slice(None), compared.new, compared.updated)
    )
    first = rejections.drop_duplicates("source").set_index("source")
    reports = {}
    for number, part in enumerate(parts):
        read = part.read
        error = None
        if kept[number] == 0 and read > 0:
            row, _, reason, value = first.loc[part.source]
            shown = harmless(value, longest=LONGEST)
            error = f"{part.source}: none of its {read} rows can be used; the first is row {row}: {reason} ({shown!r})"
        reports[part.source] = FileReport(
            path=part.source,
            read=read,
            new=new[number],
            updated=updated[number],
            unchanged=kept[number] - new[number] - updated[number],
            rejected=read - kept[number],
            error=error,
            ignored_columns=part.ignored,
            layout=part.layout,
            mended=part.mended,
            notes=part.notes + ((notes[number],) if number in notes else ()),
            joined=part.joined,
        )
    return reports


def _without_rows(part: CheckedFile, bare: bool) -> CheckedFile:
    """The file without its sound rows, and with what there is to say if nothing tells a factor of one: it is `bare`."""
    notes = part.notes + ((part.unadjusted,) if part.unadjusted and bare else ())
    return replace(part, rows=_NO_ROWS, taken=len(part.rows), notes=notes)


def _ordered(parts: list[pd.DataFrame], sources: list[str]) -> pd.DataFrame:
    """All rejected rows, in the order of the files and their rows."""
    rejected = rejected_frame(parts)
    place = rejected["source"].map({source: number for number, source in enumerate(sources)})
    return rejected.iloc[np.argsort(place.to_numpy(dtype=np.int64), kind="stable")].reset_index(drop=True)
