"""Full mode: the candidates of a sample compared by their bars, and the best of them once more by their charts.

1. The candidates are the first `search_k` eligible patterns by similarity of their vectors, as in fast mode, and no
   more than `max_price_checks`.
2. Each is given the full-mode score of its bars (`kline_core.windows.rounded_shapes`), between 0 and 1.
3. The `rerank_k` best by that score (then symbol, then end) are looked at once more, by the pixels and the edges of
   their charts (`kline_core.windows.chart_likeness`).
4. The similarity is

       (1 - pixel_weight - edge_weight) * score + pixel_weight * pixels + edge_weight * edges

   where pixels and edges are 0 for a candidate that was not looked at. So the second look only adds, none that was
   looked at falls behind one that was not, and the similarity stays between 0 and 1.
5. Candidates are sorted by it, highest first; of equal ones those that were looked at come first, then symbol, then
   end. Matches are selected by walking down, past the `rerank_k` best where isolation leaves too few among these.

The weights of the score's parts are those that the encoder was taught with (`kline_core.windows.similarity.WEIGHTS`);
those of pixels and edges were set before any return was looked at, and are settings.

Only the `rerank_k` best are sorted and looked at again, and the others where matches must be selected past these. The
warping of every candidate is computed: bounds below it (Kim, Park & Chu, ICDE 2001; Keogh & Ratanamahatana, KAIS 7,
2005) left out 2 to 5 % of the pairs, since candidates are alike, and took longer than these.

Every number of a pair is made from the two windows alone, so the result does not depend on how the work is cut.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from kline_core.search.candidate_windows import CandidateWindows, Ranked
from kline_core.search.candidates import Candidates, Selection
from kline_core.settings import FactorSettings
from kline_core.typing import Dates, Floats64, Int32s, Int64s
from kline_core.windows.chart_likeness import edge_part, pixel_part
from kline_core.windows.chart_rows import chart_rows
from kline_core.windows.prices import WindowPrices
from kline_core.windows.rounded_shapes import (
    PriceParts,
    RoundedShapes,
    bars_of,
    unwarped_parts,
    warping_distances,
    warping_part,
)

_GROUP = 8
"""Queries whose warpings are computed together: 16,000 pairs, whose numbers stay in the processor's cache."""
_PAIRS = 16_384
"""Pairs of windows that are warped, or whose charts are compared, at a time."""


def full_mode(windows: CandidateWindows, settings: FactorSettings, select: Selection) -> Iterator[Ranked]:
    """Rank and select the candidates of m queries, as defined at the top of this module.

    A `kline_core.search.candidate_windows.Mode`. Raises ValueError if the queries have no prices.
    """
    queries = RoundedShapes.of(windows.query_prices())
    undecided = np.arange(len(windows.asked))
    everything = windows.candidates.rows.shape[1]
    for count in (settings.rerank_k, everything):
        if len(undecided) == 0:
            return
        ranked = _looked_at_again(windows, settings, undecided, _best(windows, queries, undecided, count))
        selected = select(ranked)
        decided = (selected[:, -1] >= 0) | ~ranked.there[:, -1] | (count >= everything)
        at = np.flatnonzero(decided)
        yield undecided[at], ranked.of(at), selected[at]
        undecided = undecided[~decided]


PART_NAMES: Final = ("dtw", "price", "return", "shape", "pixels", "edges")
"""Names of the parts in `SimilarityParts`, in their order."""


class SimilarityParts(NamedTuple):
    """Parts of the similarity of one window with n others: float64 (n,) in 0..1 each."""

    dtw: Floats64
    price: Floats64
    returns: Floats64
    shape: Floats64
    pixels: Floats64
    edges: Floats64

    def similarity(self, settings: FactorSettings) -> Floats64:
        """The similarity of others that were looked at twice; NaN where pixels and edges are."""
        return _similarity(settings, PriceParts(*self[:4]).score(), self.pixels, self.edges)


def similarity_parts(one: WindowPrices, many: WindowPrices) -> SimilarityParts:
    """All parts of the similarity of one window with n others, for a person to look at.

    Args:
        one: float64 (1, bars) each.
        many: float64 (n, bars) each.
    """
    a, b = (RoundedShapes.of(prices).columns(np.arange(len(prices.close))) for prices in (one, many))
    pairs = np.repeat(a, b.shape[1], axis=1)
    dtw = warping_part(warping_distances(pairs, b), bars_of(a))
    drawn, others = chart_rows(*one), chart_rows(*many)
    return SimilarityParts(dtw, *unwarped_parts(a, b), pixel_part(drawn, others), edge_part(drawn, others))


