"""Dates for which years answer."""

import numpy as np
import pytest

from kline_core.by_year import DateSpan, YearFingerprints, all_fingerprints, year_of, year_spans

DAYS = np.arange("2018-01-01", "2026-01-01", dtype="datetime64[D]")


@pytest.mark.parametrize("years", [[2021], [2022, 2021], [2020, 2021, 2022, 2023]])
def test_every_date_has_one_year(years):
    spans = year_spans(years)
    assert list(spans) == sorted(years)
    inside = np.stack([span.holds(DAYS) for span in spans.values()])
    assert (inside.sum(axis=0) == 1).all()
    found = np.array(sorted(years))[inside.argmax(axis=0)]
    own = DAYS.astype("datetime64[Y]").astype(int) + 1970
    assert (found == np.clip(own, min(years), max(years))).all()
    assert [year_of(day, years) for day in DAYS[::100]] == found[::100].tolist()


def test_a_span_without_ends_holds_all_dates_and_none_of_none():
    assert DateSpan().holds(DAYS).all()
    assert DateSpan().holds(DAYS[:0]).tolist() == []


def test_fingerprints_of_years_say_which_they_are():
    several = YearFingerprints(((2021, "aa"), (2022, "bb")))
    assert str(several) == "bb for 2022, and those of each year from 2021 on"
    assert str(YearFingerprints(((2021, "aa"),))) == "aa"
    assert all_fingerprints(several) == {"aa", "bb"}
    assert all_fingerprints("cc") == {"cc"}
