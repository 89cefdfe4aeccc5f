"""Prices at which values can be traded, for tools that measure forward returns from the row of a value's own date."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from kline_core.bars.bars_cache import COLUMNS
from kline_core.bars.jumps import released
from kline_core.bars.symbol_bars import BarsBySymbol, bars_by_symbol
from kline_core.by_year import Fingerprint, all_fingerprints
from kline_core.errors import HomeError
from kline_core.settings import PatternSettings
from kline_core.store.home import Home
from kline_core.store.run_records import read_record
from kline_core.windows.windows import jumps_between


def entry_prices(bars: BarsBySymbol, steps: PatternSettings) -> pd.DataFrame:
    """Adjusted close of each symbol's bar `entry_lag_bars` traded bars later, under the date of the bar itself.

    A value of a day is known at its close and traded at the close that many bars on: the change from one row to the row
    h below it is the forward return over h bars of a value of the first row. Adjusted by the cumulative backward
    factor, which later dividends leave as it is.

    No return over a horizon of the settings reaches across an unexplained jump (`kline_core.bars.jumps`): the prices of
    the bars behind it, as many as the longest horizon has, are left out. With windows of the usual length no value
    stands there.

    Returns:
        float64 (days, symbols): index `date`, datetime64[s], increasing, all days on which any of them traded; columns
        `asset`, sorted. NaN on a day without a bar of the symbol, where the later bar is not known yet, and behind
        jumps.
    """
    columns = {}
    for symbol in sorted(bars):
        each = bars[symbol]
        close = each.close
        if not steps.allow_jumps and each.jumps.any():
            bar = np.arange(len(each))
            close = np.where(jumps_between(each, bar - steps.horizons[-1], bar), np.nan, close)
        prices = np.full(len(each), np.nan)
        prices[: max(len(each) - steps.entry_lag_bars, 0)] = close[steps.entry_lag_bars :]
        columns[symbol] = pd.Series(prices, index=pd.DatetimeIndex(each.dates.astype("datetime64[s]")))
    frame = pd.DataFrame(columns, dtype=np.float64).sort_index()
    return frame.rename_axis(index="date").rename_axis(columns="asset")


def read_entry_prices(
    home: Home, symbols: Sequence[str], steps: PatternSettings, version: int | None = None
) -> pd.DataFrame:
    """`entry_prices` of some symbols; `version`: version of `bars`, None for the newest. Raises what `Home` raises."""
    version = home.version("bars") if version is None else version
    rows = home.read("bars", COLUMNS, version=version, symbols=symbols)
    return entry_prices(bars_by_symbol(rows, releases=released(home.notes(version))), steps)


def recorded_steps(home: Home, fingerprint: Fingerprint) -> PatternSettings:
    """What values are stored under, as far as prices depend on it: entry lag, horizons, and whether jumps are allowed.

    The record of a run that stored some of them says so; where `maintain` has removed it, the patterns do.

    Raises `HomeError` if neither is there.
    """
    runs = home.read("factors", ["run_id"], fingerprint=fingerprint)["run_id"]
    for run_id in sorted(pc.unique(runs).to_pylist(), reverse=True):
        try:
            record = read_record(home, run_id)
        except HomeError:
            continue
        # Of what values of several years are made, only their encoders differ.
        if all_fingerprints(fingerprint) & all_fingerprints(record.stored_under):
            return _steps(record.settings["patterns"])
    described = [home.description(table).get("settings") for table in home.pattern_tables()]
    found = {_steps(each) for each in described if isinstance(each, dict) and "entry_lag_bars" in each}
    if len(found) != 1:
        raise HomeError(
            f"home {home.uri} has neither patterns nor the record of a run with fingerprint {fingerprint}, which say "
            "from which bar its returns count"
            + (", and its patterns of several settings differ in that" if found else "")
            + "; make the patterns again with `kline index`",
            home=home.uri,
            table="patterns",
        )
    return found.pop()


def _steps(settings: Mapping[str, Any]) -> PatternSettings:
    return PatternSettings(
        entry_lag_bars=int(settings["entry_lag_bars"]),
        horizons=tuple(settings.get("horizons", PatternSettings().horizons)),
        allow_jumps=bool(settings.get("allow_jumps", False)),
    )
