"""The selection of matches: the best candidates that lie far enough from better ones of the same symbol."""

import numpy as np

from kline_core.search.candidates import Candidates
from kline_core.typing import Int64s


def isolated(candidates: Candidates, top_k: int, isolation_bars: int) -> Int64s:
    """Positions of the matches of m queries: walks down the candidates and selects those far enough from earlier ones.

    Args:
        candidates: Candidates of m queries, best first.
        top_k: Matches wanted.
        isolation_bars: A match is more than this many bars away from every better match of the same symbol.

    Returns:
        int64 (m, top_k): positions among the candidates, ascending; -1 after the last match.
    """
    code, bar, there = candidates.code, candidates.bar, candidates.there
    kept = np.full((len(code), top_k), -1, dtype=np.int64)
    kept_code = np.full(kept.shape, -1, dtype=np.int32)
    kept_bar = np.zeros(kept.shape, dtype=np.int32)
    count = np.zeros(len(code), dtype=np.int64)
    for position in range(code.shape[1]):
        wanted = there[:, position] & (count < top_k)
        if not wanted.any():
            break
        here_code, here_bar = code[:, position, None], bar[:, position, None]
        near = (kept_code == here_code) & (np.abs(kept_bar - here_bar) <= isolation_bars)
        take = np.flatnonzero(wanted & ~near.any(axis=1))
        kept[take, count[take]] = position
        kept_code[take, count[take]] = here_code[take, 0]
        kept_bar[take, count[take]] = here_bar[take, 0]
        count[take] += 1
    return kept
