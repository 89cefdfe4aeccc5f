"""baostock: `query_history_k_data_plus` saved as CSV. Codes like sh.600519, volume in shares, amount in yuan.

`preclose` is the close before, less what was paid out: the day it differs from the close before is an ex-date.
Suspended days are there, flat at the last close, with `tradestatus` 0. `adjustflag` says what the prices are: 3 is raw.
Whoever asks names the fields, and may have left `preclose` out.
"""

from dataclasses import replace

from kline_core.bars.convention import Adjustment, Convention
from kline_core.bars.readers.layout import Layout

LAYOUT = Layout(
    name="baostock",
    columns={
        "code": "symbol",
        "date": "date",
        "open": "open",
        "high": "high",
        "low": "low",
        "close": "close",
        "volume": "volume",
        "amount": "amount",
        "preclose": "prev_close",
        "tradestatus": "trading",
        "adjustflag": "adjustment",
    },
    telling=("code", "date", "preclose"),
    convention=Convention(chinese=True),
    adjustments={"1": Adjustment.BACKWARD, "2": Adjustment.FORWARD, "3": Adjustment.RAW},
)
WITHOUT_PREVIOUS_CLOSE = tuple(
    replace(
        LAYOUT,
        telling=("code", "date", name),
        unadjusted="baostock tells payments by its field preclose, which is not there: ask for it too",
    )
    for name in ("adjustflag", "tradestatus", "isst", "pctchg")
)
