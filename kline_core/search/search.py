"""The exact nearest patterns of many samples at once, under the point-in-time rule.

For a sample on date t, the answer is defined as:

1. Take the first `n_known(t)` patterns: those whose outcome was known at the close of t.
2. Leave out patterns of the sample's own symbol whose window overlaps the sample's. The rest are eligible.
3. Sort by similarity, highest first, then symbol, then end. Similarity is the sum, in float64 and in one fixed order,
   of the products of the two float32 vectors.
4. Of the first `search_k`, walk down and keep each one that is more than `isolation_bars` bars away from every match
   kept before it of the same symbol, until `top_k` are kept.

It is computed as:

1. FAISS proposes a few rows of each query's prefix by their float32 scores (`FlatIndex.nearest`).
2. The similarities of these are recomputed pair by pair, and steps 2 to 4 of the definition are done on them alone.
3. A row that was not proposed scores at most what the worst proposed one did. Where the last kept match is better than
   that by more than float32 can be wrong, no other row can change the answer. Undecided queries are
   asked again for more.
4. What ties leave undecided even then (identical charts are common among limit-locked stocks) is settled with every row
   above a bound that the first `search_k` cannot fall below (`FlatIndex.above`).

The result does not depend on how queries are cut into batches, on their order, or on the number of threads.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kline_core.patterns.patterns import MAX_LENGTH, Patterns
from kline_core.search.flat_index import FlatIndex
from kline_core.search.results import Matches
from kline_core.settings import FactorSettings
from kline_core.typing import Dates, Flags, Floats32, Floats64, Int32s, Int64s

_FIRST_ASK = 32
"""Candidates asked for at first: selecting hundreds for every query costs as much as the products."""
_WIDEN = 4
_PAIRS = 2048
"""Pairs whose products are made at a time, so that they stay in the cache (2 MB at 128 dims)."""


@dataclass(frozen=True, slots=True, eq=False)
class Queries:
    """q samples to be matched."""

    vectors: Floats32
    """float32 (q, d), L2-normalised."""
    dates: Dates
    """datetime64[D] (q,): the sample's date, which is its window's last bar."""
    codes: Int32s
    """int32 (q,): the symbol's code in the patterns, -1 where it has none (see `Patterns.codes_of`)."""
    bars: Int32s
    """int32 (q,): ordinal of the window's last bar among the symbol's traded bars."""

    def __len__(self) -> int:
        """Number of samples q."""
        return len(self.vectors)


def search(
    index: FlatIndex, patterns: Patterns, queries: Queries, settings: FactorSettings, window_bars: int
) -> Matches:
    """Find the matches of every query, as defined at the top of this module.

    Safe to call from several threads with the same index. FAISS uses as many threads as the calling thread is allowed
    (see `kline_core._threads`).

    Args:
        index: built from `patterns`.
        patterns: whose first `n_known(date)` a query may see.
        queries: q samples, in any order.
        settings: `top_k`, `search_k` and `isolation_bars` are used.
        window_bars: bars in a window; two windows of a symbol fewer bars apart than that overlap.

    Raises:
        ValueError: the index or the queries do not fit the patterns, or a query's vector is not normalised.
        DateError: dates that are not datetime64[D], or NaT.
    """
    _check(index, patterns, queries)
    known = patterns.n_known(queries.dates)
    own = _overlapping(patterns, queries, known, window_bars)
    result = Matches(
        rows=np.full((len(queries), settings.top_k), -1, dtype=np.int64),
        similarity=np.full((len(queries), settings.top_k), np.nan),
        eligible=known - own,
    )
    job = _Job(index.rows, patterns, queries, settings, window_bars, result)

    undecided = np.argsort(known, kind="stable")
    undecided = undecided[known[undecided] > 0]
    bound = np.zeros(0)
    for ask in _asks(settings, int(own.max(initial=0))):
        if len(undecided) == 0:
            return result
        rows, floor = index.nearest(queries.vectors[undecided], known[undecided], ask)
        decided, bound = _settle(job, undecided, rows, floor + index.score_error)
        undecided, bound = undecided[~decided], bound[~decided]
    found = index.above(queries.vectors[undecided], known[undecided], bound)
    for query, rows in zip(undecided, found, strict=True):
        _settle(job, query[None], rows[None], np.array([-np.inf]))
    return result


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """What one call of `search` is about, and the result that it fills in."""

    vectors: Floats32
    patterns: Patterns
    queries: Queries
    settings: FactorSettings
    window_bars: int
    result: Matches


def _asks(settings: FactorSettings, overlapping: int) -> Iterator[int]:
    """Numbers of candidates to ask for; the last leaves `search_k` of them even when `overlapping` are left out."""
    enough = settings.search_k + overlapping
    ask = max(_FIRST_ASK, settings.top_k)
    while ask < enough:
        yield ask
        ask *= _WIDEN
    yield enough


