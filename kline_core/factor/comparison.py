"""Rows compared with the same rows computed again: equal bit for bit, within rounding, or different."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

CLOSE = 1e-6
"""Absolute difference of two numbers up to which only their last bits differ, as they do between processors."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Number of rows by how alike they are."""

    equal: int = 0
    """Every column is the same, bit for bit."""
    close: int = 0
    """Numbers differ by at most `CLOSE`; all else is the same."""
    different: int = 0
    """Something else differs, or the row is only on one side, or stored more than once."""
    example: str | None = None
    """The first different row, with its first different column."""

    def __add__(self, other: "Comparison") -> "Comparison":
        """Both comparisons together."""
        return Comparison(
            self.equal + other.equal,
            self.close + other.close,
            self.different + other.different,
            self.example or other.example,
        )

    @property
    def total(self) -> int:
        """Number of rows that were compared."""
        return self.equal + self.close + self.different

    @property
    def same(self) -> bool:
        """Whether all rows are equal bit for bit."""
        return self.equal == self.total

    def __str__(self) -> str:
        """The counts in words."""
        return f"{self.equal} bit for bit, {self.close} within {CLOSE:g}, {self.different} not"

    def to_dict(self) -> dict[str, Any]:
        """The comparison as plain JSON values."""
        return {"equal": self.equal, "close": self.close, "different": self.different, "example": self.example}


def compare_rows(
    stored: pd.DataFrame, computed: pd.DataFrame, keys: Sequence[str], later: Sequence[str] = ()
) -> Comparison:
    """Compare stored rows with computed ones by their keys, in all columns that `computed` has.

    A column that is not stored counts as one of missing values. A missing value equals only a missing value, but in the
    columns `later`, which rows may have been stored without. Keys must be unique within `computed`.
    """
    keys = list(keys)
    columns = [name for name in computed.columns if name not in keys]
    doubled = stored.duplicated(keys)
    once = stored[~doubled]
    pairs = once.reindex(columns=keys + columns).merge(computed, on=keys, suffixes=("", _AGAIN), validate="one_to_one")
    equal, close = (np.ones(len(pairs), dtype=bool) for _ in range(2))
    first = np.full(len(pairs), "", dtype=object)
    for name in columns:
        exactly, nearly = _alike(pairs[name], pairs[name + _AGAIN])
        if name in later:
            unstored = pairs[name].isna().to_numpy(dtype=bool)
            exactly, nearly = exactly | unstored, nearly | unstored
        equal, close = equal & exactly, close & nearly
        first[(first == "") & ~nearly] = name
    example = None
    if not close.all():
        row = pairs.iloc[int(np.argmin(close))]
        name = first[int(np.argmin(close))]
        example = f"{_named(row, keys)}: {name} {row[name]} stored, {row[name + _AGAIN]} computed again"
    alone = len(once) + len(computed) - 2 * len(pairs)
    if example is None and alone:
        example = _only_on_one_side(once, computed, keys)
    if example is None and doubled.any():
        example = f"{_named(stored[doubled].iloc[0], keys)}: stored more than once"
    return Comparison(
        equal=int(equal.sum()),
        close=int((close & ~equal).sum()),
        different=int((~close).sum()) + alone + int(doubled.sum()),
        example=example,
    )


_AGAIN = " again"


def _alike(stored: "pd.Series[Any]", computed: "pd.Series[Any]") -> tuple[Any, Any]:
    """For each row whether both are the same bit for bit, and whether they are so within `CLOSE`: bool (n,)."""
    absent = (stored.isna() & computed.isna()).to_numpy(dtype=bool)
    if pd.api.types.is_float_dtype(computed.dtype):
        one, two = stored.to_numpy(dtype=np.float64), computed.to_numpy(dtype=np.float64)
        same = (one.view(np.int64) == two.view(np.int64)) | absent
        with np.errstate(invalid="ignore"):
            # The difference of two infinite numbers is none.
            return same, same | (np.abs(one - two) <= CLOSE)
    same = (stored == computed).fillna(False).to_numpy(dtype=bool) | absent
    return same, same


def _only_on_one_side(stored: pd.DataFrame, computed: pd.DataFrame, keys: list[str]) -> str:
    both = stored[keys].merge(computed[keys], on=keys, how="outer", indicator=True, sort=True)
    row = both[both["_merge"] != "both"].iloc[0]
    where = "stored, not computed again" if row["_merge"] == "left_only" else "computed again, not stored"
    return f"{_named(row, keys)}: {where}"


def _named(row: "pd.Series[Any]", keys: Sequence[str]) -> str:
    parts = [f"{row[key]:%Y-%m-%d}" if isinstance(row[key], pd.Timestamp) else str(row[key]) for key in keys]
    return " ".join(parts[:2]) + "".join(f", {key} {part}" for key, part in zip(keys[2:], parts[2:], strict=True))
