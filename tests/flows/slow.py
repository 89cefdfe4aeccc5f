"""The daily flow where every symbol is computed many times over, so that a run lasts; see `test_interruptions`."""

from typing import Any

import numpy as np

from flows.daily import daily
from kline_core.pipeline import NEVER_REUSED
from kline_core.run import Run

__all__ = ["daily"]

TIMES = 6
_score = Run.score


def _slowly(self: Run, symbol: str, chunks: int = 1) -> Any:
    dates = self.cluster.plan(self.key, symbol, self.request.samples, self.request.as_of)
    for _ in range(TIMES):
        list(self.cluster.score(self.key, symbol, dates, np.full(len(dates), NEVER_REUSED), chunks))
    return _score(self, symbol, chunks)


Run.score = _slowly  # type: ignore[method-assign]
