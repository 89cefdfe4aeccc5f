"""Every day of a range on which a symbol can have a value."""

from collections.abc import Sequence

import numpy as np

from kline_core.bars import frame_cache
from kline_core.calendar import Dates
from kline_core.errors import DateError
from kline_core.settings import PatternSettings
from kline_core.tables import Home
from kline_core.windows import usable_ends


def usable_dates(
    home: Home,
    settings: PatternSettings,
    symbols: Sequence[str] | None = None,
    first: np.datetime64 | None = None,
    last: np.datetime64 | None = None,
    bars_version: int | None = None,
) -> dict[str, Dates]:
    """The days on which a usable window of a symbol ends, from `first` to `last`, both included.

    datetime64[D], increasing, by symbol; symbols without such a day are left out. Raises `DateError` where none has
    one, and what `Home` raises.
    """
    bars = home.read("bars", version=bars_version)
    found = {}
    for symbol, frame in frame_cache(bars, symbols).items():
        days = frame.dates[usable_ends(frame.dates, settings.window_bars, settings.max_gap_days)]
        days = days if first is None else days[days >= first]
        days = days if last is None else days[days <= last]
        if len(days):
            found[symbol] = days
    if not found:
        span = f"from {first or 'the first bar'} to {last or 'the newest bar'}"
        raise DateError(f"no symbol has a usable day {span} in {home.uri}; widen the range or ingest bars of it")
    return found
