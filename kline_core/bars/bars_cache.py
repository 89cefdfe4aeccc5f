"""Bars in memory, loaded once per process and shared by all work on the same version.

If a process holds an older version, and the newer one only adds rows that are all later than the newest row held, only
the added rows are read. In every other case (a restated bar, a late bar, compacted files) all rows are read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Final, Self

import pyarrow.compute as pc

from kline_core._cache import loaded
from kline_core._hashing import text_hash
from kline_core.bars.bars_room import BarsRoom, with_room_behind
from kline_core.bars.jumps import Releases, released
from kline_core.bars.symbol_bars import BarsBySymbol, bars_by_symbol
from kline_core.errors import StaleError
from kline_core.store.home import Home

COLUMNS: Final = ("symbol", "date", "open", "high", "low", "close", "volume", "adj_factor", "suspended")


@dataclass(frozen=True, slots=True)
class BarsBase:
    """The earlier state that bars were advanced from."""

    key: "BarsKey"
    files: frozenset[str]
    bars: Mapping[str, int]
    """Number of bars of each symbol."""


@dataclass(frozen=True, slots=True, eq=False)
class LoadedBars:
    """The bars of one version of the table; read-only."""

    frames: BarsBySymbol
    newest: date | None
    """Day of the newest row, suspended days included; None if there is no row."""
    files: frozenset[str]
    """Data files that were read. A later look at the same version could list the files of a restored copy."""
    releases: Releases
    """Jumps that were released at this version."""
    base: BarsBase | None = None
    """State that these bars were advanced from; None if they were loaded in full."""
    room: BarsRoom | None = None
    """What the bars of most symbols lie in, with room for later ones."""


@dataclass(frozen=True, slots=True)
class BarsKey:
    """Key of the bars of one state of a home."""

    home: str
    version: int | None
    identity: str | None
    """Identity of the table: a home that is deleted and made again counts its versions from 0."""

    files: str | None = None
    """Hash of the names of the version's files: a home restored from a copy counts its versions a second time. None if
    they do not matter."""

    @classmethod
    def newest(cls, home: Home) -> Self:
        """Key of the bars that the home holds now. Raises `HomeError` if it is gone, and what else `Home` raises."""
        home.check_there()
        version = home.version("bars")
        files = None if version is None else files_hash(home.files("bars", version))
        return cls(home.uri, version, home.identity("bars"), files)

    def frames(self) -> BarsBySymbol:
        """The bars, loaded if the process does not hold them. Raises as `load`."""
        return loaded(self).frames

    def load(self) -> LoadedBars:
        """Read the whole table. Raises `StaleError` if another table replaced it, and what `Home` raises."""
        home = self._open()
        files = self._files(home)
        rows = home.read("bars", COLUMNS, version=self.version)
        releases = released(home.notes(self.version))
        return LoadedBars(bars_by_symbol(rows, releases=releases), pc.max(rows["date"]).as_py(), files, releases)

    def advance(self, earlier: Self, value: LoadedBars) -> LoadedBars | None:
        """Read only the rows added to an earlier version; None unless all are later than its newest row.

        None too if a jump was released, or a release taken back.
        """
        if (earlier.home, earlier.identity) != (self.home, self.identity) or value.newest is None:
            return None
        if earlier.version is None or self.version is None or earlier.version > self.version:
            return None
        home = self._open()
        files = self._files(home)
        if released(home.notes(self.version)) != value.releases:
            return None
        rows = home.appended("bars", COLUMNS, value.files, self.version)
        if rows is None:
            return None
        base = BarsBase(earlier, value.files, {symbol: len(bars) for symbol, bars in value.frames.items()})
        if rows.num_rows == 0:
            return replace(value, files=files, base=base)
        if pc.min(rows["date"]).as_py() <= value.newest:
            return None
        newer = bars_by_symbol(rows, None, value.frames, value.releases)
        joined, room = _joined(value.frames, newer, value.room)
        return LoadedBars(joined, pc.max(rows["date"]).as_py(), files, value.releases, base, room)

    def _open(self) -> Home:
        home = Home(self.home)
        if self.identity != home.identity("bars"):
            raise table_replaced(self.home)
        return home

    def _files(self, home: Home) -> frozenset[str]:
        """Files of the version. Raises `StaleError` if they are not those that the key was made for."""
        files = frozenset() if self.version is None else frozenset(home.files("bars", self.version))
        if self.files is not None and self.files != files_hash(files):
            raise table_replaced(self.home)
        return files


def files_hash(files: Iterable[str]) -> str:
    """Hash of the names of a version's data files."""
    return f"{text_hash(' '.join(sorted(files))):016x}"


def table_replaced(home: str) -> StaleError:
    """Error for a table that replaced the one a key was made for."""
    return StaleError(f"tables of {home} were made anew after the run was started; start the run again", home=home)


def _joined(frames: BarsBySymbol, newer: BarsBySymbol, room: BarsRoom | None) -> tuple[BarsBySymbol, BarsRoom | None]:
    """Bars of all symbols, and the room that they lie in; those of `newer` are all later than those of `frames`."""
    symbols = sorted({*frames, *newer})
    found = {} if room is None else room.followed_by(frames, newer)
    rest = [symbol for symbol in newer if symbol not in found]
    joined = {**frames, **found}
    parts = {symbol: [each[symbol] for each in (joined, newer) if symbol in each] for symbol in rest}
    if rest and 2 * len(rest) >= len(symbols):
        # Bars of the other symbols too, so that none keeps the arrays of the day before alive.
        room = with_room_behind([parts.get(symbol) or [joined[symbol]] for symbol in symbols], symbols)
        return room.frames(), room
    for symbol, several in parts.items():
        joined |= with_room_behind([several], [symbol]).frames()
    return {symbol: joined[symbol] for symbol in symbols}, room
