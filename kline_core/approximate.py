"""An approximate index for very large histories: each query is compared with a part of what it may see.

1. The first `TRAINED` patterns in the order of `known_on` are divided into `LISTS` groups by spherical k-means; the
   centroids of the groups are kept. Both numbers are fixed, so that a longer history never changes the centroids.
2. Every pattern, early or late, belongs to the list of the centroid that it is most similar to.
3. A query that may see no more than those first patterns is searched exactly. Any other one is compared with the
   patterns of its prefix in the `probes` lists whose centroids it is most similar to, and with no others.

So what a query on date t is given depends on nothing that was not known at the close of t. Similarities to centroids
are compared as in `kline_core.search`: in float64, each pair summed on its own, equal ones by the centroid's number;
sums of groups are made in the order of the patterns. The same patterns give the same lists on every machine, and the
answer is bit for bit independent of batches and threads: it is the exact one among the lists that are probed.

The lists are scanned by matrix products, each list for all queries that probe it. FAISS's own inverted lists scan one
query after the other: measured with 300,000 patterns and a recall of 0.996, that took as long as the exact search.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from kline_core.index import PatternIndex
from kline_core.patterns import Doubles, Flags, Floats, Patterns, Rows
from kline_core.recall import Recall
from kline_core.search import Queries, search
from kline_core.settings import FactorSettings

LISTS = 1024
"""Together with the next two, part of what a value depends on: see `kline_core.settings.METHOD`."""
TRAINED = 65_536
_ROUNDS = 4
"""Of k-means; ten find no more matches than four."""
_ASKED = 400
"""Patterns that are asked as queries to measure the recall."""
_BLOCK = 256
"""Vectors whose scores with all centroids are made at a time: 1 MB, which stays in the cache."""
_PLENTY = 8
"""How many times the wanted rows are looked at for a first bound of the scores."""
_LIST = 33
"""Bits that a row takes in a key; the number of its list stands above them."""


@dataclass(frozen=True, slots=True, eq=False)
class ApproximateIndex(PatternIndex):
    """A `PatternIndex` whose `nearest` and `above` know, of a long prefix, the probed lists only."""

    trained: int
    """Rows of which the centroids were made; prefixes up to here are searched exactly."""
    probes: int
    """Lists that a query is compared with."""
    centroids: Floats
    """float32 (lists, d), L2-normalised."""
    keys: Rows
    """int64 (P,), ascending: (list, row) as one number; empty where no prefix is longer than `trained`."""
    grouped: Floats
    """float32 (P, d): the vectors in the order of `keys`, a second copy."""

    @classmethod
    def of(cls, exact: PatternIndex, probes: int, lists: int = LISTS, trained: int = TRAINED) -> Self:
        """Divide the rows of an exact index into lists; `lists` is at least `probes` and at most `trained`."""
        rows = exact.rows
        keys, centroids = np.zeros(0, dtype=np.int64), rows[:0]
        if len(rows) > trained:
            centroids = _centroids(rows[:trained], lists, exact.score_error)
            keys = (closest(rows, centroids, 1, exact.score_error)[:, 0] << _LIST) + np.arange(len(rows))
            keys.sort()
        return cls(
            flat=exact.flat,
            rows=rows,
            scan=exact.scan,
            trained=trained,
            probes=probes,
            centroids=centroids,
            keys=keys,
            grouped=rows[_row(keys)],
        )

    def nearest(self, vectors: Floats, known: Rows, count: int) -> tuple[Rows, Doubles]:
        """As `PatternIndex.nearest`, where a query may see the probed lists of its prefix only."""
        late = int(np.searchsorted(known, self.trained, side="right"))
        early_rows, early_floor = PatternIndex.nearest(self, vectors[:late], known[:late], count)
        if late == len(known):
            return early_rows, early_floor
        rows, floor = self._nearest(vectors[late:], known[late:], count)
        return np.concatenate([early_rows, rows]), np.concatenate([early_floor, floor])

    def above(self, vectors: Floats, known: Rows, bound: Doubles) -> list[Rows]:
        """As `PatternIndex.above`, where a query may see the probed lists of its prefix only."""
        late = int(np.searchsorted(known, self.trained, side="right"))
        found = PatternIndex.above(self, vectors[:late], known[:late], bound[:late])
        if late == len(known):
            return found
        # Rounded down, so that turning the bound into float32 loses no row.
        lowest = np.nextafter((bound[late:] - self.score_error).astype(np.float32), np.float32(-np.inf))
        probed = self._probed(vectors[late:], known[late:])
        query, row, _ = self._scan(vectors[late:], probed, lowest)
        order = np.lexsort((row, query))
        ends = np.searchsorted(query[order], np.arange(1, len(lowest)))
        return [*found, *np.split(row[order], ends)]

    def _nearest(self, vectors: Floats, known: Rows, count: int) -> tuple[Rows, Doubles]:
        probed = self._probed(vectors, known)
        visible = (probed.last - probed.first).reshape(len(vectors), -1)
        # A few of the best lists give a score that the wanted rows reach; the other lists then give few rows.
        some = (np.cumsum(visible, axis=1) - visible < _PLENTY * count).ravel()
        lowest = np.full(len(vectors), -np.inf, dtype=np.float32)
        _, score = _best(*self._scan(vectors, probed.take(some), lowest), len(vectors), count)
        more = visible.sum(axis=1) > count
        lowest[more] = score[more, -1]
        rows, score = _best(*self._scan(vectors, probed, lowest), len(vectors), count)
        return rows, np.where(more, np.maximum(lowest, score[:, -1]), -np.inf).astype(np.float64)

    def _probed(self, vectors: Floats, known: Rows) -> "_Probed":
        lists = closest(vectors, self.centroids, self.probes, self.score_error).ravel()
        query = np.repeat(np.arange(len(vectors)), self.probes)
        first = np.searchsorted(self.keys, lists << _LIST)
        return _Probed(query, lists, first, np.searchsorted(self.keys, (lists << _LIST) + known[query]))

    def _scan(self, vectors: Floats, probed: "_Probed", lowest: Floats) -> tuple[Rows, Rows, Floats]:
        """All that the queries may see in the lists and that scores at least `lowest`: query, row, score of each."""
        order = np.argsort(probed.list, kind="stable")
        query, last = probed.query[order], probed.last[order]
        _, starts = np.unique(probed.list[order], return_index=True)
        found = [(query[:0], query[:0], lowest[:0])]
        for start, stop in zip(starts, [*starts[1:], len(order)], strict=True):
            asking, end = query[start:stop], last[start:stop]
            first = int(probed.first[order[start]])
            scores = vectors[asking] @ self.grouped[first : int(end.max())].T
            which, place = np.divmod(np.flatnonzero(scores >= lowest[asking, None]), scores.shape[1])
            seen = first + place < end[which]
            which, place = which[seen], place[seen]
            found.append((asking[which], _row(self.keys[first + place]), scores[which, place]))
        return tuple(np.concatenate(part) for part in zip(*found, strict=True))  # type: ignore[return-value]


@dataclass(frozen=True, slots=True, eq=False)
class _Probed:
    """Pairs of a query and a list that it is compared with; arrays of int64 of the same length."""

    query: Rows
    list: Rows
    first: Rows
    """Where the list begins in `ApproximateIndex.keys`."""
    last: Rows
    """Where that part of the list ends which the query may see."""

    def take(self, which: Flags) -> "_Probed":
        return _Probed(self.query[which], self.list[which], self.first[which], self.last[which])


def measured_recall(
    index: ApproximateIndex, patterns: Patterns, settings: FactorSettings, window_bars: int, most: int = _ASKED
) -> Recall:
    """Ask up to `most` patterns as queries, each on the date of its window's last bar, of both ways of searching.

    The patterns are spread evenly over those that may see more than `index.trained` patterns. Nothing but a refusal may
    depend on the answer, which looks at the whole history.
    """
    late = np.flatnonzero(patterns.n_known(patterns.end) > index.trained)
    number = min(most, len(late))
    chosen = late[np.arange(number) * len(late) // max(number, 1)]
    queries = Queries(index.rows[chosen], patterns.end[chosen], patterns.code[chosen], patterns.bar[chosen])
    exact = search(PatternIndex(index.flat, index.rows, index.scan), patterns, queries, settings, window_bars).rows
    found = search(index, patterns, queries, settings, window_bars).rows
    there = exact >= 0
    hit = (exact[:, :, None] == found[:, None, :]).any(axis=2) & there
    share = float(hit.sum() / there.sum()) if there.any() else 1.0
    return Recall(share, number, settings.top_k, index.probes, index.trained)


def closest(vectors: Floats, centroids: Floats, count: int, error: float) -> Rows:
    """The centroids most similar to each vector, best first, as defined at the top of this module.

    Args:
        vectors: float32 (n, d).
        centroids: float32 (c, d).
        count: centroids wanted, at most c.
        error: most by which a float32 score is off, see `PatternIndex.score_error`.

    Returns:
        int64 (n, count), numbers of centroids.
    """
    chosen = np.empty((len(vectors), count), dtype=np.int64)
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        scores = block @ centroids.T
        last = len(centroids) - count
        worst = scores.max(axis=1) if count == 1 else np.partition(scores, last, axis=1)[:, last]
        # Float32 proposes: the error counts once for either score, and once for the rounding of their difference.
        which, number = np.nonzero(scores >= (worst - np.float32(3 * error))[:, None])
        similarity = (block[which].astype(np.float64) * centroids[number]).sum(axis=-1)
        order = np.lexsort((number, -similarity, which))
        first = np.searchsorted(which, np.arange(len(block)))
        chosen[start : start + _BLOCK] = number[order][first[:, None] + np.arange(count)]
    return chosen


def _centroids(vectors: Floats, lists: int, error: float) -> Floats:
    """Spherical k-means, begun with vectors spread evenly over the given ones: float32 (lists, d)."""
    centroids = vectors[np.arange(lists) * len(vectors) // lists]
    for _ in range(_ROUNDS):
        group = closest(vectors, centroids, 1, error)[:, 0]
        order = np.argsort(group, kind="stable")
        filled, first = np.unique(group[order], return_index=True)
        total = np.add.reduceat(vectors[order].astype(np.float64), first, axis=0)
        length = np.sqrt(np.square(total).sum(axis=1))
        # Vectors that cancel each other out have no direction; the centroid then stays where it is.
        fit = length > error
        centroids[filled[fit]] = total[fit] / length[fit, None]
    return centroids


def _best(query: Rows, row: Rows, score: Floats, number: int, count: int) -> tuple[Rows, Floats]:
    """The `count` best rows of each query and their scores, best first; -1 and -inf where there are fewer."""
    rows = np.full((number, count), -1, dtype=np.int64)
    scores = np.full((number, count), -np.inf, dtype=np.float32)
    order = np.lexsort((-score, query))
    query = query[order]
    rank = np.arange(len(query)) - np.searchsorted(query, query)
    kept = rank < count
    rows[query[kept], rank[kept]] = row[order][kept]
    scores[query[kept], rank[kept]] = score[order][kept]
    return rows, scores


def _row(keys: Rows) -> Rows:
    return keys & ((1 << _LIST) - 1)
