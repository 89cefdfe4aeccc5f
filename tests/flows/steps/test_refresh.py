"""What the log says of a refresh; no server is needed."""

import logging
from pathlib import Path

import pytest

from flows.steps import refresh
from kline_core.store.home import Home


def test_rejected_rows_are_warned_of_with_their_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(refresh, "get_run_logger", lambda: logging.getLogger("refresh"))
    header = "symbol,date,open,high,low,close,volume\n"
    path = tmp_path / "in" / "all.csv"
    path.parent.mkdir()
    home = Home(tmp_path / "home", create=True)
    path.write_text(header + "A,2020-01-01,10,11,9,10,5\n")
    with caplog.at_level(logging.INFO, "refresh"):
        refresh.refresh_bars.fn(home, str(path.parent), None, 0.0)
    assert [record.levelname for record in caplog.records] == ["INFO"]
    path.write_text(header + "A,2020-01-01,10,11,9,10,5\nA,2020-01-02,10,11,9,99,5\nA,2020-01-03,10,11,9,10,-5\n")
    refresh.refresh_bars.fn(home, str(path.parent), None, 0.0)
    (warning,) = (record for record in caplog.records if record.levelname == "WARNING")
    assert warning.getMessage().startswith("2 rows rejected, most often: close lies outside low to high (1); volume")
