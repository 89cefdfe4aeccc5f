"""The state that a worker loads once and its threads share: bars, patterns, index and encoder of a home.

A `StateKey` names a state: the home, the versions of its tables, the settings and the encoder. `loaded_state` returns
it from a single-flight LRU cache (`kline_core._cache`), so that threads that ask for the same state wait for one load.
The newest states stay cached, so that a run on a new version starts while one on the old version still works. A state
never changes.

Bars and encoders have cache keys of their own: states that differ only in their patterns share them, and windows can be
encoded (`kline_core.compute.tasks.encode`) before there is a state.

`advance_state` makes a state from an earlier one, which stays as it is: it reads only what was added, and goes on
behind what is held (`kline_core._growing`).
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from kline_core._cache import loaded
from kline_core._clock import StageClock
from kline_core._growing import with_room
from kline_core._logging import logger
from kline_core._memory import VECTORS
from kline_core._text import refusal
from kline_core.bars.bars_cache import table_replaced
from kline_core.bars.symbol_bars import BarsBySymbol
from kline_core.encoder.encoder_cache import KeptEncoder
from kline_core.errors import HomeError, StaleError
from kline_core.factor.index_cache import NEW_SHARE, CachedState, cached_state, file_stamps, keep_state
from kline_core.factor.state_key import StateKey
from kline_core.patterns.catalogue import Catalogue, WindowFinder
from kline_core.patterns.mapped_vectors import MappedVectors, Vectors
from kline_core.patterns.outcome_ranks import OutcomeRanks
from kline_core.patterns.patterns import Patterns
from kline_core.patterns.recent import RecentVectors
from kline_core.patterns.verified import PatternsKey, VerifiedPatterns, added_since, check_patterns, compare_patterns
from kline_core.search.disk_index import DiskIndex
from kline_core.search.flat_index import FlatIndex
from kline_core.search.ivf_index import IvfIndex, measured_recall
from kline_core.search.pattern_shapes import PatternShapes
from kline_core.search.recall import Recall
from kline_core.search.shards import AnsweredIndex
from kline_core.store.array_folder import INDEX_CACHE
from kline_core.store.home import Home
from kline_core.store.mapping import release, scratch
from kline_core.store.remedies import INDEX, with_options
from kline_core.typing import Floats32, Int64s

_LOG = logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class LoadedState:
    """A loaded state; read-only."""

    key: StateKey
    frames: BarsBySymbol
    patterns: Patterns
    shapes: PatternShapes
    """Shapes of the patterns, which modes that compare bars need."""
    ranks: OutcomeRanks
    """Ranks of the patterns' outcomes, which values from many need."""
    index: FlatIndex | DiskIndex | AnsweredIndex
    """The last if the vectors lie in shards."""
    encoder: KeptEncoder
    recall: Recall | None
    """Measured recall of an approximate index; None for the exact one."""
    verified: VerifiedPatterns | None
    """Record that the patterns are those of the bars; None if there are no patterns."""
    recent: RecentVectors
    """Vectors of windows that are no patterns yet."""
    seconds: dict[str, float]
    """Seconds that each part took to load."""


def loaded_state(key: StateKey) -> LoadedState:
    """The state of a key, loaded once per process however many threads ask. Raises as `load_state`."""
    state: LoadedState = replace(loaded(key.loads), key=key)
    if key.settings.factor.mode != "fast":
        # Here rather than with the first samples, so that what these take is their own.
        state.shapes.shapes()
    if key.settings.factor.many:
        state.ranks.over(key.return_column)
    return state


def load_state(key: StateKey) -> LoadedState:
    """Load a state: from the index cache, with what was added since, or from its tables in full.

    Raises `StaleError` if the patterns are not exactly those of the bars, `EncoderError` if this machine's encoder is
    not the key's, `RecallError` if the recall of an approximate index is too low, and what `Home` raises.
    """
    clock = StageClock()
    home, encoder = _open(key, clock)
    with clock.stage("cache"):
        cached = cached_state(home, key)
        stamps = file_stamps(home, key)
    state: LoadedState | None
    if cached is not None and cached.key == key:
        check_patterns(home, key.patterns_table, key.settings.patterns, key.encoder.fingerprint, key.patterns_version)
        state = _of_cache(cached, encoder, clock)
        if not isinstance(state.index, AnsweredIndex) and not cached.has_scan_of(state.index):
            keep_state(home, key, loaded(key.bars), state.patterns, state.index, stamps)
        return state
    state = None
    if cached is not None:
        earlier = _of_cache(cached, encoder, clock)
        state = advance_state(key, cached.key, earlier)
        if state is not None and len(state.patterns) - len(earlier.patterns) <= NEW_SHARE * len(state.patterns):
            return state
    if state is None:
        with clock.stage("bars"):
            key.bars.frames()
        with clock.stage("patterns"):
            verified, read = _load_patterns(home, key, encoder.dim * len(key.settings.patterns.scales))
        state = _indexed(key, encoder, verified, read, clock)
    if not isinstance(state.index, AnsweredIndex):
        keep_state(home, key, loaded(key.bars), state.patterns, state.index, stamps)
    return state


