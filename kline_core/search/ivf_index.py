"""An approximate index for very large histories, which compares each query with a part of its prefix.

1. Spherical k-means divides the first `TRAINED` patterns, in the order of `known_on`, into `LISTS` groups, each with a
   centroid. Both numbers are fixed, so that a longer history never changes the centroids.
2. Every pattern, early or late, belongs to the posting list of the centroid that it is most similar to.
3. A query whose prefix is no longer than those first patterns is searched exactly. Any other query is compared with the
   patterns of its prefix in the `probes` lists whose centroids it is most similar to, and with no others.

So the matches of a query on date t depend only on what was known at the close of t. Similarities to centroids are
compared as in `kline_core.search.candidates`: in float64, each pair summed on its own, and ties broken by the
centroid's number; the sums of groups are made in the order of the patterns. The same patterns give the same lists on
every machine, and the answer, bit for bit independent of batches and threads, is the exact one among the probed lists.

FAISS scans the lists: an `IndexIVFFlat` takes the numbers of the lists to probe.
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
"""Posting lists. Values depend on this number and the next two: see `kline_core.settings.METHOD`."""
TRAINED = 65_536
"""Patterns that the centroids are made of."""
_KMEANS_ROUNDS = 4
"""Rounds of k-means; ten find no more matches than four."""
_RECALL_QUERIES = 400
"""Patterns that serve as queries to measure the recall, at most."""
_BLOCK = 256
"""Vectors whose scores with all centroids are made at a time: 1 MB, which stays in the processor's cache."""


@dataclass(frozen=True, slots=True, eq=False)
class IvfIndex(FlatIndex):
    """A `FlatIndex` whose `nearest` and `at_least` search only the probed lists of a long prefix."""

    trained: int
    """Rows that the centroids were made of; prefixes up to this length are searched exactly."""
    probes: int
    """Posting lists that a query is compared with."""
    centroids: Floats32
    """float32 (lists, d), L2-normalised."""
    lists: Any
    """A `faiss.IndexIVFFlat` with a second copy of the vectors, rows ascending in each list; None if no prefix is
    longer than `trained`."""

    @classmethod
    def of(cls, exact: FlatIndex, probes: int, lists: int = LISTS, trained: int = TRAINED) -> Self:
        """Divide the rows of an exact index into posting lists; `lists` is from `probes` to `trained`."""
        rows = exact.rows
        if len(rows) <= trained:
            return cls(rows, exact.scan, trained, probes, rows[:0], None)
        centroids = _centroids(rows[:trained], lists, exact.score_error)
        number = closest(rows, centroids, 1, exact.score_error)[:, 0]
        ivf = faiss.IndexIVFFlat(faiss.IndexFlatIP(rows.shape[1]), rows.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
        # FAISS neither trains the centroids nor finds the nearest ones, since its rounding depends on the batch.
        ivf.is_trained = True
        ivf.add_core(len(rows), faiss.swig_ptr(rows), None, faiss.swig_ptr(number))
        return cls(rows, exact.scan, trained, probes, centroids, ivf)

    def nearest(self, vectors: Floats32, known: Int64s, count: int) -> tuple[Int64s, Floats64]:
        """As `FlatIndex.nearest`, among the probed lists of a query's prefix only."""
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
        """As `FlatIndex.at_least`, among the probed lists of a query's prefix only."""
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
        """FAISS's arguments for each query: its vector, its lists, their scores (unused), and its prefix."""
        unused = np.zeros(self.probes, dtype=np.float32)
        chosen = closest(vectors, self.centroids, self.probes, self.score_error)
        for vector, lists, seen in zip(vectors, chosen, known.tolist(), strict=True):
            selector = faiss.IDSelectorRange(0, seen, True)
            # FAISS adds these arguments on import, which its type stubs do not show.
            parameters = faiss.SearchParametersIVF(sel=selector, nprobe=self.probes)  # type: ignore[call-arg]
            yield faiss.swig_ptr(vector), faiss.swig_ptr(lists), faiss.swig_ptr(unused), parameters


def measured_recall(
    index: IvfIndex, patterns: Patterns, settings: FactorSettings, window_bars: int, most: int = _RECALL_QUERIES
) -> Recall:
    """Recall of the approximate search, measured with up to `most` patterns as queries.

    Each pattern is a query on the date of its window's last bar. They are spread evenly over the patterns whose prefix
    is longer than `index.trained`. The measurement looks at the whole history, so nothing but a refusal may depend on
    it. In every mode it is the recall of the `top_k` patterns with the most similar vectors.
    """
    late = np.flatnonzero(patterns.n_known(patterns.end) > index.trained)
    if settings.mode != "fast":
        # Every mode finds the candidates by their vectors, and only that step is approximate. The floor is on the
        # mode's own similarity.
        settings = replace(settings, mode="fast", min_similarity=None)
    number = min(most, len(late))
    chosen = late[np.arange(number) * len(late) // max(number, 1)]
    queries = Queries(index.rows[chosen], patterns.end[chosen], patterns.code[chosen], patterns.bar[chosen])
    exact = search(FlatIndex(index.rows, index.scan), patterns, queries, settings, window_bars).rows
    found = search(index, patterns, queries, settings, window_bars).rows
    there = exact >= 0
    hit = (exact[:, :, None] == found[:, None, :]).any(axis=2) & there
    share = float(hit.sum() / there.sum()) if there.any() else 1.0
    return Recall(share, number, settings.top_k, index.probes, index.trained)


def closest(vectors: Floats32, centroids: Floats32, count: int, error: float) -> Int64s:
    """Centroids most similar to each vector, best first, as defined at the top of this module.

    Args:
        vectors: float32 (n, d).
        centroids: float32 (c, d).
        count: Centroids wanted, at most c.
        error: Largest error of a float32 score, see `FlatIndex.score_error`.

    Returns:
        int64 (n, count): numbers of centroids.
    """
    chosen = np.empty((len(vectors), count), dtype=np.int64)
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        scores = block @ centroids.T
        last = len(centroids) - count
        worst = scores.max(axis=1) if count == 1 else np.partition(scores, last, axis=1)[:, last]
        # Float32 proposes. The error counts once for each of two scores, and once for the rounding of the difference.
        which, number = np.nonzero(scores >= (worst - np.float32(3 * error))[:, None])
        similarity = (block[which].astype(np.float64) * centroids[number]).sum(axis=-1)
        order = np.lexsort((number, -similarity, which))
        first = np.searchsorted(which, np.arange(len(block)))
        chosen[start : start + _BLOCK] = number[order][first[:, None] + np.arange(count)]
    return chosen


def _centroids(vectors: Floats32, lists: int, error: float) -> Floats32:
    """Centroids of spherical k-means, float32 (lists, d); it begins with vectors spread evenly over the given ones."""
    centroids = vectors[np.arange(lists) * len(vectors) // lists]
    for _ in range(_KMEANS_ROUNDS):
        group = closest(vectors, centroids, 1, error)[:, 0]
        order = np.argsort(group, kind="stable")
        filled, first = np.unique(group[order], return_index=True)
        total = np.add.reduceat(vectors[order].astype(np.float64), first, axis=0)
        length = np.sqrt(np.square(total).sum(axis=1))
        # Vectors that cancel each other out have no direction; the centroid then stays the same.
        fit = length > error
        centroids[filled[fit]] = total[fit] / length[fit, None]
    return centroids
