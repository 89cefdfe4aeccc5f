"""A shard of a state's vectors: the index over every n-th pattern, as one worker of a cluster loads it.

Of the rest of a state, which every worker holds whole, a search needs about 70 bytes a pattern; vectors and what scans
them take about 320. A shard reads the vectors of all patterns, from the index cache or from the tables, in parts of at
most `_AT_ONCE` bytes, and keeps its own.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from kline_core._cache import let_go, loaded
from kline_core.bars.bars_cache import table_replaced
from kline_core.errors import StaleError
from kline_core.factor.index_cache import cached_vectors
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
        state, home = loaded(self.state), Home(self.state.home)
        found = cached_vectors(home, self.state)
        if found is not None:
            divided = None
            if found.divided is not None:
                divided = found.divided[0], np.ascontiguousarray(self._own(found.divided[1]))
            first = Shard(FlatIndex.over(self._own(found.vectors), divided), len(found.vectors), found.files)
            whole = self._followed(state, first)
            if whole is not None:
                return whole
        none = np.zeros((0, state.patterns.dim), dtype=np.float32)
        whole = self._followed(state, Shard(FlatIndex.over(none), 0, frozenset()))
        if whole is None:
            # What the state was compared with is no longer there.
            raise table_replaced(self.state.home)
        return whole

    def advance(self, earlier: Self, value: Shard) -> Shard | None:
        """The shard with the patterns added since an earlier version; None if this does not continue that one."""
        if earlier.number != self.number or not self.state.goes_on(earlier.state):
            return None
        return self._followed(loaded(self.state), value)

    def _own(self, whole: Floats32) -> Floats32:
        return whole[self.number :: self.state.shards]

    def _followed(self, state: LoadedState, shard: Shard) -> Shard | None:
        """A shard of an earlier version followed by the rows of its data files beyond those; None if these are not
        exactly the patterns after it."""
        if state.verified is None:
            return shard
        files = state.verified.files
        if not shard.files <= files:
            return None
        count, share = len(state.patterns), self.share
        before, after = (int(share.known(np.array([rows]))[0]) for rows in (shard.count, count))
        vectors = np.empty((after - before, state.patterns.dim), dtype=np.float32)
        seen = np.zeros(count - shard.count, dtype=np.bool_)
        for row, part in self._read(state, shard.files):
            if (row < shard.count).any() or seen[row - shard.count].any():
                return None
            seen[row - shard.count] = True
            mine = row % share.of == share.number
            vectors[row[mine] // share.of - before] = part[mine]
        if not seen.all():
            return None
        try:
            state.patterns.check_vectors(vectors, share.rows(np.arange(before, after)))
        except StaleError as error:
            error.args = (with_options(str(error), self.state.settings.patterns.options),)
            raise
        return Shard(shard.index.followed_by(vectors), count, files)

    def _read(self, state: LoadedState, held: Collection[str]) -> Iterator[tuple[Int64s, Floats32]]:
        """Rows of the patterns in all data files but those `held`, and their vectors."""
        assert state.verified is not None, "there are patterns"
        assert self.state.patterns_version is not None, "they are of a version"
        home, windows, dim = Home(self.state.home), state.verified.windows, state.patterns.dim
        table, version = self.state.patterns_table, self.state.patterns_version
        sizes = home.files(table, version)
        for files in _groups({name: size for name, size in sizes.items() if name not in held}):
            rows = home.appended(table, ["symbol", "end", "vector"], sizes.keys() - files, version)
            if rows is None:
                raise table_replaced(home.uri)
            yield windows.find(rows["symbol"], rows["end"]), vectors_of(rows["vector"], dim)


def load_shards(state: StateKey, numbers: Collection[int]) -> None:
    """Have this process hold these shards of a state, and no shards beside them.

    Raises as `kline_core.factor.state.load_state`.
    """
    keys = [ShardKey.of(state, number) for number in numbers]
    let_go(ShardKey, {key.kind for key in keys})
    for key in keys:
        loaded(key)


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
