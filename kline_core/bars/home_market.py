"""The market of a home: whose calendar, time zone and currency its bars have. Kept with the home as the note `market`.

It is named, or follows from the symbols of the first ingest, if all of them are of one market. Homes without a market
take any symbol.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from kline_core.bars.row_errors import rejected_bars, rejected_frame
from kline_core.errors import SettingError
from kline_core.markets import MARKETS, Market
from kline_core.store.home import Home
from kline_core.symbols import canonical_symbol, market_of
from kline_core.typing import Objects

NOTE = "market"
OLD_NAMES = "symbols as they were written"
"""Note of a home that had bars before it had a market: its symbols may not be in their one form."""
_APART = "keep each market in a home of its own"


def noted_market(notes: Mapping[str, Any]) -> Market | None:
    """The market that the notes of a home name (`Home.notes`), None if they name none."""
    return MARKETS.get(str(notes.get(NOTE)))


def of_another_market(market: Market | None, calendar: str | None) -> str | None:
    """Why a home of a market has no bars of a calendar: it is another market's; None if it may have some."""
    others = {each.calendar for each in MARKETS.values()}
    if market is None or calendar is None or calendar == market.calendar or calendar not in others:
        return None
    return f"this home is of the market {market.name} ({market.calendar}) and holds no bars of {calendar}"


def market_of_all(symbols: Iterable[str]) -> Market | None:
    """The one market that symbols are of, None if they are of several or of none; some may be of none."""
    found = {market for symbol in symbols if (market := market_of(symbol)) is not None}
    return MARKETS[found.pop()] if len(found) == 1 else None


def named_market(name: str) -> Market:
    """The market of that name, in any letter case. Raises `SettingError` if there is none."""
    market = MARKETS.get(name.strip().upper())
    if market is None:
        raise SettingError(
            f"market is {name!r}; it must be one of {', '.join(MARKETS)}", parameter="market", value=name
        )
    return market


def agreed_market(home: Home, kept: Market | None, named: Market | None) -> Market | None:
    """The market that is kept with a home, or else the named one; None if there is neither.

    Raises `SettingError` if the two differ.
    """
    if kept is not None and named not in (None, kept):
        raise SettingError(
            f"market is {named.name}, and home {home.uri} is of {kept.name}; {_APART}",
            parameter="market",
            value=named.name,
        )
    return kept or named


def keep_market(home: Home, market: Market) -> bool:
    """Keep a market with a home that has none; whether it is the home's now, and no other writer's.

    Raises `HomeError`.
    """
    if home.version("bars") is None:
        home.create("bars", {}, notes={NOTE: market.name})
    elif home.files("bars"):
        home.set_note(OLD_NAMES, True, replace=False)
    return bool(home.set_note(NOTE, market.name, replace=False) == market.name)


def under_old_names(bars: pd.DataFrame, home: Home, version: int | None, notes: Mapping[str, Any]) -> pd.DataFrame:
    """Rows under the names that an older home has for their symbols: it stored 600519 or sh600519 as they were written.

    Homes with a market were made after symbols had one form, but for those with the note `OLD_NAMES`. `version` is that
    of its bars, `notes` are the home's.
    """
    if version is None or len(bars) == 0 or (NOTE in notes and OLD_NAMES not in notes):
        return bars
    asked, stored = set(bars["symbol"].unique()), set[str]()
    for names in home.symbols_by_file(version):
        stored |= names
        # A symbol that is stored as it comes has no other name, whatever else is stored.
        if asked <= stored:
            return bars
    old = {canonical_symbol(name): name for name in stored if canonical_symbol(name) != name}
    old = {name: other for name, other in old.items() if name not in stored}
    return bars.assign(symbol=bars["symbol"].replace(old)) if old else bars


def with_exchange(
    bars: pd.DataFrame, sources: Objects, market: Market | None, home: Home, version: int | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows whose symbols are digits alone under their name in a market, and the rejected rows, `REJECTED_COLUMNS`.

    In Hong Kong 00700 is 0700.HK; in Korea 005930 may be of either exchange, and is rejected. The mainland's codes have
    their exchange by their first digits, and tickers of the US none. A home that holds the digits as a symbol goes on
    with it. `sources` are the names of the files that the column `file` numbers, `version` is that of the home's bars.
    """
    names = [] if market is None or market.name == "CN" else bars["symbol"].unique().tolist()
    bare = {name for name in names if name.isascii() and name.isdigit()}
    if bare and version is not None:
        bare.difference_update(home.symbols(version))
    if market is None or not bare or not market.suffixes:
        return bars, rejected_frame([])
    if len(market.suffixes) > 1:
        hit = bars["symbol"].isin(bare)
        written = " or ".join(f"{min(bare)}.{suffix}" for suffix in market.suffixes)
        reason = f"symbol is digits alone, and the market {market.name} has several exchanges; write {written}"
        return bars[~hit], rejected_frame([rejected_bars(bars[hit], sources, reason, bars.loc[hit, "symbol"])])
    suffix = market.suffixes[0]
    named = {name: canonical_symbol(f"{name}.{suffix}") for name in bare}
    return bars.assign(symbol=bars["symbol"].replace(named)), rejected_frame([])


def reject_strangers(bars: pd.DataFrame, sources: Objects, market: Market | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows whose symbols a home of a market takes, and the rejected rows, `REJECTED_COLUMNS`.

    Symbols of no known market are taken. `sources` are the names of the files that the column `file` numbers.
    """
    symbols = [] if market is None else bars["symbol"].unique().tolist()
    refused = {
        symbol: f"symbol is of the market {other}, and this home is of {market.name}; {_APART}"
        for symbol in symbols
        if market is not None and (other := market_of(symbol)) not in (None, market.name)
    }
    if not refused:
        return bars, rejected_frame([])
    hit = bars["symbol"].isin(refused.keys())
    rows = bars[hit]
    reasons = rows["symbol"].map(refused).to_numpy()
    return bars[~hit], rejected_frame([rejected_bars(rows, sources, reasons, rows["symbol"])])
