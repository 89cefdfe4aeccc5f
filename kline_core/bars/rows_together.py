"""Row checks of many small files at once, which cost less together than one by one.

Every row gets the verdict that it has in its own file. Files whose rows could influence each other's are not checked
together at all, and a file that holds a row at fault is not either: `check_together` says so, and each of these is then
checked by itself.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from kline_core.bars.columns import REQUIRED
from kline_core.bars.convention import Convention
from kline_core.bars.increments import may_tell_changes
from kline_core.bars.readers.typed_cells import TypedCells, joined_cells
from kline_core.bars.row_checks import CheckedRows, judge_rows
from kline_core.bars.row_errors import rejected_frame
from kline_core.bars.shared_rows import SharedRows
from kline_core.markets import Market
from kline_core.typing import Flags, Int64s

_PLAIN_DAY = re.compile(r"\d{4}([-/]?)\d\d\1\d\d(?: 00:00:00)?", re.ASCII)
"""Where a file's first date is another one its dates are read cell by cell, and better not twice."""


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Rows of several files, of the same columns and dtypes, below each other."""

    frame: pd.DataFrame
    """As `check_rows` takes it, with any index."""
    numbers: pd.Index
    """The row numbers, as the indexes of the files have them."""
    sizes: Int64s
    """int64 (files,): rows of each."""

    @classmethod
    def of_frames(cls, frames: Sequence[pd.DataFrame]) -> Self:
        """The rows of at least one frame; their indexes hold the row numbers."""
        numbers = frames[0].index.append([frame.index for frame in frames[1:]])
        return cls(pd.concat(frames, ignore_index=True), numbers, np.array([*map(len, frames)], dtype=np.int64))

    @classmethod
    def of_cells(cls, cells: Sequence[TypedCells]) -> Self:
        """The rows of at least one text file."""
        frame, numbers = joined_cells(cells)
        return cls(frame, pd.Index(numbers), np.array([*map(len, cells)], dtype=np.int64))


def check_together(joined: Joined, convention: Convention, market: Market | None) -> list[CheckedRows | None] | None:
    """What `check_rows` makes of each of several files, None in the place of those that have to be checked alone.

    None as a whole if all of them have to.

    Args:
        joined: The rows of the files.
        convention: That of all the files.
        market: Market of the home.
    """
    frame, sizes = joined.frame, joined.sizes
    # What the columns of a file tell of the adjustment they tell of that file alone.
    if any(name not in frame.columns for name in REQUIRED) or may_tell_changes(
        frame.columns, convention.lasting_factor
    ):
        return None
    ends = np.cumsum(sizes)
    starts = ends - sizes
    if not all(_PLAIN_DAY.fullmatch(str(day)) for day in frame["date"].iloc[starts[sizes > 0]]):
        return None
    judged = judge_rows(frame, convention, market)
    if not judged.each_alone or judged.notes:
        return None
    faulty = judged.faults.any()
    if _share_symbols(judged.code, sizes, (judged.bars["symbol"] != "").to_numpy() if faulty.any() else None):
        return None
    wrong = _counts(faulty, starts, ends)
    counts = {what: _counts(where, starts, ends) for what, where in judged.mended.items()}
    bars = judged.bars.set_axis(joined.numbers)
    return [
        None
        if wrong[at]
        else CheckedRows(
            rows=SharedRows(bars, start, end),
            rejected=rejected_frame([]),
            mended={what: int(count[at]) for what, count in counts.items() if count[at]},
            notes=(),
        )
        for at, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True))
    ]


def _counts(where: Flags, starts: Int64s, ends: Int64s) -> Int64s:
    """How many of each file's rows are flagged, int64 (files,)."""
    total = np.concatenate([[0], np.cumsum(where)])
    counts: Int64s = total[ends] - total[starts]
    return counts


def _share_symbols(code: Int64s, sizes: Int64s, some: Flags | None) -> bool:
    """Whether two files hold rows of one symbol; of `some` rows, bool (n,), or of all."""
    file = np.repeat(np.arange(len(sizes)), sizes)
    if some is not None:
        code, file = code[some], file[some]
    if not len(code):
        return False
    # Rows of one symbol mostly lie together, and one of them says as much as all.
    begins = np.flatnonzero(np.r_[True, (code[1:] != code[:-1]) | (file[1:] != file[:-1])])
    code, file = code[begins], file[begins]
    return len(np.unique(file * (int(code.max()) + 1) + code)) != len(np.unique(code))
