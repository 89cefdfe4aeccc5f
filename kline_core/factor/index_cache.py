"""The index cache of a home: bars and patterns of a loaded state, ready to be mapped into memory.

To load a state from its tables, a process decodes them, compares their files with checksums, builds the catalogue of
the bars and compares the patterns with it. The result of all this is kept in the folder `index-cache` of the home, as
arrays (`kline_core.store.array_folder`), so that the next process maps them. It holds nothing that the tables do not
give again, and may be removed at any moment.

An entry stands in for the tables only if

1. the same code, calendars, settings and encoder made it, from tables of the same identities,
2. the table versions that it was made from are those of the key, or earlier ones that the key's continue; then the
   added rows are read and compared as in a process that holds the earlier state (`kline_core._cache`),
3. each data file of these versions has the size and the times of change that it had before it was read, so that a file
   that was touched since is read again, and its damage found, and the same jumps are released as then, and
4. every byte of the entry is what was written; of shards, every byte of the blocks that they hold.

In every other case the tables are read as if there were no cache, and a new entry is written. What cannot be written is
said in the log and left. Homes in an object store, and small ones, have no cache.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from kline_core._cache import held_like, hold
from kline_core._code import CODE
from kline_core._growing import with_room
from kline_core._logging import logger
from kline_core._text import refusal
from kline_core.bars.bars_cache import BarsKey, LoadedBars, files_hash
from kline_core.bars.bars_room import mapped_frames, with_gaps
from kline_core.bars.jumps import Releases, released
from kline_core.bars.symbol_bars import BARS
from kline_core.encoder.encoder_cache import EncoderKey
from kline_core.errors import HomeError
from kline_core.factor.state_key import StateKey, with_any_factor
from kline_core.patterns.catalogue import Catalogue, LoadedCatalogue
from kline_core.patterns.mapped_vectors import MappedVectors, Vectors
from kline_core.patterns.pattern_table import has_patterns
from kline_core.patterns.patterns import GROWING, Patterns
from kline_core.patterns.update import LEAST_CACHED
from kline_core.patterns.verified import PatternsKey, VerifiedPatterns
from kline_core.search.disk_index import DiskIndex
from kline_core.search.flat_index import FlatIndex
from kline_core.search.quantised_scan import QuantisedScan
from kline_core.search.rounded_heads import RoundedHeads
from kline_core.search.shards import BLOCK, Share
from kline_core.settings import PatternSettings, pattern_fingerprint
from kline_core.store.array_folder import (
    INDEX_CACHE,
    DamagedArraysError,
    Parts,
    array_folders,
    digest_of,
    put_arrays,
    read_arrays,
    read_description,
    remove_arrays,
)
from kline_core.store.home import Home
from kline_core.store.row_blocks import block_checksums, read_blocks, shape_of

FORMAT: Final = 5
NEW_SHARE: Final = 1 / 32
"""Share of patterns that an entry may lack before a newer one is written: it is read with the added rows until then."""
_QUANTISED: Final = tuple(field.name for field in fields(QuantisedScan))
_HEADS: Final = tuple(field.name for field in fields(RoundedHeads))
_PATTERNS: Final = tuple(field.name for field in fields(Patterns) if field.name != "symbols")
_BLOCKS: Final = ("patterns.vectors", "index.codes")
"""Arrays of which a shard holds some blocks."""
_CHECKSUMS: Final = ".crc32"
"""Ends the names of the arrays with the checksums of their blocks."""
_GROWING: Final = frozenset({*(f"patterns.{name}" for name in GROWING), *_BLOCKS})
"""Arrays that the next day goes on with behind them."""
_VECTORS: Final = frozenset(
    {*_BLOCKS, *(f"{name}{_CHECKSUMS}" for name in _BLOCKS), *(f"index.{name}" for name in _HEADS)}
)
"""Arrays that only an index needs."""

_LOG = logger(__name__)

Found = TypeVar("Found")

Stamps = Mapping[str, Mapping[str, list[int]]]
"""By table and data file: size, and times of the last change of content and of the file, in nanoseconds."""


@dataclass(frozen=True, slots=True, eq=False)
class CachedState:
    """What an entry holds, of the key that it was made for."""

    key: StateKey
    verified: VerifiedPatterns
    patterns: Patterns
    """Without their vectors if the key has shards."""
    heads: RoundedHeads | None
    """Of the index, see `FlatIndex.heads`."""
    quantised: QuantisedScan | None
    """The scan of an index of vectors on disk."""

    def has_scan_of(self, index: FlatIndex | DiskIndex) -> bool:
        """Whether the scan of an index did not have to be made."""
        if isinstance(index, DiskIndex):
            return self.quantised is not None
        return self.heads is not None or index.heads is None


@dataclass(frozen=True, slots=True, eq=False)
class CachedShares:
    """What an entry holds of the vectors of some shards."""

    indexes: list[FlatIndex]
    """Over the vectors of each shard."""
    count: int
    """Number of patterns of its version."""
    files: frozenset[str]
    """Data files of these."""


def file_stamps(home: Home, key: StateKey) -> Stamps | None:
    """Stamps of the data files of a key's versions, to be taken before these are read; None where no cache is kept."""
    if home.folder is None or key.bars.version is None or key.patterns_version is None:
        return None
    versions = {"bars": key.bars.version, key.patterns_table: key.patterns_version}
    try:
        return {
            table: {name: _stamp(home.folder / table / name) for name in sorted(home.files(table, version))}
            for table, version in versions.items()
        }
    except OSError:
        # A file is gone, which the read that follows says.
        return None


