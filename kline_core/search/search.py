"""The matches of many samples at once: candidates, their scores, and the selection among them.

1. The candidates of a sample are the first `search_k` eligible patterns by similarity of their vectors, exactly
   (`kline_core.search.candidates`).
2. A mode other than fast ranks them by a similarity of its own, highest first, then symbol, then end
   (`kline_core.search.modes`).
3. Walk down the candidates and select each one that is more than `isolation_bars` bars away from every match of the
   same symbol selected before it, until there are `top_k` (`kline_core.search.selection`).
4. Of these, drop the ones whose score is below `min_similarity`. To drop such candidates before step 3 would give the
   same: whether a candidate is selected depends on better ones alone, and what is better than one above the floor is
   above it too.

In fast mode step 1 stops as soon as the candidates decide the selection. A caller that asks for the `many` nearest is
given these too, in every mode by the similarity of their vectors: they are the candidates of step 1, as many as that.

The result does not depend on how queries are cut into batches, on their order, or on the number of threads.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeAlias

import numpy as np

from kline_core._cores import spread
from kline_core.patterns.patterns import Patterns
from kline_core.search.candidate_windows import CandidateWindows, Mode, Ranked
from kline_core.search.candidates import Candidates, Queries, Selection, Visible, check_fit, first_candidates
from kline_core.search.modes import MODES
from kline_core.search.pattern_index import PatternIndex
from kline_core.search.pattern_shapes import PatternShapes
from kline_core.search.results import Matches
from kline_core.search.selection import isolated
from kline_core.settings import FactorSettings
from kline_core.typing import Int64s

_PAIRS: Final = 1 << 21
"""Pairs of a query and one of its many nearest that are in memory at a time."""
_QUERIES_OF_PART: Final = 8
"""Queries that are worth a thread, at least, where bars are compared: some tenths of a second."""

Nearest: TypeAlias = Callable[[Int64s, Candidates], None]
"""Takes some of the q queries, int64 positions, and the `many` nearest of each, best first. Every query that may see
any pattern comes once."""


def search(
    index: PatternIndex,
    patterns: Patterns,
    queries: Queries,
    settings: FactorSettings,
    window_bars: int,
    shapes: PatternShapes | None = None,
    span_bars: int | None = None,
    nearest: Nearest | None = None,
) -> Matches:
    """Find the matches of every query, as defined at the top of this module.

    Safe to call from several threads with the same index. FAISS uses as many threads as the calling thread is allowed
    (see `kline_core._threads`).

    Args:
        index: Holds the vectors of `patterns`.
        patterns: Patterns, of which a query may see the first `n_known(date)`.
        queries: q samples, in any order.
        settings: `mode`, `top_k`, `search_k`, `isolation_bars` and `min_similarity` are used, and what the mode has of
            its own.
        window_bars: Bars of a window that a mode compares: those of its chart in the scale 1.
        shapes: Shapes of the patterns; needed only by modes that compare bars.
        span_bars: Bars that a window spans in all its time scales; two windows of a symbol fewer bars apart than that
            overlap. None if it has the scale 1 only, so that it is `window_bars`.
        nearest: Takes the `many` nearest of each query, where the settings ask for them.

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
    mode = MODES[settings.mode]
    if mode is not None and shapes is None:
        raise ValueError(f"the search was given no shapes; {settings.mode} mode compares bars")

    def select(candidates: Candidates) -> Int64s:
        return isolated(candidates, settings.top_k, settings.isolation_bars)

    # All of them before a mode compares the first: an index whose vectors lie elsewhere may break off until then.
    if nearest is None:
        found = list(
            first_candidates(
                *(index, patterns, queries, settings.candidates, span_bars, visible),
                select=select if mode is None else None,
                at_first=settings.top_k,
            )
        )
    else:
        found = list(_with_nearest(index, patterns, queries, settings, span_bars, nearest))
    for asked, candidates, selected in found:
        parts: Iterable[Ranked]
        if mode is None or shapes is None:
            parts = [(np.arange(len(asked)), candidates, select(candidates) if selected is None else selected)]
        else:
            windows = CandidateWindows(asked, candidates, patterns, queries, shapes)
            parts = _ranked(mode, windows, settings, select)
        for which, ranked, chosen in parts:
            if settings.min_similarity is not None:
                score_of = np.take_along_axis(ranked.similarity, np.maximum(chosen, 0), axis=1)
                chosen = np.where(score_of >= settings.min_similarity, chosen, -1)
            query, rank = np.nonzero(chosen >= 0)
            place = chosen[query, rank]
            result.rows[asked[which[query]], rank] = ranked.rows[query, place]
            result.similarity[asked[which[query]], rank] = ranked.similarity[query, place]
    return result


def _ranked(mode: Mode, windows: CandidateWindows, settings: FactorSettings, select: Selection) -> Iterator[Ranked]:
    """What a mode makes of windows, on all cores that nobody uses."""

    every = np.arange(len(windows.asked))

    def work(part: slice) -> list[Ranked]:
        return list(mode(windows.of(every[part]), settings, select))

    for part, found in spread(len(every), _QUERIES_OF_PART, work):
        for which, ranked, chosen in found:
            yield every[part][which], ranked, chosen


def _with_nearest(
    index: PatternIndex,
    patterns: Patterns,
    queries: Queries,
    settings: FactorSettings,
    span_bars: int,
    nearest: Nearest,
) -> Iterator[tuple[Int64s, Candidates, None]]:
    """The candidates of all queries, as `first_candidates` gives them; `nearest` takes the many of each."""
    # No query has more neighbours than it may see.
    most = int(patterns.n_known(queries.dates).max(initial=0))
    wanted = max(settings.candidates, min(settings.many, most))
    together = max(1, _PAIRS // wanted)
    for start in range(0, len(queries), together):
        part = queries.part(slice(start, start + together))
        visible = Visible.of(patterns, part, span_bars)
        for asked, candidates, _ in first_candidates(index, patterns, part, wanted, span_bars, visible):
            nearest(start + asked, candidates.first(settings.many))
            yield start + asked, candidates.first(settings.candidates), None
