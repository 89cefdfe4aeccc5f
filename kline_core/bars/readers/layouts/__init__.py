"""All layouts, one module for each vendor. To add one, write such a module and name its layouts in `LAYOUTS`."""

from collections.abc import Mapping
from typing import Final

from kline_core.bars.readers.layout import Layout
from kline_core.bars.readers.layouts import (
    akshare,
    alpha_vantage,
    baostock,
    investing_com,
    joinquant,
    metastock,
    nasdaq,
    netease,
    other_names,
    plain,
    qlib,
    ricequant,
    stooq,
    tdx,
    tushare,
    wind,
    yahoo,
    yfinance,
)

LAYOUTS: Final[tuple[Layout, ...]] = (
    baostock.LAYOUT,
    *baostock.WITHOUT_PREVIOUS_CLOSE,
    tushare.DAILY,
    tushare.BY_NAME,
    tushare.HIST_DATA,
    tushare.K_DATA,
    tushare.ADJ_FACTOR,
    akshare.EASTMONEY,
    akshare.EASTMONEY_WITH_CODE,
    akshare.EASTMONEY_BARE,
    akshare.SINA,
    akshare.TENCENT,
    akshare.HFQ_FACTOR,
    akshare.QFQ_FACTOR,
    wind.DUMP,
    *wind.TERMINAL,
    netease.QUOTES,
    netease.FOOLTRADER,
    tdx.LAYOUT,
    joinquant.LONG,
    joinquant.BARS,
    joinquant.SINGLE,
    ricequant.LAYOUT,
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
    other_names.TICKER,
    plain.WITH_SYMBOL,
    *other_names.SYMBOLS,
    plain.LAYOUT,
    *other_names.DAYS,
    # Once more: of several that are as near to columns of no layout, the last is named.
    plain.LAYOUT,
)
"""The first that fits a file's columns is taken: the most particular ones first."""
_NAMES: Final = frozenset(name for layout in LAYOUTS for name in layout.columns if name)


def known_names(mapping: Mapping[str, str] | None) -> frozenset[str]:
    """Names by which a header is known, stripped and in lower case: those of all layouts and of a mapping by hand."""
    return _NAMES.union(name.strip().lower() for name in (mapping or {}).values())
