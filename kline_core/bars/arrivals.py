"""Arrival of a session's bars: the symbols that have one, and whether the bars belong to the exchange at all.

1. A symbol is expected to have a bar of the session if it had one in the ten sessions before. A delisted symbol counts
   as missing for ten sessions; a suspended day that is delivered as a row counts as a bar.
2. Bars of an exchange lie on its sessions. If more than one in a hundred of the last year's rows does not, the bars
   belong to another exchange: New York trades on about ten days a year on which Shanghai does not, and vice versa.
3. In a home of several markets, only symbols count that are of the calendar's market, or of none. Where symbols are
   chosen, only those of them that are expected.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kline_core._text import abbreviated
from kline_core.bars.sessions import sessions_until, trading_day
from kline_core.errors import BarsMissingError, DateError, SettingError
from kline_core.markets import MARKETS
from kline_core.store.home import Home
from kline_core.store.table import since, until
from kline_core.symbols import market_of
from kline_core.typing import Dates, Int64s

RECENT_SESSIONS = 10
"""Sessions before the given one in which a bar makes a symbol expected."""
YEAR_SESSIONS = 250
"""Sessions whose rows are compared with the calendar."""
MAX_OFF_CALENDAR = 0.01
"""Largest share of those rows that may lie on no session, 0..1."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Arrival of one session's bars in a home."""

    calendar: str
    session: np.datetime64
    expected: int
    """Symbols with a bar on the session or in the ten sessions before it."""
    missing: list[str]
    """Expected symbols without a bar on the session, sorted."""
    newest: np.datetime64 | None
    """Day of the newest bar up to the session; None if there is none."""
    off_calendar: float
    """Share of the last 250 sessions' rows that lie on no session, 0..1."""
    off_days: list[np.datetime64]
    """Days of these rows, sorted."""
    others: int | None = None
    """How many more symbols are expected, besides the chosen ones; None if none were chosen."""

    @property
    def noun(self) -> str:
        """What is counted: symbols, or chosen ones."""
        return "symbols" if self.others is None else "chosen symbols"

    def check(self, max_missing_share: float) -> None:
        """Raise `BarsMissingError` if no symbol is expected, or more than this share (0..1) of them is missing."""
        if not self.expected and not self.others:
            held = "no bars at all" if self.newest is None else f"no bars after {self.newest}"
            raise BarsMissingError(
                f"the home holds {held} up to the session of {self.session} on {self.calendar}; ingest that session's",
                calendar=self.calendar,
                session=self.session,
                missing=self.missing,
                expected=self.expected,
            )
        if self.missing and len(self.missing) / self.expected > max_missing_share:
            raise BarsMissingError(
                f"{len(self.missing)} of {self.expected} {self.noun} have no bar of the session of {self.session} on "
                f"{self.calendar}: {abbreviated(self.missing, 20)}; the newest bar is of {self.newest}; ingest the "
                "session's bars and run it again",
                calendar=self.calendar,
                session=self.session,
                missing=self.missing,
                expected=self.expected,
            )

    def check_calendar(self) -> None:
        """Raise `SettingError` if the bars belong to another exchange."""
        if self.off_calendar > MAX_OFF_CALENDAR:
            days = abbreviated([str(day) for day in self.off_days], 3)
            raise SettingError(
                f"calendar is {self.calendar}, but {self.off_calendar:.1%} of the last year's bars lie on days that "
                f"are no session of it ({days}); name the calendar of this home's exchange, or pause this deployment",
                parameter="calendar",
                value=self.calendar,
            )


def arrivals(home: Home, calendar: str, session: np.datetime64, symbols: Collection[str] | None = None) -> Arrivals:
    """Arrival of the bars of a session (datetime64[D]) in a home.

    `symbols`: those that are asked for, as the home knows them; None for all.

    Raises:
        DateError: The day is no session, or lies outside the calendar.
        SettingError: The calendar is unknown or cannot be made.
        HomeError: The bars cannot be read.
    """
    day = trading_day(session, calendar)
    if not day.is_session:
        raise DateError(f"{day.reason}; ask for one of these", value=session, calendar=calendar)
    sessions = sessions_until(session, YEAR_SESSIONS, calendar)
    bars = _of_market(home.read("bars", ["symbol", "date"], where=since(sessions[0])), calendar)
    days, rows = _by_day(bars)
    if not (days <= session).any():
        # Only the message of `check` needs older bars: it names the newest.
        bars = _of_market(home.read("bars", ["symbol", "date"]), calendar)
        days, rows = _by_day(bars)
    newest = days[days <= session].max() if (days <= session).any() else None
    year = (days >= sessions[0]) & (days <= session)
    off = year & ~np.isin(days, sessions)
    expected = _symbols(bars, sessions[-min(len(sessions), RECENT_SESSIONS + 1)], session)
    chosen = expected if symbols is None else expected.intersection(symbols)
    missing = sorted(chosen - _symbols(bars, session, session))
    return Arrivals(
        calendar=calendar,
        session=session,
        expected=len(chosen),
        missing=missing,
        newest=newest,
        off_calendar=float(rows[off].sum() / rows[year].sum()) if year.any() else 0.0,
        off_days=sorted(days[off]),
        others=None if symbols is None else len(expected) - len(chosen),
    )


def _of_market(bars: pa.Table, calendar: str) -> pa.Table:
    """Rows of symbols that are of a calendar's market, or of none; all rows unless it and others have some."""
    own = {market.name for market in MARKETS.values() if market.calendar == calendar}
    markets = {symbol: market_of(symbol) for symbol in pc.unique(bars["symbol"]).to_pylist()} if own else {}
    others = [symbol for symbol, market in markets.items() if market is not None and market not in own]
    if not others or own.isdisjoint(markets.values()):
        return bars
    return bars.filter(pc.invert(pc.is_in(bars["symbol"], pa.array(others))))


def _by_day(bars: pa.Table) -> tuple[Dates, Int64s]:
    """The different days of rows, datetime64[D] (days,), and how many rows each has; rows are many, days are few."""
    counted = pc.value_counts(bars["date"])
    return counted.field("values").to_numpy(zero_copy_only=False), counted.field("counts").to_numpy()


def _symbols(bars: pa.Table, first: np.datetime64, last: np.datetime64) -> set[str]:
    """The symbols of the rows of some days, both ends included."""
    return set(pc.unique(bars.filter(since(first) & until(last))["symbol"]).to_pylist())
