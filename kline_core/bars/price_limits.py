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

from functools import lru_cache
from typing import Final

import numpy as np

from kline_core.symbols import canonical_symbol, market_of

FIRST_DAYS: Final = 5
"""Trading days of a new share that may be without a limit."""
_SINCE: Final = np.datetime64("1996-12-16", "D")
_CHINEXT_WIDER: Final = np.datetime64("2020-08-24", "D")
MAIN, STAR, CHINEXT, BEIJING = "main", "STAR", "ChiNext", "Beijing"
_LIMITS: Final = {MAIN: 0.1, STAR: 0.2, CHINEXT: 0.2, BEIJING: 0.3}
_CHINEXT_BEFORE: Final = 0.1
_MAIN_CODES: Final = {"SH": ("600", "601", "603", "605", "900"), "SZ": ("000", "001", "002", "003", "200")}


def price_limit(symbol: str, day: np.datetime64) -> float | None:
    """Share of the close before by which a share's prices may rise or fall on a day (datetime64[D]); None without one.

    >>> price_limit("600519.SH", np.datetime64("2024-01-02")), price_limit("AAPL", np.datetime64("2024-01-02"))
    (0.1, None)
    """
    board = board_of(symbol)
    if board is None or day < _SINCE:
        return None
    return _CHINEXT_BEFORE if board == CHINEXT and day < _CHINEXT_WIDER else _LIMITS[board]


@lru_cache(maxsize=2**16)
def board_of(symbol: str) -> str | None:
    """Board of a share with a price limit; None for everything else."""
    if market_of(symbol) != "CN":
        return None
    code, _, exchange = canonical_symbol(symbol).partition(".")
    match exchange:
        case "BJ" if not code.startswith("899"):
            return BEIJING
        case "SH" if code.startswith(("688", "689")):
            return STAR
        case "SZ" if code.startswith(("300", "301", "302")):
            return CHINEXT
        case "SH" | "SZ" if code.startswith(_MAIN_CODES[exchange]):
            return MAIN
    return None
