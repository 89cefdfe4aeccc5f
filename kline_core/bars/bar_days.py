"""Days on which no daily bar can be, as the market of its symbol tells them.

* A day later than today at the exchange. A symbol of no known market is given the latest day that it is anywhere.
* A Saturday or Sunday that is no session of the exchange's calendar. Calendars know which of them were sessions.

A working day that is no session by the calendar is stored all the same, and the report counts such rows: calendars miss
closings and sessions that exchanges announced late, and nothing would be left of a row that was right. Of the real rows
of A-shares and US shares since 1999 that were at hand, none lies on such a day, or on a weekend.

Symbols of no market are judged by that of the home if they are indices (^GSPC). Others, such as BTC-USD, trade on days
of their own.
"""

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from kline_core import _clock
from kline_core.bars.row_errors import rejected_bars, rejected_frame
from kline_core.bars.sessions import no_sessions
from kline_core.markets import MARKETS, Market
from kline_core.symbols import market_of
from kline_core.typing import Dates, Flags, Int64s, Objects

FUTURE = "date is later than today at the exchange; correct it, or deliver the row when its day has come"
WEEKEND = "date is a Saturday or Sunday that is no session of the exchange; give the day of the session"
CLOSED = (
    "{} rows are of working days on which the exchange was closed, by its calendar; they are stored, but are filled in "
    "or of another exchange unless the calendar errs"
)
APART = (
    "is one of bars that are a week or more apart throughout: bars of weeks, months or years are not taken; ask for "
    "daily ones"
)
_PERIODS = ((5, 9), (26, 35), (85, 97), (355, 375))
"""Days between bars of weeks, months, quarters and years that are dated by one of their days."""
_FEWEST = 4
_SHARE = 0.75
_FIRST_ZONE = timezone(timedelta(hours=14))


def reject_days(
    bars: pd.DataFrame, sources: Objects, market: Market | None
) -> tuple[pd.DataFrame, pd.DataFrame, dict[int, str]]:
    """Rows whose days may be, the rejected rows (`REJECTED_COLUMNS`), and notes by the number of a file.

    Args:
        bars: Sound rows, with the number of their `file`; the index keeps the row numbers.
        sources: Name of each file.
        market: Market of the home, None if it has none.
    """
    days = bars["date"].to_numpy().astype("datetime64[D]")
    if len(days) == 0:
        return bars, rejected_frame([]), {}
    distinct = _distinct(days)
    place = (days - distinct[0]).astype(np.int64)
    names = bars["symbol"].unique()
    markets = {name: _market(name, market) for name in names}
    present = _clock.now()
    future, weekend, closed = np.zeros((3, len(bars)), dtype=bool)
    for each in set(markets.values()):
        latest = _today(present, each)
        off = distinct[:0] if each is None else distinct[no_sessions(distinct, MARKETS[each].calendar)]
        if distinct[-1] <= latest and not len(off):
            continue
        here = np.ones(len(bars), dtype=bool)
        if len(set(markets.values())) > 1:
            here = bars["symbol"].isin([name for name in names if markets[name] == each]).to_numpy()
        future |= here & (days > latest)
        if len(off):
            on = here & _among(off, distinct)[place]
            working = _among(distinct[np.is_busday(distinct)], distinct)[place]
            weekend |= on & ~working
            closed |= on & working
    weekend &= ~future
    rows = []
    for where, reason in ((future, FUTURE), (weekend, WEEKEND)):
        hit = bars[where]
        rows.append(rejected_bars(hit, sources, reason, hit["date"].dt.strftime("%Y-%m-%d")))
    kept = ~(future | weekend)
    counts = bars.loc[closed & kept, "file"].value_counts()
    notes = {int(str(number)): CLOSED.format(count) for number, count in counts.items()}
    return (bars if kept.all() else bars[kept]), rejected_frame(rows), notes


def apart(code: Int64s, days: Dates) -> Flags:
    """Rows of symbols whose bars are of weeks, months, quarters or years, bool (n,).

    No two rows of such a symbol are of one week, and three of four follow each other by one such period. Of fewer than
    `_FEWEST` rows nothing can be said. `code` is the same for rows of the same symbol, int64 (n,), from 0.
    """
    found = np.zeros(len(days), dtype=bool)
    few = np.bincount(code, minlength=1) < _FEWEST
    if few.all():
        return found
    week = (days.astype(np.int64) + 3) // 7
    daily = (code[1:] == code[:-1]) & (week[1:] == week[:-1]) & (days[1:] != days[:-1])
    few[code[1:][daily]] = True
    left = ~few[code] & ~np.isnat(days)
    if not left.any():
        return found
    some = pd.DataFrame({"code": code[left], "day": days[left].astype(np.int64)})
    for which, own in some.groupby("code")["day"]:
        gaps = np.diff(np.unique(own))
        if len(gaps) < _FEWEST - 1 or (np.diff((np.unique(own) + 3) // 7) == 0).any():
            continue
        if any(np.mean((gaps >= least) & (gaps <= most)) >= _SHARE for least, most in _PERIODS):
            found |= left & (code == which)
    return found


def _distinct(days: Dates) -> Dates:
    """Distinct days, sorted; for a table of years this is quicker than a sort."""
    first = days.min()
    there = np.zeros(int((days.max() - first).astype(np.int64)) + 1, dtype=bool)
    there[(days - first).astype(np.int64)] = True
    found: Dates = first + np.flatnonzero(there)
    return found


def _among(some: Dates, distinct: Dates) -> Flags:
    """Whether each day from the first of the `distinct` ones to the last is one of `some`, bool."""
    there = np.zeros(int((distinct[-1] - distinct[0]).astype(np.int64)) + 1, dtype=bool)
    there[(some - distinct[0]).astype(np.int64)] = True
    return there


def _market(symbol: str, home: Market | None) -> str | None:
    own = market_of(symbol)
    return home.name if own is None and home is not None and symbol.startswith("^") else own


def _today(present: datetime, market: str | None) -> np.datetime64:
    zone = _FIRST_ZONE if market is None else ZoneInfo(MARKETS[market].zone)
    return np.datetime64(present.astimezone(zone).date(), "D")
