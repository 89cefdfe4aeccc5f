"""Bars in memory, read once per process and shared by whoever works on the same version of them.

Where a process holds an older version to which rows were only added, all of them newer than any that it has, only the
added rows are read. In every other case (a restated bar, a late one, compacted files) all of them are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import date
from typing import Final, Self

import numpy as np
import pyarrow.compute as pc

from kline_core._cache import loaded
from kline_core.bars.symbol_bars import BarsBySymbol, SymbolBars, bars_by_symbol
from kline_core.errors import StaleError
from kline_core.store.home import Home

COLUMNS: Final = ("symbol", "date", "open", "high", "low", "close", "volume", "adj_factor", "suspended")


@dataclass(frozen=True, slots=True)
class BarsBase:
    """The older state from which bars were advanced."""

    key: "BarsKey"
    files: frozenset[str]
    bars: Mapping[str, int]
    """Number of bars of each symbol."""


@dataclass(frozen=True, slots=True, eq=False)
class LoadedBars:
    """The bars of one version of the table; read-only."""

    frames: BarsBySymbol
    newest: date | None
    """Day of the newest row, suspended ones among them."""
    files: frozenset[str]
    """Files that were read: asked of the table later, the files of that version may be those of a restored copy."""
    base: BarsBase | None = None


@dataclass(frozen=True, slots=True)
class BarsKey:
    """Names the bars of one state of a home."""

    home: str
    version: int | None
    identity: str | None
    """Identity of the table: a home that is deleted and made again counts its versions from 0."""

    @classmethod
    def newest(cls, home: Home) -> Self:
        """The bars that the home holds now."""
        return cls(home.uri, home.version("bars"), home.identity("bars"))

    def frames(self) -> BarsBySymbol:
        """The bars themselves, loaded where the process does not hold them; raises as `load`."""
        return loaded(self).frames

    def load(self) -> LoadedBars:
        """Read the whole table. Raises `StaleError` where it was replaced by another one, and what `Home` raises."""
        home = self._open()
        rows = home.read("bars", COLUMNS, version=self.version)
        return LoadedBars(bars_by_symbol(rows), pc.max(rows["date"]).as_py(), self._files(home))

    def advance(self, earlier: Self, value: LoadedBars) -> LoadedBars | None:
        """Read only the rows that were added to an earlier version, where all are newer than any that it has."""
        if (earlier.home, earlier.identity) != (self.home, self.identity) or value.newest is None:
            return None
        if earlier.version is None or self.version is None or earlier.version > self.version:
            return None
        home = self._open()
        rows = home.appended("bars", COLUMNS, value.files, self.version)
        if rows is None:
            return None
        files = self._files(home)
        base = BarsBase(earlier, value.files, {symbol: len(bars) for symbol, bars in value.frames.items()})
        if rows.num_rows == 0:
            return replace(value, files=files, base=base)
        if pc.min(rows["date"]).as_py() <= value.newest:
            return None
        return LoadedBars(_joined(value.frames, bars_by_symbol(rows)), pc.max(rows["date"]).as_py(), files, base)

    def _open(self) -> Home:
        home = Home(self.home)
        if self.identity != home.identity("bars"):
            raise table_replaced(self.home)
        return home

    def _files(self, home: Home) -> frozenset[str]:
        return frozenset() if self.version is None else frozenset(home.files("bars", self.version))


def table_replaced(home: str) -> StaleError:
    """The error for a table that is another one than the key was made for."""
    return StaleError(f"tables of {home} were made anew after the run was started; start the run again", home=home)


def _joined(frames: BarsBySymbol, newer: BarsBySymbol) -> BarsBySymbol:
    """Bars of all symbols, of which the newer ones are all later."""
    joined = dict(frames)
    for symbol, later in newer.items():
        earlier = frames.get(symbol)
        joined[symbol] = later if earlier is None else _after(earlier, later)
    return {symbol: joined[symbol] for symbol in sorted(joined)}


def _after(earlier: SymbolBars, later: SymbolBars) -> SymbolBars:
    columns = []
    for field in fields(SymbolBars)[1:]:
        column = np.concatenate([getattr(earlier, field.name), getattr(later, field.name)])
        column.flags.writeable = False
        columns.append(column)
    return SymbolBars(earlier.symbol, *columns)
