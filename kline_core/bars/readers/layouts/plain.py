"""The plain layout: `symbol, date, open, high, low, close, volume`, and perhaps `amount` and `adj_factor`.

Instead of `adj_factor` there may be what it follows from: `prev_close` or `adj_close`, or `split` and `dividend`.
"""

from dataclasses import replace

from kline_core.bars.columns import HINTS, OPTIONAL, REQUIRED
from kline_core.bars.readers.layout import NEEDED, Layout

LAYOUT = Layout(
    name="plain",
    columns={name: name for name in (*REQUIRED, *OPTIONAL, *HINTS)},
    telling=NEEDED,
    # Stooq's download in English has these columns.
    file_name=r"([A-Z0-9-]{1,10})_(us|hk)_d",
)
WITH_SYMBOL = replace(LAYOUT, telling=("symbol", *NEEDED))
"""Where a column symbol is there, another one that may hold codes is not read."""