def _check(index: FlatIndex, patterns: Patterns, queries: Queries) -> None:
    if len(index) != len(patterns):
        raise ValueError(f"the index holds {len(index)} patterns, not {len(patterns)}")
    vectors = queries.vectors
    if vectors.ndim != 2 or vectors.dtype != np.float32 or vectors.shape[1] != patterns.dim:
        raise ValueError(f"query vectors are {vectors.dtype} {vectors.shape}; they must be float32 (q, {patterns.dim})")
    if not len(queries.dates) == len(queries.codes) == len(queries.bars) == len(queries):
        raise ValueError("vectors, dates, codes and bars of the queries have different lengths")
    # Written so that NaN is refused as well.
    bad = ~(np.einsum("ij,ij->i", vectors, vectors) <= MAX_LENGTH**2)
    if bad.any():
        raise ValueError(f"query {int(bad.argmax())} has a vector that is not L2-normalised")


def _overlapping(patterns: Patterns, queries: Queries, known: Int64s, window_bars: int) -> Int64s:
    """How many known patterns overlap each query's own window: int64 (q,)."""
    query, row = patterns.rows_near(queries.codes, queries.bars, window_bars)
    return np.bincount(query[row < known[query]], minlength=len(queries)).astype(np.int64)


def _settle(job: _Job, asked: Int64s, rows: Int64s, certain_above: Floats64) -> tuple[Flags, Floats64]:
    """Rank the candidates of m queries exactly, and write down the answers that no other row can change.

    Args:
        job: the search.
        asked: int64 (m,), which queries.
        rows: int64 (m, c), their candidates, -1 for none.
        certain_above: float64 (m,): every row of the prefix that is more similar than this is a candidate.

    Returns:
        decided: bool (m,).
        bound: float64 (m,): similarity of the last of the first `search_k` candidates, -inf where there are fewer.
            The whole prefix's first `search_k` are at least as similar.
    """
    patterns, settings = job.patterns, job.settings
    code, bar = patterns.code[rows], patterns.bar[rows]
    own = (code == job.queries.codes[asked, None]) & (np.abs(bar - job.queries.bars[asked, None]) < job.window_bars)
    similarity = np.where((rows < 0) | own, -np.inf, _similarities(job, asked, rows))
    order = np.lexsort((patterns.end[rows], code, -similarity), axis=-1)[:, : settings.search_k]
    rows, code, bar, similarity = (np.take_along_axis(a, order, axis=1) for a in (rows, code, bar, similarity))

    kept = _isolated(code, bar, similarity > -np.inf, settings)
    full = kept[:, -1] >= 0
    # The answer hangs on the candidates down to the last kept one, or on all of the first `search_k`.
    worst = np.where(full, np.take_along_axis(similarity, kept[:, -1:], axis=1)[:, 0], -np.inf)
    if similarity.shape[1] == settings.search_k:
        worst = np.maximum(worst, similarity[:, -1])
        bound = similarity[:, -1]
    else:
        bound = np.full(len(asked), -np.inf)
    decided = (worst > certain_above) | (certain_above == -np.inf)

    there = (kept >= 0) & decided[:, None]
    query, rank = np.nonzero(there)
    job.result.rows[asked[query], rank] = rows[query, kept[there]]
    job.result.similarity[asked[query], rank] = similarity[query, kept[there]]
    return decided, bound


def _similarities(job: _Job, asked: Int64s, rows: Int64s) -> Floats64:
    """Exact similarity of each of m queries with each of its candidates: float64, shaped like `rows` (m, c).

    Each pair is summed on its own, so that the value does not depend on what else is asked.
    """
    query, row = np.repeat(asked, rows.shape[1]), rows.ravel()
    value = np.empty(len(row))
    for first in range(0, len(row), _PAIRS):
        pair = slice(first, first + _PAIRS)
        product = job.vectors[row[pair]].astype(np.float64)
        product *= job.queries.vectors[query[pair]]
        value[pair] = product.sum(axis=-1)
    return value.reshape(rows.shape)


def _isolated(code: Int32s, bar: Int32s, there: Flags, settings: FactorSettings) -> Int64s:
    """Walk down the candidates of m queries, keeping those far enough from what was kept: int64 (m, top_k) positions.

    Args:
        code: int32 (m, c), symbols of the candidates, best first.
        bar: int32 (m, c).
        there: bool (m, c): False for all after the last candidate.
        settings: `top_k` and `isolation_bars` are used.

    Returns:
        Positions among the c candidates, ascending; -1 where fewer were kept.
    """
    kept = np.full((len(code), settings.top_k), -1, dtype=np.int64)
    kept_code = np.full(kept.shape, -1, dtype=np.int32)
    kept_bar = np.zeros(kept.shape, dtype=np.int32)
    count = np.zeros(len(code), dtype=np.int64)
    for position in range(code.shape[1]):
        wanted = there[:, position] & (count < settings.top_k)
        if not wanted.any():
            break
        here_code, here_bar = code[:, position, None], bar[:, position, None]
        near = (kept_code == here_code) & (np.abs(kept_bar - here_bar) <= settings.isolation_bars)
        take = np.flatnonzero(wanted & ~near.any(axis=1))
        kept[take, count[take]] = position
        kept_code[take, count[take]] = here_code[take, 0]
        kept_bar[take, count[take]] = here_bar[take, 0]
        count[take] += 1
    return kept
