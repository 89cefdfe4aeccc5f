"""Which trading day a run is for, and what the run is called."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
from prefect.runtime import flow_run

from flows.common.parameters import as_day
from kline_core.bars.sessions import TradingDay, time_zone, trading_day
from kline_core.errors import DateError

_NAME_LENGTH = 60


def asked_day(calendar: str | None, as_of: Any) -> np.datetime64 | None:
    """The day that a run is for: `as_of`, else the day for which it was scheduled, where the exchange is.

    None, for the newest bars, where neither a day nor an exchange is named. A run that starts late is still for its own
    day.
    """
    if as_of is not None or calendar is None:
        return as_day(as_of)
    scheduled: datetime = flow_run.scheduled_start_time
    return np.datetime64(scheduled.astimezone(time_zone(calendar)).date(), "D")


def closed_session(calendar: str, day: np.datetime64) -> TradingDay:
    """The day as the exchange's calendar knows it.

    Raises `DateError` where its session is not over yet, since the bars of such a day may still change, and where the
    calendar does not know the day.
    """
    found = trading_day(day, calendar)
    if found.closes is not None and (now := datetime.now(UTC)) < found.closes:
        zone = time_zone(calendar)
        raise DateError(
            f"the session of {day} on {calendar} closes at {found.closes.astimezone(zone):%Y-%m-%d %H:%M %Z}, and now "
            f"it is {now.astimezone(zone):%Y-%m-%d %H:%M}; run it after the close, or give as_of={found.previous}",
            value=day,
            calendar=calendar,
        )
    return found


def run_name() -> str:
    """`XSHG 2026-11-24`: the market and the day; without a market, what was asked for."""
    asked = flow_run.parameters
    calendar, as_of = asked.get("calendar"), asked.get("as_of")
    if calendar is not None:
        return f"{calendar} {asked_day(calendar, as_of)}"
    symbols = asked.get("symbols")
    named = ",".join(map(str, symbols)) if isinstance(symbols, list) else str(symbols or "all symbols")
    days = [str(asked[name]) for name in ("first", "last", "as_of") if asked.get(name) is not None]
    short = named if len(named) <= _NAME_LENGTH else f"{named[:_NAME_LENGTH]}..."
    return " ".join([short, *([" to ".join(days)] if days else [])])
