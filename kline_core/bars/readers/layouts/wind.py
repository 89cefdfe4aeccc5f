"""Wind: a dump of the table ASHAREEODPRICES, and the export of the terminal.

The dump has codes like 300127.SZ, lots of 100 shares, thousands of yuan and a cumulative backward factor. The headers
of the export name the units: shares and yuan.
"""

from kline_core.bars.convention import Convention
from kline_core.bars.readers.layout import Layout

DUMP = Layout(
    name="Wind ASHAREEODPRICES",
    columns={
        "s_info_windcode": "symbol",
        "trade_dt": "date",
        "s_dq_open": "open",
        "s_dq_high": "high",
        "s_dq_low": "low",
        "s_dq_close": "close",
        "s_dq_volume": "volume",
        "s_dq_amount": "amount",
        "s_dq_preclose": "prev_close",
        "s_dq_adjfactor": "adj_factor",
    },
    telling=("s_info_windcode", "trade_dt", "s_dq_close"),
    convention=Convention(volume_unit=100, amount_unit=1000, chinese=True),
)
_UNITS = {
    "前收盘价": ("prev_close", "元"),
    "开盘价": ("open", "元"),
    "最高价": ("high", "元"),
    "最低价": ("low", "元"),
    "收盘价": ("close", "元"),
    "成交量": ("volume", "股"),
    "成交额": ("amount", "元"),
    "成交金额": ("amount", "元"),
}
TERMINAL = Layout(
    name="Wind terminal",
    columns={"代码": "symbol", "日期": "date"}
    | {
        f"{name}{before}{unit}{after}": meaning
        for before, after in ("()", "（）")
        for name, (meaning, unit) in _UNITS.items()
    },
    telling=("代码", "日期"),
    convention=Convention(chinese=True),
    trailer=".*数据来源.*",
)
