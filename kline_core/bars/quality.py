"""Quality of stored bars: what is missing, stale, odd or in another unit, and what another vendor says otherwise.

`kline check` shows the report, each ingest has one of the rows that it stored, and the daily flow publishes one of the
last sessions. Nothing is changed; only unexplained jumps have a consequence (`kline_core.bars.jumps`).
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kline_core.bars import quality_checks as checks
from kline_core.bars.comparison import FEW_SYMBOLS
from kline_core.bars.home_market import market_of_all, noted_market
from kline_core.bars.ingest_report import IngestReport
from kline_core.bars.jumps import released
from kline_core.bars.price_limits import FIRST_DAYS
from kline_core.bars.quality_report import QualityReport, findings
from kline_core.bars.quality_rows import COLUMNS, Rows
from kline_core.bars.vendor_differences import differences
from kline_core.store.home import Home
from kline_core.store.table import since
from kline_core.typing import Int64s

CONTEXT_DAYS: Final = np.timedelta64(60, "D")
"""Days before the first one asked for that are read as well: a jump is one from the bar before."""


def with_quality(report: IngestReport, home: Home) -> IngestReport:
    """The report of an ingest with the quality of what it brought, if it changed anything. Raises as `check_bars`."""
    if not report.changed or report.since is None:
        return report
    few = report.symbols if len(report.symbols) <= FEW_SYMBOLS else None
    return replace(report, quality=check_bars(home, few, report.since, version=report.version))


def check_bars(
    home: Home,
    symbols: Sequence[str] | None = None,
    first: np.datetime64 | None = None,
    last: np.datetime64 | None = None,
    against: pd.DataFrame | None = None,
    version: int | None = None,
) -> QualityReport:
    """Check the stored bars of a home.

    Args:
        home: Home of the bars.
        symbols: Only these, as they are stored; all by default.
        first: First day, datetime64[D]; None for the first that is stored.
        last: Last day, datetime64[D]; None for the newest.
        against: Rows of another vendor, to compare with (`kline_core.bars.vendor_differences.vendor_rows`).
        version: Version of `bars`; the newest by default.

    Raises `HomeError`, and `SettingError` if the calendar of the home's market cannot be made.
    """
    version = home.version("bars") if version is None else version
    notes = home.notes(version)
    where = None if first is None else since(first - CONTEXT_DAYS)
    table = home.read("bars", COLUMNS, version, symbols, where=where)
    if last is not None:
        table = table.filter(pc.less_equal(table["date"], pa.scalar(last.astype(object), pa.date32())))
    market = noted_market(notes)
    if market is None and symbols is None:
        market = market_of_all(table["symbol"].unique().to_pylist())
    calendar = None if market is None else market.calendar
    all_rows = Rows.of(table, calendar)
    rows = all_rows if first is None else all_rows.take(all_rows.date >= first)
    releases = released(notes)
    # Of which symbols the bars before matter is known once their jumps are.
    before = np.full(len(all_rows.symbols), 0 if first is None else FIRST_DAYS, dtype=np.int64)
    jumps = list(checks.jumps(all_rows, releases, before))
    if first is not None and jumps:
        before = _bars_before(home, version, all_rows, first, sorted({jump["symbol"] for jump in jumps}))
        jumps = list(checks.jumps(all_rows, releases, before))
    found = [
        iter(jumps),
        checks.splits(all_rows),
        checks.units(rows),
        checks.repeats(rows),
    ]
    expected, present = 0, 0
    if calendar is not None:
        assert rows.session is not None, "the calendar numbers them"
        # Taken once, where there are days that are no session.
        inside = rows.take(rows.session >= 0)
        expected, present = checks.coverage(inside)
        found += [checks.lost_days(inside, calendar), checks.holes(rows, calendar), checks.stale(rows)]
    compared = None
    if against is not None:
        compared = len(against)
        found.append(differences(rows, against))
    lines = findings(chain.from_iterable(found))
    if first is not None:
        lines = lines[lines["last"] >= str(first)].reset_index(drop=True)
    return QualityReport(
        symbols=len(rows.bounds()[0]),
        rows=len(rows),
        suspended=int((~rows.traded).sum()),
        first=rows.date.min() if len(rows) else None,
        last=rows.date.max() if len(rows) else None,
        calendar=calendar,
        expected=expected,
        present=present,
        findings=lines,
        against=compared,
    )


def _bars_before(home: Home, version: int | None, rows: Rows, first: np.datetime64, symbols: Sequence[str]) -> Int64s:
    """Traded bars before the days that were read, of some of the symbols, int64 (all symbols,); 0 for the others."""
    day = pa.scalar((first - CONTEXT_DAYS).astype(object), pa.date32())
    where = (pc.field("date") < day) & ~pc.field("suspended")
    earlier = home.read("bars", ["symbol"], version, symbols, where=where)["symbol"].to_pylist()
    counts = pd.Series(earlier, dtype=object).value_counts()
    return np.array([counts.get(symbol, 0) for symbol in rows.symbols], dtype=np.int64)
