"""Homes of made markets with windows of twenty bars, to be studied."""

import numpy as np
import pandas as pd

import kline_core as kl
from kline_core.factor.state_key import StateKey
from kline_core.learning.protocol import StudyKey
from kline_core.settings import Settings
from tests.support.homes import make_home


def bars_of(market) -> pd.DataFrame:
    """The bars of a `MadeMarket` in the plain layout."""
    return pd.concat(
        pd.DataFrame(
            {
                "symbol": symbol,
                "date": bars.dates.astype("datetime64[s]"),
                **{name: getattr(bars, name) for name in ("open", "high", "low", "close", "volume")},
            }
        )
        for symbol, bars in market.frames.items()
    )


def home_of(folder, frame) -> kl.Home:
    """A home of bars in the plain layout, with patterns."""
    home = make_home(folder, frame.assign(amount=np.nan, adj_factor=1.0, suspended=False))
    kl.update_patterns(home, device="cpu")
    return home


def study_of(folder, frame, **request):
    """A loaded study of bars in the plain layout."""
    return StudyKey(StateKey.newest(home_of(folder, frame), Settings(), None, "cpu"), **request).load()
