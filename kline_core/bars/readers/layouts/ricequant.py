"""RiceQuant: frames of `get_price`, saved as CSV or Parquet. Codes like 600519.XSHG, shares and yuan.

The cells do not say whether prices are adjusted. `prev_close` is the close before, less what was paid out, as long as
the prices are raw; `get_price` adjusts them forward unless it is asked not to.
"""

from kline_core.bars.convention import Convention
from kline_core.bars.readers.layout import Layout

LAYOUT = Layout(
    name="RiceQuant",
    columns={
        "order_book_id": "symbol",
        "date": "date",
        "datetime": "date",
        "open": "open",
        "close": "close",
        "high": "high",
        "low": "low",
        "volume": "volume",
        "total_turnover": "amount",
        "prev_close": "prev_close",
    },
    telling=("open", "close", "volume", "total_turnover"),
    convention=Convention(chinese=True),
    unadjusted=(
        "RiceQuant's prices are taken as raw: ask with adjust_type='none', or name the file or its folder qfq or hfq"
    ),
)
