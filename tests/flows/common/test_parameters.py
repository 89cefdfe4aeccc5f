"""What a form shows and refuses, without a server."""

import datetime
from typing import Any

import numpy as np
import pytest
from prefect.exceptions import ParameterTypeError
from prefect.utilities.schema_tools import validate

from flows.backfill import backfill
from flows.common.parameters import as_day, symbol_list
from flows.daily import daily
from flows.evaluate import evaluate
from flows.maintain import maintain
from kline_core.errors import SettingError

FLOWS = [daily, backfill, evaluate, maintain]


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        (None, None),
        ("AAPL", ["AAPL"]),
        ("AAPL,MSFT", ["AAPL", "MSFT"]),
        (" AAPL, MSFT,", ["AAPL", "MSFT"]),
        # What a shell leaves of ["AAPL","MSFT"].
        ("[AAPL,MSFT]", ["AAPL", "MSFT"]),
        (["AAPL", "MSFT"], ["AAPL", "MSFT"]),
        # A value that is a number in JSON; "000001" is none.
        (600519, ["600519"]),
        ("000001,600519", ["000001", "600519"]),
        ([600519, "000001"], ["600519", "000001"]),
    ],
)
def test_symbols_as_they_are_typed(typed: Any, names: list[str] | None) -> None:
    assert symbol_list(typed) == names


@pytest.mark.parametrize("typed", ["", " , ", "[]", []])
def test_symbols_that_name_none_are_refused(typed: Any) -> None:
    with pytest.raises(SettingError, match="name at least one"):
        symbol_list(typed)


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_every_field_of_a_form_has_help_and_a_default(flow: Any) -> None:
    fields = flow.parameters.properties
    assert fields
    for name, field in fields.items():
        assert field.get("description"), name
        assert "default" in field, name
    assert flow.parameters.required == []


def test_choices_and_bounds_are_in_the_form() -> None:
    fields = daily.parameters.properties
    assert {"XSHG", "XNYS"} <= set(fields["calendar"]["anyOf"][0]["enum"])
    assert (fields["samples"]["minimum"], fields["max_failed_share"]["maximum"]) == (1, 1)
    assert (fields["as_of"]["anyOf"][0]["format"], fields["as_of"]["anyOf"][0]["type"]) == ("date", "string")
    assert maintain.parameters.properties["values_keep_days"]["minimum"] == 7


@pytest.mark.parametrize(
    ("flow", "given", "words"),
    [
        (daily, {"samples": 0}, "samples: Input should be greater than or equal to 1"),
        (daily, {"threads": 0}, "threads: "),
        (daily, {"max_failed_share": 1.5}, "max_failed_share: "),
        (evaluate, {"cost": 5}, "cost: "),
        (daily, {"as_of": "yesterday"}, "as_of: .*the date is 'yesterday', which is no date"),
        (daily, {"calendar": "XNOT"}, "calendar: .*'XNOT' is no calendar of exchange_calendars"),
        (daily, {"symbols": " , "}, "symbols: .*name at least one"),
        # What JSON makes of the tickers 1E5, NaN and true.
        (daily, {"symbols": 1e5}, "symbols: .*100000.0 is no text"),
        (daily, {"symbols": float("nan")}, "symbols: .*nan is no text"),
        (daily, {"symbols": ["A", True]}, "symbols: .*True is no text"),
        (backfill, {"first": "2024-02-30"}, "first: .*a day that does not exist"),
        (maintain, {"inputs_keep_days": 3}, "inputs_keep_days: "),
        (evaluate, {"horizon": 3}, "horizon"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(flow: Any, given: dict[str, Any], words: str) -> None:
    with pytest.raises((ParameterTypeError, TypeError), match=words):
        flow.validate_parameters(given) if "horizon" not in given else flow(**given)


@pytest.mark.parametrize("typed", ["2013-03-01", "20130301", 20130301, datetime.date(2013, 3, 1)])
def test_dates_in_all_their_forms(typed: Any) -> None:
    day = daily.validate_parameters({"as_of": typed})["as_of"]
    assert as_day(day) == np.datetime64("2013-03-01")
    assert as_day(None) is None


@pytest.mark.parametrize(
    ("field", "typed", "fits"),
    [
        *[("as_of", typed, True) for typed in (None, "1800-01-01", "2013-03-01", "2199-12-31")],
        *[("as_of", typed, False) for typed in ("yesterday", "2013-13-01", "2013-02-30", "1799-12-31", "2200-01-01")],
        *[("symbols", typed, True) for typed in (None, "AAPL", "AAPL,MSFT", "[AAPL,MSFT]", 600519, ["A", 600519])],
        *[("symbols", typed, False) for typed in ("", " , ", "[]", [], True)],
    ],
)
def test_the_server_makes_no_run_of_a_bad_date_or_of_no_symbol(field: str, typed: Any, fits: bool) -> None:
    errors = validate({field: typed}, daily.parameters.model_dump(), raise_on_error=False)
    assert (errors == []) == fits
    # What the server lets through, the flow does too.
    if fits:
        daily.validate_parameters({field: typed})


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize(
    ("home", "fits"),
    [
        (None, True),
        ("/data/home", True),
        ("/data/a@b?", True),
        ("s3://bucket/a@b", True),
        ("s3://AKIA123:hunter22@bucket/home", False),
        ("az://container/home?sig=hunter22", False),
    ],
)
def test_the_server_makes_no_run_for_a_home_with_credentials(flow: Any, home: str | None, fits: bool) -> None:
    errors = validate({"home": home}, flow.parameters.model_dump(), raise_on_error=False)
    assert (errors == []) == fits
