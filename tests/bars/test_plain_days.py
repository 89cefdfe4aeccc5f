"""Columns of days in the usual forms, which Arrow reads: the same days, and the same verdicts, as cell by cell."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core.bars import exchange_days as module
from kline_core.bars.exchange_days import exchange_days

DAY = st.dates().map(str)
ODD = st.sampled_from(
    ["", "2020-02-30", "2020-1-2", " 2020-01-02", "20200102 ", "2020-01-02 15:00", "02.01.2020", "1/2/2020", "20200229",
     "２０２００１０２", "2020/01/02", "2020-01/02", "00000000", "99999999", "20210229", "0000-01-01", "2020-01-02Z"]
)  # fmt: skip
FORM = st.sampled_from([lambda day: day, lambda day: day.replace("-", ""), lambda day: day.replace("-", "/")])


def said(values: list[str | None]) -> tuple[list[object], list[int], list[tuple[list[bool], str]]]:
    found = exchange_days(pd.Series(values, dtype="str"), lambda: np.full(len(values), None))
    faults = [(where.tolist(), fault) for where, fault in found.faults if where.any()]
    return found.days.tolist(), found.seconds.tolist(), faults


@pytest.mark.slow
@given(st.lists(DAY, min_size=1, max_size=5), FORM, st.lists(ODD | st.none(), max_size=2))
def test_days_are_those_that_are_found_cell_by_cell(days, form, odd) -> None:
    values = [form(day) for day in days] + odd
    quick = said(values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_all_plain", lambda _: None)
        assert said(values) == quick


@pytest.mark.parametrize("values", [["2020-01-02", "2020-01-03"], ["20200102"], ["2020/01/02", "2020/12/31"]])
def test_the_usual_forms_take_the_quick_way(monkeypatch: pytest.MonkeyPatch, values: list[str]) -> None:
    monkeypatch.setattr(module, "_stamp", None)
    assert said(values)[2] == []