def cached_state(home: Home, key: StateKey) -> CachedState | None:
    """The newest entry that fits a key, or is of an earlier version of it; None if there is none.

    The process then holds the entry's bars, catalogue and comparison under their keys. An entry that is damaged is
    removed. Raises what `Home` raises.
    """
    return _cached(home, key, None if key.shards == 1 else _without_vectors)


def hold_bars(home: Home, bars: BarsKey, settings: PatternSettings, encoder: EncoderKey) -> None:
    """Have this process hold what the newest entry of these patterns has beside their vectors, unless it holds bars.

    `bars`: of any version of the home's table.

    An update of the patterns then reads only what came since. Raises what `Home` raises, and as `StateKey.newest`.
    """
    if home.folder is None:
        return
    if any((held.home, held.identity) == (bars.home, bars.identity) for held in held_like(bars)):
        return
    if has_patterns(home, settings, encoder.fingerprint):
        key = StateKey.newest(home, with_any_factor(settings), encoder.path, encoder.device)
        _cached(home, key, _without_vectors)


def _without_vectors(name: str) -> bool:
    return name not in _VECTORS and not name.startswith("quantised.")


def _cached(home: Home, key: StateKey, wanted: Callable[[str], bool] | None) -> CachedState | None:
    def held(folder: Path, described: Mapping[str, Any], made_for: StateKey) -> CachedState:
        room = {*_GROWING, *(f"bars.{name}" for name in BARS)}
        if made_for.vectors_on_disk(*shape_of(folder, "patterns.vectors")):
            room.remove("patterns.vectors")
        return _held(home, made_for, described, read_arrays(folder, wanted, room))

    return _newest(home, key, held)


def cached_shares(home: Home, key: StateKey, shares: Sequence[Share]) -> CachedShares | None:
    """Of the entry that `cached_state` finds, if it finds any, what these shards hold; nothing else is read.

    Raises what `Home` raises.
    """

    def read(folder: Path, described: Mapping[str, Any], made_for: StateKey) -> CachedShares:
        small = {f"index.{name}" for name in _HEADS}.difference(_BLOCKS)
        arrays = read_arrays(folder, lambda name: name in small or name.endswith(_CHECKSUMS))
        count, files = shape_of(folder, "patterns.vectors")[0], frozenset(described["files"][made_for.patterns_table])
        return CachedShares([_index(folder, arrays, count, share) for share in shares], count, files)

    return _newest(home, key, read)


