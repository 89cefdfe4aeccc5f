"""Bars of two symbols that split and pay, as vendors of each kind tell of it."""

import numpy as np
import pandas as pd

from kline_core.bars.sessions import sessions_until
from tests.support.homes import market

DAYS = sessions_until(np.datetime64("2024-03-29"), 40, "XSHG")
SYMBOLS = ("600519.SH", "000001.SZ")
EX_DATES = {7: (1.0, 0.5), 19: (2.0, 0.0), 31: (1.0, 0.25)}
"""By position of the day: split, and dividend per share before the split."""


def raw(symbol, seed):
    """Raw bars of a symbol that splits once and pays twice, with what vendors say of it."""
    frame = market(1, len(DAYS), seed=seed)[["open", "high", "low", "close", "volume"]]
    prices = (frame[["open", "high", "low", "close"]] * 10).round(2)
    prices["high"] = prices.max(axis=1)
    prices["low"] = prices.min(axis=1)
    for at, (split, dividend) in EX_DATES.items():
        prices.loc[at:] = (prices.loc[at:] / split - dividend).round(2)
    frame = frame.assign(**prices, symbol=symbol, date=DAYS.astype("datetime64[s]"))
    close = frame["close"].to_numpy()
    split, dividend = np.ones(len(DAYS)), np.zeros(len(DAYS))
    previous = np.r_[close[0], close[:-1]]
    for at, (times, paid) in EX_DATES.items():
        split[at], dividend[at] = times, paid
        previous[at] = (close[at - 1] - paid) / times
    factor = np.cumprod(np.r_[1.0, close[:-1] / previous[1:]])
    return frame.assign(
        prev_close=previous, split=split, dividend=dividend, factor=factor, adj_close=close * factor / factor[-1]
    )


ALL = pd.concat([raw(symbol, seed) for seed, symbol in enumerate(SYMBOLS)], ignore_index=True)
PLAIN = ["symbol", "date", "open", "high", "low", "close", "volume"]
KINDS = {
    "factor": {"factor": "adj_factor"},
    "previous close": {"prev_close": "prev_close"},
    "adjusted close": {"adj_close": "adj_close"},
    "splits and dividends": {"split": "split", "dividend": "dividend"},
}


def told_by(kind, rows=ALL):
    """The rows as a vendor of that kind delivers them."""
    return rows[[*PLAIN, *KINDS[kind]]].rename(columns=KINDS[kind])
