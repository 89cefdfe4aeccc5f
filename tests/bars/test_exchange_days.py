"""Days of the exchange, against the standard library's own reading of each form, one value at a time."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core.bars.exchange_days import (
    EPOCH,
    NO_CLOCK,
    NO_DATE,
    NO_ZONE,
    SERIAL,
    TWO_DIGITS,
    UNDECIDED,
    ExchangeDays,
    exchange_days,
)
from kline_core.typing import Objects

FORMS: dict[str, Callable[[date], str]] = {
    "iso": lambda day: day.isoformat(),
    "slashes": lambda day: f"{day.year}/{day.month}/{day.day}",
    "points": lambda day: f"{day.year}.{day.month:02}.{day.day:02}",
    "compact": lambda day: f"{day.year}{day.month:02}{day.day:02}",
    "chinese": lambda day: f"{day.year}年{day.month}月{day.day}日",
    "german": lambda day: f"{day.day}.{day.month}.{day.year}",
    "us name": lambda day: f"{day:%b} {day.day}, {day.year}",
    "us long": lambda day: f"{day:%B} {day.day:02} {day.year}",
    "uk name": lambda day: f"{day.day:02}-{day:%b}-{day.year}",
    "uk long": lambda day: f"{day.day} {day:%B} {day.year}",
}
"""Forms that say by themselves what is the month."""
TIMES: dict[str, Callable[[time], str]] = {
    "none": lambda clock: "",  # noqa: ARG005
    "minutes": lambda clock: f" {clock:%H:%M}",
    "seconds": lambda clock: f" {clock:%H:%M:%S}",
    "iso": lambda clock: f"T{clock:%H:%M:%S}.000",
    "short": lambda clock: f" {clock.hour}:{clock:%M:%S}",
}
ZONES = [
    "America/New_York",
    "Asia/Shanghai",
    "Asia/Tokyo",
    "Australia/Sydney",
    "Europe/London",
    "Asia/Kolkata",
    "Pacific/Auckland",
]
DAY = st.dates(date(1800, 1, 1), date(2199, 12, 31))
RECENT = st.dates(date(1971, 1, 1), date(2037, 12, 31))
CLOCK = st.times().map(lambda clock: clock.replace(microsecond=0, tzinfo=None))


def no_zones() -> Objects:
    raise AssertionError("no moment has a zone")


def read(values: Sequence[object], zone: str | None = None, month_first: bool | None = None) -> ExchangeDays:
    zones = no_zones if zone is None else lambda: np.array([zone] * len(values), dtype=object)
    found = exchange_days(pd.Series(list(values), dtype=object), zones, month_first)
    # A day, or exactly one reason.
    faults = sum(where.astype(int) for where, _ in found.faults)
    np.testing.assert_array_equal(faults == 0, ~np.isnat(found.days))
    assert np.max(faults, initial=0) <= 1
    return found


def days(found: ExchangeDays) -> list[date | None]:
    return [None if np.isnat(day) else day.astype(object) for day in found.days]


def faults(found: ExchangeDays) -> list[str | None]:
    return [next((why for where, why in found.faults if where[at]), None) for at in range(len(found.days))]


def seconds(clock: time) -> int:
    return clock.hour * 3600 + clock.minute * 60 + clock.second


@pytest.mark.slow
@given(st.lists(st.tuples(DAY, CLOCK, st.sampled_from(sorted(FORMS)), st.sampled_from(sorted(TIMES))), max_size=6))
def test_a_day_is_itself_in_every_form_whatever_the_time(rows: list[tuple[date, time, str, str]]) -> None:
    texts = [FORMS[form](day) + TIMES[clock_form](clock) for day, clock, form, clock_form in rows]
    found = read([f" {text} " for text in texts])
    assert days(found) == [day for day, *_ in rows]
    expected = {"none": lambda _: 0, "minutes": lambda clock: seconds(clock.replace(second=0))}
    assert found.seconds.tolist() == [expected.get(form, seconds)(clock) for _, clock, _, form in rows]


@pytest.mark.slow
@given(st.lists(st.tuples(DAY, CLOCK), min_size=1, max_size=6))
def test_types_of_days_mean_what_their_text_means(rows: list[tuple[date, time]]) -> None:
    moments = [datetime.combine(*row) for row in rows]
    wanted = read([moment.isoformat(" ") for moment in moments])
    for values in (moments, [pd.Timestamp(moment) for moment in moments], [np.datetime64(m, "s") for m in moments]):
        found = read(values)
        assert days(found) == days(wanted)
        assert found.seconds.tolist() == wanted.seconds.tolist()
    typed = exchange_days(pd.Series(np.array(moments, dtype="datetime64[s]")), no_zones)
    assert days(typed) == days(wanted)
    assert typed.seconds.tolist() == wanted.seconds.tolist()
    only = [day for day, _ in rows]
    for values in (only, [int(f"{day:%Y%m%d}") for day in only], [np.int64(f"{day:%Y%m%d}") for day in only]):
        assert days(read(values)) == only


@pytest.mark.slow
@given(st.lists(st.tuples(RECENT, CLOCK), min_size=1, max_size=6), st.sampled_from(ZONES), st.sampled_from(ZONES))
def test_a_moment_is_the_day_at_the_exchange(rows: list[tuple[date, time]], zone: str, written: str) -> None:
    there = [datetime.combine(*row, tzinfo=ZoneInfo(zone)) for row in rows]
    # Local times that clocks skip are none; through UTC they become the ones after.
    there = [moment.astimezone(ZoneInfo("UTC")).astimezone(ZoneInfo(zone)) for moment in there]
    utc = [moment.astimezone(ZoneInfo("UTC")) for moment in there]
    if all(moment.time() == time() for moment in utc):
        wanted = [moment.date() for moment in utc]
    else:
        wanted = [moment.date() for moment in there]
    elsewhere = [moment.astimezone(ZoneInfo(written)) for moment in utc]
    stamps = [pd.Timestamp(moment) for moment in elsewhere]
    texts = [moment.isoformat(" ") for moment in elsewhere]
    zulu = [moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in utc]
    for values in (texts, stamps, elsewhere, zulu, [text.replace("Z", " UTC") for text in zulu]):
        assert days(read(values, zone)) == wanted
    typed = exchange_days(pd.Series(pd.DatetimeIndex(stamps)), lambda: np.array([zone] * len(rows), dtype=object))
    assert days(typed) == wanted


@pytest.mark.slow
@given(st.lists(RECENT, min_size=1, max_size=6), st.sampled_from(ZONES))
def test_midnights_of_the_exchange_and_of_utc_are_days(rows: list[date], zone: str) -> None:
    for clock in (ZoneInfo(zone), ZoneInfo("UTC")):
        moments = [datetime.combine(day, time(), tzinfo=clock) for day in rows]
        # Not where midnight is skipped by the clock.
        if all(moment.astimezone(ZoneInfo("UTC")).astimezone(clock).time() == time() for moment in moments):
            assert days(read([moment.isoformat() for moment in moments], zone)) == rows


def test_a_moment_whose_exchange_is_not_known_is_none() -> None:
    values = pd.Series(["2024-01-02 15:00:00+08:00", "2024-01-02", "2024-01-03T15:00:00+08:00"])
    found = exchange_days(values, lambda: np.array([None, None, "Asia/Shanghai"], dtype=object))
    assert faults(found) == [NO_ZONE, None, None]


def either(day: date, month_first: bool, sign: str) -> str:
    one, two = (day.month, day.day) if month_first else (day.day, day.month)
    return f"{one:02}{sign}{two}{sign}{day.year}"


@pytest.mark.slow
@given(st.lists(st.tuples(RECENT, st.booleans()), min_size=1, max_size=8), st.sampled_from("-/"), st.booleans())
def test_the_file_decides_what_is_the_month(rows: list[tuple[date, bool]], sign: str, alike: bool) -> None:
    rows = [(day, rows[0][1] if alike else first) for day, first in rows]
    told = {first for day, first in rows if day.day > 12}
    found = read([either(day, first, sign) for day, first in rows])
    if len(told) == 1:
        (first,) = told
        wanted = [day if own == first else day.replace(day=day.month, month=day.day) for day, own in rows]
        assert days(found) == wanted
    else:
        assert days(found) == [day if day.day == day.month else None for day, _ in rows]
        assert set(faults(found)) <= {None, UNDECIDED}
    for month_first in (True, False):
        given = read([either(day, month_first, sign) for day, _ in rows], month_first=month_first)
        assert days(given) == [day for day, _ in rows]


def test_a_vendor_that_is_known_to_write_the_month_first_is_not_overruled() -> None:
    found = read(["25/03/2024", "03/25/2024", "03/04/2024"], month_first=True)
    assert days(found) == [None, date(2024, 3, 25), date(2024, 3, 4)]
    assert faults(found)[0] == NO_DATE


@given(RECENT, st.sampled_from(["%d/%m/%y", "%m-%d-%y", "%d.%m.%y", "%d-%b-%y", "%b %d, %y", "%y-%m-%d", "%y%m%d"]))
def test_years_of_two_digits_are_refused(day: date, form: str) -> None:
    found = read([day.strftime(form), day.strftime(form) + " 16:00:00"])
    assert (days(found), faults(found)) == ([None, None], [TWO_DIGITS] * 2)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([45293, 45293.0, "45293", "45293.5", np.int64(45293)], SERIAL),
        (
            [1704153600, "1704153600", "1704153600000", 1704153600000, "1704153600000000", "1704153600.5", 1.7041536e9],
            EPOCH,
        ),
        (
            [
                "2024-01-02 4:00 PM",
                "1/2/2024 04:00:00 pm",
                "Jan 2, 2024 4:00 p.m.",
                "2024-01-02 24:00",
                "20240102 25:10",
            ],
            NO_CLOCK,
        ),
        ([20240230, "2024-02-30", "2024-02-30 4:00 PM", "soon", 2024, 20240102.5, None, ""], NO_DATE),
    ],
)
def test_what_is_no_date_says_what_to_do(values: list[object], why: str) -> None:
    assert faults(read(values)) == [why] * len(values)
    assert why == NO_DATE or "write YYYY-MM-DD" in why
    numbers = [value for value in values if isinstance(value, int | float) and value == int(value)]
    if numbers:
        typed = exchange_days(pd.Series(numbers, dtype="float64"), no_zones)
        assert faults(typed) == [why] * len(numbers)


@pytest.mark.slow
@given(st.one_of(st.dates(max_value=date(1799, 12, 31)), st.dates(min_value=date(2200, 1, 1))))
def test_years_out_of_bounds_are_no_dates(day: date) -> None:
    text = f"{day.year:04}-{day.month:02}-{day.day:02}"
    found = read([text, day, np.datetime64(text), datetime.combine(day, time()), f"{text} 15:00:00"])
    assert faults(found) == [NO_DATE] * 5
    for unit in ("s", "ms", "us"):
        typed = exchange_days(pd.Series(np.array([text], dtype=f"datetime64[{unit}]")), no_zones)
        assert days(typed) == [None]


@given(DAY, st.sampled_from(sorted(FORMS)), st.sampled_from(["٠١٢٣٤٥٦٧٨٩", "०१२३४५६७८९", "０１２３４５６７８９"]))
def test_digits_of_other_scripts_are_no_dates(day: date, form: str, digits: str) -> None:
    text = FORMS[form](day)
    assert faults(read([text.translate(str.maketrans("0123456789", digits))])) == [NO_DATE]


@given(st.integers(1800, 2199), st.integers(0, 13), st.integers(0, 32))
def test_days_that_the_calendar_has_not_are_no_dates(year: int, month: int, day: int) -> None:
    try:
        wanted = date(year, month, day)
    except ValueError:
        wanted = None
    texts = [f"{year}-{month:02}-{day:02}", f"{year}{month:02}{day:02}", f"{day}.{month}.{year}"]
    assert days(read([*texts, int(texts[1]), float(texts[1]), f"{texts[1]}.0"])) == [wanted] * 6


@pytest.mark.parametrize(
    "value",
    [
        *(None, pd.NaT, pd.NA, float("nan"), np.datetime64("NaT"), True, 20240102.5, 1704153600, -20240102),
        *(
            "",
            "soon",
            "2024",
            "2024-01",
            "2024-1-2-3",
            "2024-01-02 25:00",
            "2024-01-02 24:00",
            "2024-01-02 10:60",
            "Mai 2, 2024",
        ),
        *("2024-02-30", "2023-02-29", "2024-01-02+08", "2024-W01-2", "2024-01-02x", "2024-01/02", "x" * 10_000_000),
        *(timedelta(days=3), np.timedelta64(3, "D"), b"2024-01-02", ["2024-01-02"], "2024-13-01", "Smarch 3, 2024"),
    ],
)
def test_what_is_no_date_is_none_and_no_other_row_suffers(value: object) -> None:
    found = read(["2024-01-02", value, "2024-01-03"])
    assert days(found) == [date(2024, 1, 2), None, date(2024, 1, 3)]


@pytest.mark.slow
@given(st.lists(st.text("0123456789-/.: TZ+年月日Janfebr,", max_size=25) | st.text(max_size=12), max_size=5))
def test_any_text_is_a_day_within_bounds_or_none(texts: list[str]) -> None:
    for day in days(read(texts, "Asia/Tokyo")):
        assert day is None or date(1800, 1, 1) <= day <= date(2199, 12, 31)
