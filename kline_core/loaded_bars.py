"""Bars in memory, read once per process and shared by whoever works on the same version of them. Imports no torch.

Where an older version is in memory to which rows were only added, all of them newer than any that it has, just these
are read: a process that stays warm pays for the day, not for the history. In every other case (a restated bar, a late
one, compacted files) all is read. Windows are found likewise: those that were known are known still.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import date
from typing import Final

import numpy as np
import pyarrow.compute as pc

from kline_core.bars import SymbolBars, frame_cache
from kline_core.errors import StaleError
from kline_core.kept import Kept
from kline_core.keys import BarsKey
from kline_core.known import Frames, KnownWindows, joined, known_windows
from kline_core.settings import PatternSettings
from kline_core.tables import Home

KEPT: Final = 2
"""With two, a run on the newest version and one on the version before it find theirs."""


def loaded_bars(key: BarsKey) -> Frames:
    """Bars of that name, read once per process while they are among the newest.

    Raises `StaleError` where the table was made anew since, and what `Home` raises.
    """
    return _bars.get(key, lambda: _load_bars(key)).frames


def loaded_windows(key: BarsKey, settings: PatternSettings) -> KnownWindows:
    """The windows of these bars that are patterns (`known_windows`), found once likewise; raises as `loaded_bars`."""
    return _windows.get((key, settings), lambda: _find_windows(key, settings)).windows


def made_anew(home: str) -> StaleError:
    """The error for a table that is another one than the name that was given."""
    return StaleError(f"tables of {home} were made anew after the run was started; start the run again")


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    windows: KnownWindows
    files: frozenset[str]
    """Those that the bars were read from."""


def _find_windows(key: BarsKey, settings: PatternSettings) -> _Found:
    loaded = _bars.get(key, lambda: _load_bars(key))
    base = loaded.base
    earlier = None if base is None else dict(_windows.items()).get((base.key, settings))
    if base is None or earlier is None or earlier.files != base.files:
        return _Found(known_windows(loaded.frames, settings), loaded.files)
    return _Found(joined(earlier.windows, known_windows(loaded.frames, settings, base.bars)), loaded.files)


@dataclass(frozen=True, slots=True)
class _Base:
    """Bars to which others were added."""

    key: BarsKey
    files: frozenset[str]
    bars: Mapping[str, int]
    """How many each symbol had."""


@dataclass(frozen=True, slots=True, eq=False)
class _Loaded:
    frames: Frames
    newest: date | None
    """Day of the newest row, suspended ones among them."""
    files: frozenset[str]
    """Those that were read: asked of the table later, the files of that version may be those of a restored copy."""
    base: _Base | None = None
    """What was loaded when these were made of it and of later bars."""


def _load_bars(key: BarsKey) -> _Loaded:
    home = Home(key.home)
    if key.identity != home.identity("bars"):
        raise made_anew(key.home)
    for other, loaded in _bars.items():
        if isinstance(other, BarsKey) and (grown := _grown(home, key, other, loaded)) is not None:
            return grown
    rows = home.read("bars", COLUMNS, version=key.version)
    return _Loaded(frame_cache(rows), pc.max(rows["date"]).as_py(), _files(home, key))


def _files(home: Home, key: BarsKey) -> frozenset[str]:
    return frozenset() if key.version is None else frozenset(home.files("bars", key.version))


def _grown(home: Home, key: BarsKey, other: BarsKey, loaded: _Loaded) -> _Loaded | None:
    """What is loaded with the rows that came to it, where these are all newer than any that it has."""
    if (other.home, other.identity) != (key.home, key.identity) or loaded.newest is None:
        return None
    if other.version is None or key.version is None or other.version > key.version:
        return None
    rows = home.appended("bars", COLUMNS, loaded.files, key.version)
    if rows is None:
        return None
    files = _files(home, key)
    base = _Base(other, loaded.files, {symbol: len(bars) for symbol, bars in loaded.frames.items()})
    if rows.num_rows == 0:
        return replace(loaded, files=files, base=base)
    if pc.min(rows["date"]).as_py() <= loaded.newest:
        return None
    return _Loaded(_joined(loaded.frames, frame_cache(rows)), pc.max(rows["date"]).as_py(), files, base)


def _joined(frames: Frames, newer: Frames) -> Frames:
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


COLUMNS: Final = ("symbol", "date", "open", "high", "low", "close", "volume", "adj_factor", "suspended")
_bars: Kept[_Loaded] = Kept(KEPT)
_windows: Kept[_Found] = Kept(1)
