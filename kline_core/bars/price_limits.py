"""Daily price limits of the mainland exchanges, by board and date.

On a share's trading day its prices may lie at most this share above or below the close before, after corporate actions:

* Main boards of Shanghai and Shenzhen, A and B shares: 10 % since 1996-12-16; before, there was none.
* STAR market (688, 689), from its first day, 2019-07-22: 20 %.
* ChiNext (300, 301, 302): 20 % since 2020-08-24, 10 % before.
* Beijing: 30 %.

Shares under special treatment (ST) have a narrower limit on the main boards, which bars do not tell; the board's own
holds for them here. On its first days a share has no limit: up to five, by the rules since 2019. Funds, bonds and
indices have none here, and neither have other markets.

Source: the trading rules of the exchanges of Shanghai, Shenzhen and Beijing, as in force on each date.
"""

from typing import Final

import numpy as np

from kline_core.symbols import canonical_symbol, market_of

FIRST_DAYS: Final = 5
"""Trading days of a new share that may be without a limit."""
MOST: Final = 0.3
"""The widest of the limits."""
_SINCE: Final = np.datetime64("1996-12-16", "D")
_CHINEXT_WIDER: Final = np.datetime64("2020-08-24", "D")
_MAIN = ("600", "601", "603", "605", "900"), ("000", "001", "002", "003", "200")
_CHINEXT = ("300", "301", "302")


def price_limit(symbol: str, day: np.datetime64) -> float | None:
    """Share of the close before by which a share's prices may rise or fall on a day (datetime64[D]); None without one.

    >>> price_limit("600519.SH", np.datetime64("2024-01-02")), price_limit("AAPL", np.datetime64("2024-01-02"))
    (0.1, None)
    """
    if market_of(symbol) != "CN" or day < _SINCE:
        return None
    code, _, exchange = canonical_symbol(symbol).partition(".")
    match exchange:
        case "BJ":
            return 0.3
        case "SH" if code.startswith(("688", "689")):
            return 0.2
        case "SZ" if code.startswith(_CHINEXT):
            return 0.2 if day >= _CHINEXT_WIDER else 0.1
        case "SH" | "SZ" if code.startswith(_MAIN[exchange == "SZ"]):
            return 0.1
    return None
