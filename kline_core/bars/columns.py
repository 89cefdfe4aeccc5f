"""Columns of bars, by their meaning."""

from typing import Final

PRICES: Final = ("open", "high", "low", "close")
REQUIRED: Final = ("symbol", "date", *PRICES, "volume")
OPTIONAL: Final = ("amount", "adj_factor")
BAR_COLUMNS: Final = (*REQUIRED, *OPTIONAL, "suspended")
HINTS: Final = ("prev_close", "adj_close", "split", "dividend", "trading")
"""What vendors give beside these, which tells the adjustment, and with 0 in `trading` that a day was not traded."""
TEXTS: Final = ("period",)
"""What vendors say of a row in words: what time a bar is of."""
PAYMENTS: Final = ("prev_close", "adj_close", "split", "dividend", "adj_factor")
"""Columns that tell how raw prices are to be adjusted."""
ADJUSTMENT: Final = "adjustment"
NAME: Final = "name"
"""What some files say beside their bars, row by row: whether prices are raw or adjusted, and the name of a company or
an index. They are used where a file is read, and are no columns of its rows."""
NUMBERS: Final = frozenset((*PRICES, "volume", *OPTIONAL, *HINTS))
"""Meanings of the columns that hold numbers."""
CHANGES: Final = ("incremental", "change", "prev_close")
"""Columns of checked rows beside those of bars: whether the row's factor is still to be chained; change of the factor
from the symbol's row before, NaN where nothing tells it; previous close, NaN if there is none."""
