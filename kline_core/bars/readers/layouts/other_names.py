"""The plain layout with its symbols or its days under other names: a column ticker, days under datetime or time.

Not `ts_code` and `trade_date`: what has these is Tushare's, and may count lots.
"""

from dataclasses import replace
from typing import Final

from kline_core.bars.readers.layout import NEEDED, Layout
from kline_core.bars.readers.layouts import plain

_DAYS: Final = ("datetime", "date/time", "day", "time", "index", "unnamed: 0", "")
"""The last ones are an index without a name, as pandas writes and reads it again."""
_BARS: Final = tuple(name for name in NEEDED if name != "date")


def _named(symbol: str, day: str) -> Layout:
    """The layout with these names; the plain one for the symbol is none of its columns where another one is."""
    columns = {name: what for name, what in plain.LAYOUT.columns.items() if what != "date"} | {day: "date"}
    shown = " and ".join(
        f"a column {name or 'without a name'}" for name, usual in ((symbol, "symbol"), (day, "date")) if name != usual
    )
    telling = (day, *_BARS) if symbol == "symbol" else (symbol, day, *_BARS)
    return replace(plain.LAYOUT, name=f"plain, with {shown}", columns=columns | {symbol: "symbol"}, telling=telling)


TICKER = _named("ticker", "date")
SYMBOLS = tuple(_named(name, "date") for name in ("code", "stock_code", "instrument", "asset"))
DAYS = tuple(
    _named(symbol, day) for day in _DAYS for symbol in ("ticker", "code", "stock_code", "instrument", "asset", "symbol")
)
