"""Parameters of the flows, with bounds and choices.

Prefect makes a pydantic model of a flow's signature, shows it as a form with the help in the flow's docstring, and
refuses invalid values before a run starts, naming the field. One parameter per field, not one model for all: so the
command line can set a single field (`-p symbols=AAPL`) and leave the deployment's others.
"""

import datetime
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field

from kline_core.bars.sessions import calendar_names
from kline_core.dates import parse_date
from kline_core.errors import DateError, SettingError
from kline_core.evaluation.portfolios import MOST_COST


def symbol_list(symbols: str | int | Sequence[str | int] | None) -> list[str] | None:
    """Symbols as they are typed, as a list; None for all.

    `prefect deployment run` reads `-p symbols=VALUE` as JSON, or as text if it is none. So `AAPL,MSFT` is a text,
    `600519` a number, `'["AAPL", "MSFT"]'` a list; without the outer quotes, a shell leaves `[AAPL,MSFT]` of it, a text
    again. All of them name symbols. Raises `SettingError` if none is named.
    """
    if symbols is None:
        return None
    given = symbols.strip().removeprefix("[").removesuffix("]").split(",") if isinstance(symbols, str) else symbols
    names = [str(name).strip() for name in ([given] if isinstance(given, int) else given)]
    names = [name for name in names if name]
    if not names:
        raise SettingError(
            f"symbols is {symbols!r}; name at least one, such as AAPL,MSFT, or leave it out for all",
            parameter="symbols",
            value=symbols,
            bound="at least one",
        )
    return names


def as_day(date: datetime.date | None) -> np.datetime64 | None:
    """A date as datetime64[D]; None for None."""
    return None if date is None else np.datetime64(date, "D")


def _typed_symbols(value: Any) -> Any:
    """Refuse what JSON made of a symbol: `1E5` would become the number 100000, and that the code 100000."""
    for symbol in value if isinstance(value, list) else [value]:
        if isinstance(symbol, bool | float):
            raise ValueError(f'{symbol!r} is no text; put a symbol that looks like it between quotes, as in ["1E5"]')
    return value


def _symbols(value: Any) -> Any:
    try:
        symbol_list(value)
    except SettingError as error:
        raise ValueError(str(error)) from error
    return value


def _date(value: Any) -> datetime.date | None:
    # By our own rule: pydantic would take the number 20130301 for seconds since 1970.
    try:
        return None if value is None else datetime.date.fromisoformat(str(parse_date(value, "the date")))
    except DateError as error:
        raise ValueError(str(error)) from error


def _calendar(value: str) -> str:
    if value not in calendar_names():
        raise ValueError(f"{value!r} is no calendar of exchange_calendars, such as XSHG or XNYS")
    return value


# The patterns are for the server, which makes no run of what does not fit; the validators say what is wrong where a
# flow runs. What depends on the home, such as whether it knows a symbol, shows in the run alone.
_Names = Annotated[str, Field(json_schema_extra={"pattern": r"[^\s,\[\]]"})]
_List = Annotated[list[str | int], Field(json_schema_extra={"minItems": 1})]
Symbols = Annotated[_Names | int | _List | None, BeforeValidator(_typed_symbols), AfterValidator(_symbols)]
# The years that `parse_date` takes; the rest is what the server knows of the format of dates.
_YEARS = "^(1[89]|2[01])[0-9]{2}-"
_Day = Annotated[datetime.date, Field(json_schema_extra={"pattern": _YEARS})]
Date = Annotated[_Day | None, BeforeValidator(_date)]
# The choices belong to the text, so that the form offers them as a list beside "None".
_Choice = Annotated[str, AfterValidator(_calendar), Field(json_schema_extra={"enum": list(calendar_names())})]
Calendar = _Choice | None
# The server would keep what is secret in a parameter. `Home` refuses the same where a flow runs.
_NO_CREDENTIALS = r"^(?!.*://[^/]*@)(?!.*://.*\?)"
HomePlace = Annotated[str, Field(json_schema_extra={"pattern": _NO_CREDENTIALS})] | None
Samples = Annotated[int, Field(ge=1, le=100_000)]
Share = Annotated[float, Field(ge=0, le=1)]
Cost = Annotated[float, Field(ge=0, le=MOST_COST)]
Threads = Annotated[int | None, Field(ge=1, le=256)]
Retries = Annotated[int, Field(ge=0, le=1_000)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]
KeepDays = Annotated[int, Field(ge=7, le=36_500)]
