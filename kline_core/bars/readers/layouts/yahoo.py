"""Yahoo Finance: its CSV of old, and what yfinance saves, with `auto_adjust=False`: prices beside an adjusted close.

Prices are adjusted for splits, all of them, and not for dividends; `Adj Close` tells these. A day without a bar has
`null` in all its cells. yfinance writes one ticker, several side by side (`kline_core.bars.readers.side_by_side`), or
several below each other, with a zone beside the days or without.
"""

from typing import Final

import pandas as pd

from kline_core.bars.readers.layout import Layout

COLUMNS: Final = {
    "date": "date",
    "datetime": "date",
    "ticker": "symbol",
    "symbol": "symbol",
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close",
    "volume": "volume",
}
"""What Yahoo's files have in common."""


def without_null(cells: pd.DataFrame) -> pd.DataFrame:
    """Cells that are empty where Yahoo writes null."""
    text = [name for name in cells.columns if name != "symbol" and not pd.api.types.is_numeric_dtype(cells[name].dtype)]
    return cells.assign(**{name: cells[name].mask(cells[name].isin(["null"]), "") for name in text if name != "date"})


LAYOUTS: Final = tuple(
    Layout(
        name="Yahoo",
        columns={**COLUMNS, close: "close", adjusted: "adj_close"},
        telling=("open", "high", "low", close, adjusted),
        tidy=without_null,
    )
    for close, adjusted in (
        ("close", "adj close"),
        ("close", "adjclose"),
        ("close", "adj_close"),
        ("close*", "adj close**"),
    )
)
"""A layout for each spelling of the adjusted close; the last is of the page itself, with its marks for footnotes."""
