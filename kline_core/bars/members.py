"""Members of universes by date, such as those of the CSI 300, as live sources told them: the table `members`.

A snapshot is the list of a universe's members on one day. On any day those of the newest snapshot not after it count,
so that nobody knows tomorrow's members; before the first snapshot nothing is known, and nobody is a member.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kline_core.errors import HomeError, SettingError
from kline_core.store.home import Home, TableChangedError
from kline_core.symbols import canonical_symbol
from kline_core.typing import Dates, Flags, Objects

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Membership:
    """The snapshots of one universe."""

    universe: str
    dates: Dates
    """datetime64[D] (snapshots,): their days, increasing."""
    members: list[frozenset[str]]
    """Canonical symbols of each snapshot."""

    @property
    def ever(self) -> list[str]:
        """All symbols of any snapshot, sorted."""
        return sorted(frozenset().union(*self.members))

    def holds(self, symbols: Objects, days: Dates) -> Flags:
        """Whether each symbol was a member on its day, by the newest snapshot not after it: bool (n,).

        Args:
            symbols: object (n,): symbols as the home has them.
            days: datetime64[D] (n,).
        """
        at = np.searchsorted(self.dates, days, side="right") - 1
        found = np.zeros(len(days), dtype=bool)
        names = {name: canonical_symbol(name) for name in dict.fromkeys(symbols.tolist())}
        canonical = np.array([names[name] for name in symbols.tolist()], dtype=object)
        for place in np.unique(at[at >= 0]).tolist():
            mine = at == place
            found[mine] = np.isin(canonical[mine], sorted(self.members[place]))
        return found


def membership(home: Home, universe: str) -> Membership:
    """The snapshots that a home keeps of a universe; none if it keeps none. Raises `HomeError`."""
    rows = home.read("members", ["date", "symbol"], where=pc.field("universe").cast(pa.string()) == universe)
    dates = rows["date"].to_numpy().astype("datetime64[D]")
    symbols = np.array(rows["symbol"].to_pylist(), dtype=object)
    days = np.unique(dates)
    return Membership(universe, days, [frozenset(symbols[dates == day].tolist()) for day in days])


def known_membership(home: Home, universe: str) -> Membership:
    """The snapshots that a home keeps of a universe, at least one.

    Raises `SettingError` if it keeps none, naming those that it keeps, and `HomeError`.
    """
    found = membership(home, universe)
    if not len(found.dates):
        kept = sorted(set(home.read("members", ["universe"])["universe"].to_pylist()))
        there = f"it keeps those of {', '.join(kept)}" if kept else "it keeps none"
        raise SettingError(
            f"universe is {universe!r}, of which home {home.uri} keeps no members ({there}); "
            f"`kline fetch SOURCE:{universe}` asks a source for them",
            parameter="universe",
            value=universe,
        )
    return found


def keep_members(home: Home, universe: str, source: str, snapshots: Mapping[np.datetime64, Sequence[str]]) -> int:
    """Keep snapshots of a universe, in one commit, and return how many are new.

    A day that has a snapshot keeps it: what was known then does not change.

    Args:
        home: The home.
        universe: Its name, such as csi300.
        source: Name of the source that told them.
        snapshots: Canonical symbols by day, datetime64[D]; days without symbols are left out.

    Raises:
        TableChangedError: Other writers change the table again and again.
        HomeError: The home cannot be read or written.
    """
    for attempt in range(_ATTEMPTS):
        version = home.version("members")
        known = set(membership(home, universe).dates.tolist())
        new = {day: sorted(set(names)) for day, names in snapshots.items() if names and day.item() not in known}
        if not new:
            return 0
        days = np.repeat(np.array(list(new)), [len(names) for names in new.values()])
        rows = pa.table(
            {
                "universe": pa.array([universe] * len(days), pa.string()),
                "symbol": pa.array([name for names in new.values() for name in names], pa.string()),
                "date": pa.array(days.astype("datetime64[D]"), pa.date32()),
                "source": pa.array([source] * len(days), pa.string()),
            }
        )
        try:
            if version is None:
                version = _made(home)
            home.append("members", rows, {"universe": universe, "source": source}, version)
            return len(new)
        except TableChangedError:
            if attempt + 1 == _ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def _made(home: Home) -> int:
    """Version of the new table. Raises `TableChangedError` if another writer was faster."""
    try:
        return home.create("members", {})
    except HomeError as error:
        if isinstance(error, TableChangedError) or home.version("members") is None:
            raise
        raise TableChangedError(str(error), home=home.uri, table="members") from error
