"""Rows of several files in one frame: parts of it, and parts put together again."""

import pandas as pd

from kline_core.bars.shared_rows import SharedRows, one_frame

WHOLE = pd.DataFrame({"close": [1.0, 2.0, 3.0, 4.0]}, index=[2, 3, 2, 5])


def test_a_part_is_its_rows_and_their_numbers() -> None:
    part = SharedRows(WHOLE, 1, 3)
    assert (len(part), part.frame.index.tolist(), part.frame["close"].tolist()) == (2, [3, 2], [2.0, 3.0])
    assert SharedRows.of(WHOLE).frame is WHOLE


def test_parts_are_put_together_in_their_order_whatever_they_are_parts_of() -> None:
    other = WHOLE * 10
    parts = [SharedRows(WHOLE, 0, 1), SharedRows(WHOLE, 1, 3), SharedRows(other, 3, 4), SharedRows(WHOLE, 3, 4)]
    parts += [SharedRows(WHOLE, 2, 2), SharedRows(WHOLE, 0, 2), SharedRows(other, 2, 4)]
    found = one_frame(parts)
    pd.testing.assert_frame_equal(found, pd.concat([part.frame for part in parts]))
    assert found["close"].tolist() == [1.0, 2.0, 3.0, 40.0, 4.0, 1.0, 2.0, 30.0, 40.0]
