"""What a worker loads once and its threads share: bars, patterns, FAISS index and encoder of one state of a home.

A state is named by a `ResourceKey`: the home, the versions of its tables, the settings and the encoder. `resources`
gives the loaded state, loading it when it is first asked for; other threads that ask meanwhile wait for the same one.
The newest states stay loaded, so that a run on a new version starts while one on the old version still works. Nothing
in a state is ever changed.

Bars and encoders are kept by themselves too: states that differ in their patterns alone share them, and windows can be
encoded (`kline_core.worker.encode`) before there is a state.

A state that goes on from one that is loaded (`kline_core.checked`) reads only the patterns that came, and copies the
others: from memory to memory, since the older state stays as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kline_core.approximate import ApproximateIndex, measured_recall
from kline_core.checked import Checked, came_since, remember
from kline_core.encoder import Encoder
from kline_core.errors import EncoderError, StaleError
from kline_core.index import PatternIndex
from kline_core.kept import Kept
from kline_core.keys import EncoderKey, ResourceKey
from kline_core.known import Frames, KnownWindows, check_patterns, compare
from kline_core.loaded_bars import KEPT, loaded_bars, loaded_windows, made_anew
from kline_core.log import logger
from kline_core.patterns import Patterns
from kline_core.recall import Recall
from kline_core.settings import PatternSettings
from kline_core.tables import Home

_LOG = logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Resources:
    """A loaded state; read-only."""

    key: ResourceKey
    frames: Frames
    patterns: Patterns
    index: PatternIndex
    encoder: Encoder
    recall: Recall | None
    """Of an approximate index; None for the exact one."""
    checked: Checked | None
    """How the patterns were found to be those of the bars; None where there are none."""
    seconds: dict[str, float]
    """How long each part took to load."""


def load_resources(key: ResourceKey) -> Resources:
    """Load a state from its tables.

    Raises `StaleError` where the patterns are not exactly those that the bars give, `EncoderError` where this
    machine's encoder is another one than the key's, `RecallError` where an approximate index finds too little, and
    what `Home` raises.
    """
    home = Home(key.home)
    seconds: dict[str, float] = {}

    def timed(name: str, load: Callable[[], Any]) -> Any:
        start = perf_counter()
        loaded = load()
        seconds[name] = perf_counter() - start
        return loaded

    if key.tables != (home.identity("bars"), home.identity("patterns")):
        raise made_anew(key.home)
    encoder: Encoder = timed("encoder", lambda: loaded_encoder(key.weights))
    frames: Frames = timed("bars", lambda: loaded_bars(key.bars))
    stored: _Stored = timed("patterns", lambda: _load_patterns(home, key, encoder.dim))
    index, patterns = timed("index", stored.indexed)
    recall = None
    factor = key.settings.factor
    if factor.index == "ivf":
        approximate = timed("ivf", lambda: ApproximateIndex.of(index, factor.probes))
        bars = key.settings.patterns.window_bars
        recall = timed("recall", lambda: measured_recall(approximate, patterns, factor, bars))
        _LOG.info("%s", recall)
        recall.check(factor.min_recall)
        index = approximate
    took = ", ".join(f"{name} {each:.1f} s" for name, each in seconds.items())
    _LOG.info("loaded %d symbols, %d patterns of %s: %s", len(frames), len(patterns), key.home, took)
    return Resources(key, frames, patterns, index, encoder, recall, stored.checked, seconds)


def loaded_encoder(key: EncoderKey) -> Encoder:
    """The encoder of that name, read once per process while it is among the newest.

    Raises what `Encoder.load` does, and `EncoderError` where this machine's encoder is another one than the key's.
    """
    return _encoders.get(key, lambda: _load_encoder(key))


def _load_encoder(key: EncoderKey) -> Encoder:
    encoder = Encoder.load(key.path, key.device)
    if encoder.fingerprint != key.fingerprint:
        raise EncoderError(
            f"the encoder here has fingerprint {encoder.fingerprint}, the run was started with {key.fingerprint}; "
            "install the same version on every worker"
        )
    return encoder


@dataclass(frozen=True, slots=True, eq=False)
class _Stored:
    """Patterns as they were read, all of them or those that came to a state that is loaded."""

    read: Patterns
    checked: Checked | None
    before: Resources | None = None

    def indexed(self) -> tuple[PatternIndex, Patterns]:
        """The index of all patterns, and the patterns, which share its memory."""
        if self.before is None:
            index = PatternIndex.build(self.read)
            return index, index.attach(self.read)
        index = self.before.index.followed_by(self.read.vectors)
        return index, self.before.patterns.followed_by(self.read, index.rows)


def _load_patterns(home: Home, key: ResourceKey, dim: int) -> _Stored:
    settings = key.settings.patterns
    windows = loaded_windows(key.bars, settings)
    if key.patterns_version is None:
        if len(windows):
            raise StaleError(f"home {home.uri} has no patterns yet; run `kline index`")
        return _Stored(Patterns.empty(dim, len(settings.horizons)), None)
    check_patterns(home, settings, key.encoder, key.patterns_version)
    # Asked before the rows are read: were the home restored from a copy in between, nothing would go on from these.
    checked = Checked(windows, frozenset(home.files("patterns", key.patterns_version)))
    stored = _load_later(home, key, checked, dim) or _load_all(home, key, checked, dim)
    remember(home, key.tables[1], checked)
    return stored


def _load_all(home: Home, key: ResourceKey, checked: Checked, dim: int) -> _Stored:
    windows = checked.windows
    table = home.read("patterns", version=key.patterns_version)
    comparison = compare(table, windows)
    if len(comparison.missing) or not comparison.sound.all():
        raise StaleError(
            f"the patterns of {home.uri} lag behind its bars ({len(comparison.missing)} windows missing, "
            f"{int((~comparison.sound).sum())} no longer valid); run `kline index`"
        )
    return _Stored(_patterns(table, windows, comparison.place, key.settings.patterns, dim), checked)


def _load_later(home: Home, key: ResourceKey, checked: Checked, dim: int) -> _Stored | None:
    """The patterns beyond those of a loaded state, where all of that state's are there still."""
    settings, version = key.settings.patterns, key.patterns_version
    columns = [*(f"r{h}" for h in settings.horizons), "barrier", "vector"]
    for state in _states.values():
        same = (state.key.home, state.key.tables, state.key.settings.patterns, state.key.encoder)
        if same != (key.home, key.tables, settings, key.encoder) or state.checked is None or version is None:
            continue
        found = came_since(home, state.checked, version, checked.windows, columns)
        if found is not None and len(found.missing) == 0:
            later = _patterns(found.rows, found.windows, found.place, settings, dim)
            return _Stored(later, checked, state)
    return None


def _patterns(
    table: pa.Table, windows: KnownWindows, place: NDArray[np.int64], settings: PatternSettings, dim: int
) -> Patterns:
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


def _vectors(column: pa.ChunkedArray, dim: int) -> NDArray[np.float32]:
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


_states: Kept[Resources] = Kept(KEPT)
_encoders: Kept[Encoder] = Kept(KEPT)


def resources(key: ResourceKey) -> Resources:
    """The loaded state of that name, loaded once per process however many threads ask; see `load_resources`."""
    # All of the key but the factor's settings, on which nothing that is loaded depends but an approximate index.
    factor = None if key.settings.factor.index == "exact" else key.settings.factor
    state = (key.bars, key.patterns_version, key.tables, key.settings.patterns, factor, key.weights)
    return replace(_states.get(state, lambda: load_resources(key)), key=key)
