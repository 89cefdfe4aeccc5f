"""What the summary says of runs that a test would have to wait for."""

from collections import Counter

import numpy as np
import pandas as pd

from flows.artifacts.summary import Summary
from flows.steps.refresh import BarsInfo
from kline_core.bars.arrivals import Arrivals
from kline_core.bars.bars_cache import BarsKey
from kline_core.bars.ingest_report import FileReport, IngestReport
from kline_core.bars.quality_report import COLUMNS, QualityReport
from kline_core.compute.run_report import RunReport, SymbolResult
from kline_core.patterns.update import PatternsUpdate


def summary(results: list[SymbolResult], broken: dict[str, str], bars: BarsInfo | None = None) -> Summary:
    versions: dict[str, int | None] = {"bars": 3, "patterns": 5}
    broke = [SymbolResult(symbol, problem=problem, broke=True) for symbol, problem in broken.items()]
    report = RunReport("run-1", "abc", versions, 7, [*results, *broke], {"load": 1.5, "total": 2.25})
    return Summary(
        report, bars or BarsInfo(None, None), PatternsUpdate(1, 2, 3, [], 5, "patterns", BarsKey("home", 3, "id")), None
    )


def test_all_is_well() -> None:
    done = summary([SymbolResult("A", 10, 6, 1, 3, reasons=Counter({"too few bars: 3 of 20": 1}))], {})
    assert done.headline == "1 symbols, 10 samples = 6 done + 1 failed + 3 re-used"
    assert done.failure(0.2) is None
    page = done.markdown()
    assert "- 1 x too few bars: 3 of 20" in page
    assert "- patterns: 1 added, 2 removed, 3 in all\n- version of bars: 3\n- version of patterns: 5" in page
    assert "| total | 2.25 |" in page
    assert "broke" not in page


def test_bars_that_came_during_the_run_are_said() -> None:
    done = summary([SymbolResult("A", 10, 7, 0, 3)], {})
    done.report.newer_bars = 8
    warning = "bars came during the run (version 8), which read version 3: the next run takes them"
    assert done.headline == f"1 symbols, 10 samples = 7 done + 0 failed + 3 re-used; {warning}"
    assert done.failure(0.2) is None


def test_many_broken_symbols_are_counted_and_some_named() -> None:
    broken = {f"S{number:02}": "ValueError: no" for number in range(25)}
    failed = summary([SymbolResult("A", 4, 4)], broken)
    why = failed.failure(0.2)
    assert why is not None
    assert why.startswith("25 of 26 symbols broke: S00 (ValueError: no), S01 ")
    assert "S19 (ValueError: no) and 5 more; stored: 1 symbols, 4 samples" in why
    assert "S20" not in why
    assert "- **S19**: `ValueError: no`\n- and 5 more" in failed.markdown()


def test_broken_symbols_and_too_many_failed_samples_are_both_said() -> None:
    reasons = Counter({"too few matches: 0 of 5": 5})
    why = summary([SymbolResult("A", 10, 5, 5, 0, reasons=reasons)], {"B": "OSError: disk"}).failure(0.2)
    assert why is not None
    assert why.startswith("1 of 2 symbols broke: B (OSError: disk); 5 of 10 samples failed")


SESSION = np.datetime64("2024-10-08")


def quality(*findings: tuple[str, str, str]) -> QualityReport:
    """Findings as kind, symbol and day."""
    rows = [(kind, symbol, np.datetime64(day), np.datetime64(day), 1.0, "") for kind, symbol, day in findings]
    found = pd.DataFrame(rows, columns=list(COLUMNS))
    return QualityReport(3, 60, 0, SESSION, SESSION, "XSHG", 60, 60, found)


def test_a_run_that_lacks_something_is_completed_by_another_name() -> None:
    whole = summary([SymbolResult("A", 10, 10)], {})
    assert (whole.state(0.2, None).name, whole.lacking) == ("Completed", [])
    files = [FileReport(f"{number}.csv", error=f"{number}.csv: it is empty") for number in range(5)]
    ingested = IngestReport(files, pd.DataFrame(), [], [], [], [], [], None, 1, False, [], None)
    arrived = Arrivals("XSHG", SESSION, 20, ["B", "C"], SESSION, 0.0, [])
    # Older ones were told of on their day.
    seen = quality(("jump", "D", "2024-09-30"), ("jump", "E", "2024-10-08"), ("stale", "F", "2024-10-08"))
    lacks = summary([SymbolResult("A", 10, 10)], {}, BarsInfo(ingested, arrived, seen))
    assert lacks.lacking == [
        "no bar of 2024-10-08: B, C; the next run takes them up",
        *(f"file not used: {number}.csv: it is empty" for number in range(3)),
        "and 2 more files",
        "look at the quality of the bars: E jump",
    ]
    state = lacks.state(0.2, None)
    assert (state.name, state.is_completed()) == ("Incomplete", True)
    assert state.message == "; ".join([lacks.headline, *lacks.lacking])


def test_what_waits_for_a_look_since_weeks_is_not_told_of_again() -> None:
    arrived = Arrivals("XSHG", SESSION, 20, [], SESSION, 0.0, [])
    seen = quality(("jump", "D", "2024-09-30"))
    done = summary([SymbolResult("A", 10, 10)], {}, BarsInfo(None, arrived, seen))
    assert done.state(0.2, None).name == "Completed"
    assert "1 x jump" in done.headline
    # Without a session, all that was delivered is of now.
    alone = summary([SymbolResult("A", 10, 10)], {}, BarsInfo(None, None, seen))
    assert alone.state(0.2, None).name == "Incomplete"


def test_no_symbols() -> None:
    assert "no symbol has a sample" in (summary([], {}).failure(0.2) or "")
