"""Wind: a dump of the table ASHAREEODPRICES, and the export of the terminal.

The dump has codes like 300127.SZ, lots of 100 shares, thousands of yuan and a cumulative backward factor. The headers
of the export name the units, which whoever exports chooses: shares and yuan, or lots, tens of thousands and the like.
"""

from typing import Final

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
_SHARES: Final = {"万股": 1e4, "手": 100.0, "股": 1.0}
"""The usual unit is the last, which is the one that a message names."""
_MONEY: Final = {"元": 1.0, "千元": 1e3, "万元": 1e4, "百万元": 1e6, "百万": 1e6, "亿元": 1e8}
_PRICES: Final = {"前收盘价": "prev_close", "开盘价": "open", "最高价": "high", "最低价": "low", "收盘价": "close"}

_BRACKETS: Final = ("（）", "()")


def _terminal(shares: str, amount: str | None, money: str, brackets: str) -> Layout:
    """The layout of exports with these units, and with a column of amounts of this name or none."""

    def header(name: str, unit: str) -> str:
        return f"{name}{brackets[0]}{unit}{brackets[1]}"

    named = {"代码": "symbol", "证券代码": "symbol", "日期": "date", "交易日期": "date"}
    units = {header(name, "元"): meaning for name, meaning in _PRICES.items()} | {header("成交量", shares): "volume"}
    if amount is not None:
        units |= {header(amount, money): "amount"}
    return Layout(
        name="Wind terminal",
        columns=named | units,
        telling=tuple(name for name, meaning in units.items() if meaning in ("close", "volume", "amount")),
        convention=Convention(volume_unit=_SHARES[shares], amount_unit=_MONEY[money], chinese=True),
        trailer=".*数据来源.*",
    )


TERMINAL = tuple(
    _terminal(shares, amount, money, brackets)
    for brackets in _BRACKETS
    for shares in _SHARES
    for amount, money in (*((name, unit) for name in ("成交额", "成交金额") for unit in _MONEY), (None, "元"))
)
"""A layout for each choice of units. An amount in none of these is not read."""
