"""What the board says, and which board takes the place of which."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from prefect.states import Crashed, Failed

from flows.artifacts.board import (
    Ended,
    Scope,
    Status,
    ended_without,
    under_way,
    with_note,
    with_values,
    without_note,
    without_values,
)
from flows.artifacts.coverage import coverage
from flows.artifacts.result_line import reason_of
from flows.common.artifact_keys import artifact_key, market_key, symbol_key
from flows.common.session import with_result
from kline_core.compute.run_report import SymbolResult
from tests.support.results import BEFORE, SESSION, change, latest, report, scored, summary

SCOPE = Scope("XSHG", np.datetime64(SESSION))
RUN = "[the run](../../runs/flow-run/1)"


def test_a_session_with_values() -> None:
    results = scored("A"), scored("B"), SymbolResult("C", problem="too few bars: 3 of 20")
    newest = latest(("A", SESSION, 0.9, None), ("B", SESSION, 0.6, None))
    found = coverage(report(*results), newest, SCOPE.session)
    page = with_values(
        SCOPE,
        found,
        summary(*results, change=change(A=0.1, B=0.8)),
        ["20 symbols without a bar of the session"],
        [RUN, "[ranking](../../artifacts/artifact/2)"],
        "![picture](data:image/png;base64,AAAA)",
        np.datetime64("2026-11-25"),
    )
    head, links, *_ = page.split("\n\n")
    assert head == "# XSHG 2026-11-24: 2 of 3 scored (1 too few bars)"
    assert links == f"{RUN} · [ranking](../../artifacts/artifact/2)"
    assert "### Alarms\n\n- 20 symbols without a bar of the session\n\n" in page
    assert "| with a value (66.7%) | 2 |\n| too few bars | 1 |\n| **expected** | **3** |" in page
    assert "- samples: 20 = 12 done + 2 failed + 6 re-used\n- patterns: 1 added, 2 removed, 3 in all" in page
    moved = f"### Movers since {BEFORE}\n\n| symbol | before | now | change |\n|---:|---:|---:|---:|\n"
    assert f"{moved}| **A** | 0.10 | 0.90 | +0.80 |\n| **B** | 0.80 | 0.60 | -0.20 |" in page
    assert "### Values\n\n![picture](data:image/png;base64,AAAA)" in page
    assert "| total | 2.25 |" in page
    assert page.endswith("The next session is 2026-11-25.")


def test_the_first_session_of_all_without_an_alarm() -> None:
    found = coverage(report(scored("A")), latest(), SCOPE.session)
    page = with_values(SCOPE, found, summary(scored("A")), [], [RUN], "", None)
    assert "### Alarms\n\nNone." in page
    assert "No session before it is stored to compare with." in page
    assert "### Values" not in page
    assert "next session" not in page


def test_a_session_that_failed_says_so_and_why_and_where_the_one_before_is() -> None:
    reason = "20 of 20 symbols have no bar of the session of 2026-11-24 on XSHG: *A*, `B`"
    failed = ended_without("failed", reason, RUN)
    assert failed.line == f"failed: {reason}"
    page = without_values(SCOPE, failed, Ended("XSHG 2026-11-23: 20 of 20 scored", "77"))
    assert page.startswith(f"# XSHG 2026-11-24: failed\n\n````\n{reason}\n````\n\n")
    assert f"Retry on the page of {RUN} runs it again" in page
    assert page.endswith("[XSHG 2026-11-23: 20 of 20 scored](../../artifacts/artifact/77)")


def test_a_run_that_found_nothing_to_do_needs_no_retry() -> None:
    idle = ended_without("completed", "nothing to do: the home is of another market", RUN)
    page = without_values(SCOPE, idle, None)
    assert page.startswith("# XSHG 2026-11-24: completed\n\n````\nnothing to do: ")
    assert "Retry" not in page


SINCE = datetime(2026, 11, 24, 17, 30, tzinfo=ZoneInfo("Asia/Shanghai"))


def test_a_session_under_way_shows_no_values_of_another() -> None:
    page = without_values(SCOPE, under_way(SINCE, "waits for bars", [RUN, "[what it waits for](x)"]), None)
    begun = "Begun 2026-11-24 17:30 CST; it waits for bars."
    assert page.startswith(f"# XSHG 2026-11-24: no values yet\n\n{begun} {RUN} or [what it waits for](x) says how far")
    assert page.endswith("No session before it has a board.")


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (under_way(SINCE, "is at work", [RUN]), "is at work"),
        (ended_without("failed", "no bars\n\n# of it", RUN), "failed"),
        (ended_without("cancelled", "on request", RUN), "was cancelled"),
    ],
)
def test_values_stay_beneath_what_a_later_run_does(status: Status, says: str) -> None:
    good = "# XSHG 2026-11-24: 2 of 3 scored\n\n[run](1) \u00b7 [summary](2)\n\n### Alarms\n\nNone."
    page, length = with_note(good, status)
    title, head, *_ = page.split("\n\n")
    assert title == "# XSHG 2026-11-24: 2 of 3 scored"
    assert head == f"**The latest run {says}; the values below are from before it.**"
    assert RUN in page
    assert page.endswith("[run](1) \u00b7 [summary](2)\n\n### Alarms\n\nNone.")
    assert without_note(page, length) == good == without_note(good, 0)


def test_keys() -> None:
    assert artifact_key("board", None, "XSHG") == "board-xshg"
    assert artifact_key("board", None, "24/5") == "board-24-5"
    assert artifact_key("daily", "history-aapl", "XNYS") == "daily-xnys-history-aapl"
    assert market_key("daily", "symbols", "XNYS", True) == "daily-xnys-chosen-symbols"
    assert market_key("daily", "symbols", None, True) == "daily-symbols"
    assert [symbol_key(each) for each in ("600519.SH", "^GSPC", "M&M.NS")] == ["600519-sh", "x5egspc", "mx26m-ns"]


def test_the_result_stands_behind_the_name_once() -> None:
    once = with_result("XSHG 2026-11-24", "no symbol has a bar: all are late")
    assert once == "XSHG 2026-11-24: no symbol has a bar: all are late"
    assert with_result(once, "5 of 5 scored") == "XSHG 2026-11-24: 5 of 5 scored"
    assert len(with_result("XSHG 2026-11-24", "x" * 5000)) < 130


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (Failed(message="Flow run encountered an exception: BarsMissingError: no bars\nat all"), "no bars at all"),
        (Failed(message="Flow run encountered an exception: ValueError: on fire"), "ValueError: on fire"),
        (
            Failed(message="1 of 3 symbols broke: S1 (ValueError: on fire)"),
            "1 of 3 symbols broke: S1 (ValueError: on fire)",
        ),
        (Crashed(message=None), "no reason is known"),
        (Failed(message="no answer of https://user:hunter22@host/x"), "no answer of https://***@host/x"),
    ],
)
def test_the_reason_is_what_a_person_needs(state: Any, reason: str) -> None:
    assert reason_of(state) == reason
