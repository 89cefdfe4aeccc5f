"""Stored patterns, verified against the catalogue that the bars give.

Where a process verified an earlier version of the table, and both the catalogue and the table have only grown since,
only the rows that were added are compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from kline_core._cache import hold
from kline_core.errors import FingerprintError
from kline_core.patterns.catalogue import Catalogue, CatalogueKey
from kline_core.settings import PatternSettings, pattern_fingerprint
from kline_core.store.home import Home
from kline_core.typing import Flags, Int64s


@dataclass(frozen=True, slots=True, eq=False)
class PatternsComparison:
    """Stored patterns against known windows."""

    place: Int64s
    """int64 (stored,): the window that each stored pattern is of, -1 for none."""
    sound: Flags
    """bool (stored,): the window is known, depends on the same bars as when it was stored, and is stored once."""
    missing: Int64s
    """int64, increasing: windows that no sound pattern is of."""


def compare_patterns(stored: pa.Table, windows: Catalogue) -> PatternsComparison:
    """Compare stored patterns (columns symbol, end, content) with the windows that are known now."""
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
    """How the rows of a version of `patterns` compare with the catalogue."""

    windows: Catalogue
    files: frozenset[str]
    """Files of the table; see `Home.appended`."""
    missing: Int64s
    """int64, increasing: windows that are to be stored, those of restated symbols among them."""
    restated: tuple[str, ...] = ()
    """Symbols, sorted, of which a stored row is no window of the catalogue, or was made from other bars."""

    @property
    def complete(self) -> bool:
        """Whether the rows are exactly the windows of the catalogue."""
        return len(self.missing) == 0 and not self.restated


@dataclass(frozen=True, slots=True)
class PatternsKey:
    """Names one version of `patterns`, to be compared with a catalogue."""

    home: str
    identity: str | None
    """Identity of the table, see `BarsKey`."""
    version: int
    files: frozenset[str]
    """Files of that version: those of a restored copy are other ones."""
    catalogue: CatalogueKey

    @classmethod
    def of(cls, home: Home, version: int, catalogue: CatalogueKey) -> Self:
        """A version of the table that the home holds now."""
        return cls(home.uri, home.identity("patterns"), version, frozenset(home.files("patterns", version)), catalogue)

    def load(self) -> VerifiedPatterns:
        """Compare all rows. Raises what `Home` raises."""
        windows = self.catalogue.windows()
        stored = Home(self.home).read("patterns", ["symbol", "end", "content"], self.version)
        comparison = compare_patterns(stored, windows)
        restated = sorted(set(stored["symbol"].filter(pa.array(~comparison.sound)).to_pylist()))
        again = np.isin(windows.code, [windows.symbols.index(name) for name in restated if name in windows.symbols])
        missing = np.union1d(comparison.missing, np.flatnonzero(again))
        return VerifiedPatterns(windows, self.files, missing, tuple(restated))

    def advance(self, earlier: Self, value: VerifiedPatterns) -> VerifiedPatterns | None:
        """Compare only the rows that were added to an earlier version that was complete."""
        if (earlier.home, earlier.identity) != (self.home, self.identity):
            return None
        windows = self.catalogue.windows()
        added = added_since(Home(self.home), value, self.version, windows)
        if added is None:
            return None
        return VerifiedPatterns(windows, self.files, len(value.windows) + added.missing)

    def hold_as_complete(self) -> VerifiedPatterns:
        """Note that the rows of this version were found, by other means, to be exactly the catalogue."""
        verified = VerifiedPatterns(self.catalogue.windows(), self.files, np.zeros(0, dtype=np.int64))
        hold(self, verified)
        return verified


@dataclass(frozen=True, slots=True, eq=False)
class AddedPatterns:
    """Rows and windows that came after patterns that were verified."""

    windows: Catalogue
    """Windows that were not known before."""
    rows: pa.Table
    """Rows that were added, each of one of `windows` and sound."""
    place: Int64s
    """int64 (rows,): which of `windows` each row is."""
    missing: Int64s
    """int64, increasing: which of `windows` are not stored."""


def added_since(
    home: Home, verified: VerifiedPatterns, version: int, windows: Catalogue, columns: Sequence[str] = ()
) -> AddedPatterns | None:
    """Rows that a version of `patterns` has beyond those that were verified, where all of these still hold.

    `columns` are read of the added rows, beside those that are compared. None where the verified rows were not
    complete, where `windows` do not continue their catalogue, where rows were removed or files compacted, or where an
    added row is not sound.
    """
    if not verified.complete or not windows.continues(verified.windows):
        return None
    rows = home.appended("patterns", ["symbol", "end", "content", *columns], verified.files, version)
    if rows is None:
        return None
    later = windows.take(slice(len(verified.windows), None))
    found = compare_patterns(rows, later)
    return AddedPatterns(later, rows, found.place, found.missing) if found.sound.all() else None


def check_patterns(home: Home, settings: PatternSettings, encoder: str, version: int | None) -> None:
    """Refuse a `patterns` table that was made with other settings or another encoder (given by its fingerprint).

    Raises `FingerprintError`, which names what differs and what to do.
    """
    made = {} if version is None else home.description("patterns", version)
    if version is None or made.get("fingerprint") == pattern_fingerprint(settings, encoder):
        return
    asked = settings.to_dict() | {"encoder": encoder}
    stored = made.get("settings", {}) | {"encoder": made.get("encoder")}
    differences = {
        name: (stored.get(name), asked.get(name))
        for name in sorted(asked.keys() | stored.keys())
        if asked.get(name) != stored.get(name)
    }
    named = ", ".join(
        f"{name} {stored.get(name, 'unset')} (now asked for: {asked.get(name, 'unset')})" for name in differences
    )
    raise FingerprintError(
        f"the patterns of {home.uri} were made with {named}; ask for the same, "
        "or make them again with `kline index --rebuild`",
        home=home.uri,
        fingerprint=pattern_fingerprint(settings, encoder),
        stored=[made["fingerprint"]] if "fingerprint" in made else [],
        differences=differences,
    )
