"""Results of runs, made up."""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from flows.artifacts.summary import Summary
from flows.steps.refresh import BarsInfo
from kline_core.bars.bars_cache import BarsKey
from kline_core.compute.run_report import RunReport, SymbolResult
from kline_core.evaluation.session_change import Change, Move
from kline_core.patterns.update import PatternsUpdate

PATTERNS = PatternsUpdate(1, 2, 3, [], 5, "patterns", BarsKey("home", 3, "id"))
SESSION, BEFORE = "2026-11-24", "2026-11-23"


def report(*results: SymbolResult) -> RunReport:
    return RunReport("run-1", "abc", {"bars": 3, "patterns": 5}, 7, list(results), {"load": 1.5, "total": 2.25})


def scored(symbol: str) -> SymbolResult:
    return SymbolResult(symbol, 10, 6, 1, 3, reasons=Counter({"too few bars: 3 of 20": 1}))


def latest(*rows: tuple[str, str, float | None, str | None]) -> pd.DataFrame:
    """Newest samples: symbol, date, value, reason."""
    columns = ["symbol", "date", "value", "reason"]
    frame = pd.DataFrame(list(rows), columns=columns).astype({"value": float})
    failed = frame["value"].isna()
    frame["status"] = np.where(failed, "failed", "ok")
    frame["matches"], frame["return_mean"] = 5, frame["value"] / 10
    return frame.astype({"date": "datetime64[s]"})


def change(**earlier: float) -> Change:
    day, before = np.datetime64(SESSION), np.datetime64(BEFORE)
    return Change(day, before, up=[Move("A", 0.1, 0.9)], down=[Move("B", 0.8, 0.6)], earlier=earlier)


def summary(*results: SymbolResult, **parts: Any) -> Summary:
    given = {"bars": BarsInfo(None, None), "patterns": PATTERNS, "change": None} | parts
    return Summary(report(*results), **given)
