"""All layouts, one module for each vendor. To add one, write such a module and name its layouts in `LAYOUTS`."""

from typing import Final

from kline_core.bars.readers.layout import Layout
from kline_core.bars.readers.layouts import (
    akshare,
    baostock,
    joinquant,
    netease,
    plain,
    ricequant,
    tdx,
    tushare,
    wind,
)

LAYOUTS: Final[tuple[Layout, ...]] = (
    baostock.LAYOUT,
    tushare.DAILY,
    tushare.ADJ_FACTOR,
    akshare.EASTMONEY,
    akshare.EASTMONEY_WITH_CODE,
    akshare.EASTMONEY_BARE,
    akshare.SINA,
    akshare.TENCENT,
    akshare.HFQ_FACTOR,
    akshare.QFQ_FACTOR,
    wind.DUMP,
    wind.TERMINAL,
    netease.QUOTES,
    netease.FOOLTRADER,
    tdx.LAYOUT,
    joinquant.LONG,
    joinquant.BARS,
    joinquant.SINGLE,
    ricequant.LAYOUT,
    plain.LAYOUT,
)
"""The first that fits a file's columns is taken: the most particular ones first."""
