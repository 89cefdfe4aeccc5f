"""Tables with the columns of several symbols side by side, which pandas writes for two levels of column names.

A column then is named by a field and a symbol: ``('Close', 'MSFT')`` in Parquet and in frames, ``Close`` above ``MSFT``
in the first two lines of a CSV file, either level first. A line of such a table holds one bar for each symbol, and
`unfolded` makes rows of them; where a symbol has neither price nor volume, there is no bar and no row.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from kline_core.bars.columns import PRICES
from kline_core.symbols import is_symbol

SIDE_BY_SIDE: Final = "(ticker)"
"""Stands among the names of such a table's columns, where layouts look for what tells them."""
_FIELDS = frozenset(("open", "high", "low", "close", "adj close", "volume"))
_LABELS = frozenset(("", "ticker", "tickers", "symbol", "symbols"))
_DAYS = frozenset(("date", "datetime"))
_BAR = (*PRICES, "volume", "adj_close")


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Columns of several symbols."""

    fields: list[str]
    """What each column holds, as a table of one symbol would name it."""
    symbols: list[str | None]
    """Whose each column is; None for what all share, such as the date."""


def side_by_side(names: Sequence[str]) -> SideBySide | None:
    """Columns whose names are pairs written as tuples; None if none are."""
    pairs = [_pair(name) for name in names]
    if not any(pair is not None and all(pair) for pair in pairs):
        return None
    known = [sum(pair is not None and pair[level].strip().lower() in _FIELDS for pair in pairs) for level in (0, 1)]
    field = int(known[1] > known[0])
    fields, symbols = [], list[str | None]()
    for name, pair in zip(names, pairs, strict=True):
        one_level = pair is None or not all(pair)
        fields.append(name if pair is None else "".join(pair) if one_level else pair[field])
        symbols.append(None if pair is None or one_level else pair[1 - field].strip())
    return SideBySide(fields, symbols)


def _pair(name: str) -> tuple[str, str] | None:
    if not (name.startswith("('") or name.startswith('("')) or len(name) > 200:
        return None
    try:
        found = ast.literal_eval(name)
    except (ValueError, SyntaxError):
        return None
    two = isinstance(found, tuple) and len(found) == 2 and all(isinstance(part, str) for part in found)
    return found if two else None


def joined_header(above: list[str], header: list[str], below: list[list[str]]) -> tuple[list[str], int] | None:
    """Names of the columns, with the number of lines behind `header` that belong to it; None if it is but one line.

    Args:
        above: Cells of the line before, none if there is none.
        header: Cells of the line that names the most fields.
        below: Cells of the next lines.
    """
    if below and _are_symbols(below[0], header):
        symbols, after = below[0], 1
    elif _are_symbols(above, header):
        symbols, after = above, 0
    else:
        return None
    names = []
    for field, symbol in zip(header, symbols, strict=True):
        if symbol.strip().lower() in (*_LABELS, *_DAYS):
            names.append(field.strip() or symbol)
            continue
        names.append(repr((field.strip(), symbol.strip())))
    index = below[after] if len(below) > after else []
    if len(index) == len(header) and index[0].strip() and not any(cell.strip() for cell in index[1:]):
        # Name of the index, alone in its line.
        names[0] = index[0]
        after += 1
    elif header[0].strip().lower() in ("", "price", "ticker"):
        names[0] = names[0] if any(name.strip().lower() in _DAYS for name in names) else "date"
    return names, after


def _are_symbols(cells: list[str], header: list[str]) -> bool:
    labels = _LABELS if header[0].strip() else _LABELS | _DAYS
    if len(cells) != len(header) or cells[0].strip().lower() not in labels:
        return False
    own = [at for at, cell in enumerate(cells) if cell.strip().lower() not in labels]
    named = cells[0].strip() != ""
    sound = all(is_symbol(cells[at].strip()) and header[at].strip() for at in own)
    # Every field is of some symbol; a row with a cell or two is no such line.
    sound &= all(at in own for at, field in enumerate(header) if field.strip().lower() in _FIELDS)
    # A row without its date is no line of symbols.
    return bool(own) and sound and (named or not any(_is_number(cells[at]) for at in own))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def unfolded(frame: pd.DataFrame, symbols: Sequence[str | None]) -> pd.DataFrame:
    """Rows of each symbol below each other, with the column `symbol`; the index names the row that each one is from.

    Args:
        frame: Columns named by their meaning, those of different symbols alike.
        symbols: Whose each column is, None for what all share.
    """
    distinct = [symbol for symbol in dict.fromkeys(symbols) if symbol is not None]
    if not distinct:
        return frame
    parts = []
    for symbol in distinct:
        part = frame.iloc[:, [at for at, whose in enumerate(symbols) if whose in (None, symbol)]]
        if len(distinct) > 1:
            part = part[_has_bar(part)]
        parts.append(part.assign(symbol=pd.Series(symbol, index=part.index, dtype="str")))
    return pd.concat(parts)


def _has_bar(part: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    cells = part[[name for name in _BAR if name in part.columns]]
    return np.asarray((cells.notna() & (cells != "")).any(axis=1))
