"""Tushare Pro: `daily` and `adj_factor` saved as CSV or Parquet, newest first. Codes like 600519.SH.

`daily` counts lots of 100 shares and thousands of yuan, leaves suspended days out, and gives `pre_close`, the close
before less what was paid out. `adj_factor` is a cumulative backward factor, also of suspended days.

Its first interface (`get_hist_data`, `get_k_data`), of which many files are about, counts lots too.
"""

from dataclasses import replace
from typing import Final

from kline_core.bars.convention import Convention, FactorRows
from kline_core.bars.readers.layout import Layout

DAILY = Layout(
    name="Tushare daily",
    columns={
        "ts_code": "symbol",
        "trade_date": "date",
        "open": "open",
        "high": "high",
        "low": "low",
        "close": "close",
        "pre_close": "prev_close",
        "vol": "volume",
        "amount": "amount",
        "adj_factor": "adj_factor",
    },
    telling=("ts_code", "trade_date", "vol"),
    convention=Convention(volume_unit=100, amount_unit=1000, chinese=True),
)
BY_NAME = replace(DAILY, telling=("trade_date", "open", "pre_close", "vol"))
"""A file for each code, which stands in its name alone."""
_OLD: Final = {name: name for name in ("date", "open", "high", "low", "close", "volume")} | {"code": "symbol"}
HIST_DATA = Layout(
    name="Tushare get_hist_data",
    columns=_OLD,
    telling=("date", "open", "close", "volume", "price_change", "p_change"),
    convention=Convention(volume_unit=100, chinese=True),
    unadjusted="Tushare's get_hist_data gives raw prices and tells no payments, which look like falls",
)
K_DATA = Layout(
    name="Tushare get_k_data",
    columns=_OLD,
    telling=("date", "open", "close", "high", "low", "volume", "code"),
    exactly=True,
    convention=Convention(volume_unit=100, chinese=True),
    unadjusted=(
        "Tushare's get_k_data adjusts prices forward unless it is asked not to, which nothing here tells: they are "
        "taken as raw; name the file or its folder qfq where they are not"
    ),
)
ADJ_FACTOR = Layout(
    name="Tushare adj_factor",
    columns={"ts_code": "symbol", "trade_date": "date", "adj_factor": "adj_factor"},
    telling=("ts_code", "trade_date", "adj_factor"),
    convention=Convention(chinese=True),
    factors=FactorRows.DAILY,
)
