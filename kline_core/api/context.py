"""The context of samples: regime, volume and money flow beside the values."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from kline_core.api.data import as_home, symbol_names
from kline_core.compute.request import Request, known_symbols
from kline_core.errors import SettingError
from kline_core.factor.context import read_bars, sample_context
from kline_core.factor.sample_dates import requested_dates
from kline_core.store.home import Home


def context(
    home: Home | str | Path,
    symbols: str | Iterable[str] | None = None,
    *,
    dates: "pd.MultiIndex | pd.DataFrame | Mapping[str, Any] | None" = None,
) -> pd.DataFrame:
    """Regime, volume and money flow of symbols and their market on some days, from the bars up to each day's close.

    Nothing is stored, and no value depends on it. Formulas and sources: `kline_core.windows.indicators`.

    .. warning::
        Every figure is known at the close of its day, not before. The market is the mean of the symbols that the home
        holds now: with symbols that still trade it has survivorship bias.

    Args:
        home: A home, or the folder or URL of one.
        symbols: One symbol, or several, as for `compute_factor`; None for all with bars.
        dates: Days by symbol, as for `compute_factor`, instead of `symbols`; None for all days with a traded bar.

    Returns:
        One row per symbol and day: symbol, date (datetime64[s]), ``trailing_return`` (60 bars, a fraction),
        ``volatility`` (of log returns, per bar), ``regime`` (bull, bear, ranging), the same three of the market
        (``market_return``, ``market_volatility``, ``market_regime``), ``volume_ratio`` (1 is usual), ``obv_slope``,
        ``cmf`` (-1 to 1), ``mfi`` (0 to 100), ``turnover`` (amount of the day, as delivered). NaN or None where a
        figure cannot be computed.

    Raises:
        UnknownSymbolError, AmbiguousSymbolError: The home has no bars of a symbol, or of several that may be meant.
        SettingError: Both `symbols` and `dates` are given.
        DateError, InputError: `dates` cannot be read.
        HomeError: The home is missing, or cannot be read.

    Examples:
        >>> seen = kl.context(home, dates={"AAPL": ["2008-10-10", "2012-09-19"]})
        >>> seen[["regime", "market_regime"]].to_numpy().tolist()
        [['bear', 'bear'], ['bull', 'bull']]
    """
    store = as_home(home)
    if symbols is not None and dates is not None:
        raise SettingError("dates names the symbols itself; leave symbols away", parameter="dates")
    frames, rows = read_bars(store)
    if dates is not None:
        asked = Request(dates=requested_dates(dates)).resolved(store, frames).dates or {}
    else:
        names = symbol_names(symbols)
        meant = sorted(frames) if names is None else known_symbols(store, names, frames)
        asked = {name: frames[name].dates for name in meant}
    return sample_context(frames, rows, asked)
