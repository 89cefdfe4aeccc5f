"""The state that a worker loads once and its threads share: bars, patterns, FAISS index and encoder of a home.

A state is named by a `StateKey`: the home, the versions of its tables, the settings and the encoder. `loaded_state`
gives it, loading it when it is first asked for; other threads that ask meanwhile wait for the same one. The newest
states stay loaded, so that a run on a new version starts while one on the old version still works. Nothing in a state
is ever changed.

Bars and encoders are loaded by keys of their own: states that differ in their patterns alone share them, and windows
can be encoded (`kline_core.compute.tasks.encode`) before there is a state.

A state that is advanced from an earlier one reads only the patterns that were added, and copies the others from memory
to memory, since the earlier state stays as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa

from kline_core._cache import loaded
from kline_core._logging import logger
from kline_core.bars.bars_cache import table_replaced
from kline_core.bars.symbol_bars import BarsBySymbol
from kline_core.encoder.encoder import Encoder
from kline_core.errors import StaleError
from kline_core.factor.state_key import StateKey
from kline_core.patterns.catalogue import Catalogue
from kline_core.patterns.patterns import Patterns
from kline_core.patterns.verified import PatternsKey, VerifiedPatterns, added_since, check_patterns, compare_patterns
from kline_core.search.flat_index import FlatIndex
from kline_core.search.ivf_index import IvfIndex, measured_recall
from kline_core.search.recall import Recall
from kline_core.settings import PatternSettings
from kline_core.store.home import Home
from kline_core.typing import Floats32, Int64s

_LOG = logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class LoadedState:
    """A loaded state; read-only."""

    key: StateKey
    frames: BarsBySymbol
    patterns: Patterns
    index: FlatIndex
    encoder: Encoder
    recall: Recall | None
    """Of an approximate index; None for the exact one."""
    verified: VerifiedPatterns | None
    """How the patterns were found to be those of the bars; None where there are none."""
    seconds: dict[str, float]
    """How long each part took to load."""


def loaded_state(key: StateKey) -> LoadedState:
    """The state that a key names, loaded once per process however many threads ask; raises as `load_state`."""
    return replace(loaded(key.loads), key=key)


def load_state(key: StateKey) -> LoadedState:
    """Load a state from its tables.

    Raises `StaleError` where the patterns are not exactly those that the bars give, `EncoderError` where this
    machine's encoder is another one than the key's, `RecallError` where an approximate index finds too little, and
    what `Home` raises.
    """
    clock = _Clock()
    home, frames, encoder = _open(key, clock)
    verified, patterns = clock.timed("patterns", lambda: _load_patterns(home, key, encoder.dim))

    def indexed() -> tuple[FlatIndex, Patterns]:
        index = FlatIndex.build(patterns)
        return index, index.attach(patterns)

    index, rows = clock.timed("index", indexed)
    return _finished(key, frames, encoder, verified, index, rows, clock)


def advance_state(key: StateKey, earlier: StateKey, state: LoadedState) -> LoadedState | None:
    """Load only the patterns that were added to those of an earlier state; None where the state does not go on from it.

    Raises as `load_state`.
    """
    version, before = key.patterns_version, state.verified
    same = (earlier.home, earlier.bars.identity, earlier.patterns_identity, earlier.settings.patterns, earlier.encoder)
    if same != (key.home, key.bars.identity, key.patterns_identity, key.settings.patterns, key.encoder):
        return None
    if before is None or version is None:
        return None
    clock = _Clock()
    home, frames, encoder = _open(key, clock)
    steps = key.settings.patterns

    def added() -> tuple[VerifiedPatterns, Patterns] | None:
        check_patterns(home, steps, key.encoder.fingerprint, version)
        # Listed before the rows are read: were the home restored from a copy in between, nothing would go on from it.
        now = PatternsKey.of(home, version, key.catalogue)
        columns = [*(f"r{h}" for h in steps.horizons), "barrier", "vector"]
        found = added_since(home, before, version, key.catalogue.windows(), columns)
        if found is None or len(found.missing):
            return None
        return now.hold_as_complete(), _patterns(found.rows, found.windows, found.place, steps, encoder.dim)

    read = clock.timed("patterns", added)
    if read is None:
        return None
    verified, later = read

    def indexed() -> tuple[FlatIndex, Patterns]:
        index = state.index.followed_by(later.vectors)
        return index, state.patterns.followed_by(later, index.rows)

    index, rows = clock.timed("index", indexed)
    return _finished(key, frames, encoder, verified, index, rows, clock)


class _Clock:
    """Seconds by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, name: str, load: Callable[[], Any]) -> Any:
        start = perf_counter()
        value = load()
        self.seconds[name] = perf_counter() - start
        return value


