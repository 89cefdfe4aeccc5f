"""The fetch: bars of a universe from a live source into a home, each symbol since its last stored bar.

1. Ask for the members of the universe, and keep them with the day (`kline_core.bars.members`). Former members stay in
   the universe, since what happened to them belongs to the past that a backtest looks at.
2. Leave out the symbols whose bar of the last closed session is stored, and fetch the others
   (`kline_core.sources.by_symbol`). A session that is not over has no bar yet, whatever a vendor gives. A fetch that is
   cut off loses the batch that it is at, and the next one goes on from there.

A symbol that fails is reported, and keeps out no other.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow.compute as pc

from kline_core.bars.home_market import agreed_market, market_of_all, named_market, noted_market
from kline_core.bars.members import keep_members, membership
from kline_core.bars.quality import with_quality
from kline_core.bars.sessions import trading_day
from kline_core.errors import SettingError, SourceError
from kline_core.markets import Market
from kline_core.sources.by_symbol import BySymbol, Progress
from kline_core.sources.fetch_report import FetchReport, NothingFetchedError
from kline_core.sources.line import Line
from kline_core.sources.registry import ALL, SOURCES, Universe, canonical, parse_universe
from kline_core.sources.source import Source
from kline_core.store.home import Home
from kline_core.symbols import canonical_symbol, market_of

_LEAST_SHARE: Final = 0.5
"""Share of the members of the list before below which a list counts as cut off."""
FIRST_DAY: Final = np.datetime64("1990-01-01", "D")
"""First day of new symbols, if none is asked for: before any bar of the mainland's exchanges."""


def fetch_universe(
    home: Home,
    text: str,
    first: np.datetime64 | None = None,
    members_since: np.datetime64 | None = None,
    progress: Progress | None = None,
    now: datetime | None = None,
) -> FetchReport:
    """Bring the bars of a universe up to date.

    Args:
        home: Home that takes them.
        text: Source and universe: `akshare:csi300`, `baostock:600519,000001`, `tushare:all`, `yfinance:AAPL`.
        first: First day, datetime64[D], of symbols that the home does not hold yet; None for all that the vendor has.
        members_since: Ask for the members of the index on past days too, from this one on.
        progress: Called after each symbol.
        now: The present, with a zone; None for the clock's.

    Raises:
        SettingError: The text names no source or nothing that it has; the source does not tell past members; or the
            home is of another market.
        InputError: A symbol that is named is none.
        SourceError: The client is not installed, the token is not set, or the members cannot be had.
        NothingFetchedError: No symbol could be fetched; it carries the report.
        DateError: The exchange's calendar has ended.
        HomeError: The home cannot be read or written.
    """
    universe = parse_universe(text)
    source = SOURCES[universe.source]()
    source.check()
    check_past(universe, members_since)
    market = _market(home, universe, source)
    moment = datetime.now(UTC) if now is None else now
    until = last_closed(market, moment)
    line = Line(source.name, source.limits)
    try:
        symbols, strange, snapshots = _universe(
            home, universe, source, line, until, _today(market, moment), members_since
        )
        work = BySymbol(home, source, line, market, until, first or FIRST_DAY)
        report = work.run(symbols, strange, progress)
    finally:
        line.stop()
        source.close()
    found = FetchReport(
        source=text,
        until=str(until),
        asked=len(symbols) + len(strange),
        up_to_date=work.up_to_date,
        fetched=len(work.fetched),
        failed=dict(sorted(work.failed.items())),
        whole=sorted(work.whole),
        snapshots=snapshots,
        bias=_bias(home, universe, source),
        bars=None if report is None else with_quality(report, home),
    )
    if found.failure is not None:
        raise NothingFetchedError(found.failure, source=source.name, report=found)
    return found


def last_closed(market: Market | None, now: datetime) -> np.datetime64:
    """The last session of a market that is over; without a market the day before, since nobody knows its hours.

    Raises `DateError` if the market's calendar has ended.
    """
    if market is None:
        return _today(None, now) - np.timedelta64(1, "D")
    day = trading_day(_today(market, now), market.calendar)
    if day.closes is not None and day.closes <= now:
        return day.day
    assert day.previous is not None, "calendars begin decades ago"
    return day.previous


