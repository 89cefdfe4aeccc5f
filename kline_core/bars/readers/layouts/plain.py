"""The plain layout: `symbol, date, open, high, low, close, volume`, and perhaps `amount` and `adj_factor`."""

from kline_core.bars.columns import OPTIONAL, REQUIRED
from kline_core.bars.readers.layout import NEEDED, Layout

LAYOUT = Layout(name="plain", columns={name: name for name in (*REQUIRED, *OPTIONAL)}, telling=NEEDED)
