"""The update of the `patterns` table from `bars`.

1. List the windows of all symbols whose outcomes are known, each with a hash of the bars that it depends on: the
   catalogue (`kline_core.patterns.catalogue`).
2. Compare it with the stored patterns, or only with those added since this process last compared
   (`kline_core.patterns.verified`). A symbol is restated if one of its stored patterns has left the catalogue or
   depends on other bars than before: remove its patterns and make them again. If too many would not come back,
   refuse.
3. Draw and encode the missing windows in order of `known_on`, a slice per thread at a time.
4. Append them, in commits of bounded size. An interrupted run leaves whole commits; the next one finds the missing
   windows in the same way.
5. Encode the windows whose outcomes are not known yet, for runs that ask for them (`kline_core.patterns.recent`).

A rebuild encodes all windows before it replaces the table, and holds their vectors in memory until then, as every run
does. If it is interrupted while it encodes, the table is as it was; if it is interrupted in the seconds in which it
writes, it says so, and the patterns that are missing are refused by runs and made by the next update.

The table carries the settings and the encoder that it was made with; another combination has a table of its own
(`kline_core.patterns.pattern_table`).

A `WindowEncoder` draws and encodes, in threads of this process (`kline_core.patterns.encode`) or on a cluster
(`Cluster.encoding`). So this module imports no torch, and neither does a process that leaves the encoding to a cluster.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
import pyarrow as pa

from kline_core._cache import loaded
from kline_core.bars.bars_cache import BarsKey
from kline_core.bars.symbol_bars import BarsBySymbol
from kline_core.errors import EncoderError, HomeError, SettingError
from kline_core.patterns.catalogue import Catalogue, CatalogueKey, window_outcomes
from kline_core.patterns.pattern_table import pattern_table, table_to_update
from kline_core.patterns.patterns import wrong_lengths
from kline_core.patterns.recent import keep_recent, recent_first
from kline_core.patterns.update_source import source_metadata
from kline_core.patterns.verified import PatternsKey, check_patterns
from kline_core.settings import METHOD, PatternSettings, pattern_fingerprint
from kline_core.store.home import Home, TableChangedError
from kline_core.typing import Floats32

SLICE = 2048
"""Windows that are encoded as one piece of work, which takes some tenths of a second."""
COMMIT = 250_000
"""Patterns of one commit, at most."""
LEAST_CACHED = 20_000
"""Patterns from which on a home has an index cache: fewer are loaded and encoded as fast without."""
MAX_REMOVED_SHARE = 0.2
"""Share of the stored patterns that an update may remove for good."""

Progress = Callable[[int, int], None]
"""Called with the numbers of windows encoded and to encode."""


class ManyWindowsError(Exception):
    """More windows are missing than the caller allows; nothing was changed."""


class RemovalError(HomeError):
    """An update would remove more patterns than `max_removed_share` allows; nothing was changed."""

    removed: int | None = None
    """Patterns whose bars are no longer there."""
    removed_share: float | None = None
    """Their share of the stored patterns, 0..1."""
    max_removed_share: float | None = None
    """Share that was allowed."""


class WindowEncoder(Protocol):
    """The encoding of windows. Every implementation makes the same vector of a window, bit for bit."""

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the encoder."""

    @property
    def window_bars(self) -> int:
        """Bars of the windows that the encoder takes."""

    @property
    def dim(self) -> int:
        """Length of a chart's vector."""

    @property
    def devices(self) -> Sequence[str]:
        """Names of the device that vectors are made on in this process, as a run may ask for it; none if in others."""

    def vectors(
        self,
        bars: BarsKey,
        windows: Catalogue,
        settings: PatternSettings,
        progress: Callable[[int], None] | None = None,
    ) -> Floats32:
        """Vectors of n windows of any symbols of these bars: float32 `(n, dim * scales)`, in the order of `windows`.

        `settings`: those of the windows, whose `scales` and weights are used. `progress` is called with the number of
        windows encoded so far.
        """


