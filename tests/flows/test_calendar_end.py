"""What a daily run says as the end of its calendar comes near, without a server."""

import logging
from datetime import date

import pytest

import flows.daily
from flows.daily import daily


@pytest.mark.parametrize(("day", "says"), [(date(2026, 12, 26), True), (date(2026, 10, 3), False)])
def test_a_run_warns_weeks_before_the_first_that_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, day: date, says: bool
) -> None:
    """Days without a session, on which nothing else is done."""
    monkeypatch.setattr(flows.daily, "get_run_logger", lambda: logging.getLogger("daily"))
    monkeypatch.setattr(flows.daily, "say_result", lambda *_: None)
    with caplog.at_level(logging.INFO, "daily"):
        state = daily.fn(calendar="XSHG", as_of=day)
    assert state.message.startswith(f"nothing to do: {day} is no session of XSHG")
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == says
    assert all(line.startswith("calendar XSHG ends on 2026-12-31, 5 days after 2026-12-26; install") for line in warned)
