"""TDX (通达信): bars of one symbol exported as text. GBK, shares and yuan, dates like 2006/08/01.

Above the header stands a title such as `601006 大秦铁路 日线 前复权`: code, name, period and adjustment. The code does
not tell an index from a share; its name does, and the usual name of the file, SH#601006.txt. TDX adjusts by
subtracting what was paid out, so that forward-adjusted prices of old days may lie below 0. A last line names the
source.

Its binary files are read by `kline_core.bars.readers.tdx_day_file`.
"""

from typing import Final

from kline_core.bars.convention import Adjustment, Convention, exchange_of_index
from kline_core.bars.readers.layout import Layout, Title
from kline_core.errors import InputError

_ADJUSTMENTS: Final = {
    "前复权": Adjustment.FORWARD,
    "后复权": Adjustment.BACKWARD,
    "不复权": Adjustment.RAW,
    "除权": Adjustment.RAW,
}


def _title(text: str) -> Title:
    words = text.split()
    period = next((word for word in words if word.endswith("线")), "日线")
    if words and words[0].isascii() and words[0].isdigit() and period != "日线":
        raise InputError(f"holds bars of {period} by its title {text.strip()!r}; export daily ones (日线)")
    adjustment = next((_ADJUSTMENTS[word] for word in words if word in _ADJUSTMENTS), None)
    code = words[0] if words and words[0].isascii() and words[0].isdigit() else None
    exchange = exchange_of_index(code, words[1]) if code is not None and len(words) > 1 else ""
    code = f"{exchange}{code}" if exchange else code
    return Title(symbol=code, adjustment=adjustment)


LAYOUT = Layout(
    name="TDX text",
    columns={
        "日期": "date",
        "开盘": "open",
        "最高": "high",
        "最低": "low",
        "收盘": "close",
        "成交量": "volume",
        "成交额": "amount",
    },
    telling=("日期", "开盘", "最高", "最低", "收盘", "成交量", "成交额"),
    exactly=True,
    convention=Convention(chinese=True),
    title=_title,
    trailer=".*数据来源.*",
)
