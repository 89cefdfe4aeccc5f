"""The exact candidates of many samples at once, under the point-in-time rule.

For a sample on date t, the candidates are defined as:

1. Take the first `n_known(t)` patterns: those whose outcome was known at the close of t.
2. Leave out patterns of the sample's own symbol whose window overlaps the sample's. The rest are eligible.
3. Sort by similarity, highest first, then symbol, then end. Similarity is the sum, in float64 and in one fixed order,
   of the products of the two float32 vectors. The first `search_k` are the candidates.

They are computed as:

1. The index proposes a few rows of each query's prefix by their scores, and gives their exact similarities
   (`PatternIndex.proposals`).
2. Apply steps 2 and 3 of the definition to these alone.
3. A row that was not proposed scores at most as high as the worst proposed row. If the last candidate that is needed
   is better than that by more than a score can be wrong, no other row can change the answer. Ask the index again, for
   more rows, for each undecided query.
4. Ties may leave a query undecided even then (identical charts are common among limit-locked stocks). Settle it with
   every row above a bound that the first `search_k` cannot fall below (`PatternIndex.reaching`).

A caller that selects only a few of the best candidates says so, and is spared the work for the others.

The candidates do not depend on how queries are cut into batches, on their order, or on the number of threads.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np

from kline_core._cores import put_together, spread
from kline_core.patterns.patterns import MAX_LENGTH, Patterns
from kline_core.search.pattern_index import PatternIndex, Proposals
from kline_core.typing import Dates, Flags, Floats32, Floats64, Int32s, Int64s, Positions
from kline_core.windows.prices import WindowPrices

_FIRST_ASK = 16
"""Rows of a query's first ask, at least. Of 590 samples of an A-share none was undecided with 12 for `top_k` 5, one was
with 8, but of few symbols more are; the scan takes a tenth less time than with 32."""
_ASK_GROWTH = 4
"""Factor from one ask of an undecided query to the next."""
_PAIRS_OF_PART = 1 << 16
"""Proposals that are worth a thread to rank, at least: some milliseconds."""
_SPARE = 10
"""One row in so many is asked for beyond those that are needed, where all candidates are."""


@dataclass(frozen=True, slots=True, eq=False)
class Queries:
    """q samples to be matched."""

    vectors: Floats32
    """float32 (q, d), L2-normalised."""
    dates: Dates
    """datetime64[D] (q,): the sample's date, which is its window's last bar."""
    codes: Int32s
    """int32 (q,): the symbol's code in the patterns, -1 if it has none (see `Patterns.codes_of`)."""
    bars: Int32s
    """int32 (q,): ordinal of the window's last bar among the symbol's traded bars."""
    prices: WindowPrices | None = None
    """Prices of the samples' windows, float64 (q, window_bars) each; needed only by modes that compare bars."""

    def __len__(self) -> int:
        """Number of samples q."""
        return len(self.vectors)

    def part(self, at: slice) -> "Queries":
        """Some of the samples."""
        prices = None if self.prices is None else WindowPrices(*(each[at] for each in self.prices))
        return Queries(self.vectors[at], self.dates[at], self.codes[at], self.bars[at], prices)


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Candidates of m queries, best first: arrays (m, c)."""

    rows: Int64s
    """int64: rows of the patterns; without meaning if `similarity` is -inf."""
    code: Int32s
    """int32: symbols of the patterns."""
    bar: Int32s
    """int32: ordinal of the window's last bar among the symbol's traded bars."""
    similarity: Floats64
    """float64, descending; -inf after a query's last candidate."""

    @property
    def there(self) -> Flags:
        """bool (m, c): whether there is a candidate."""
        return self.similarity > -np.inf

    def take(self, order: Int64s) -> "Candidates":
        """The candidates at the positions `order`, int64 (m, n), of each query."""
        columns: tuple[Any, ...] = (self.rows, self.code, self.bar, self.similarity)
        return Candidates(*(np.take_along_axis(column, order, axis=1) for column in columns))

    def first(self, count: int) -> "Candidates":
        """The best of each query, at most `count`; a copy if there are more, so that these need not be kept."""
        columns: tuple[Any, ...] = (self.rows, self.code, self.bar, self.similarity)
        return Candidates(*(np.ascontiguousarray(column[:, :count]) for column in columns))

    def of(self, queries: Positions) -> "Candidates":
        """The candidates of some of the queries, named by their positions, ascending."""
        if len(queries) == len(self.rows):
            return self
        return Candidates(self.rows[queries], self.code[queries], self.bar[queries], self.similarity[queries])


