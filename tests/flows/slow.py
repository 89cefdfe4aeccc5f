"""The daily flow, which waits half way for a file to go, so that it is certain how far it is.

While the home holds a file `hold` with a number, the symbols from that one on are computed over and over again; see
`test_interruptions` and `test_desk`.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flows.daily import daily
from kline_core.compute import tasks
from kline_core.compute.run import Run
from kline_core.factor.batch import Batch, SymbolSamples
from kline_core.factor.lineage import NEVER_REUSED

__all__ = ["daily"]

SECONDS = 300.0
_score = Run.score


def _held(run: Run, symbols: Sequence[str]) -> bool:
    try:
        let_through = int((Path(run.home.uri) / "hold").read_text())
    except FileNotFoundError:
        return False
    return run.symbols.index(symbols[-1]) >= let_through


def _slowly(self: Run, symbols: Sequence[str], chunks: int = 1) -> Any:
    deadline = time.monotonic() + SECONDS
    planned = self.cluster.call(tasks.plan, self.key, symbols, self.request.samples, self.request.as_of)
    parts = (
        SymbolSamples(symbol, dates, np.full(len(dates), NEVER_REUSED))
        for symbol, dates in zip(symbols, planned, strict=True)
    )
    batches = Batch(tuple(parts)).chunks(chunks)
    while _held(self, symbols):
        if time.monotonic() > deadline:
            raise TimeoutError(f"held for {SECONDS:g} s")
        for answer in self.cluster.submit(tasks.score, [(self.key, batch) for batch in batches]):
            answer.result()
        # Others need the machine too.
        time.sleep(0.5)
    return _score(self, symbols, chunks)


Run.score = _slowly  # type: ignore[method-assign]