def _open(key: StateKey, clock: _Clock) -> tuple[Home, BarsBySymbol, Encoder]:
    """What every state needs, whether it is loaded in full or advanced."""
    home = Home(key.home)
    if (key.bars.identity, key.patterns_identity) != (home.identity("bars"), home.identity("patterns")):
        raise table_replaced(key.home)
    encoder: Encoder = clock.timed("encoder", lambda: loaded(key.encoder))
    frames: BarsBySymbol = clock.timed("bars", lambda: key.bars.frames())
    return home, frames, encoder


def _load_patterns(home: Home, key: StateKey, dim: int) -> tuple[VerifiedPatterns | None, Patterns]:
    steps, version = key.settings.patterns, key.patterns_version
    windows = key.catalogue.windows()
    if version is None:
        if len(windows):
            raise StaleError(
                f"home {home.uri} has no patterns yet; run `kline index`",
                home=home.uri,
                missing=len(windows),
                invalid=0,
            )
        return None, Patterns.empty(dim, len(steps.horizons))
    check_patterns(home, steps, key.encoder.fingerprint, version)
    # Listed before the rows are read, as in `advance_state`.
    now = PatternsKey.of(home, version, key.catalogue)
    table = home.read("patterns", version=version)
    comparison = compare_patterns(table, windows)
    missing, invalid = len(comparison.missing), int((~comparison.sound).sum())
    if missing or invalid:
        raise StaleError(
            f"the patterns of {home.uri} lag behind its bars ({missing} windows missing, {invalid} no longer valid); "
            "run `kline index`",
            home=home.uri,
            missing=missing,
            invalid=invalid,
        )
    return now.hold_as_complete(), _patterns(table, windows, comparison.place, steps, dim)


def _finished(
    key: StateKey,
    frames: BarsBySymbol,
    encoder: Encoder,
    verified: VerifiedPatterns | None,
    index: FlatIndex,
    patterns: Patterns,
    clock: _Clock,
) -> LoadedState:
    """The state, its approximate index made where one is asked for."""
    recall = None
    factor = key.settings.factor
    if factor.index == "ivf":
        exact = index
        approximate = clock.timed("ivf", lambda: IvfIndex.of(exact, factor.probes))
        bars = key.settings.patterns.window_bars
        recall = clock.timed("recall", lambda: measured_recall(approximate, patterns, factor, bars))
        _LOG.info("%s", recall)
        recall.check(factor.min_recall)
        index = approximate
    took = ", ".join(f"{name} {each:.1f} s" for name, each in clock.seconds.items())
    _LOG.info("loaded %d symbols, %d patterns of %s: %s", len(frames), len(patterns), key.home, took)
    return LoadedState(key, frames, patterns, index, encoder, recall, verified, clock.seconds)


def _patterns(table: pa.Table, windows: Catalogue, place: Int64s, settings: PatternSettings, dim: int) -> Patterns:
    """Rows of the table as the patterns of `windows`, of which `place` says which one each row is of."""
    order = np.empty(len(windows), dtype=np.int64)
    order[place] = np.arange(table.num_rows)
    returns = np.stack([table[f"r{h}"].to_numpy()[order] for h in settings.horizons], axis=1)
    names = np.array(windows.symbols, dtype=object)
    return Patterns.from_arrays(
        symbol=names[windows.code],
        end=windows.end,
        known_on=windows.known_on,
        bar=windows.bar,
        returns=returns,
        barrier=table["barrier"].to_numpy()[order],
        content=windows.content,
        vectors=_vectors(table["vector"], dim)[order],
    )


def _vectors(column: pa.ChunkedArray, dim: int) -> Floats32:
    """The `vector` column as float32 `(n, dim)`."""
    parts = []
    for chunk in column.chunks:
        if len(chunk) == 0:
            continue
        offsets = np.frombuffer(chunk.buffers()[1], np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
        if (np.diff(offsets) != 4 * dim).any():
            raise StaleError(f"a stored vector is not {dim} numbers long; run `kline index --rebuild`")
        raw = np.frombuffer(chunk.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
        parts.append(raw.view("<f4").reshape(-1, dim))
    return np.concatenate(parts) if parts else np.zeros((0, dim), np.float32)