def _today(market: Market | None, now: datetime) -> np.datetime64:
    return np.datetime64(now.astimezone(UTC if market is None else ZoneInfo(market.zone)).date(), "D")


def check_past(universe: Universe, members_since: np.datetime64 | None) -> None:
    """Raise `SettingError` if past members are asked for, and the source does not tell them, or there are none."""
    if members_since is None:
        return
    source = SOURCES[universe.source]()
    if universe.name in (None, ALL):
        raise SettingError(
            f"members_since is {members_since}, and {universe.text} is no index; name one, such as "
            f"{source.name}:{next(iter(source.indices), 'csi300')}, or leave it out",
            parameter="members_since",
            value=members_since,
        )
    if not source.tells_past:
        telling = ", ".join(name for name, make in SOURCES.items() if make().tells_past)
        raise SettingError(
            f"members_since is {members_since}, and {source.name} tells the members of today alone; {telling} tell "
            "earlier ones",
            parameter="members_since",
            value=members_since,
        )


def _market(home: Home, universe: Universe, source: Source) -> Market | None:
    kept = noted_market(home.notes())
    named = None if source.market is None else named_market(source.market)
    return agreed_market(home, kept, named) or market_of_all(universe.symbols)


def _universe(
    home: Home,
    universe: Universe,
    source: Source,
    line: Line,
    until: np.datetime64,
    today: np.datetime64,
    members_since: np.datetime64 | None,
) -> tuple[list[str], list[str], int]:
    """Symbols to fetch, names that are no symbols of the market, and the number of new snapshots."""
    if universe.name is None:
        return list(universe.symbols), [], 0
    told = {today: source.members(universe.name, until, line)}
    _check_list(home, universe.name, source, told[today], until)
    if members_since is not None:
        told |= {
            day: names
            for day, names in source.past_members(universe.name, members_since, until, line).items()
            if day not in told
        }
    for day, names in told.items():
        _check_names(source, names, f"among the members of {universe.name} on {day}")
        if day > today:
            raise SourceError(
                f"{source.name} tells members of {universe.name} on {day}, which is still to come; none of its lists "
                "was kept, try again later",
                source=source.name,
            )
    strange: dict[str, None] = {}
    lists = {}
    for day, names in told.items():
        forms = [canonical(name, source) for name in names]
        strange |= dict.fromkeys(form for form in forms if market_of(form) != source.market)
        lists[day] = [form for form in forms if form not in strange]
    snapshots = keep_members(home, universe.name, source.name, lists)
    return sorted({*lists[today], *membership(home, universe.name).ever}), sorted(strange), snapshots


def _check_list(home: Home, universe: str, source: Source, names: Sequence[object], until: np.datetime64) -> None:
    """Raise `SourceError` for today's list if it is empty, or so short beside the last one that it was cut off."""
    kept = membership(home, universe).members
    had = len(kept[-1]) if kept else 0
    what = None
    if not names:
        what = f"no members of {universe} on {until}"
    elif len(names) < _LEAST_SHARE * had:
        what = f"{len(names)} members of {universe} on {until}, where the list before has {had}"
    if what is not None:
        raise SourceError(f"{source.name} tells {what}; nothing was kept, try again later", source=source.name)


def _check_names(source: Source, names: Sequence[object], where: str) -> None:
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise SourceError(
                f"{source.name} tells {name!r} {where}, which is no symbol; nothing was kept, try again later",
                source=source.name,
            )


def _bias(home: Home, universe: Universe, source: Source) -> str | None:
    if universe.name is None:
        return "survivorship bias: these symbols were chosen by hand, today; what had failed by then is not among them"
    kept = membership(home, universe.name)
    begin = kept.dates[0]
    earlier = home.symbols(where=pc.field("date") < pc.scalar(begin.astype(object)))
    if not {canonical_symbol(name) for name in earlier}.intersection(kept.ever):
        return None
    what = (
        "; --members-since DATE asks for earlier ones"
        if source.tells_past and universe.name != ALL
        else (f", and {source.name} does not tell earlier ones")
    )
    return (
        f"survivorship bias: members of {universe.name} are known from {begin} on{what}. Of earlier days those who "
        f"have left are missing; `kline evaluate --universe {universe.name}` leaves such values out"
    )
