"""The market of a home: whose calendar, time zone and currency its bars have. Kept with the home as the note `market`.

It is named, or follows from the symbols of the first ingest, if all of them are of one market. Homes without a market
take any symbol.
"""

from collections.abc import Iterable

from kline_core.errors import SettingError
from kline_core.markets import MARKETS, Market
from kline_core.store.home import Home
from kline_core.symbols import market_of

NOTE = "market"


def home_market(home: Home) -> Market | None:
    """The market of a home, None if none is kept with it. Raises `HomeError` if its notes cannot be read."""
    return MARKETS.get(str(home.notes().get(NOTE)))


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


def strangers(symbols: Iterable[str], market: Market) -> dict[str, str]:
    """Symbols that are of another market, each with the reason why a home of this one does not take them."""
    found = {symbol: other for symbol in symbols if (other := market_of(symbol)) not in (None, market.name)}
    remedy = "keep each market in a home of its own"
    return {
        symbol: f"symbol is of the market {other}, and this home is of {market.name}; {remedy}"
        for symbol, other in found.items()
    }