def _similarity(settings: FactorSettings, score: Floats64, pixels: Floats64, edges: Floats64) -> Floats64:
    weights = 1.0 - settings.pixel_weight - settings.edge_weight, settings.pixel_weight, settings.edge_weight
    total: Floats64 = np.maximum(weights[0], 0.0) * score + weights[1] * pixels + weights[2] * edges
    return np.minimum(total, 1.0)


def _best(windows: CandidateWindows, queries: RoundedShapes, asked: Int64s, count: int) -> Candidates:
    """The `count` best candidates of some queries by their score, best first."""
    parts = []
    for first in range(0, len(asked), _GROUP):
        group = asked[first : first + _GROUP]
        candidates = windows.candidates.of(group)
        score = _scores(windows, queries.take(group), candidates)
        parts.append(_sorted(candidates, score, windows, count))
    columns = zip(*((each.rows, each.code, each.bar, each.similarity) for each in parts), strict=True)
    return Candidates(*map(np.concatenate, columns))


def _scores(windows: CandidateWindows, queries: RoundedShapes, candidates: Candidates) -> Floats64:
    """Scores of the candidates of a group of queries: float64 (g, c), -inf where there is no candidate."""
    there = candidates.there
    count = there.sum(axis=1)
    stops = np.cumsum(count)
    ours = queries.columns(np.arange(len(queries)))
    theirs = windows.shapes.shapes().columns(candidates.rows[there])
    unwarped = [
        unwarped_parts(ours[:, query : query + 1], theirs[:, stop - many : stop])
        for query, (many, stop) in enumerate(zip(count.tolist(), stops.tolist(), strict=True))
    ]
    pairs = np.repeat(ours, count, axis=1)
    distances = [
        warping_distances(pairs[:, first : first + _PAIRS], theirs[:, first : first + _PAIRS])
        for first in range(0, pairs.shape[1], _PAIRS)
    ]
    score = np.full(there.shape, -np.inf)
    if distances:
        dtw = warping_part(np.concatenate(distances), bars_of(ours))
        score[there] = PriceParts(dtw, *map(np.concatenate, zip(*unwarped, strict=True))).score()
    return score


def _highest(values: Floats64, count: int) -> Int64s:
    """Positions of the `count` highest values of each row, or of all, in no order."""
    if count >= values.shape[1]:
        return np.broadcast_to(np.arange(values.shape[1]), values.shape)
    return np.argpartition(values, -count, axis=1)[:, -count:]


def _sorted(candidates: Candidates, score: Floats64, windows: CandidateWindows, count: int) -> Candidates:
    """The `count` best candidates by a score, best first, then by symbol, then by end."""
    if count < score.shape[1]:
        # With all that are as good as the last of them, among which symbol and end decide.
        least = np.take_along_axis(score, _highest(score, count), axis=1).min(axis=1, keepdims=True)
        enough = int((score >= least).sum(axis=1).max())
        place = _highest(score, enough)
        candidates = candidates.take(place)
        score = np.take_along_axis(score, place, axis=1)
    order = np.lexsort((*_symbol_and_end(candidates, windows), -score), axis=-1)[:, :count]
    return replace(candidates, similarity=score).take(order)


def _symbol_and_end(candidates: Candidates, windows: CandidateWindows) -> tuple[Dates, Int32s]:
    """Keys by which equals are sorted, in NumPy's order: the last decides first."""
    return windows.patterns.end[candidates.rows], candidates.code


def _looked_at_again(
    windows: CandidateWindows, settings: FactorSettings, asked: Int64s, best: Candidates
) -> Candidates:
    """The best candidates of some queries by score, sorted by similarity."""
    pixels, edges = np.zeros((2, *best.rows.shape))
    drawn = chart_rows(*windows.query_prices())
    query, at = np.nonzero(best.there[:, : settings.rerank_k])
    for start in range(0, len(query), _PAIRS):
        which, place = query[start : start + _PAIRS], at[start : start + _PAIRS]
        a = drawn.take(asked[which])
        b = chart_rows(*windows.shapes.prices(best.rows[which, place]))
        pixels[which, place], edges[which, place] = pixel_part(a, b), edge_part(a, b)
    score = np.where(best.there, best.similarity, 0.0)
    similarity = np.where(best.there, _similarity(settings, score, pixels, edges), -np.inf)
    # Its part of the weights can be nothing, and a chart that was looked at be unlike in all.
    unseen = np.broadcast_to(np.arange(best.rows.shape[1]) >= settings.rerank_k, best.rows.shape)
    order = np.lexsort((*_symbol_and_end(best, windows), unseen, -similarity), axis=-1)
    return replace(best, similarity=similarity).take(order)
