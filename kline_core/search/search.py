"""The matches of many samples at once: candidates, their scores, and the selection among them.

1. The candidates of a sample are the first `search_k` eligible patterns by similarity of their vectors, exactly
   (`kline_core.search.candidates`).
2. A mode other than fast scores them again, and sorts them by that score, highest first, then symbol, then end
   (`kline_core.search.modes`).
3. Walk down the candidates and select each one that is more than `isolation_bars` bars away from every match of the
   same symbol selected before it, until there are `top_k` (`kline_core.search.selection`).

In fast mode step 1 stops as soon as the candidates decide the selection.

The result does not depend on how queries are cut into batches, on their order, or on the number of threads.
"""

import numpy as np

from kline_core.bars.symbol_bars import BarsBySymbol
from kline_core.patterns.patterns import Patterns
from kline_core.search.candidate_windows import CandidateWindows
from kline_core.search.candidates import Candidates, Queries, Visible, check_fit, first_candidates
from kline_core.search.modes import MODES
from kline_core.search.pattern_index import PatternIndex
from kline_core.search.results import Matches
from kline_core.search.selection import isolated
from kline_core.settings import FactorSettings
from kline_core.typing import Floats64, Int64s


def search(
    index: PatternIndex,
    patterns: Patterns,
    queries: Queries,
    settings: FactorSettings,
    window_bars: int,
    frames: BarsBySymbol | None = None,
    span_bars: int | None = None,
) -> Matches:
    """Find the matches of every query, as defined at the top of this module.

    Safe to call from several threads with the same index. FAISS uses as many threads as the calling thread is allowed
    (see `kline_core._threads`).

    Args:
        index: Holds the vectors of `patterns`.
        patterns: Patterns, of which a query may see the first `n_known(date)`.
        queries: q samples, in any order.
        settings: `mode`, `top_k`, `search_k` and `isolation_bars` are used.
        window_bars: Bars of a window that a mode compares: those of its chart in the scale 1.
        frames: Bars of the patterns' symbols; needed only by modes that compare bars.
        span_bars: Bars that a window spans in all its time scales; two windows of a symbol fewer bars apart than that
            overlap. None if it has the scale 1 only, so that it is `window_bars`.

    Raises:
        ValueError: The index or the queries do not fit the patterns, a query's vector is not L2-normalised, or a mode
            that compares bars has none.
        DateError: Dates are not datetime64[D], or NaT.
    """
    check_fit(index, patterns, queries)
    span_bars = window_bars if span_bars is None else span_bars
    visible = Visible.of(patterns, queries, span_bars)
    result = Matches(
        rows=np.full((len(queries), settings.top_k), -1, dtype=np.int64),
        similarity=np.full((len(queries), settings.top_k), np.nan),
        eligible=visible.eligible,
    )
    score = MODES[settings.mode]

    def select(candidates: Candidates) -> Int64s:
        return isolated(candidates, settings.top_k, settings.isolation_bars)

    found = first_candidates(
        *(index, patterns, queries, settings.search_k, span_bars, visible),
        select=select if score is None else None,
        at_first=settings.top_k,
    )
    for asked, candidates, selected in found:
        if score is not None:
            windows = CandidateWindows(asked, candidates, patterns, queries, frames, window_bars)
            candidates = _sorted(candidates, score(windows), patterns)
        chosen = select(candidates) if selected is None else selected
        query, rank = np.nonzero(chosen >= 0)
        place = chosen[query, rank]
        result.rows[asked[query], rank] = candidates.rows[query, place]
        result.similarity[asked[query], rank] = candidates.similarity[query, place]
    return result


def _sorted(candidates: Candidates, score: Floats64, patterns: Patterns) -> Candidates:
    """Candidates of m queries, sorted by another score, float64 (m, c)."""
    score = np.where(candidates.there, score, -np.inf)
    order = np.lexsort((patterns.end[candidates.rows], candidates.code, -score), axis=-1)
    scored = Candidates(candidates.rows, candidates.code, candidates.bar, score)
    return scored.take(order)