@dataclass(frozen=True, slots=True, eq=False)
class Visible:
    """Numbers of patterns that q queries may see."""

    known: Int64s
    """int64 (q,): patterns whose outcome was known on the query's date: the length of its prefix."""
    own: Int64s
    """int64 (q,): patterns of that prefix whose window overlaps the query's own."""

    @classmethod
    def of(cls, patterns: Patterns, queries: Queries, window_bars: int) -> Self:
        """Count the patterns. Raises `DateError` if the dates are not datetime64[D], or NaT."""
        known = patterns.n_known(queries.dates)
        query, row = patterns.rows_near(queries.codes, queries.bars, window_bars)
        own = np.bincount(query[row < known[query]], minlength=len(queries)).astype(np.int64)
        return cls(known, own)

    @property
    def eligible(self) -> Int64s:
        """int64 (q,): patterns that may become matches."""
        return self.known - self.own


Selection: TypeAlias = Callable[[Candidates], Int64s]
"""Returns the positions of the candidates that are needed, int64 (m, n) ascending, -1 if there are fewer than n."""


def first_candidates(
    index: PatternIndex,
    patterns: Patterns,
    queries: Queries,
    search_k: int,
    window_bars: int,
    visible: "Visible",
    select: Selection | None = None,
    at_first: int = 0,
) -> Iterator[tuple[Int64s, Candidates, Int64s | None]]:
    """Find the candidates of every query that may see any pattern, as defined at the top of this module.

    Args:
        index: Holds the vectors of `patterns`.
        patterns: whose first `n_known(date)` a query may see.
        queries: q samples, in any order, checked by `check_fit`.
        search_k: candidates of a sample, at most.
        window_bars: bars in a window; two windows of a symbol fewer bars apart than that overlap.
        visible: How many patterns each query may see.
        select: Selects among the candidates; a query's candidates may then end after its last selected one. None: all
            candidates are needed.
        at_first: Rows that `select` selects; half as many more are in the first ask, unless more are usual.

    Yields:
        queries: int64 (m,), positions among the q. Each query is yielded once.
        candidates: Candidates of these m queries.
        selected: Result of `select` for them; None without it.
    """
    known = visible.known
    job = _Job(patterns, queries, search_k, window_bars, select)
    undecided = np.argsort(known, kind="stable")
    undecided = undecided[known[undecided] > 0]
    enough = search_k + int(visible.own.max(initial=0))
    first = max(_FIRST_ASK, at_first + at_first // 2)
    if select is None:
        # The last candidate must be better than the worst proposed row by more than a score can be wrong.
        enough += enough // _SPARE + _FIRST_ASK
        first = enough
    bound = np.zeros(0)
    for ask in _asks(first, enough):
        if len(undecided) == 0:
            return
        proposals = index.proposals(queries.vectors[undecided], known[undecided], ask)
        candidates, selected, decided, bound = _ranked(job, undecided, proposals)
        if decided.any():
            part = None if selected is None else selected[decided]
            yield undecided[decided], candidates.of(np.flatnonzero(decided)), part
        undecided, bound = undecided[~decided], bound[~decided]
    if len(undecided) == 0:
        return
    found = index.reaching(queries.vectors[undecided], known[undecided], bound)
    for query, (rows, similarity) in zip(undecided, found, strict=True):
        hits = Proposals(rows[None], similarity[None], np.array([-np.inf]))
        candidates, selected, _, _ = _rank(job, query[None], hits)
        yield query[None], candidates, selected


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """The constant inputs of one search."""

    patterns: Patterns
    queries: Queries
    search_k: int
    window_bars: int
    select: Selection | None


_Answer: TypeAlias = tuple[Candidates, Int64s | None, Flags, Floats64]
"""What `_rank` returns."""


def _asks(first: int, enough: int) -> Iterator[int]:
    """Numbers of rows to ask for, up to `enough`, which leaves `search_k` even without the overlapping windows."""
    if first < enough:
        yield first
    ask = first * _ASK_GROWTH
    # Few queries ask again, and the last ask costs them hardly more than one before.
    while ask * _ASK_GROWTH <= enough:
        yield ask
        ask *= _ASK_GROWTH
    yield enough


def check_fit(index: PatternIndex, patterns: Patterns, queries: Queries) -> None:
    """Raise ValueError if index or queries do not fit the patterns, or a query's vector is not L2-normalised."""
    if len(index) != len(patterns):
        raise ValueError(f"the index holds {len(index)} patterns, not {len(patterns)}")
    vectors = queries.vectors
    if vectors.ndim != 2 or vectors.dtype != np.float32 or vectors.shape[1] != patterns.dim:
        raise ValueError(f"query vectors are {vectors.dtype} {vectors.shape}; they must be float32 (q, {patterns.dim})")
    if not len(queries.dates) == len(queries.codes) == len(queries.bars) == len(queries):
        raise ValueError("vectors, dates, codes and bars of the queries have different lengths")
    # As a negated comparison, so that NaN is refused too.
    bad = ~(np.einsum("ij,ij->i", vectors, vectors) <= MAX_LENGTH**2)
    if bad.any():
        raise ValueError(f"query {int(bad.argmax())} has a vector that is not L2-normalised")


def _ranked(job: _Job, asked: Int64s, proposals: Proposals) -> _Answer:
    """`_rank`, in parts on all cores that nobody uses."""

    def work(part: slice) -> _Answer:
        return _rank(job, asked[part], proposals.of(part))

    parts = spread(len(asked), _PAIRS_OF_PART // max(1, proposals.rows.shape[1]), work)
    found, selected, decided, bound = zip(*(answer for _, answer in parts), strict=True)

    def whole(columns: Iterable[Any]) -> Any:
        return put_together([(part, column) for (part, _), column in zip(parts, columns, strict=True)])

    names = ("rows", "code", "bar", "similarity")
    candidates = Candidates(*(whole(getattr(each, name) for each in found) for name in names))
    return candidates, None if job.select is None else whole(selected), whole(decided), whole(bound)


def _rank(job: _Job, asked: Int64s, proposals: Proposals) -> _Answer:
    """Rank the rows proposed to m queries, and tell which queries no other row can change.

    Args:
        job: Constant inputs of the search.
        asked: int64 (m,), positions of the queries.
        proposals: Of these m queries.

    Returns:
        candidates: Candidates of the m queries among the proposed rows.
        selected: Result of the job's `select` for them; None without it.
        decided: bool (m,): no other row can change what is selected or, without `select`, the candidates.
        bound: float64 (m,): similarity of the last of the first `search_k` candidates, -inf if there are fewer. The
            whole prefix's first `search_k` are at least as similar.
    """
    patterns, rows, certain_above = job.patterns, proposals.rows, proposals.certain_above
    code, bar = patterns.code[rows], patterns.bar[rows]
    own = (code == job.queries.codes[asked, None]) & (np.abs(bar - job.queries.bars[asked, None]) < job.window_bars)
    similarity = np.where((rows < 0) | own, -np.inf, proposals.similarity)
    order = _best_first(similarity, code, patterns.end[rows])[:, : job.search_k]
    candidates = Candidates(rows, code, bar, similarity).take(order)

    similarity = candidates.similarity
    full = similarity.shape[1] == job.search_k
    bound = similarity[:, -1] if full else np.full(len(asked), -np.inf)
    worst, selected = bound, None
    if job.select is not None:
        # The answer hangs on the candidates down to the last selected one, or on all of the first `search_k`.
        selected = job.select(candidates)
        last = selected[:, -1:]
        lowest = np.where(last[:, 0] >= 0, np.take_along_axis(similarity, last, axis=1)[:, 0], -np.inf)
        worst = np.maximum(lowest, bound)
    decided = (worst > certain_above) | (certain_above == -np.inf)
    return candidates, selected, decided, bound


def _best_first(similarity: Floats64, code: Int32s, end: Dates) -> Int64s:
    """Positions of each row's candidates by similarity, highest first, then symbol, then end: int64, shaped alike."""
    order = np.argsort(-similarity, axis=-1, kind="stable")
    ordered = np.take_along_axis(similarity, order, axis=-1)
    # Symbol and end cost several times as much, and decide nothing where no two are equally similar.
    tied = np.flatnonzero(((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] > -np.inf)).any(axis=-1))
    order[tied] = np.lexsort((end[tied], code[tied], -similarity[tied]), axis=-1)
    return order