def _index(folder: Path, arrays: Mapping[str, NDArray[Any]], count: int, share: Share) -> FlatIndex:
    """The index of a shard, from its blocks of an entry."""
    numbers, own = share.blocks(count), int(share.known(np.array([count]))[0])

    def blocks(name: str, dtype: type) -> NDArray[Any]:
        out = with_room(dtype, (own, shape_of(folder, name)[1]))
        read_blocks(folder, name, arrays[f"{name}{_CHECKSUMS}"], BLOCK, numbers, out)
        return out

    vectors = blocks("patterns.vectors", np.float32)
    if "index.directions" not in arrays:
        return FlatIndex.over(vectors)
    return FlatIndex.over(vectors, _heads({**arrays, "index.codes": blocks("index.codes", np.uint8)}))


def _newest(home: Home, key: StateKey, read: Callable[[Path, Mapping[str, Any], StateKey], Found]) -> Found | None:
    """What `read` makes of the newest entry that fits a key: its folder, its description and the key of its own."""
    if home.folder is None:
        return None
    for folder in _entries(home.folder, key):
        try:
            described = read_description(folder)
            made_for = _key_of(described, key)
            if not _fits(described, made_for, home):
                continue
            found = read(folder, described, made_for)
        except (OSError, HomeError):
            # Removed meanwhile, or of a version that is kept no more; the tables say what else is wrong.
            continue
        except (DamagedArraysError, ValueError, LookupError, TypeError, AttributeError) as error:
            _LOG.warning("the index cache %s is damaged, and removed (%s); no value depends on it", folder, error)
            _remove(folder)
            continue
        _LOG.info("patterns mapped from %s", folder)
        return found
    return None


def keep_state(
    home: Home,
    key: StateKey,
    bars: LoadedBars,
    patterns: Patterns,
    index: FlatIndex | DiskIndex,
    stamps: Stamps | None,
) -> None:
    """Write the entry of a state, and remove those before the last; what fails is logged, as nothing depends on it.

    `stamps`: those of `file_stamps` from before the state was read.
    """
    if home.folder is None or stamps is None or len(patterns) < LEAST_CACHED or stamps != file_stamps(home, key):
        return
    folder, symbols = _entry(home.folder, key), sorted(bars.frames)
    frames = [[bars.frames[symbol]] for symbol in symbols]
    arrays: dict[str, Parts] = {f"bars.{name}": with_gaps(frames, name) for name in BARS}
    arrays |= {f"patterns.{name}": getattr(patterns, name) for name in _PATTERNS if name != "vectors"}
    vectors = patterns.vectors
    arrays["patterns.vectors"] = vectors.parts if isinstance(vectors, MappedVectors) else vectors
    if isinstance(index, DiskIndex):
        arrays |= {f"quantised.{name}": getattr(index.scan, name) for name in _QUANTISED}
    elif (heads := index.heads) is not None:
        arrays |= {f"index.{name}": getattr(heads, name) for name in _HEADS}
    arrays |= {f"{name}{_CHECKSUMS}": block_checksums(arrays[name], BLOCK) for name in _BLOCKS if name in arrays}
    described = {
        "origin": _origin(key),
        "bars_version": key.bars.version,
        "patterns_version": key.patterns_version,
        "newest": None if bars.newest is None else bars.newest.isoformat(),
        "bars": {symbol: len(bars.frames[symbol]) for symbol in symbols},
        "symbols": patterns.symbols,
        "files": stamps,
        "releases": _named(bars.releases),
    }
    try:
        put_arrays(folder, described, arrays, _kind(key), _GROWING)
    except OSError as error:
        _LOG.info("the index cache %s was not written (%s); the next process reads the tables", folder, refusal(error))


def _entries(home: Path, key: StateKey) -> Iterator[Path]:
    """Entries of a key's origin and of no later version, newest first."""
    parent, own = home / INDEX_CACHE, _entry(home, key)
    prefix = own.name.rpartition("-")[0].rpartition("-")[0]
    try:
        names = array_folders(parent)
    except OSError:
        return
    found = []
    for name in names:
        origin, _, versions = name.partition(f"{prefix}-")
        bars, _, patterns = versions.partition("-")
        if origin == "" and bars.isdecimal() and patterns.isdecimal():
            found.append((int(bars), int(patterns), parent / name))
    limit = (key.bars.version or 0, key.patterns_version or 0)
    for bars_version, patterns_version, folder in sorted(found, reverse=True):
        if bars_version <= limit[0] and patterns_version <= limit[1]:
            yield folder


