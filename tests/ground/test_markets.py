from importlib import import_module
from zoneinfo import ZoneInfo

import pytest

from kline_core.bars.sessions import calendar_names
from kline_core.markets import MARKETS, Market


@pytest.mark.parametrize("market", MARKETS.values(), ids=MARKETS)
def test_each_market_has_the_zone_of_its_calendar(market: Market) -> None:
    """The zone is one of the class, since a whole calendar takes seconds to make."""
    assert market.calendar in calendar_names()
    module = import_module(f"exchange_calendars.exchange_calendar_{market.calendar.lower()}")
    assert getattr(module, f"{market.calendar}ExchangeCalendar").tz == ZoneInfo(market.zone)


def test_markets_have_names_currencies_and_suffixes_of_their_own() -> None:
    assert all(name == market.name and len(name) == 2 and name.isupper() for name, market in MARKETS.items())
    assert all(len(market.currency) == 3 and market.currency.isupper() for market in MARKETS.values())
    suffixes = [suffix for market in MARKETS.values() for suffix in market.suffixes]
    assert len(set(suffixes)) == len(suffixes)
    assert "US" not in suffixes
    assert [name for name, market in MARKETS.items() if not market.suffixes] == ["US"]
