"""AkShare: the frames of its functions for mainland shares and funds, saved as CSV or Parquet.

* Eastmoney (`stock_zh_a_hist`, `fund_etf_hist_em`): Chinese headers, lots of 100 shares. Codes are bare, those that
  were read as numbers have lost their zeros, and older versions have none, so that the file's name is the code.
* Sina (`stock_zh_a_daily`): shares. Frames of several codes in one file have a column of these, which their owner has
  added. With `adjust="hfq-factor"` or `"qfq-factor"` a file of factors: each holds from its date on, raw prices times
  the first, or divided by the second, are the adjusted ones. All of the second change with each payment.
* Tencent (`stock_zh_a_hist_tx`): five columns, of which `amount` counts lots.

None says in its cells whether prices are adjusted: see `kline_core.bars.readers.raw_rows` for names that do, or give a
frame of Eastmoney's a column `adjust` that is empty, `qfq` or `hfq`, as the function's argument of that name.
"""

from dataclasses import replace
from typing import Final

import pandas as pd

from kline_core.bars.convention import Adjustment, Convention, FactorRows
from kline_core.bars.readers.layout import Layout

_LOTS: Final = Convention(volume_unit=100, chinese=True)
_NOTE: Final = (
    "AkShare's prices tell no payments: deliver the file of adjust='hfq', named _hfq or in a folder hfq, beside the "
    "raw one, or Sina's hfq-factor"
)

EASTMONEY = Layout(
    name="AkShare (Eastmoney)",
    columns={
        "日期": "date",
        **dict.fromkeys(("股票代码", "代码", "证券代码", "symbol", "code"), "symbol"),
        "开盘": "open",
        "收盘": "close",
        "最高": "high",
        "最低": "low",
        "成交量": "volume",
        "成交额": "amount",
        # Not the vendor's: for whoever puts raw and adjusted frames side by side, as `kline fetch` does.
        "adjust": "adjustment",
    },
    adjustments={"": Adjustment.RAW, "qfq": Adjustment.FORWARD, "hfq": Adjustment.BACKWARD},
    telling=("日期", "开盘", "收盘", "最高", "最低", "成交量", "振幅"),
    convention=_LOTS,
    unadjusted=_NOTE,
)
EASTMONEY_WITH_CODE = replace(EASTMONEY, telling=("日期", "股票代码", "开盘", "收盘", "最高", "最低", "成交量"))
EASTMONEY_BARE = replace(EASTMONEY, telling=("日期", "开盘", "收盘", "最高", "最低", "成交量", "成交额"), exactly=True)
SINA = Layout(
    name="AkShare (Sina)",
    columns={name: name for name in ("symbol", "date", "open", "high", "low", "close", "volume", "amount")}
    | {"code": "symbol"},
    telling=("date", "open", "high", "low", "close", "volume", "outstanding_share"),
    convention=Convention(chinese=True),
    unadjusted=_NOTE,
)
TENCENT = Layout(
    name="AkShare (Tencent)",
    columns={"date": "date", "open": "open", "close": "close", "high": "high", "low": "low", "amount": "volume"},
    telling=("date", "open", "close", "high", "low", "amount"),
    exactly=True,
    convention=_LOTS,
    unadjusted=_NOTE,
)
HFQ_FACTOR = Layout(
    name="AkShare hfq-factor",
    columns={"date": "date", "hfq_factor": "adj_factor"},
    telling=("date", "hfq_factor"),
    convention=Convention(chinese=True),
    factors=FactorRows.STEPS,
)


def _inverse(cells: pd.DataFrame) -> pd.DataFrame:
    factor = pd.to_numeric(cells["adj_factor"], errors="coerce")
    return cells.assign(adj_factor=(1 / factor).where(factor > 0, cells["adj_factor"].astype(object)))


QFQ_FACTOR = replace(
    HFQ_FACTOR,
    name="AkShare qfq-factor",
    columns={"date": "date", "qfq_factor": "adj_factor"},
    telling=("date", "qfq_factor"),
    factors=FactorRows.MOVING_STEPS,
    tidy=_inverse,
)
