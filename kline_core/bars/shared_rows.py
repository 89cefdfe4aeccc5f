"""Rows of a file within a frame that several files share: a frame a file costs more than its rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class SharedRows:
    """The rows `first` to `last`, without the last one, of a frame that nobody changes."""

    whole: pd.DataFrame
    first: int
    last: int

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Self:
        """All rows of a frame."""
        return cls(frame, 0, len(frame))

    def __len__(self) -> int:
        """Number of rows."""
        return self.last - self.first

    @property
    def frame(self) -> pd.DataFrame:
        """The rows as a frame of their own."""
        return self.whole if len(self) == len(self.whole) else self.whole.iloc[self.first : self.last]


def one_frame(parts: Sequence[SharedRows]) -> pd.DataFrame:
    """The rows of several parts, at least one, below each other; what lies side by side is taken as it lies."""
    joined: list[SharedRows] = []
    for part in parts:
        before = joined[-1] if joined else None
        if before is not None and before.whole is part.whole and before.last == part.first:
            joined[-1] = SharedRows(part.whole, before.first, part.last)
        else:
            joined.append(part)
    return pd.concat([part.frame for part in joined])
