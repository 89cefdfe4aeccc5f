"""Files whose rows are checked together: each has the verdict that it has alone, or they are not checked together."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kline_core.bars.convention import PLAIN, Convention
from kline_core.bars.row_checks import check_rows
from kline_core.bars.rows_together import Joined, check_together
from kline_core.markets import MARKETS


def file(symbol: str, days: Sequence[str], first_row: int = 2, **cells: object) -> pd.DataFrame:
    rows = {"symbol": symbol, "date": list(days), "open": 10.0, "high": 11.0, "low": 9.0, "close": 10.5, "volume": 5.0}
    frame = pd.DataFrame(rows | cells, index=np.arange(len(days)) + first_row)
    return frame.astype({"symbol": "str", "date": "str"})


DAYS = ["2024-01-02", "2024-01-03", "2024-01-04"]
MONTHS = ["2024-01-31", "2024-02-29", "2024-03-29", "2024-04-30"]


def assert_as_alone(frames: list[pd.DataFrame], convention: Convention = PLAIN, faulty: Sequence[int] = ()) -> None:
    together = check_together(Joined.of_frames(frames), convention, MARKETS["US"])
    assert together is not None
    assert [at for at, found in enumerate(together) if found is None] == list(faulty)
    for found, frame in zip(together, frames, strict=True):
        alone = check_rows(frame, "x", convention, MARKETS["US"])
        assert (found is None) == (len(alone.rejected) > 0)
        if found is None:
            continue
        pd.testing.assert_frame_equal(found.bars, alone.bars)
        pd.testing.assert_frame_equal(found.rejected, alone.rejected)
        assert (found.mended, found.notes) == (alone.mended, alone.notes)


def test_each_has_the_verdict_that_it_has_alone() -> None:
    halted = file("C", DAYS, open=0.0, high=0.0, low=0.0, volume=[0.0, 1e-39, 0.0])
    assert_as_alone([file("A", DAYS), file("B", DAYS[:1], first_row=7), halted, file("D", [])])
    assert_as_alone([file("A", DAYS), file("B", DAYS)], Convention(volume_unit=100, amount_unit=1000))


def test_a_file_with_a_row_at_fault_is_left_to_itself_and_the_others_are_not() -> None:
    unsafe = [file(name, DAYS) for name in ("a b", "../c")]
    assert_as_alone([file("A", DAYS), file("B", DAYS, high=8.0), *unsafe, file("D", DAYS)], faulty=[1, 2, 3])
    assert_as_alone([file("A", DAYS, high=8.0), file("B", DAYS, high=8.0)], faulty=[0, 1])
    assert_as_alone([file("A", MONTHS), file("B", DAYS), file("C", MONTHS)], faulty=[0, 2])


def test_days_as_moments() -> None:
    frames = [file(name, DAYS) for name in "AB"]
    assert_as_alone([frame.assign(date=pd.to_datetime(frame["date"])) for frame in frames])


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([file("A", DAYS), file("A", DAYS)], id="one symbol in two files"),
        pytest.param([file("A", DAYS, high=8.0), file("A", DAYS)], id="one symbol in two files, and a row at fault"),
        pytest.param([file("A", DAYS), file("B", ["20240102"])], id="days written in two ways"),
        pytest.param([file(name, ["01/02/2024", "01/13/2024"]) for name in "AB"], id="days that a file has to explain"),
        pytest.param([file(name, DAYS, prev_close=10.0) for name in "AB"], id="previous closes"),
        pytest.param([file(name, DAYS).drop(columns="volume") for name in "AB"], id="no volume"),
    ],
)
def test_what_a_file_alone_can_tell_is_left_to_it(frames: list[pd.DataFrame]) -> None:
    assert check_together(Joined.of_frames(frames), PLAIN, None) is None


def test_factors_on_a_base_that_moves_are_left_to_their_file() -> None:
    frames = [file(name, DAYS, adj_factor=2.0) for name in "AB"]
    assert_as_alone(frames)
    assert check_together(Joined.of_frames(frames), Convention(lasting_factor=False), None) is None


PRICE = st.sampled_from([0.0, 8.9999999, 9.0, 10.0, 11.0, 11.0000001, np.nan, np.inf, -1.0, 1e13])


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["A", "B", "C", "600519", "sh600519", "NA", "a b", ""]),
            st.lists(st.sampled_from([*DAYS, "2024-02-30", ""]), max_size=4),
            st.lists(PRICE, min_size=5, max_size=5),
        ),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
)
def test_whatever_they_hold(files: list[tuple[str, list[str], list[float]]], chinese: bool) -> None:
    names = ("open", "high", "low", "close", "volume")
    frames = [file(symbol, days, **dict(zip(names, cells, strict=True))) for symbol, days, cells in files]
    convention = Convention(chinese=chinese)
    together = check_together(Joined.of_frames(frames), convention, MARKETS["US"])
    if together is not None:
        assert_as_alone(frames, convention, [at for at, found in enumerate(together) if found is None])
