"""Rows of one source, checked as an ingest checks them."""

import numpy as np
import pandas as pd

from kline_core.bars.row_checks import CheckedRows, check_rows, reject_duplicates
from kline_core.bars.shared_rows import SharedRows


def validate_bars(frame: pd.DataFrame, source: str) -> CheckedRows:
    """Sound bars and rejected rows: each by itself, and then those that share symbol and date."""
    checked = check_rows(frame, source)
    kept, rejected = reject_duplicates(checked.bars, np.full(len(checked.bars), source, dtype=object))
    rejected = pd.concat([checked.rejected, rejected], ignore_index=True)
    return CheckedRows(SharedRows.of(kept), rejected, checked.mended, checked.notes)
