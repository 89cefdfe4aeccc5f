"""A small market with all that happens to symbols, and days at which its future is replaced."""

import numpy as np

from kline_core.encoder.synthetic import synthetic_market
from tests.support.frames import plain

EVERY = 100_000
"""More samples than there are usable dates: all of them are taken."""


def mixed_market():
    """Bars of a market with a late arrival, an early end, suspended days, a split and a hole."""
    frame = plain(synthetic_market(6, 130, seed=3), start="2020-01-06")
    number = np.tile(np.arange(130), 6)
    symbol = np.repeat(np.arange(6), 130)
    suspended = (symbol == 2) & np.isin(number, [40, 41, 70, 95])
    flat = frame["close"].to_numpy()
    for price in ("open", "high", "low"):
        frame[price] = np.where(suspended, flat, frame[price])
    frame["volume"] = np.where(suspended, 0.0, frame["volume"])
    frame["suspended"] = suspended
    frame["adj_factor"] = np.where((symbol == 3) & (number >= 60), 2.0, 1.0)
    gone = (symbol == 1) & (number < 45) | (symbol == 4) & (number > 90)
    gone |= (symbol == 5) & (number >= 50) & (number < 70)
    return frame[~gone].reset_index(drop=True)


FRAME = mixed_market()
DAYS = np.unique(FRAME["date"].to_numpy()).astype("datetime64[D]")
CUTS = [DAYS[at] for at in (20, 52, 75, 112)]


def assert_same_until(truth, other, day, without=("run_id",)):
    for table in ("factors", "matches"):
        assert other.rows(table, day, without) == truth.rows(table, day, without)