def advance_state(key: StateKey, earlier: StateKey, state: LoadedState) -> LoadedState | None:
    """Load only the patterns added since an earlier state; None if the state does not continue that one.

    Raises as `load_state`.
    """
    version, before = key.patterns_version, state.verified
    if not key.goes_on(earlier):
        return None
    if before is None or version is None:
        return None
    clock = StageClock()
    home, encoder = _open(key, clock)
    with clock.stage("bars"):
        key.bars.frames()
    steps = key.settings.patterns
    with clock.stage("patterns"):
        check_patterns(home, key.patterns_table, steps, key.encoder.fingerprint, version)
        # Lists the files before the rows are read: if the home is restored in between, no state continues this one.
        now = PatternsKey.of(home, version, key.catalogue, key.patterns_table)
        columns = [*(f"r{h}" for h in steps.horizons), "barrier", *_vector_column(key)]
        found = added_since(home, key.patterns_table, before, version, key.catalogue.windows(), columns)
        if found is None or len(found.missing):
            return None
        verified = now.hold_as_complete()
        dim = encoder.dim * len(steps.scales)
        vectors = np.empty((len(found.windows) if key.shards == 1 else 0, dim), dtype=np.float32)
        if key.shards == 1:
            vectors[found.place] = vectors_of(found.rows["vector"], dim)
        later = _patterns(found.rows, found.windows, found.place, key, vectors)
    with clock.stage("index"):
        index: FlatIndex | DiskIndex | AnsweredIndex
        if isinstance(state.index, AnsweredIndex):
            patterns = state.patterns.followed_by(later, later.vectors)
            index = AnsweredIndex(len(patterns))
        else:
            index = state.index.followed_by(vectors)
            patterns = state.patterns.followed_by(later, index.rows)
    return _finished(key, encoder, verified, index, patterns, clock)


def _indexed(
    key: StateKey,
    encoder: KeptEncoder,
    verified: VerifiedPatterns | None,
    read: Patterns,
    clock: StageClock,
    cached: CachedState | None = None,
) -> LoadedState:
    if key.shards > 1:
        elsewhere = np.zeros((0, encoder.dim * len(key.settings.patterns.scales)), dtype=np.float32)
        patterns = replace(read, vectors=elsewhere)
        return _finished(key, encoder, verified, AnsweredIndex(len(read)), patterns, clock)
    with clock.stage("index"):
        index: FlatIndex | DiskIndex
        if isinstance(read.vectors, MappedVectors):
            index = DiskIndex.build(read.vectors, None if cached is None else cached.quantised)
        else:
            index = FlatIndex.build(read, None if cached is None else cached.heads, key.encoder.gpu)
    return _finished(key, encoder, verified, index, read, clock)


def _of_cache(cached: CachedState, encoder: KeptEncoder, clock: StageClock) -> LoadedState:
    return _indexed(cached.key, encoder, cached.verified, cached.patterns, clock, cached)


def _open(key: StateKey, clock: StageClock) -> tuple[Home, KeptEncoder]:
    """Home and encoder, which every state needs, loaded in full or advanced."""
    home = Home(key.home)
    # Of the key's version, since patterns that were made again go on with the versions of those before, which a replay
    # reads. A version that is not there is named when its rows are read.
    newest, patterns = home.version(key.patterns_table), None
    if key.patterns_version is not None and newest is not None:
        patterns = home.identity(key.patterns_table, min(key.patterns_version, newest))
    if (key.bars.identity, key.patterns_identity) != (home.identity("bars"), patterns):
        raise table_replaced(key.home)
    with clock.stage("encoder"):
        encoder = loaded(key.encoder)
    return home, encoder


