"""An approximate index for very large histories: each query is compared with a part of what it may see.

1. The first `TRAINED` patterns in the order of `known_on` are divided into `LISTS` groups by spherical k-means; the
   centroids of the groups are kept. Both numbers are fixed, so that a longer history never changes the centroids.
2. Every pattern, early or late, belongs to the list of the centroid that it is most similar to.
3. A query that may see no more than those first patterns is searched exactly. Any other one is compared with the
   patterns of its prefix in the `probes` lists whose centroids it is most similar to, and with no others.

So what a query on date t is given depends on nothing that was not known at the close of t. Similarities to centroids
are compared as in `kline_core.search.search`: in float64, each pair summed on its own, equal ones by the centroid's number;
sums of groups are made in the order of the patterns. The same patterns give the same lists on every machine, and the
answer is bit for bit independent of batches and threads: it is the exact one among the lists that are probed.

FAISS scans the lists: its `IndexIVFFlat` is told which ones to probe.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import faiss
import numpy as np

from kline_core.patterns.patterns import Patterns
from kline_core.search.candidates import Queries
from kline_core.search.flat_index import FlatIndex
from kline_core.search.recall import Recall
from kline_core.search.search import search
from kline_core.settings import FactorSettings
from kline_core.typing import Floats32, Floats64, Int64s

LISTS = 1024
"""Together with the next two, part of what a value depends on: see `kline_core.settings.METHOD`."""
TRAINED = 65_536
_ROUNDS = 4
"""Of k-means; ten find no more matches than four."""
_ASKED = 400
"""Patterns that are asked as queries to measure the recall."""
_BLOCK = 256
"""Vectors whose scores with all centroids are made at a time: 1 MB, which stays in the cache."""


@dataclass(frozen=True, slots=True, eq=False)
class IvfIndex(FlatIndex):
    """A `FlatIndex` whose `nearest` and `at_least` know, of a long prefix, the probed lists only."""

    trained: int
    """Rows of which the centroids were made; prefixes up to here are searched exactly."""
    probes: int
    """Lists that a query is compared with."""
    centroids: Floats32
    """float32 (lists, d), L2-normalised."""
    lists: Any
    """A `faiss.IndexIVFFlat` with a second copy of the vectors, rows ascending in each list; None where no prefix is
    longer than `trained`."""

    @classmethod
    def of(cls, exact: FlatIndex, probes: int, lists: int = LISTS, trained: int = TRAINED) -> Self:
        """Divide the rows of an exact index into lists; `lists` is at least `probes` and at most `trained`."""
        rows = exact.rows
        if len(rows) <= trained:
            return cls(exact.flat, rows, exact.scan, trained, probes, rows[:0], None)
        centroids = _centroids(rows[:trained], lists, exact.score_error)
        number = closest(rows, centroids, 1, exact.score_error)[:, 0]
        ivf = faiss.IndexIVFFlat(faiss.IndexFlatIP(rows.shape[1]), rows.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
        # Neither trained nor asked for the nearest centroids by FAISS, whose rounding depends on the batch.
        ivf.is_trained = True
        ivf.add_core(len(rows), faiss.swig_ptr(rows), None, faiss.swig_ptr(number))
        return cls(exact.flat, rows, exact.scan, trained, probes, centroids, ivf)

    def nearest(self, vectors: Floats32, known: Int64s, count: int) -> tuple[Int64s, Floats64]:
        """As `FlatIndex.nearest`, where a query may see the probed lists of its prefix only."""
        late = int(np.searchsorted(known, self.trained, side="right"))
        early_rows, early_floor = FlatIndex.nearest(self, vectors[:late], known[:late], count)
        rows = np.empty((len(known) - late, count), dtype=np.int64)
        scores = np.empty(rows.shape, dtype=np.float32)
        for place, (query, lists, unused, parameters) in enumerate(self._probed(vectors[late:], known[late:])):
            best = faiss.swig_ptr(scores[place]), faiss.swig_ptr(rows[place])
            self.lists.search_preassigned_c(1, query, count, lists, unused, *best, False, parameters)
        floor = np.where(rows[:, -1] < 0, -np.inf, scores[:, -1])
        return np.concatenate([early_rows, rows]), np.concatenate([early_floor, floor])

    def at_least(self, vectors: Floats32, known: Int64s, bound: Floats64) -> list[Int64s]:
        """As `FlatIndex.at_least`, where a query may see the probed lists of its prefix only."""
        late = int(np.searchsorted(known, self.trained, side="right"))
        found = FlatIndex.at_least(self, vectors[:late], known[:late], bound[:late])
        # Rounded down, so that turning the bound into float32 loses no row.
        lowest = np.nextafter((bound[late:] - self.score_error).astype(np.float32), np.float32(-np.inf))
        for place, (query, lists, unused, parameters) in enumerate(self._probed(vectors[late:], known[late:])):
            result = faiss.RangeSearchResult(1)
            least = float(lowest[place])
            self.lists.range_search_preassigned_c(1, query, least, lists, unused, result, False, parameters)
            number = int(faiss.rev_swig_ptr(result.lims, 2)[1])
            found.append(np.sort(faiss.rev_swig_ptr(result.labels, number).copy()))
        return found

    def _probed(self, vectors: Floats32, known: Int64s) -> Iterator[tuple[Any, Any, Any, Any]]:
        """What FAISS is told of each query: its vector, its lists, their scores (which it does not use), its prefix."""
        unused = np.zeros(self.probes, dtype=np.float32)
        chosen = closest(vectors, self.centroids, self.probes, self.score_error)
        for vector, lists, seen in zip(vectors, chosen, known.tolist(), strict=True):
            selector = faiss.IDSelectorRange(0, seen, True)
            # FAISS adds these arguments when it is imported; its type stubs do not know them.
            parameters = faiss.SearchParametersIVF(sel=selector, nprobe=self.probes)  # type: ignore[call-arg]
            yield faiss.swig_ptr(vector), faiss.swig_ptr(lists), faiss.swig_ptr(unused), parameters


def measured_recall(
    index: IvfIndex, patterns: Patterns, settings: FactorSettings, window_bars: int, most: int = _ASKED
) -> Recall:
    """Ask up to `most` patterns as queries, each on the date of its window's last bar, of both ways of searching.

    The patterns are spread evenly over those that may see more than `index.trained` patterns. Nothing but a refusal may
    depend on the answer, which looks at the whole history.
    """
    late = np.flatnonzero(patterns.n_known(patterns.end) > index.trained)
    # Whatever a mode makes of the candidates, they are found by their vectors.
    settings = replace(settings, mode="fast")
    number = min(most, len(late))
    chosen = late[np.arange(number) * len(late) // max(number, 1)]
    queries = Queries(index.rows[chosen], patterns.end[chosen], patterns.code[chosen], patterns.bar[chosen])
    exact = search(FlatIndex(index.flat, index.rows, index.scan), patterns, queries, settings, window_bars).rows
    found = search(index, patterns, queries, settings, window_bars).rows
    there = exact >= 0
    hit = (exact[:, :, None] == found[:, None, :]).any(axis=2) & there
    share = float(hit.sum() / there.sum()) if there.any() else 1.0
    return Recall(share, number, settings.top_k, index.probes, index.trained)


def closest(vectors: Floats32, centroids: Floats32, count: int, error: float) -> Int64s:
    """The centroids most similar to each vector, best first, as defined at the top of this module.

    Args:
        vectors: float32 (n, d).
        centroids: float32 (c, d).
        count: centroids wanted, at most c.
        error: most by which a float32 score is off, see `FlatIndex.score_error`.

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


def _centroids(vectors: Floats32, lists: int, error: float) -> Floats32:
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
