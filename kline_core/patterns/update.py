"""Brings the `patterns` table up to date with `bars`.

1. List the windows of all symbols whose outcomes are known, with a hash of every bar that each depends on.
2. Compare with the stored patterns, or where this process did so before, with those that came since
   (`kline_core.patterns.verified`). A symbol of which a stored pattern is no longer among them, or depends on other
   bars than it did, was restated: its patterns are removed and made again.
3. Draw and encode the windows that are missing, in order of `known_on`, a slice per thread at a time.
4. Append them, in commits of bounded size. A run that is cut off leaves whole commits; the next call finds what is
   missing in the same way.

The table carries the settings and the encoder that it was made with; another combination is refused.

Who draws and encodes is handed in as a `WindowEncoder`: the threads of this process (`kline_core.patterns.encode`) or a
cluster (`Cluster.encoding`). So this module imports no torch, and neither does a process that leaves the encoding to
others.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from kline_core._cache import loaded
from kline_core.bars.bars_cache import BarsKey
from kline_core.bars.symbol_bars import BarsBySymbol
from kline_core.errors import SettingError
from kline_core.patterns.catalogue import Catalogue, CatalogueKey, window_outcomes
from kline_core.patterns.verified import PatternsKey, check_patterns
from kline_core.settings import PatternSettings, pattern_fingerprint
from kline_core.store.home import Home
from kline_core.typing import Floats32

SLICE = 2048
"""Windows that are encoded as one piece of work: some tenths of a second."""
COMMIT = 250_000

Progress = Callable[[int, int], None]


class ManyWindowsError(Exception):
    """More windows are missing than the caller allowed; nothing was changed."""


class WindowEncoder(Protocol):
    """Makes vectors of windows. The vector of a window is the same, bit for bit, whoever makes it."""

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the encoder."""

    @property
    def window_bars(self) -> int:
        """Bars of the windows that the encoder takes."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    def vectors(self, bars: BarsKey, windows: Catalogue, progress: Callable[[int], None] | None = None) -> Floats32:
        """Vectors of windows of any symbols of these bars: float32 `(n, dim)`, in the order of `windows`.

        `progress` is called with the windows encoded so far.
        """


@dataclass(frozen=True, slots=True)
class PatternsUpdate:
    """What a call changed."""

    added: int
    removed: int
    """Patterns of restated symbols that were taken out; what a rebuild replaces is not counted."""
    total: int
    restated: list[str]
    """Symbols whose bars had changed."""
    version: int | None
    """Version of `patterns` afterwards; None where there is none yet."""

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return asdict(self)


def update_patterns(
    home: Home,
    settings: PatternSettings,
    encoding: WindowEncoder,
    *,
    rebuild: bool = False,
    progress: Progress | None = None,
    at_most: int | None = None,
) -> PatternsUpdate:
    """Bring `patterns` up to date; `progress` is called with the windows encoded and the windows to encode.

    `rebuild` makes the table anew, with whatever settings and encoder are given. Raises `FingerprintError` (see
    `check_patterns`), `SettingError` where the encoder takes other windows than `settings.window_bars`,
    `ManyWindowsError` where more than `at_most` would have to be encoded, and what `Home` and the encoding raise.
    """
    if encoding.window_bars != settings.window_bars:
        raise SettingError(
            f"window_bars is {settings.window_bars}, but the encoder takes charts of {encoding.window_bars} bars; "
            "use the same number or train another encoder",
            parameter="window_bars",
            value=settings.window_bars,
            bound=str(encoding.window_bars),
        )
    version = home.version("patterns")
    if not rebuild:
        check_patterns(home, settings, encoding.fingerprint, version)
    catalogue = CatalogueKey(BarsKey.newest(home), settings)
    frames, windows = catalogue.bars.frames(), catalogue.windows()
    if rebuild or version is None:
        if at_most is not None and len(windows) > at_most:
            raise ManyWindowsError
        if len(windows) == 0 and version is None:
            return PatternsUpdate(0, 0, 0, [], None)
        description = {
            "fingerprint": pattern_fingerprint(settings, encoding.fingerprint),
            "settings": settings.to_dict(),
            "encoder": encoding.fingerprint,
        }
        version = home.create("patterns", description, settings.horizons, replace=rebuild)
    verified = loaded(PatternsKey.of(home, version, catalogue))
    missing, restated = verified.missing, list(verified.restated)
    if at_most is not None and len(missing) > at_most:
        raise ManyWindowsError
    removed = 0
    if restated:
        removed = home.read("patterns", ["symbol"], version, symbols=restated).num_rows
        version = home.delete("patterns", restated, expected_version=version)
    for start in range(0, len(missing), COMMIT):
        part = windows.take(missing[start : start + COMMIT])

        def count(encoded: int, before: int = start) -> None:
            if progress is not None:
                progress(before + encoded, len(missing))

        vectors = encoding.vectors(catalogue.bars, part, count)
        # Another `kline index` at the same time would add the same windows: the slower one of the two gives up.
        version = home.append("patterns", _rows(frames, part, vectors, settings), expected_version=version)
    PatternsKey.of(home, version, catalogue).hold_as_complete()
    return PatternsUpdate(len(missing), removed, len(windows), restated, version)


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
