"""Tushare Pro: `daily` and `adj_factor` saved as CSV or Parquet, newest first. Codes like 600519.SH.

`daily` counts lots of 100 shares and thousands of yuan, leaves suspended days out, and gives `pre_close`, the close
before less what was paid out. `adj_factor` is a cumulative backward factor, also of suspended days.
"""

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
ADJ_FACTOR = Layout(
    name="Tushare adj_factor",
    columns={"ts_code": "symbol", "trade_date": "date", "adj_factor": "adj_factor"},
    telling=("ts_code", "trade_date", "adj_factor"),
    convention=Convention(chinese=True),
    factors=FactorRows.DAILY,
)
