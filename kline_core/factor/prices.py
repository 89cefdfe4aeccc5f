"""Prices at which values can be traded, for tools that measure forward returns from the row of a value's own date."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from kline_core.bars.bars_cache import COLUMNS
from kline_core.bars.symbol_bars import BarsBySymbol, bars_by_symbol
from kline_core.errors import HomeError
from kline_core.store.home import Home
from kline_core.store.run_records import read_record


def entry_prices(bars: BarsBySymbol, lag: int) -> pd.DataFrame:
    """Adjusted close of each symbol's bar `lag` traded bars later, under the date of the bar itself.

    A value of a day is known at its close and traded at the close `lag` bars on: the change from one row to the row h
    below it is the forward return over h bars of a value of the first row. Adjusted by the cumulative backward factor,
    which later dividends leave as it is.

    Returns:
        float64 (days, symbols): index `date`, datetime64[s], increasing, all days on which any of them traded; columns
        `asset`, sorted. NaN on a day without a bar of the symbol, and where the later bar is not known yet.
    """
    columns = {}
    for symbol in sorted(bars):
        each = bars[symbol]
        prices = np.full(len(each), np.nan)
        prices[: max(len(each) - lag, 0)] = each.close[lag:]
        columns[symbol] = pd.Series(prices, index=pd.DatetimeIndex(each.dates.astype("datetime64[s]")))
    frame = pd.DataFrame(columns, dtype=np.float64).sort_index()
    return frame.rename_axis(index="date").rename_axis(columns="asset")


def read_entry_prices(home: Home, symbols: Sequence[str], lag: int, version: int | None = None) -> pd.DataFrame:
    """`entry_prices` of some symbols; `version`: version of `bars`, None for the newest. Raises what `Home` raises."""
    return entry_prices(bars_by_symbol(home.read("bars", COLUMNS, version=version, symbols=symbols)), lag)


def recorded_entry_lag(home: Home, fingerprint: str) -> int:
    """Bars from a sample to its entry, by the settings under which values are stored.

    The record of a run that stored some of them says so; where `maintain` has removed it, the patterns do.

    Raises `HomeError` if neither is there.
    """
    runs = home.read("factors", ["run_id"], fingerprint=fingerprint)["run_id"]
    for run_id in sorted(pc.unique(runs).to_pylist(), reverse=True):
        try:
            record = read_record(home, run_id)
        except HomeError:
            continue
        if record.fingerprint == fingerprint:
            return int(record.settings["patterns"]["entry_lag_bars"])
    settings = home.description("patterns").get("settings")
    if not isinstance(settings, dict) or "entry_lag_bars" not in settings:
        raise HomeError(
            f"home {home.uri} has neither patterns nor the record of a run with fingerprint {fingerprint}, which say "
            "from which bar its returns count; make the patterns again with `kline index`",
            home=home.uri,
            table="patterns",
        )
    return int(settings["entry_lag_bars"])