def _load_patterns(home: Home, key: StateKey, dim: int) -> tuple[VerifiedPatterns | None, Patterns]:
    """The patterns of the table, and the record that they are those of the bars."""
    steps, version = key.settings.patterns, key.patterns_version
    windows = key.catalogue.windows()
    if version is None:
        if len(windows):
            raise StaleError(
                f"home {home.uri} has no patterns yet; {with_options(INDEX, key.index_options)}",
                home=home.uri,
                missing=len(windows),
                invalid=0,
            )
        return None, Patterns.empty(dim, len(steps.horizons))
    check_patterns(home, key.patterns_table, steps, key.encoder.fingerprint, version)
    # Before the rows are read, as in `advance_state`.
    now = PatternsKey.of(home, version, key.catalogue, key.patterns_table)
    places, parts = [], []
    # File by file, each vector to its place at once: all rows together take twice the memory, and their order as much.
    finder = WindowFinder.of(windows)
    on_disk = key.shards == 1 and key.vectors_on_disk(len(windows), dim)
    written = _room(home, key, len(windows), dim, on_disk)
    columns = ["symbol", "end", "content", *(f"r{h}" for h in steps.horizons), "barrier", *_vector_column(key)]
    for part in home.parts(key.patterns_table, columns, version):
        place = finder.find(part["symbol"], part["end"])
        if key.shards == 1:
            there = place >= 0
            vectors = vectors_of(part["vector"], dim)
            written[place[there]] = vectors if there.all() else vectors[there]
            release(written)
            part = part.drop_columns(["vector"])
        places.append(place)
        parts.append(part)
    del finder
    table, place = pa.concat_tables(parts), np.concatenate(places)
    comparison = compare_patterns(table, windows, place)
    missing, invalid = len(comparison.missing), int((~comparison.sound).sum())
    if missing or invalid:
        raise StaleError(
            f"the patterns of {home.uri} lag behind its bars ({missing} windows missing, {invalid} no longer valid); "
            f"{with_options(INDEX, key.index_options)}",
            home=home.uri,
            missing=missing,
            invalid=invalid,
        )
    written.setflags(write=False)
    held = MappedVectors(written, written[:0]) if on_disk else written
    return now.hold_as_complete(), _patterns(table, windows, place, key, held)


def _room(home: Home, key: StateKey, count: int, dim: int, on_disk: bool) -> Floats32:
    """Room for the vectors of a state: in memory, in a file, or none if they lie in shards."""
    if on_disk:
        return _scratch(home, count, dim)
    rows: Floats32 = with_room(np.float32, (count if key.shards == 1 else 0, dim))
    return rows


def _scratch(home: Home, count: int, dim: int) -> Floats32:
    """Room for vectors in a file, in the home's folder of caches or else where temporary files go."""
    size = 4 * count * dim
    for folder in (None if home.folder is None else home.folder / INDEX_CACHE, Path(tempfile.gettempdir())):
        try:
            if folder is not None:
                folder.mkdir(exist_ok=True)
                return scratch(folder, size).view("<f4").reshape(count, dim)
        except OSError as error:
            refused = refusal(error)
    raise HomeError(
        f"the vectors of {home.uri} take {size / 1e9:.2f} GB of disk, and neither its folder nor that of temporary "
        f"files takes them ({refused}); make room, name another folder in TMPDIR, or set {VECTORS}=memory",
        home=home.uri,
    )


def _finished(
    key: StateKey,
    encoder: KeptEncoder,
    verified: VerifiedPatterns | None,
    index: FlatIndex | DiskIndex | AnsweredIndex,
    patterns: Patterns,
    clock: StageClock,
) -> LoadedState:
    """The state, with an approximate index if the settings ask for one."""
    recall, frames = None, key.bars.frames()
    factor = key.settings.factor
    if factor.index == "ivf" and isinstance(index, FlatIndex):
        with clock.stage("ivf"):
            approximate = IvfIndex.of(index, factor.probes)
        with clock.stage("recall"):
            recall = measured_recall(approximate, patterns, factor, key.settings.patterns.span_bars)
        _LOG.info("%s", recall)
        recall.check(factor.min_recall)
        index = approximate
    took = ", ".join(f"{name} {each:.1f} s" for name, each in clock.seconds.items())
    _LOG.info("loaded %d symbols, %d patterns of %s: %s", len(frames), len(patterns), key.home, took)
    shapes = PatternShapes(patterns, frames, key.settings.patterns.window_bars)
    recent = RecentVectors.of(Home(key.home), key.settings.patterns, encoder.fingerprint, key.encoder.device)
    ranks = OutcomeRanks(patterns)
    return LoadedState(key, frames, patterns, shapes, ranks, index, encoder, recall, verified, recent, clock.seconds)


def _patterns(table: pa.Table, windows: Catalogue, place: Int64s, key: StateKey, vectors: Vectors) -> Patterns:
    """Rows of the table as patterns in the order of `windows`; `place` int64 (rows,): each row's position there.

    `vectors`: those of the windows, in their order.
    """
    order = np.empty(len(windows), dtype=np.int64)
    order[place] = np.arange(table.num_rows)
    returns = np.stack([table[f"r{h}"].to_numpy()[order] for h in key.settings.patterns.horizons], axis=1)
    try:
        return Patterns.from_codes(
            symbols=windows.symbols,
            code=windows.code,
            end=windows.end,
            known_on=windows.known_on,
            bar=windows.bar,
            returns=returns,
            barrier=table["barrier"].to_numpy()[order],
            content=windows.content,
            vectors=vectors,
        )
    except StaleError as error:
        # Only here it is known which options reach this table.
        error.args = (with_options(str(error), key.index_options),)
        raise


def _vector_column(key: StateKey) -> list[str]:
    """The column with the vectors, unless they lie in shards."""
    return ["vector"] if key.shards == 1 else []


def vectors_of(column: pa.ChunkedArray, dim: int) -> Floats32:
    """The `vector` column as float32 (n, dim). Raises `StaleError` if a vector has another length."""
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
