"""What the log of a flow run says of a step that writes; no server is needed."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows import maintain
from flows.steps import patterns, refresh
from kline_core._logging import logger
from kline_core.api.quality import check
from kline_core.bars.sessions import trading_day
from kline_core.settings import PatternSettings
from kline_core.store.home import Home
from tests.support.homes import make_home
from tests.support.jumps import bars_with_jump


@pytest.mark.slow
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


@pytest.mark.slow
def test_problems_of_the_bars_are_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(refresh, "get_run_logger", lambda: logging.getLogger("refresh"))
    home = make_home(tmp_path / "home", bars_with_jump())
    (jump,) = check(home).findings.query("kind == 'jump'")["first"]
    info = refresh.refresh_bars.fn(home, None, trading_day(np.datetime64(jump, "D"), "XSHG"), 0.0)
    assert info.quality is not None
    assert info.quality.counts["jump"] == 1
    (warning,) = (record for record in caplog.records if record.levelname == "WARNING")
    assert warning.getMessage().startswith("the bars of 3 symbols show 1 problem: 1 x jump; the artifact on quality")


@pytest.mark.parametrize(
    ("module", "writer", "step"),
    [
        (refresh, "ingest", lambda home: refresh.refresh_bars.fn(home, "bars", None, 0.0)),
        (patterns, "update_patterns", lambda home: patterns.update.fn(home, None, PatternSettings())),
        (maintain, "compact", lambda home: maintain.compact_tables.fn(home)),
    ],
)
def test_what_a_write_warns_of_stands_in_the_log_of_the_flow_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    module: Any,
    writer: str,
    step: Callable[[Home], object],
) -> None:
    def write(*_: object, **__: object) -> None:
        logger("kline_core.store").warning("no checksum of %s", "bars")
        raise InterruptedError

    monkeypatch.setattr(module, "get_run_logger", lambda: logging.getLogger("flow run"))
    monkeypatch.setattr(module, writer, write)
    with pytest.raises(InterruptedError):
        step(Home(tmp_path / "home", create=True))
    assert [(record.name, record.getMessage()) for record in caplog.records] == [("flow run", "no checksum of bars")]
