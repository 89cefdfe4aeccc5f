"""The flows, which wait half way for a file to go, so that it is certain how far they are.

While the home holds a file `hold` with a number, the symbols from that one on are computed over and over again, and
evaluation and upkeep wait before they begin, beside a file `held`; see `test_interruptions` and `test_desk`.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import flows.evaluate
import flows.maintain
from flows.backfill import backfill
from flows.daily import daily
from flows.evaluate import evaluate
from flows.maintain import maintain
from kline_core.compute import tasks
from kline_core.compute.run import Run
from kline_core.factor.batch import Batch, SymbolSamples
from kline_core.factor.lineage import NEVER_REUSED
from kline_core.store.home import Home

__all__ = ["backfill", "daily", "evaluate", "maintain"]

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


def _after_a_while(work: Any) -> Any:
    def wait(home: Home, **asked: Any) -> Any:
        place, deadline = Path(home.uri), time.monotonic() + SECONDS
        (place / "held").touch()
        while (place / "hold").exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"held for {SECONDS:g} s")
            time.sleep(0.1)
        return work(home, **asked)

    return wait


Run.score = _slowly  # type: ignore[method-assign]
flows.evaluate.evaluated = _after_a_while(flows.evaluate.evaluated)  # type: ignore[attr-defined]
flows.maintain.verify = _after_a_while(flows.maintain.verify)  # type: ignore[attr-defined]
