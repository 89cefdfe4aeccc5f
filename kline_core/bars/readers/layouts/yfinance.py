"""yfinance with adjusted prices: `download()` as it is by default since 0.2.51, and `Ticker.history()`.

All prices are adjusted for splits and dividends, so that each new one changes the whole past. Nothing here tells what
was traded: `Stock Splits` and `Dividends` are in these prices already, and are not read.
"""

from kline_core.bars.readers.layout import Layout
from kline_core.bars.readers.layouts.yahoo import COLUMNS, without_null
from kline_core.bars.readers.side_by_side import SIDE_BY_SIDE

ADJUSTED = (
    "yfinance has adjusted these prices for dividends and splits, so that the past changes with each new one and later "
    "deliveries do not go on from these; fetch with auto_adjust=False, which gives Adj Close beside Close"
)

LAYOUT = Layout(
    name="yfinance history",
    columns=COLUMNS,
    telling=("open", "high", "low", "close", "dividends", "stock splits"),
    tidy=without_null,
    note=ADJUSTED,
)
DOWNLOAD = Layout(
    name="yfinance download",
    columns=COLUMNS,
    telling=("open", "high", "low", "close", SIDE_BY_SIDE),
    tidy=without_null,
    note=ADJUSTED,
)
