"""Nasdaq.com: "Historical Quotes" as CSV: Date, Close/Last, Volume, Open, High, Low, with a dollar sign at prices.

The newest row is the first, and days are month-first. Prices are adjusted for splits, and not for dividends.
"""

import pandas as pd

from kline_core.bars.columns import PRICES
from kline_core.bars.convention import Convention
from kline_core.bars.readers.layout import Layout
from kline_core.bars.readers.written_numbers import plain_numbers


def _tidy(cells: pd.DataFrame) -> pd.DataFrame:
    return plain_numbers(cells, (*PRICES, "volume"))


LAYOUT = Layout(
    name="Nasdaq.com",
    columns={
        "date": "date",
        "close/last": "close",
        "volume": "volume",
        "open": "open",
        "high": "high",
        "low": "low",
    },
    telling=("date", "close/last"),
    convention=Convention(month_first=True),
    as_text=True,
    tidy=_tidy,
    note="Nasdaq.com adjusts prices for splits and not for dividends, and nothing tells these: each looks like a fall",
)