@dataclass(frozen=True, slots=True)
class PatternsUpdate:
    """The report of an update."""

    added: int
    removed: int
    """Patterns of restated symbols that were removed; those that a rebuild replaces do not count."""
    total: int
    """Patterns in the table after the update."""
    restated: list[str]
    """Restated symbols, sorted."""
    version: int | None
    """Version of the table after the update; None if it was never made."""
    table: str
    """Name of the table, see `kline_core.patterns.pattern_table`."""
    bars: BarsKey
    """Bars that the patterns of this version are of, whatever came since."""
    years: dict[int, Self] = field(default_factory=dict)
    """Reports by year, of an update for each year's encoder; `version` and `table` are then those of the last, and the
    numbers are of all. Empty for one encoder."""

    @classmethod
    def of_years(cls, years: Mapping[int, Self]) -> Self:
        """The report of an update for each year's encoder, all from the same bars."""
        last = years[max(years)]
        return cls(
            sum(each.added for each in years.values()),
            sum(each.removed for each in years.values()),
            sum(each.total for each in years.values()),
            sorted({symbol for each in years.values() for symbol in each.restated}),
            last.version,
            last.table,
            last.bars,
            dict(sorted(years.items())),
        )

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values; `years` only where there are some."""
        names = ("added", "removed", "total", "restated", "version", "table")
        found = {name: getattr(self, name) for name in names} | {"bars": self.bars.version}
        years = {str(year): each.to_dict() for year, each in self.years.items()}
        return found | ({"years": years} if years else {})


def update_patterns(
    home: Home,
    settings: PatternSettings,
    encoding: WindowEncoder,
    *,
    rebuild: bool = False,
    progress: Progress | None = None,
    at_most: int | None = None,
    max_removed_share: float = MAX_REMOVED_SHARE,
) -> PatternsUpdate:
    """Update the patterns of some settings and encoder from the bars of a home.

    Args:
        home: Home that holds the bars and takes the patterns.
        settings: Settings that the patterns are to be made with.
        encoding: Encoder that they are to be made with.
        rebuild: Make all patterns of these settings and this encoder again, and replace their table by them; if there
            is none, replace the table `patterns`.
        progress: Called after each piece of work.
        at_most: Windows that may be encoded; any number by default.
        max_removed_share: Share of the stored patterns, 0..1, that may be removed for good, because the bars no longer
            have their windows. Patterns of restated symbols that are made again do not count.

    Raises:
        FingerprintError: The table was made by an earlier method or another program, and `rebuild` is false.
        SettingError: The encoder takes other windows than `settings.window_bars`, or `max_removed_share` is out of
            bounds.
        RemovalError: More than `max_removed_share` of the patterns would be removed; nothing was changed.
        EncoderError: A vector has not the length 1, or is not finite.
        ManyWindowsError: More than `at_most` windows would have to be encoded.
        TableChangedError: Another writer changed the table in between.
        StaleError: Another `bars` table replaced the one that was read.
        HomeError: The home cannot be read or written.

    Raises what `encoding` raises, too.
    """
    if encoding.window_bars != settings.window_bars:
        raise SettingError(
            f"window_bars is {settings.window_bars}, but the encoder takes charts of {encoding.window_bars} bars; "
            "use the same number or train another encoder",
            parameter="window_bars",
            value=settings.window_bars,
            bound=str(encoding.window_bars),
        )
    if not 0 <= max_removed_share <= 1:
        raise SettingError(
            f"max_removed_share is {max_removed_share}; it must be between 0 and 1",
            parameter="max_removed_share",
            value=max_removed_share,
            bound="0 to 1",
        )
    # A rebuild of settings that no table holds replaces the first table.
    table = (pattern_table if rebuild else table_to_update)(home, settings, encoding.fingerprint)
    version = home.version(table)
    if not rebuild:
        check_patterns(home, table, settings, encoding.fingerprint, version)
    catalogue = CatalogueKey(BarsKey.newest(home), settings)
    frames, windows = catalogue.bars.frames(), catalogue.windows()
    if rebuild or version is None:
        if at_most is not None and len(windows) > at_most:
            raise ManyWindowsError
        if len(windows) == 0 and version is None:
            return PatternsUpdate(0, 0, 0, [], None, table, catalogue.bars)
        if version is not None:
            return _rebuild(home, table, encoding, catalogue, progress)
        try:
            version = _make(home, table, settings, encoding)
        except TableChangedError:
            # Two first updates at the same time: go on with the table that the other one made.
            version = home.version(table)
            if version is None:
                raise
            check_patterns(home, table, settings, encoding.fingerprint, version)
    key = PatternsKey.of(home, version, catalogue, table)
    # This process does not read verified rows again, so nothing else would notice that their files are gone.
    home.check_files(table, version, key.files)
    verified = loaded(key)
    missing, restated = verified.missing, list(verified.restated)
    if at_most is not None and len(missing) > at_most:
        raise ManyWindowsError
    removed = 0
    if restated:
        stored = home.read(table, ["symbol", "end"], version, symbols=restated)
        removed = stored.num_rows
        gone = int((windows.find(stored["symbol"], stored["end"]) < 0).sum())
        _check_removal(home, table, version, gone, max_removed_share)
        metadata = source_metadata(catalogue.bars, len(missing))
        version = home.delete(table, restated, metadata, expected_version=version)
    left = len(missing)
    large = len(windows) >= LEAST_CACHED
    sparing = recent_first(home, settings, encoding) if large and left else encoding
    for part, vectors in _encoded(sparing, catalogue, windows.take(missing), progress):
        left -= len(part)
        # A concurrent `kline index` would add the same windows; the slower of the two gives up.
        rows = _rows(frames, part, vectors, settings)
        version = home.append(table, rows, source_metadata(catalogue.bars, left), expected_version=version)
    PatternsKey.of(home, version, catalogue, table).hold_as_complete()
    if large:
        keep_recent(home, catalogue.bars, settings, encoding)
    return PatternsUpdate(len(missing), removed, len(windows), restated, version, table, catalogue.bars)


def _check_removal(home: Home, table: str, version: int, removed: int, max_removed_share: float) -> None:
    """Raise `RemovalError` if too many patterns have no window any more: bars that vanished are rarely meant."""
    total = home.row_count(table, version)
    if removed <= max_removed_share * total:
        return
    raise RemovalError(
        f"{removed} of {total} patterns of {home.uri} ({removed / total:.0%}) would be removed, since their bars are "
        f"no longer there; max_removed_share is {max_removed_share}; check the bars (`kline verify`) and ingest what "
        "is missing, or allow it with `kline index --max-removed-share 1`",
        home=home.uri,
        table=table,
        removed=removed,
        removed_share=removed / total,
        max_removed_share=max_removed_share,
    )


def _make(home: Home, table: str, settings: PatternSettings, encoding: WindowEncoder, replace: bool = False) -> int:
    """Make the table, or replace it, without rows; its version."""
    description = {
        "fingerprint": pattern_fingerprint(settings, encoding.fingerprint),
        "settings": settings.to_dict(),
        "encoder": encoding.fingerprint,
        "method": METHOD,
    }
    return home.create(table, description, settings.horizons, replace=replace)


def _rebuild(
    home: Home, table: str, encoding: WindowEncoder, catalogue: CatalogueKey, progress: Progress | None
) -> PatternsUpdate:
    settings = catalogue.settings
    frames, windows = catalogue.bars.frames(), catalogue.windows()
    ready = list(_encoded(encoding, catalogue, windows, progress))
    try:
        version = _make(home, table, settings, encoding, replace=True)
        left = len(windows)
        for part, vectors in ready:
            left -= len(part)
            rows = _rows(frames, part, vectors, settings)
            version = home.append(table, rows, source_metadata(catalogue.bars, left), expected_version=version)
    except KeyboardInterrupt as stop:
        stop.args = ("interrupted while the patterns were replaced; run `kline index` with the same options again",)
        raise
    PatternsKey.of(home, version, catalogue, table).hold_as_complete()
    if len(windows) >= LEAST_CACHED:
        keep_recent(home, catalogue.bars, settings, encoding)
    return PatternsUpdate(len(windows), 0, len(windows), [], version, table, catalogue.bars)


def _encoded(
    encoding: WindowEncoder, catalogue: CatalogueKey, windows: Catalogue, progress: Progress | None
) -> Iterator[tuple[Catalogue, Floats32]]:
    """Windows in pieces of at most `COMMIT`, each with its vectors, as they are made."""
    for start in range(0, len(windows), COMMIT):
        part = windows.take(slice(start, start + COMMIT))

        def count(encoded: int, before: int = start) -> None:
            if progress is not None:
                progress(before + encoded, len(windows))

        vectors = encoding.vectors(catalogue.bars, part, catalogue.settings, count)
        if (wrong := wrong_lengths(vectors)).any():
            row = int(wrong.argmax())
            length = np.linalg.norm(vectors[row])
            raise EncoderError(
                f"the vector of {part.symbols[part.code[row]]} {part.end[row]} has the length {length}, not 1; "
                "nothing of this piece is stored; use other weights or another device"
            )
        yield part, vectors


def _rows(frames: BarsBySymbol, windows: Catalogue, vectors: Floats32, settings: PatternSettings) -> pa.Table:
    """Windows with their vectors and outcomes as rows of the table."""
    returns, barrier = window_outcomes(frames, windows, settings)
    names = pa.DictionaryArray.from_arrays(pa.array(windows.code), pa.array(windows.symbols, pa.string()))
    width = 4 * vectors.shape[1]
    raw = pa.py_buffer(np.ascontiguousarray(vectors.astype("<f4", copy=False)))
    vector = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(vectors), [None, raw])
    columns = {"symbol": names.cast(pa.string()), "end": windows.end, "known_on": windows.known_on}
    columns |= {f"r{h}": returns[:, column] for column, h in enumerate(settings.horizons)}
    columns |= {"barrier": barrier, "content": windows.content.view(np.int64), "vector": vector.cast(pa.binary())}
    return pa.table(columns)
