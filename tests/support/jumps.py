"""Bars of shares with a price limit, one of which has an unexplained jump."""

import numpy as np
import pandas as pd

from kline_core.bars.sessions import sessions_until
from kline_core.encoder.synthetic import random_walk

AT = 60
"""Bar of the jump."""
NAME = "600519.SH"
PRICES = ["open", "high", "low", "close"]


def calm(symbols: int, days: int) -> pd.DataFrame:
    """Walks that no price limit stops, on sessions of Shanghai."""
    frame = random_walk(symbols, days, 4).to_frame("2020-01-06", "S")
    sessions = sessions_until(np.datetime64("2020-07-31", "D"), days, "XSHG").astype("datetime64[s]")
    frame["date"] = frame["date"].map(dict(zip(sorted(frame["date"].unique()), sessions, strict=True)))
    return frame.assign(amount=np.nan, adj_factor=1.0, suspended=False)


def bars_with_jump(times: float = 2.0) -> pd.DataFrame:
    """Three symbols with 120 bars each; the prices of `NAME` are `times` as high from bar `AT` on."""
    frame = calm(3, 120)
    frame["symbol"] = frame["symbol"].replace("S00000", NAME)
    mine = frame["symbol"] == NAME
    frame.loc[mine & (frame["date"] >= frame.loc[mine, "date"].iloc[AT]), PRICES] *= times
    return frame
