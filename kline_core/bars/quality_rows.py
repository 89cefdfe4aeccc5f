"""Stored rows laid out for the checks of their quality: whole arrays, ordered by symbol and date."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kline_core.bars.sessions import session_numbers
from kline_core.bars.symbol_bars import symbol_day_keys
from kline_core.typing import Dates, Flags, Floats64, Int64s, Objects, Positions

COLUMNS = ("symbol", "date", "open", "high", "low", "close", "volume", "amount", "adj_factor", "suspended")
_OF_ROWS = ("code", "date", "open", "high", "low", "close", "volume", "amount", "factor", "traded")


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """n rows of the table `bars`, by symbol and date. Prices are raw."""

    symbols: Objects
    """The s symbols, sorted."""
    code: Int64s
    """int64 (n,): position in `symbols`."""
    date: Dates
    """datetime64[D] (n,)"""
    open: Floats64
    high: Floats64
    low: Floats64
    close: Floats64
    volume: Floats64
    """Shares, NaN where unknown."""
    amount: Floats64
    """In the market's currency, NaN where unknown."""
    factor: Floats64
    """1.0 where none was given."""
    traded: Flags
    """bool (n,): whether it is no suspended day."""
    session: Int64s | None
    """int64 (n,): number of the date among the market's sessions, -1 if it is none; None without a calendar."""

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.code)

    @classmethod
    def of(cls, table: pa.Table, calendar: str | None) -> Self:
        """Rows of a table with `COLUMNS`, in any order.

        `calendar`: name of the market's calendar, None if it is not known. Raises as `session_numbers`.
        """
        encoded = table["symbol"].cast(pa.string()).combine_chunks().dictionary_encode()
        names = np.array(encoded.dictionary.to_pylist(), dtype=object)
        by_name = np.argsort(names)
        rank = np.empty(len(names), dtype=np.int64)
        rank[by_name] = np.arange(len(names))
        code = rank[encoded.indices.to_numpy(zero_copy_only=False)]
        day = table["date"].cast(pa.int32()).to_numpy()
        key = symbol_day_keys(code, day)
        # One file of a table has its rows in order, and they need not be copied.
        order = slice(None) if (key[1:] >= key[:-1]).all() else np.argsort(key, kind="stable")
        date = day.astype(np.int64).astype("datetime64[D]")[order]
        return cls(
            symbols=names[by_name],
            code=code[order],
            date=date,
            **{name: table[name].to_numpy()[order] for name in COLUMNS[2:8]},
            factor=pc.fill_null(table["adj_factor"], 1.0).to_numpy()[order],
            traded=~table["suspended"].to_numpy()[order],
            session=None if calendar is None else session_numbers(date, calendar),
        )

    def take(self, rows: Flags) -> Self:
        """The rows under a mask, with all symbols."""
        if rows.all():
            return self
        columns = {name: getattr(self, name)[rows] for name in _OF_ROWS}
        return replace(self, **columns, session=None if self.session is None else self.session[rows])

    def bounds(self) -> tuple[Positions, Positions]:
        """First and last row of each symbol that has rows, in their order."""
        edges = np.flatnonzero(~self.same_symbol())
        if len(self) == 0:
            return edges, edges
        return np.concatenate([[0], edges + 1]), np.concatenate([edges, [len(self) - 1]])

    def same_symbol(self) -> Flags:
        """Whether each row but the first is of the symbol of the row before: bool (n - 1,)."""
        same: Flags = self.code[1:] == self.code[:-1]
        return same

    def counts(self) -> Int64s:
        """Rows of the same symbol before each row: int64 (n,)."""
        first = np.searchsorted(self.code, np.arange(len(self.symbols)))
        before: Int64s = np.arange(len(self)) - first[self.code]
        return before
