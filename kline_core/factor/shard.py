"""A shard of a state's vectors: the index over its blocks of patterns, as one worker of a cluster loads it.

Of the rest of a state, which every worker holds whole, a search needs about 70 bytes a pattern; vectors and what scans
them take about 320. Of the index cache only the shard's own blocks are read. The tables' files, which have a checksum
each, are read whole, in parts of at most `_AT_ONCE` bytes, by a worker once for all shards that it is to hold.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from kline_core._cache import held_like, hold, let_go, loaded
from kline_core.bars.bars_cache import table_replaced
from kline_core.errors import StaleError
from kline_core.factor.index_cache import cached_shares
from kline_core.factor.state import LoadedState, vectors_of
from kline_core.factor.state_key import StateKey
from kline_core.search.flat_index import FlatIndex
from kline_core.search.shards import Share
from kline_core.store.home import Home
from kline_core.store.remedies import with_options
from kline_core.typing import Floats32, Int64s

_AT_ONCE: Final = 1 << 26
"""Bytes of data files that are read together."""


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """A loaded shard; read-only."""

    index: FlatIndex
    """Over the shard's own rows."""
    count: int
    """Number of patterns of the whole."""
    files: frozenset[str]
    """Data files of the patterns."""


@dataclass(frozen=True, slots=True)
class ShardKey:
    """Key of a shard."""

    state: StateKey
    number: int
    """0 to `state.shards` - 1."""

    @classmethod
    def of(cls, state: StateKey, number: int) -> Self:
        """Shard of a state; states that differ in nothing that is loaded share it."""
        return cls(state.loads, number)

    @property
    def share(self) -> Share:
        """Which rows it holds."""
        return Share(self.number, self.state.shards)

    @property
    def kind(self) -> tuple[type, Share]:
        """A process holds some versions of each shard, however many shards it holds."""
        return ShardKey, self.share

    def load(self) -> Shard:
        """Load the shard: from the index cache, with what was added since, or from the tables.

        Raises as `kline_core.factor.state.load_state`.
        """
        return _read_together(self.state, [self.share])[0]

    def advance(self, earlier: Self, value: Shard) -> Shard | None:
        """The shard with the patterns added since an earlier version; None if this does not continue that one."""
        if earlier.number != self.number or not self.state.goes_on(earlier.state):
            return None
        advanced = _followed(self.state, {self.share: value})
        return None if advanced is None else advanced[0]


def load_shards(state: StateKey, numbers: Collection[int]) -> None:
    """Have this process hold these shards of a state, and no shards beside them.

    Those of which it holds no version are read together, since each reading of the tables is of all vectors. Raises as
    `kline_core.factor.state.load_state`.
    """
    keys = [ShardKey.of(state, number) for number in numbers]
    let_go(ShardKey, {key.kind for key in keys})
    new = [key for key in keys if not any(key.state.goes_on(held.state) for held in held_like(key))]
    if new:
        read = _read_together(new[0].state, [key.share for key in new])
        for key, shard in zip(new, read, strict=True):
            hold(key, shard)
    for key in keys:
        loaded(key)


def _read_together(key: StateKey, shares: Sequence[Share]) -> list[Shard]:
    """The shards of a state with these shares, from one reading of its vectors. Raises as `ShardKey.load`."""
    state, home = loaded(key), Home(key.home)
    found = cached_shares(home, key, shares)
    if found is not None:
        firsts = [Shard(index, found.count, found.files) for index in found.indexes]
        whole = _followed(key, dict(zip(shares, firsts, strict=True)))
        if whole is not None:
            return whole
    none = np.zeros((0, state.patterns.dim), dtype=np.float32)
    whole = _followed(key, {share: Shard(FlatIndex.over(none), 0, frozenset()) for share in shares})
    if whole is None:
        # What the state was compared with is no longer there.
        raise table_replaced(key.home)
    return whole


def _followed(key: StateKey, shards: Mapping[Share, Shard]) -> list[Shard] | None:
    """Shards of an earlier version, the same for all, followed by the rows of its data files beyond those; None if
    these are not exactly the patterns after it."""
    state = loaded(key)
    if state.verified is None:
        return list(shards.values())
    files, first = state.verified.files, next(iter(shards.values()))
    if not first.files <= files:
        return None
    count = len(state.patterns)
    bounds = {share: share.known(np.array([first.count, count])) for share in shards}
    dim = state.patterns.dim
    vectors = {share: np.empty((after - before, dim), np.float32) for share, (before, after) in bounds.items()}
    seen = np.zeros(count - first.count, dtype=np.bool_)
    for row, part in _rows(key, state, first.files):
        if (row < first.count).any() or seen[row - first.count].any():
            return None
        seen[row - first.count] = True
        for share, own in vectors.items():
            mine = share.holds(row)
            own[share.places(row[mine]) - bounds[share][0]] = part[mine]
    if not seen.all():
        return None
    followed = []
    for share, shard in shards.items():
        try:
            state.patterns.check_vectors(vectors[share], share.rows(np.arange(*bounds[share])))
        except StaleError as error:
            error.args = (with_options(str(error), key.index_options),)
            raise
        # Each is let go of once it was copied.
        followed.append(Shard(shard.index.followed_by(vectors.pop(share)), count, files))
    return followed


def _rows(key: StateKey, state: LoadedState, held: Collection[str]) -> Iterator[tuple[Int64s, Floats32]]:
    """Rows of the patterns in all data files but those `held`, and their vectors."""
    assert state.verified is not None, "there are patterns"
    assert key.patterns_version is not None, "they are of a version"
    home, windows, dim = Home(key.home), state.verified.windows, state.patterns.dim
    sizes = home.files(key.patterns_table, key.patterns_version)
    for files in _groups({name: size for name, size in sizes.items() if name not in held}):
        columns, others = ["symbol", "end", "vector"], sizes.keys() - files
        rows = home.appended(key.patterns_table, columns, others, key.patterns_version)
        if rows is None:
            raise table_replaced(home.uri)
        yield windows.find(rows["symbol"], rows["end"]), vectors_of(rows["vector"], dim)


def _groups(sizes: Mapping[str, int]) -> Iterator[set[str]]:
    """Data files in groups of at most `_AT_ONCE` bytes, or of one file."""
    group: set[str] = set()
    total = 0
    for name in sorted(sizes):
        if group and total + sizes[name] > _AT_ONCE:
            yield group
            group, total = set(), 0
        group.add(name)
        total += sizes[name]
    if group:
        yield group
