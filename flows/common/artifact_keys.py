"""Keys of artifacts."""

from collections.abc import Mapping
from typing import Any

from kline_core.bars.sessions import calendar_names


def artifact_key(flow: str, what: str | None, calendar: str | None) -> str:
    """Key of a series of artifacts: one per flow, market and kind."""
    # Calendars such as 24/5 too: a key takes no other signs than dashes.
    return "-".join(part.lower() for part in (flow, calendar, what) if part).replace("/", "-")


def market_key(flow: str, what: str, calendar: str | None, chosen: bool) -> str:
    """Key of a series of a flow and market; a series of its own for runs of chosen symbols of a market.

    >>> market_key("daily", "summary", "XSHG", False), market_key("daily", "summary", "XSHG", True)
    ('daily-xshg-summary', 'daily-xshg-chosen-summary')
    """
    return artifact_key(flow, f"chosen-{what}" if chosen and calendar is not None else what, calendar)


def to_do_key(flow: str, parameters: Mapping[str, Any]) -> str:
    """Key of what is to do about runs of a flow, and of the market or its chosen symbols that their parameters name."""
    calendar = parameters.get("calendar")
    known = calendar if calendar in calendar_names() else None
    return market_key(flow, "to-do", known, bool(parameters.get("symbols")))


def symbol_key(symbol: str) -> str:
    """A symbol as a part of a key, which takes lower-case letters, digits and dashes alone.

    >>> symbol_key("600519.SH"), symbol_key("^GSPC")
    ('600519-sh', 'x5egspc')
    """
    return "".join(map(_sign, symbol)).lower()


def _sign(sign: str) -> str:
    if sign in ".-":
        return "-"
    return sign if sign.isascii() and sign.isalnum() else f"x{ord(sign):x}"
