"""Stored patterns, verified against the catalogue of the bars.

If a process has verified an earlier version of the table, and both the catalogue and the table have only grown since,
it compares only the added rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from kline_core._cache import hold
from kline_core.errors import FingerprintError
from kline_core.patterns.catalogue import Catalogue, CatalogueKey
from kline_core.settings import METHOD, PatternSettings, pattern_fingerprint
from kline_core.store.home import Home
from kline_core.typing import Flags, Int64s


@dataclass(frozen=True, slots=True, eq=False)
class PatternsComparison:
    """Comparison of stored patterns with a catalogue."""

    place: Int64s
    """int64 (stored,): position of each stored pattern's window in the catalogue, -1 if it is not there."""
    sound: Flags
    """bool (stored,): the window is in the catalogue, depends on the same bars as when it was stored, and is stored
    once."""
    missing: Int64s
    """int64, increasing: positions of the windows without a sound pattern."""


def compare_patterns(stored: pa.Table, windows: Catalogue, place: Int64s | None = None) -> PatternsComparison:
    """Compare stored patterns (columns symbol, end, content) with a catalogue.

    `place`: what `windows.find` says of them, where the caller knows it.
    """
    if place is None:
        place = windows.find(stored["symbol"], stored["end"])
    times = np.bincount(place[place >= 0], minlength=len(windows))
    content = stored["content"].to_numpy().view(np.uint64)
    sound = place >= 0
    sound[sound] = (windows.content[place[sound]] == content[sound]) & (times[place[sound]] == 1)
    have = np.zeros(len(windows), dtype=bool)
    have[place[sound]] = True
    return PatternsComparison(place, sound, np.flatnonzero(~have))


@dataclass(frozen=True, slots=True, eq=False)
class VerifiedPatterns:
    """The rows of a version of `patterns`, compared with the catalogue."""

    windows: Catalogue
    files: frozenset[str]
    """Data files of the version; see `Home.appended`."""
    missing: Int64s
    """int64, increasing: positions of the windows to be stored, all those of restated symbols included."""
    restated: tuple[str, ...] = ()
    """Symbols with a stored row that is not sound (`PatternsComparison.sound`), sorted."""

    @property
    def complete(self) -> bool:
        """Whether the rows are exactly the windows of the catalogue."""
        return len(self.missing) == 0 and not self.restated


@dataclass(frozen=True, slots=True)
class PatternsKey:
    """Key of the comparison of one version of `patterns` with a catalogue."""

    home: str
    identity: str | None
    """Identity of the table, see `BarsKey`."""
    version: int
    files: frozenset[str]
    """Data files of the version, which tell it from the same version of a restored copy."""
    catalogue: CatalogueKey
    table: str
    """Name of the table; see `kline_core.patterns.pattern_table`."""

    @classmethod
    def of(cls, home: Home, version: int, catalogue: CatalogueKey, table: str) -> Self:
        """Key of a version of the table that the home holds now. Raises what `Home` raises."""
        identity, files = home.identity(table, version), frozenset(home.files(table, version))
        return cls(home.uri, identity, version, files, catalogue, table)

    def load(self) -> VerifiedPatterns:
        """Compare all rows. Raises what `Home` raises, and as `CatalogueKey.load`."""
        windows = self.catalogue.windows()
        stored = Home(self.home).read(self.table, ["symbol", "end", "content"], self.version)
        comparison = compare_patterns(stored, windows)
        restated = sorted(set(stored["symbol"].filter(pa.array(~comparison.sound)).to_pylist()))
        again = np.isin(windows.code, [windows.symbols.index(name) for name in restated if name in windows.symbols])
        missing = np.union1d(comparison.missing, np.flatnonzero(again))
        return VerifiedPatterns(windows, self.files, missing, tuple(restated))

    def advance(self, earlier: Self, value: VerifiedPatterns) -> VerifiedPatterns | None:
        """Compare only the rows added to an earlier, complete version; None if `added_since` is None."""
        if (earlier.home, earlier.identity) != (self.home, self.identity):
            return None
        windows = self.catalogue.windows()
        added = added_since(Home(self.home), self.table, value, self.version, windows)
        if added is None:
            return None
        return VerifiedPatterns(windows, self.files, len(value.windows) + added.missing)

    def hold_as_complete(self) -> VerifiedPatterns:
        """Hold the comparison of a version whose rows are known, by other means, to be exactly the catalogue."""
        verified = VerifiedPatterns(self.catalogue.windows(), self.files, np.zeros(0, dtype=np.int64))
        hold(self, verified)
        return verified


@dataclass(frozen=True, slots=True, eq=False)
class AddedPatterns:
    """Windows and rows added since a verified version."""

    windows: Catalogue
    """Windows that became known since."""
    rows: pa.Table
    """Added rows, each a sound pattern of one of `windows`."""
    place: Int64s
    """int64 (rows,): position of each row's window in `windows`."""
    missing: Int64s
    """int64, increasing: positions in `windows` of those that are not stored."""


def added_since(
    home: Home,
    table: str,
    verified: VerifiedPatterns,
    version: int,
    windows: Catalogue,
    columns: Sequence[str] = (),
) -> AddedPatterns | None:
    """Windows and rows that a version of a table of patterns has beyond verified ones, if all of these still hold.

    `columns` names columns to read beside those that are compared. Returns None if the verified rows are not complete,
    if `windows` does not continue their catalogue, if rows were removed or files compacted, or if an added row is not
    sound. Raises what `Home.appended` raises.
    """
    if not verified.complete or not windows.continues(verified.windows):
        return None
    rows = home.appended(table, ["symbol", "end", "content", *columns], verified.files, version)
    if rows is None:
        return None
    later = windows.take(slice(len(verified.windows), None))
    found = compare_patterns(rows, later)
    return AddedPatterns(later, rows, found.place, found.missing) if found.sound.all() else None


def check_patterns(home: Home, table: str, settings: PatternSettings, encoder: str, version: int | None) -> None:
    """Refuse a table of patterns that was made with other settings or another encoder (given by its fingerprint).

    Accepts a table that was never made, whose `version` is None. Raises `FingerprintError`, which names what differs
    and what to do.
    """
    made = {} if version is None else home.description(table, version)
    if version is None or made.get("fingerprint") == pattern_fingerprint(settings, encoder):
        return
    asked = settings.to_dict() | {"encoder": encoder, "method": METHOD}
    settings_then = made.get("settings")
    # A table that another program described says nothing about its settings, and method 1 did not say that it was.
    stored = (settings_then if isinstance(settings_then, dict) else {}) | {
        "encoder": made.get("encoder"),
        "method": made.get("method", 1),
    }
    differences = {
        name: (stored.get(name), asked.get(name))
        for name in sorted(asked.keys() | stored.keys())
        if asked.get(name) != stored.get(name)
    }
    named = ", ".join(
        f"{name} {stored.get(name, 'unset')} (now asked for: {asked.get(name, 'unset')})" for name in differences
    )
    remedy = (
        "ask for the same, or make those beside them with `kline index` and the same options, or in their place with "
        "`kline index --rebuild`"
    )
    if "method" in differences:
        remedy = (
            "this version makes them in another way: make them again with `kline index --rebuild`, then `kline run`; "
            "values of before stay stored under their own fingerprint"
        )
    raise FingerprintError(
        f"the patterns of {home.uri} were made with {named}; {remedy}",
        home=home.uri,
        fingerprint=pattern_fingerprint(settings, encoder),
        stored=[made["fingerprint"]] if "fingerprint" in made else [],
        differences=differences,
    )
