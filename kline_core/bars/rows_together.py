"""Row checks of many small files at once, which cost less together than one by one.

Every row gets the verdict that it has in its own file. Files whose rows could influence each other's, or that hold a
row at fault, are not checked together at all: `check_together` says so, and each is then checked by itself.
"""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from kline_core.bars.columns import REQUIRED
from kline_core.bars.convention import Convention
from kline_core.bars.increments import may_tell_changes
from kline_core.bars.row_checks import CheckedRows, judge_rows
from kline_core.bars.row_errors import rejected_frame
from kline_core.markets import Market
from kline_core.typing import Int64s

_PLAIN_DAY = re.compile(r"\d{4}([-/]?)\d\d\1\d\d(?: 00:00:00)?", re.ASCII)
"""Where a file's first date is another one its dates are read cell by cell, and better not twice."""


def check_together(
    frames: Sequence[pd.DataFrame], convention: Convention, market: Market | None
) -> list[CheckedRows] | None:
    """What `check_rows` makes of each of several files, or None if they have to be checked one by one.

    Args:
        frames: As `check_rows` takes them, at least one, of the same columns and dtypes.
        convention: That of all the files.
        market: Market of the home.
    """
    first = frames[0]
    # What the columns of a file tell of the adjustment they tell of that file alone.
    if any(name not in first.columns for name in REQUIRED) or may_tell_changes(
        first.columns, convention.lasting_factor
    ):
        return None
    if not all(_PLAIN_DAY.fullmatch(str(frame["date"].iloc[0])) for frame in frames if len(frame)):
        return None
    judged = judge_rows(pd.concat(frames, ignore_index=True), convention, market)
    sizes = np.array([len(frame) for frame in frames], dtype=np.int64)
    alone = judged.each_alone and not judged.notes and not judged.faults.any().any()
    if not alone or _share_symbols(judged.bars["symbol"], sizes):
        return None
    ends = np.cumsum(sizes)
    starts = ends - sizes
    totals = {what: np.concatenate([[0], np.cumsum(where)]) for what, where in judged.mended.items()}
    counts = {what: total[ends] - total[starts] for what, total in totals.items()}
    return [
        CheckedRows(
            bars=judged.bars.iloc[start : start + size].set_axis(frame.index),
            rejected=rejected_frame([]),
            mended={what: int(count[at]) for what, count in counts.items() if count[at]},
            notes=(),
        )
        for at, (frame, start, size) in enumerate(zip(frames, starts.tolist(), sizes.tolist(), strict=True))
    ]


def _share_symbols(symbols: pd.Series, sizes: Int64s) -> bool:
    """Whether two files hold rows of one symbol."""
    codes, distinct = pd.factorize(symbols)
    file = np.repeat(np.arange(len(sizes)), sizes)
    return len(np.unique(file * len(distinct) + codes)) != len(distinct)
