"""Numbers as people write them: with signs between thousands, a currency, K, M or B behind them, a decimal comma."""

import re
from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from typing import Final

import pandas as pd

from kline_core.bars.row_errors import MISSING

_TIMES: Final = {"": 0, "K": 3, "TSD": 3, "M": 6, "MIO": 6, "B": 9, "MRD": 9, "T": 12}
_SPACES: Final = " \xa0\u202f'’"
_UNIT = r"\s?(?P<unit>K|Tsd|M|Mio|B|Mrd|T)?\.?"
_SIGN = r"(?P<sign>[+-]?)"
_NUMBERS: Final = {
    point: re.compile(
        rf"{_SIGN}(?P<whole>\d+|\d{{1,3}}(?:[{mark}{_SPACES}]\d{{3}})+|)(?:{re.escape(point)}(?P<part>\d+))?{_UNIT}",
        re.ASCII | re.IGNORECASE,
    )
    for point, mark in ((".", ","), (",", "."))
}


def plain_numbers(cells: pd.DataFrame, names: Iterable[str], point: str = ".") -> pd.DataFrame:
    """Cells of some columns as a computer writes numbers, exactly; what is no such number stays as it is.

    Args:
        cells: Columns named by their meaning.
        names: Those that hold numbers; what is not there is passed over.
        point: The decimal sign, a point or a comma.
    """
    changed = {
        name: pd.Series(
            [_plain(cell, point) if isinstance(cell, str) else cell for cell in cells[name]],
            index=cells.index,
            dtype=object,
        )
        for name in names
        if name in cells.columns
    }
    return cells.assign(**changed)


@lru_cache(maxsize=100_000)
def _plain(cell: str, point: str) -> str:
    if cell.strip().lower() in MISSING:
        return ""
    text = cell.strip().lstrip("$€£").strip()
    found = _NUMBERS[point].fullmatch(text) if len(text) <= 40 else None
    if found is None or not (found["whole"] or found["part"]):
        # With a decimal comma 12.5 is no number, and must not become one.
        return cell if point == "." else f"{cell} beside decimal commas"
    whole = re.sub(r"\D", "", found["whole"], flags=re.ASCII) or "0"
    number = Decimal(f"{found['sign']}{whole}.{found['part'] or '0'}")
    return f"{number.scaleb(_TIMES[(found['unit'] or '').upper()]):f}"
