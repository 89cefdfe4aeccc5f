"""The plain layout with its symbols under another name: a column `ticker`."""

from kline_core.bars.readers.layout import NEEDED, Layout
from kline_core.bars.readers.layouts import plain

LAYOUT = Layout(
    name="plain, with a column ticker",
    columns={**plain.LAYOUT.columns, "ticker": "symbol"},
    telling=("ticker", *NEEDED),
)