def _entry(home: Path, key: StateKey) -> Path:
    name = f"{_kind(key)}{digest_of(_origin(key))}-{key.bars.version}-{key.patterns_version}"
    return home / INDEX_CACHE / name


def _kind(key: StateKey) -> str:
    """How the names of all entries with the settings and the encoder of a key begin, whatever else made them."""
    return f"state-{pattern_fingerprint(key.settings.patterns, key.encoder.fingerprint)}-"


def _origin(key: StateKey) -> dict[str, Any]:
    """All that made an entry but the versions of the tables."""
    return {
        "format": FORMAT,
        "code": CODE,
        "patterns": pattern_fingerprint(key.settings.patterns, key.encoder.fingerprint),
        "table": key.patterns_table,
        "bars_identity": key.bars.identity,
        "patterns_identity": key.patterns_identity,
        # Which sessions there are decides what is a jump, and with a stride what is a pattern.
        "calendars": version("exchange_calendars"),
    }


def _key_of(described: Mapping[str, Any], key: StateKey) -> StateKey:
    """The key that an entry was made for, if it has the origin of another key."""
    files = files_hash(described["files"]["bars"])
    bars = replace(key.bars, version=described["bars_version"], files=files)
    return replace(key, bars=bars, patterns_version=described["patterns_version"])


def _fits(described: Mapping[str, Any], key: StateKey, home: Home) -> bool:
    """Whether the data files of an entry are those of its versions, and lie there as they did.

    And whether the same jumps are released, which no data file says.
    """
    if described["origin"] != _origin(key) or described["files"] != file_stamps(home, key):
        return False
    return bool(described["releases"] == _named(released(home.notes(key.bars.version))))


def _named(releases: Releases) -> str:
    return digest_of(dict(releases))


def _held(home: Home, key: StateKey, described: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> CachedState:
    frames, room = mapped_frames({name: arrays[f"bars.{name}"] for name in BARS}, described["bars"])
    newest = None if described["newest"] is None else date.fromisoformat(described["newest"])
    files = frozenset(described["files"]["bars"])
    vectors: Vectors = arrays.get("patterns.vectors", np.zeros((0, 0), dtype=np.float32))
    if isinstance(vectors, np.ndarray) and key.vectors_on_disk(*vectors.shape):
        vectors = MappedVectors(vectors, vectors[:0])
    others = {name: arrays[f"patterns.{name}"] for name in _PATTERNS if name != "vectors"}
    patterns = Patterns(symbols=described["symbols"], vectors=vectors, **others)
    symbols = list(frames)
    code = np.searchsorted(symbols, patterns.symbols).astype(np.int32)[patterns.code]
    windows = Catalogue(symbols, code, patterns.bar.astype(np.int64), patterns.end, patterns.known_on, patterns.content)
    releases = released(home.notes(key.bars.version))
    now = PatternsKey.of(home, described["patterns_version"], key.catalogue, key.patterns_table)
    hold(key.bars, LoadedBars(frames, newest, files, releases, room=room))
    hold(key.catalogue, LoadedCatalogue(windows, files))
    quantised = None
    if "quantised.heads" in arrays:
        quantised = QuantisedScan(*(arrays[f"quantised.{name}"] for name in _QUANTISED))
    return CachedState(key, now.hold_as_complete(), patterns, _heads(arrays), quantised)


def _heads(arrays: Mapping[str, NDArray[Any]]) -> RoundedHeads | None:
    return RoundedHeads(*(arrays[f"index.{name}"] for name in _HEADS)) if "index.codes" in arrays else None


def _stamp(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _remove(folder: Path) -> None:
    try:
        remove_arrays(folder)
    except OSError as error:
        _LOG.info("the index cache %s cannot be removed (%s)", folder, refusal(error))
