"""NetEase (163): the CSV of its quotes, and fooltrader's files made of them.

The CSV is GBK, newest first, with codes like '600000 and shares and yuan. Suspended days have zeros for all prices and
`None` for the change. 前收盘 is the close before, less what was paid out. An index has the code of a share, and only
its name (上证指数, 沪深300) tells it. fooltrader's `factor` is a cumulative backward factor.
"""

import pandas as pd

from kline_core.bars.convention import Convention, exchange_of_index
from kline_core.bars.readers.layout import Layout


def _plain(cells: pd.DataFrame) -> pd.DataFrame:
    code = cells["symbol"].astype(str).str.strip().str.lstrip("'‘’")
    name = cells["name"].astype(str) if "name" in cells.columns else pd.Series("", index=cells.index)
    pairs = list(zip(code, name, strict=True))
    exchange = {pair: exchange_of_index(*pair) for pair in set(pairs)}
    codes = [f"{pair[0]}.{exchange[pair]}" if exchange[pair] else pair[0] for pair in pairs]
    return cells.assign(symbol=pd.Series(codes, index=cells.index, dtype=object))


QUOTES = Layout(
    name="NetEase 163",
    columns={
        "日期": "date",
        "股票代码": "symbol",
        "名称": "name",
        "收盘价": "close",
        "最高价": "high",
        "最低价": "low",
        "开盘价": "open",
        "前收盘": "prev_close",
        "成交量": "volume",
        "成交金额": "amount",
    },
    telling=("日期", "股票代码", "收盘价", "前收盘", "成交量"),
    convention=Convention(chinese=True),
    tidy=_plain,
)
FOOLTRADER = Layout(
    name="fooltrader",
    columns={
        "timestamp": "date",
        "code": "symbol",
        "open": "open",
        "high": "high",
        "low": "low",
        "close": "close",
        "volume": "volume",
        "turnover": "amount",
        "preclose": "prev_close",
        "factor": "adj_factor",
    },
    telling=("timestamp", "code", "turnover", "securityid"),
    convention=Convention(chinese=True),
)
