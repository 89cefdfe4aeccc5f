"""Alpha Vantage: `TIME_SERIES_DAILY_ADJUSTED` and `TIME_SERIES_DAILY` as CSV, or as its Python client saves them.

Prices and volume are as traded. `adjusted_close` tells the adjustment: dividends count as reinvested at the close of
the ex-date, and splits by `split_coefficient`, which is in it already.
"""

from kline_core.bars.readers.layout import Layout

_DAILY = {
    "timestamp": "date",
    "symbol": "symbol",
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close",
    "volume": "volume",
}
_FILE = r"(?:time_series_)?daily(?:_adjusted)?_([A-Z0-9.^-]{1,12})"
_NUMBERED = {"date": "date", "1. open": "open", "2. high": "high", "3. low": "low", "4. close": "close"}

LAYOUT = Layout(
    name="Alpha Vantage",
    columns={**_DAILY, "adjusted_close": "adj_close", "adjusted close": "adj_close"},
    telling=("timestamp", "close", "adjusted_close"),
    file_name=_FILE,
)
CLIENT = Layout(
    name="Alpha Vantage (Python client)",
    columns={**_NUMBERED, "5. adjusted close": "adj_close", "6. volume": "volume"},
    telling=("date", "4. close", "5. adjusted close", "6. volume"),
    file_name=_FILE,
)
_NOTE = (
    "Alpha Vantage's prices without an adjusted close are as traded, and nothing tells splits and dividends, which "
    "look like falls; fetch TIME_SERIES_DAILY_ADJUSTED"
)
UNADJUSTED = Layout(
    name="Alpha Vantage, unadjusted",
    columns=_DAILY,
    telling=("timestamp", "close"),
    file_name=_FILE,
    note=_NOTE,
)
CLIENT_UNADJUSTED = Layout(
    name="Alpha Vantage (Python client), unadjusted",
    columns={**_NUMBERED, "5. volume": "volume"},
    telling=("date", "4. close", "5. volume"),
    file_name=_FILE,
    note=_NOTE,
)
