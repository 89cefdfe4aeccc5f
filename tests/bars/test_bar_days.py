"""Days on which no bar can be: to come, at weekends; and bars that are of weeks or months."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kline_core import _clock
from kline_core.bars.bar_days import APART, CLOSED, FUTURE, WEEKEND, apart
from kline_core.bars.ingest import ingest
from kline_core.bars.ingest_report import IngestReport, NothingUsableError
from kline_core.markets import MARKETS
from kline_core.store.home import Home
from tests.support.vendor_files import assert_accounted


def deliver(tmp_path: Path, rows: dict[str, list[str]], market: str | None = None) -> IngestReport:
    """What a new home makes of a bar on each day of each symbol."""
    pairs = [(symbol, day) for symbol, days in rows.items() for day in days]
    frame = pd.DataFrame(pairs, columns=["symbol", "date"]).assign(open=10.0, high=11.0, low=9.0, close=10.5, volume=5)
    home = Home(tmp_path / f"home{sum(1 for _ in tmp_path.iterdir())}", create=True)
    try:
        report = ingest([frame], home, market=None if market is None else MARKETS[market])
    except NothingUsableError as error:
        report = error.report
    assert_accounted(report)
    return report


def rejected(report: IngestReport) -> list[tuple[str, str, str]]:
    return [(row["symbol"], row["value"], row["reason"]) for row in report.rejections.to_dict("records")]


@pytest.fixture(autouse=True)
def present(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thursday noon in London; Friday in Auckland."""
    monkeypatch.setattr(_clock, "now", lambda: datetime(2024, 3, 28, 12, 30, tzinfo=UTC))


@pytest.mark.slow
def test_days_to_come_are_rejected_by_the_day_at_the_exchange(tmp_path: Path) -> None:
    days = ["2024-03-27", "2024-03-28", "2024-03-29"]
    for symbol, future in (("AAPL", 1), ("600519.SH", 1), ("FNZ.NZ", 0), ("S00000", 0)):
        found = rejected(deliver(tmp_path, {symbol: days}))
        assert found == [(symbol, day, FUTURE) for day in days[3 - future :]]
    # Where no market is known, a day that is nowhere yet.
    assert rejected(deliver(tmp_path, {"S00000": ["2024-03-30"]})) == [("S00000", "2024-03-30", FUTURE)]
    assert rejected(deliver(tmp_path, {"^NZ50": days}, market="US")) == [("^NZ50", days[2], FUTURE)]


@pytest.mark.slow
def test_a_day_at_a_weekend_is_rejected_unless_it_was_a_session(tmp_path: Path) -> None:
    # A Saturday, a Sunday and a Monday.
    days = ["2024-02-24", "2024-02-25", "2024-02-26"]
    report = deliver(tmp_path, {"600519.SH": days})
    assert rejected(report) == [("600519.SH", day, WEEKEND) for day in days[:2]]
    assert rejected(deliver(tmp_path, {"^GSPC": days}, market="US")) == [("^GSPC", day, WEEKEND) for day in days[:2]]
    # Nothing tells days of what is of no market, and of a home of several each symbol has its own.
    assert rejected(deliver(tmp_path, {"BTC-USD": days, "^GSPC": days})) == []
    mixed = deliver(tmp_path, {"BTC-USD": days, "AAPL": days, "7203.T": days})
    assert {row[0] for row in rejected(mixed)} == {"AAPL", "7203.T"}
    # Before the days that a calendar knows.
    assert rejected(deliver(tmp_path, {"AAPL": ["1985-01-05"]})) == []


def test_a_working_day_without_a_session_is_stored_and_counted(tmp_path: Path) -> None:
    report = deliver(tmp_path, {"AAPL": ["2023-12-22", "2023-12-25", "2023-12-26"]})
    assert (report.stored_new, report.notes) == (3, {CLOSED.format(1): ["frame 1"]})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "step", "count"),
    [
        *(("2023-01-06", "W-FRI", 4), ("2023-01-06", "W-FRI", 60), ("2023-01-02", "W-MON", 9)),
        *(("2023-01-31", "ME", 4), ("2020-01-31", "BME", 30), ("2020-01-01", "QS", 5), ("2000-12-31", "YE", 6)),
    ],
)
def test_bars_of_weeks_months_and_years_are_refused(tmp_path: Path, first: str, step: str, count: int) -> None:
    days = [f"{day:%Y-%m-%d}" for day in pd.date_range(first, periods=count, freq=step)]
    report = deliver(tmp_path, {"S1": days, "AAPL": [f"2023-03-{day:02}" for day in (1, 2, 3, 6, 7, 8)]})
    assert rejected(report) == [("S1", day, f"date {APART}") for day in days]
    assert report.stored_new == 6


def test_weeks_cut_short_by_holidays_are_weeks_all_the_same() -> None:
    fridays = pd.date_range("2023-01-06", periods=30, freq="W-FRI").to_numpy().astype("datetime64[D]")
    fridays[[3, 12]] -= 1
    days = np.delete(fridays, [6, 20])
    assert apart(np.zeros(len(days), dtype=np.int64), days).all()
    assert not apart(np.zeros(3, dtype=np.int64), days[:3]).any()
    # A bar within one of the weeks, and a share that was traded now and then.
    assert not apart(np.zeros((len(days) + 1), dtype=np.int64), np.append(days, days[5] - 1)).any()
    seldom = np.array(["2023-01-03", "2023-01-30", "2023-02-07", "2023-04-11", "2023-06-01"], "datetime64[D]")
    assert not apart(np.zeros(5, dtype=np.int64), seldom).any()
