"""Which stored patterns a process has found to be exactly the windows that the bars give, so that it looks once.

Where the windows go on from those that were checked, and the table has only grown since, just what was added is looked
at: a process that stays warm pays for the day, not for the history. Imports no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kline_core.kept import Kept
from kline_core.known import KnownWindows, compare, goes_on
from kline_core.loaded_bars import KEPT
from kline_core.tables import Home


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """Patterns of a home that are the windows of its bars, each stored once, and from these very bars."""

    windows: KnownWindows
    files: frozenset[str]
    """Those of the table `patterns`; see `Home.appended`."""


@dataclass(frozen=True, slots=True, eq=False)
class Since:
    """What came after patterns that were checked."""

    windows: KnownWindows
    """Those that were not known yet."""
    rows: pa.Table
    """Patterns that were stored since, each of one of `windows` and sound."""
    place: NDArray[np.int64]
    """int64 (rows,): which of `windows` each row is of."""
    missing: NDArray[np.int64]
    """int64, increasing: which of `windows` are not stored."""


def came_since(
    home: Home, checked: Checked, version: int, windows: KnownWindows, columns: Sequence[str] = ()
) -> Since | None:
    """What a version of `patterns` has, and `windows` are, beyond what was checked, where all of that still holds.

    `columns` are read of the new rows beside those that are compared. None where the windows do not go on from those
    that were checked, where rows were taken out or files compacted, or where a new row is not sound.
    """
    if not goes_on(windows, checked.windows):
        return None
    rows = home.appended("patterns", ["symbol", "end", "content", *columns], checked.files, version)
    if rows is None:
        return None
    later = windows.take(slice(len(checked.windows), None))
    found = compare(rows, later)
    return Since(later, rows, found.place, found.missing) if found.sound.all() else None


def remember(home: Home, identity: str | None, checked: Checked) -> None:
    """Note what was checked, for `remembered`; `identity` is that of the table `patterns`."""
    _checked.put((home.uri, identity, checked.files), checked)


def remembered(home: Home, identity: str | None) -> list[Checked]:
    """What is noted of the home's patterns, the newest first."""
    return [
        checked for name, checked in _checked.items() if isinstance(name, tuple) and name[:2] == (home.uri, identity)
    ]


_checked: Kept[Checked] = Kept(KEPT)
