"""How alike the matches look that a metric finds: the full mode's score, which no metric is taught."""

from typing import Final

import numpy as np

from kline_core.learning.inputs import Windows
from kline_core.patterns.patterns import Patterns
from kline_core.search.candidates import Queries
from kline_core.search.pattern_index import PatternIndex
from kline_core.search.search import search
from kline_core.settings import FactorSettings
from kline_core.typing import Floats64, Int64s
from kline_core.windows.prices import prices_of_windows
from kline_core.windows.similarity import Shapes, pair_scores

LOOKED: Final = 50
"""One sample in so many is looked at."""


def full_scores(index: PatternIndex, patterns: Patterns, queries: Queries, asked: Windows, seen: Windows) -> Floats64:
    """Mean full-mode score of a sample with its five best matches (`kline_core.windows.similarity`): float64 (q,).

    NaN where there are no five.

    Args:
        index: Holds the vectors of `patterns`.
        patterns: Whose matches are found as for the seed factor, isolation included.
        queries: q samples.
        asked: Their windows.
        seen: Windows of the patterns.
    """
    return scores_of(search(index, patterns, queries, FactorSettings(), asked.window_bars).rows, asked, seen)


def scores_of(matches: Int64s, asked: Windows, seen: Windows) -> Floats64:
    """Mean full-mode score of q samples with their matches: float64 (q,), NaN where a match is missing.

    Args:
        matches: int64 (q, n): rows of the patterns, -1 for none.
        asked: The samples' windows.
        seen: Windows of the patterns.
    """
    whole = np.flatnonzero((matches >= 0).all(axis=1))
    scores = np.full(len(matches), np.nan)
    count = matches.shape[1]
    one = _shapes(asked, np.repeat(whole, count))
    other = _shapes(seen, matches[whole].ravel())
    scores[whole] = pair_scores(one, other).reshape(-1, count).mean(axis=1, dtype=np.float64)
    return scores


def _shapes(windows: Windows, at: Int64s) -> Shapes:
    return Shapes.of(*prices_of_windows(*windows.part(at).named))
