"""Brings the `patterns` table up to date with `bars`.

1. List the windows of all symbols whose outcomes are known, with a hash of every bar that each depends on.
2. Compare with the stored patterns. A symbol of which a stored pattern is no longer among them, or depends on other
   bars than it did, was restated: its patterns are removed and made again.
3. Draw and encode the windows that are missing, in order of `known_on`, a slice per thread at a time.
4. Append them, in commits of bounded size. A run that is cut off leaves whole commits; the next call finds what is
   missing in the same way.

The table carries the settings and the encoder that it was made with; another combination is refused.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kline_core.bars import frame_cache
from kline_core.chart import render_windows
from kline_core.encoder import BATCH, Encoder
from kline_core.errors import SettingError
from kline_core.known import Frames, KnownWindows, check_patterns, compare, known_windows
from kline_core.outcomes import outcomes
from kline_core.settings import PatternSettings, pattern_fingerprint
from kline_core.tables import Home
from kline_core.threads import single_threaded

SLICE = 32 * BATCH
COMMIT = 250_000

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ExtendReport:
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


def extend_patterns(
    home: Home,
    settings: PatternSettings,
    encoder: Encoder,
    *,
    rebuild: bool = False,
    threads: int = 2,
    progress: Progress | None = None,
) -> ExtendReport:
    """Bring `patterns` up to date; `progress` is called with the windows encoded and the windows to encode.

    `rebuild` makes the table anew, with whatever settings and encoder are given. Raises `FingerprintError` (see
    `check_patterns`), `SettingError` where the encoder takes other windows than `settings.window_bars`, and what
    `Home` raises.
    """
    if encoder.window_bars != settings.window_bars:
        raise SettingError(
            f"window_bars is {settings.window_bars}, but the encoder takes charts of {encoder.window_bars} bars; "
            "use the same number or train another encoder"
        )
    version = home.version("patterns")
    if not rebuild:
        check_patterns(home, settings, encoder.fingerprint, version)
    frames = frame_cache(home.read("bars"))
    windows = known_windows(frames, settings)
    if rebuild or version is None:
        if len(windows) == 0 and version is None:
            return ExtendReport(0, 0, 0, [], None)
        description = {
            "fingerprint": pattern_fingerprint(settings, encoder.fingerprint),
            "settings": settings.to_dict(),
            "encoder": encoder.fingerprint,
        }
        version = home.create("patterns", description, settings.horizons, replace=rebuild)
    stored = home.read("patterns", ["symbol", "end", "content"], version)
    comparison = compare(stored, windows)
    restated = sorted(set(stored["symbol"].filter(pa.array(~comparison.sound)).to_pylist()))
    missing = comparison.missing
    removed = 0
    if restated:
        again = np.isin(windows.code, [windows.symbols.index(name) for name in restated if name in windows.symbols])
        missing = np.union1d(missing, np.flatnonzero(again))
        removed = int(pc.sum(pc.is_in(stored["symbol"], pa.array(restated))).as_py())
        version = home.delete("patterns", restated, expected_version=version)
    for start in range(0, len(missing), COMMIT):
        part = windows.take(missing[start : start + COMMIT])

        def count(encoded: int, before: int = start) -> None:
            if progress is not None:
                progress(before + encoded, len(missing))

        vectors = encode_windows(frames, part, encoder, settings.window_bars, threads, count)
        # Another `kline index` at the same time would add the same windows: the slower one of the two gives up.
        version = home.append("patterns", _rows(frames, part, vectors, settings), expected_version=version)
    return ExtendReport(len(missing), removed, len(windows), restated, version)


def encode_windows(
    frames: Frames,
    windows: KnownWindows,
    encoder: Encoder,
    window_bars: int,
    threads: int,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """Vectors of windows of any symbols: float32 `(n, dim)`, in the order of `windows`."""
    vectors = np.empty((len(windows), encoder.dim), dtype=np.float32)

    def work(start: int) -> int:
        single_threaded()
        part = slice(start, start + SLICE)
        prices = _gather(frames, windows.symbols, windows.code[part], windows.bar[part], window_bars)
        vectors[part] = encoder.encode(render_windows(*prices))
        return len(windows.code[part])

    done = 0
    with ThreadPoolExecutor(threads, "encode") as pool:
        for count in pool.map(work, range(0, len(windows), SLICE)):
            done += count
            if progress is not None:
                progress(done)
    return vectors


def _gather(
    frames: Frames, symbols: list[str], code: NDArray[np.int32], bar: NDArray[np.int64], window_bars: int
) -> list[NDArray[np.float64]]:
    """Open, high, low and close of windows of many symbols, float64 `(n, window_bars)` each."""
    prices = [np.empty((len(code), window_bars)) for _ in range(4)]
    offsets = np.arange(1 - window_bars, 1)
    for which, at in _by_code(code):
        bars = frames[symbols[which]]
        place = bar[at][:, None] + offsets
        for price, column in zip(prices, (bars.open, bars.high, bars.low, bars.close), strict=True):
            price[at] = column[place]
    return prices


def _by_code(code: NDArray[np.int32]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Positions of each code that occurs."""
    order = np.argsort(code, kind="stable")
    which, first = np.unique(code[order], return_index=True)
    yield from zip(which.tolist(), np.split(order, first[1:]), strict=True)


def _rows(frames: Frames, windows: KnownWindows, vectors: NDArray[np.float32], settings: PatternSettings) -> pa.Table:
    """Windows with their vectors and outcomes as rows of the table."""
    returns = np.empty((len(windows), len(settings.horizons)), dtype=np.float32)
    barrier = np.empty(len(windows), dtype=np.int8)
    for which, at in _by_code(windows.code):
        b = frames[windows.symbols[which]]
        followed = outcomes(b.dates, b.open, b.high, b.low, b.close, windows.bar[at], settings)
        returns[at], barrier[at] = followed.returns, followed.barrier
    names = pa.DictionaryArray.from_arrays(pa.array(windows.code), pa.array(windows.symbols, pa.string()))
    width = 4 * vectors.shape[1]
    raw = pa.py_buffer(np.ascontiguousarray(vectors.astype("<f4", copy=False)))
    vector = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(vectors), [None, raw])
    columns = {"symbol": names.cast(pa.string()), "end": windows.end, "known_on": windows.known_on}
    columns |= {f"r{h}": returns[:, column] for column, h in enumerate(settings.horizons)}
    columns |= {"barrier": barrier, "content": windows.content.view(np.int64), "vector": vector.cast(pa.binary())}
    return pa.table(columns)
