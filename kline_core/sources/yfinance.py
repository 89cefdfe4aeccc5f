"""yfinance: Yahoo's daily bars of most markets, with prices adjusted for splits and Adj Close beside them.

It tells no members of indices, so that its universes are symbols that are named.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd

from kline_core.errors import SourceError
from kline_core.sources.source import Call, Limits, client
from kline_core.symbols import market_of

_SECONDS = 30


class YFinance:
    """The package yfinance."""

    name = "yfinance"
    # None is published. Users report answers of 429 after some hundred quick requests, and none at one in two seconds.
    limits = Limits(at_once=2, per_minute=30)
    market: str | None = None
    indices: Mapping[str, str] = {}
    has_all = False
    tells_past = False

    def check(self) -> None:
        """Raise `SourceError` if yfinance is not installed."""
        client("yfinance", self.name)

    def members(self, universe: str, day: np.datetime64, call: Call) -> list[str]:
        """Nothing: it does not tell them."""
        raise NotImplementedError

    def past_members(
        self, universe: str, first: np.datetime64, last: np.datetime64, call: Call
    ) -> dict[np.datetime64, list[str]]:
        """Nothing: it does not tell them."""
        raise NotImplementedError

    def bars(self, symbol: str, first: np.datetime64, last: np.datetime64, call: Call) -> dict[str, pd.DataFrame]:
        """Prices with Adj Close, from which the changes of the factor follow."""
        found = call(partial(self._history, symbol, str(first), str(last + np.timedelta64(1, "D"))))
        return {} if found.empty else {"": found.assign(Ticker=symbol)}

    def close(self) -> None:
        """Nothing is open."""

    def _history(self, symbol: str, first: str, after: str) -> pd.DataFrame:
        yf = client("yfinance", self.name)
        # Otherwise it logs what failed, and returns an empty frame.
        yf.config.debug.hide_exceptions = False
        yf.utils.get_yf_logger().setLevel("CRITICAL")
        try:
            found: pd.DataFrame = yf.Ticker(yahoo_symbol(symbol)).history(
                start=first, end=after, interval="1d", auto_adjust=False, actions=False, timeout=_SECONDS
            )
        except yf.exceptions.YFTickerMissingError as error:
            raise SourceError(
                f"yfinance has no bars of {symbol} ({error}); check the symbol", source=self.name, symbol=symbol
            ) from error
        except Exception:
            # It keeps answers, those that make it fail too.
            yf.data.YfData.cache_get.cache_clear()
            raise
        return found


def yahoo_symbol(symbol: str) -> str:
    """Yahoo's spelling of a canonical symbol.

    >>> [yahoo_symbol(symbol) for symbol in ("600519.SH", "000001.SZ", "BRK.B", "RDS/A", "7203.T")]
    ['600519.SS', '000001.SZ', 'BRK-B', 'RDS-A', '7203.T']
    """
    if market_of(symbol) == "US":
        return symbol.replace(".", "-").replace("/", "-")
    return symbol.removesuffix(".SH") + ".SS" if symbol.endswith(".SH") else symbol
