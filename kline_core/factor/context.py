"""Context of samples: in what market, on what volume. Computed from the bars on request; no value depends on it.

The figures are those of `kline_core.windows.indicators`, on the bar of the sample's date. The market is the home's own
symbols, as they are stored now: symbols that come later change the context of earlier days, and of no day the value.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kline_core.bars.bars_cache import COLUMNS
from kline_core.bars.jumps import released
from kline_core.bars.symbol_bars import BarsBySymbol, SymbolBars, bars_by_symbol
from kline_core.store.home import Home
from kline_core.typing import Dates
from kline_core.windows.indicators import Trend, VolumeFigures, bar_returns, market_returns

CONTEXT: tuple[str, ...] = (
    *("trailing_return", "volatility", "regime"),
    *("market_return", "market_volatility", "market_regime"),
    *("volume_ratio", "obv_slope", "cmf", "mfi", "turnover"),
)
"""Columns of a context, in this order."""


def read_bars(home: Home, version: int | None = None) -> tuple[BarsBySymbol, pa.Table]:
    """Bars of all symbols, and the rows that they came from, with `amount`. Raises what `Home` raises."""
    version = home.version("bars") if version is None else version
    rows = home.read("bars", [*COLUMNS, "amount"], version=version)
    return bars_by_symbol(rows, releases=released(home.notes(version))), rows


def context_of(home: Home, samples: pd.DataFrame, version: int | None = None) -> pd.DataFrame:
    """`sample_context` of rows with symbol and date, from a version of the bars of a home, the newest by default."""
    frames, rows = read_bars(home, version)
    days = samples.groupby("symbol")["date"]
    asked = {str(symbol): part.to_numpy().astype("datetime64[D]") for symbol, part in days}
    return sample_context(frames, rows, asked)


def sample_context(frames: BarsBySymbol, rows: pa.Table, asked: Mapping[str, Dates]) -> pd.DataFrame:
    """Context of samples, from bars up to and including each one's date.

    Args:
        frames: Bars of all symbols: the market.
        rows: Rows of the table `bars` with symbol, date and amount.
        asked: Dates by symbol, datetime64[D]. A symbol may have left the bars since: its dates have none.

    Returns:
        One row per symbol and date, in this order: symbol, date (datetime64[s]) and `CONTEXT`. float64; `regime` and
        `market_regime` are bull, bear, ranging or None. `turnover` is the day's amount, in the currency of the home, as
        delivered: bars know no number of shares by which to divide it. NaN or None where a figure cannot be computed,
        and throughout on a date without a traded bar.
    """
    days, returns = market_returns(frames)
    parts = [_of_symbol(frames, symbol, asked[symbol], days, returns) for symbol in sorted(asked)]
    if not parts:
        return pd.DataFrame({name: [] for name in ("symbol", "date", *CONTEXT)})
    frame = pd.concat(parts, ignore_index=True)
    amounts = rows.filter(pc.is_in(rows["symbol"].cast(pa.string()), pa.array(list(asked), pa.string())))
    given = pd.DataFrame(
        {
            "symbol": amounts["symbol"].cast(pa.string()).to_numpy(zero_copy_only=False).astype(object),
            "date": amounts["date"].to_numpy().astype("datetime64[s]"),
            "turnover": amounts["amount"].to_numpy(),
        }
    )
    frame = frame.merge(given, on=["symbol", "date"], how="left", validate="many_to_one")
    traded = frame.pop("traded")
    frame["turnover"] = frame["turnover"].where(traded)
    return frame[["symbol", "date", *CONTEXT]]


def _no_bars(symbol: str) -> SymbolBars:
    none = np.zeros(0)
    return SymbolBars(
        symbol,
        none.astype("datetime64[D]"),
        none,
        none,
        none,
        none,
        none,
        none,
        none.astype(np.uint64),
        none.astype(bool),
    )


def _of_symbol(
    frames: BarsBySymbol, symbol: str, dates: Dates, market_days: Dates, returns_of_market: np.ndarray
) -> pd.DataFrame:
    bars = frames[symbol] if symbol in frames else _no_bars(symbol)
    ends = bars.find(dates)
    # A date without a bar is answered as one before all bars: by nothing.
    own, flow = Trend.of(bar_returns(bars), ends), VolumeFigures.of(bars, ends)
    there = ends >= 0
    now = np.where(there, np.searchsorted(market_days, dates, side="right") - 1, -1)
    market = Trend.of(returns_of_market, now)
    columns = {
        "symbol": np.full(len(dates), symbol, dtype=object),
        "date": dates.astype("datetime64[s]"),
        "traded": there,
        "trailing_return": own.trailing_return,
        "volatility": own.volatility,
        "regime": own.regime,
        "market_return": market.trailing_return,
        "market_volatility": market.volatility,
        "market_regime": market.regime,
        "volume_ratio": flow.volume_ratio,
        "obv_slope": flow.obv_slope,
        "cmf": flow.cmf,
        "mfi": flow.mfi,
    }
    return pd.DataFrame(columns)
