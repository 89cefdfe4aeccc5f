"""All layouts, one module each. To add one, write such a module and name it in `LAYOUTS`."""

from typing import Final

from kline_core.bars.readers.layout import Layout
from kline_core.bars.readers.layouts import (
    alpha_vantage,
    baostock,
    investing_com,
    metastock,
    nasdaq,
    plain,
    qlib,
    stooq,
    ticker_column,
    yahoo,
    yfinance,
)

LAYOUTS: Final[tuple[Layout, ...]] = (
    baostock.LAYOUT,
    alpha_vantage.LAYOUT,
    alpha_vantage.CLIENT,
    alpha_vantage.UNADJUSTED,
    alpha_vantage.CLIENT_UNADJUSTED,
    *yahoo.LAYOUTS,
    yfinance.LAYOUT,
    yfinance.DOWNLOAD,
    qlib.LAYOUT,
    stooq.LAYOUT,
    stooq.POLISH,
    metastock.LAYOUT,
    *investing_com.LAYOUTS,
    nasdaq.LAYOUT,
    ticker_column.LAYOUT,
    plain.LAYOUT,
)
"""The first that fits a file's columns is taken: the most particular ones first."""
