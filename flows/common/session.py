"""Trading day and name of a flow run."""

from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from prefect.runtime import flow_run

from flows.common.parameters import as_day, symbol_list
from kline_core._text import counted, shortened
from kline_core.bars.sessions import TradingDay, time_zone, trading_day
from kline_core.errors import DateError

SEPARATOR: Final = ": "
"""Between what a run is for and what came of it; no name has it otherwise."""
_NAME_LENGTH = 60
_RESULT_LENGTH = 100


def asked_day(calendar: str | None, as_of: Any) -> np.datetime64 | None:
    """Day of a run: `as_of`, else its scheduled day in the time zone of the exchange.

    None, for the newest bars, if neither a day nor a calendar is named. A run that starts late is still for its own
    day.
    """
    if as_of is not None or calendar is None:
        return as_day(as_of)
    return scheduled_day(calendar, flow_run.scheduled_start_time)


def scheduled_day(calendar: str, scheduled: datetime) -> np.datetime64:
    """Day of a moment where the exchange is."""
    return np.datetime64(scheduled.astimezone(time_zone(calendar)).date(), "D")


def closed_session(calendar: str, day: np.datetime64) -> TradingDay:
    """The day in the calendar of the exchange, its session over.

    Raises `DateError` if the session is not over yet, since its bars may still change, or if the calendar does not know
    the day.
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
    """Name of a run: market and day, such as `XSHG 2026-11-24`; without a market, symbols and days asked for.

    A run of chosen symbols of a market is named as such: `XSHG 2026-11-24 3 chosen symbols`.
    """
    asked = flow_run.parameters
    calendar, as_of = asked.get("calendar"), asked.get("as_of")
    symbols = asked.get("symbols")
    if calendar is not None:
        chosen = symbol_list(symbols)
        named = "" if chosen is None else f" {counted(len(set(chosen)), 'chosen symbol')}"
        return f"{calendar} {asked_day(calendar, as_of)}{named}"
    named = ",".join(map(str, symbols)) if isinstance(symbols, list) else str(symbols or "all symbols")
    days = [str(asked[name]) for name in ("first", "last", "as_of") if asked.get(name) is not None]
    short = named if len(named) <= _NAME_LENGTH else f"{named[:_NAME_LENGTH]}..."
    return " ".join([short, *([" to ".join(days)] if days else [])])


def without_result(name: str) -> str:
    """What a run is for: its name, without what came of it."""
    return name.partition(SEPARATOR)[0]


def with_result(name: str, line: str) -> str:
    """The name of a run with what came of it.

    >>> with_result("XSHG 2026-11-24: failed", "5 of 5 scored")
    'XSHG 2026-11-24: 5 of 5 scored'
    """
    return f"{without_result(name)}{SEPARATOR}{shortened(line, _RESULT_LENGTH)}"
