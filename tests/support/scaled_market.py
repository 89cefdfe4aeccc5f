"""A market with odd symbols, and settings by which its windows have charts in three time scales."""

from dataclasses import replace

import numpy as np

from kline_core.settings import FactorSettings, Settings
from tests.support.frames import PRICES
from tests.support.homes import SMALL, WINDOW_BARS, market

EVERY = 100_000
SCALES, WEIGHTS, SPAN = (1, 3, 6), (0.5, 0.3, 0.2), 6 * WINDOW_BARS
STEPS = replace(SMALL, scales=SCALES, scale_weights=WEIGHTS)
SETTINGS = Settings(STEPS, FactorSettings(return_horizon=3, isolation_bars=5))


def adversarial():
    """Six symbols: a late one, one with a hole, a split, one locked at one price for weeks, and two equal ones."""
    frame = market(6, 120, seed=8)
    symbol, number = frame["symbol"].str[-1].astype(int), frame.groupby("symbol").cumcount()
    frame.loc[symbol.eq(2) & (number >= 60), "adj_factor"] = 2.0
    locked = symbol.eq(3) & number.between(30, 75)
    frame.loc[locked, PRICES] = frame.loc[symbol.eq(3) & number.eq(30), "close"].item()
    # Twice the price is the same chart, and so each match a tie.
    frame.loc[symbol.eq(5), PRICES] = 2 * frame.loc[symbol.eq(4), PRICES].to_numpy()
    gone = symbol.eq(0) & (number < 45) | symbol.eq(1) & number.between(50, 69)
    return frame[~gone].reset_index(drop=True)


FRAME = adversarial()
DAYS = np.unique(FRAME["date"].to_numpy()).astype("datetime64[D]")
CUTS = [DAYS[at] for at in (52, 75, 104)]
