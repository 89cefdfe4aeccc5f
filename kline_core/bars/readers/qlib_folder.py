"""Qlib's binary folder: `calendars/day.txt`, `instruments/all.txt`, and `features/sh600306/close.day.bin`.

The folder is one source. A feature is an array of little-endian float32: the position in the calendar of its first
day, and then a number a day, NaN where there is none. What the numbers mean is a matter of the layout
(`kline_core.bars.readers.layouts.qlib`). A day on which an instrument has neither price nor volume is no row; an
instrument whose files cannot be used is one rejected row, and the others go in.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from kline_core.bars.columns import PRICES
from kline_core.bars.readers.contents import read_contents, too_large
from kline_core.bars.readers.layout import columns_of
from kline_core.bars.readers.layouts import qlib
from kline_core.bars.readers.raw_rows import RawRows, raw_rows
from kline_core.bars.row_errors import rejected_frame, rejected_rows
from kline_core.dates import parse_date
from kline_core.errors import DateError, InputError
from kline_core.typing import Dates, Floats32

FIELDS: Final = (*PRICES, "volume", "factor")
_BAR: Final = (*PRICES, "volume")
_RESERVED: Final = "_qlib_"
"""Begins the folders of instruments whose names Windows has taken, such as CON."""


def recognises(folder: Path) -> bool:
    """Whether a folder is one of Qlib's."""
    return (folder / "calendars").is_dir() and (folder / "features").is_dir()


def read(folder: Path, max_bytes: int, mapping: Mapping[str, str] | None = None) -> RawRows:  # noqa: ARG001
    """Rows of a folder, numbered from 1 in the order of its instruments and their days.

    Raises `InputError` if it has no daily calendar or no daily features, or holds more than `max_bytes`.
    """
    days = _calendar(folder, max_bytes)
    names = _instruments(folder, max_bytes)
    frames, faults, size = [], list[tuple[str, str, str]](), 0
    for place in sorted((folder / "features").iterdir()):
        if not place.is_dir():
            continue
        symbol = names.get(place.name.lower(), place.name.removeprefix(_RESERVED).upper())
        features: dict[str, Floats32] = {}
        for field in FIELDS:
            file = place / f"{field}.day.bin"
            data = read_contents(file, max_bytes - size) if file.is_file() else b""
            size += len(data)
            found = _feature(data, len(days))
            if isinstance(found, str):
                faults.append((symbol, found if data else "is missing", str(file)))
                break
            features[field] = found
        else:
            bars = pd.DataFrame({f"${field}": features[field].astype(np.float64) for field in FIELDS})
            there = bars[[f"${field}" for field in _BAR]].notna().any(axis=1).to_numpy()
            bars = bars[there]
            dates = days[there].astype("datetime64[s]")
            frames.append(bars.assign(instrument=pd.Series(symbol, index=bars.index, dtype="str"), datetime=dates))
        # Eight bytes a cell once it is read.
        if size * 3 > max_bytes:
            raise too_large(folder, max_bytes)
    if not frames and not faults:
        raise InputError(f"{folder}: its features hold no instrument; deliver it again, whole", source=str(folder))
    return _rows(folder, frames, faults)


def _rows(folder: Path, frames: list[pd.DataFrame], faults: list[tuple[str, str, str]]) -> RawRows:
    given = ["instrument", "datetime", *(f"${field}" for field in FIELDS)]
    columns = columns_of(str(folder), given, (qlib.LAYOUT,))
    frame = pd.concat(frames or [pd.DataFrame({name: [] for name in given})])[given]
    frame = frame.set_axis([columns.used[name] for name in given], axis=1).set_axis(np.arange(1, len(frame) + 1))
    at = pd.Index(len(frame) + 1 + np.arange(len(faults)), dtype=np.int64)
    symbols = pd.Series([symbol for symbol, _, _ in faults], index=at, dtype=object)
    files = pd.Series([file for _, _, file in faults], index=at, dtype=object)
    reasons = np.array([f"feature {fault}" for _, fault, _ in faults], dtype=object)
    malformed = rejected_frame([rejected_rows(str(folder), at, symbols, reasons, files)])
    return raw_rows(frame, malformed, columns, folder, ())


def _calendar(folder: Path, max_bytes: int) -> Dates:
    file = folder / "calendars" / "day.txt"
    if not file.is_file():
        raise InputError(
            f"{folder}: is a Qlib folder without calendars/day.txt; bars within a day are not taken, only daily ones",
            source=str(folder),
        )
    days = []
    for number, line in _lines(file, max_bytes):
        try:
            days.append(parse_date(line, "day"))
        except DateError as error:
            raise InputError(f"{file}: row {number}: {error}", source=str(file), row=number, value=line) from error
    found = np.array(days, dtype="datetime64[D]")
    if not len(found) or (np.diff(found) <= np.timedelta64(0, "D")).any():
        row = int((np.diff(found) <= np.timedelta64(0, "D")).argmax()) + 2 if len(found) else 1
        raise InputError(
            f"{file}: row {row}: its days must be there, and in order; deliver it again, whole",
            source=str(file),
            row=row,
        )
    return found


def _instruments(folder: Path, max_bytes: int) -> dict[str, str]:
    """Names of the instruments as they are written, by the names of their folders."""
    file = folder / "instruments" / "all.txt"
    if not file.is_file():
        return {}
    names = [line.split("\t")[0].strip() for _, line in _lines(file, max_bytes)]
    plain = {name.lower(): name for name in names}
    return plain | {f"{_RESERVED}{lower}": name for lower, name in plain.items()}


def _lines(file: Path, max_bytes: int) -> Iterator[tuple[int, str]]:
    text = read_contents(file, max_bytes).decode(errors="replace").lstrip("\ufeff")
    return ((number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip())


def _feature(data: bytes, days: int) -> Floats32 | str:
    """A number for each day of the calendar, float32 (days,), NaN where there is none; or why there are none."""
    if len(data) % 4 or not data:
        return f"has {len(data)} bytes, not four a number; deliver it again, whole"
    numbers = np.frombuffer(data, dtype="<f4")
    first = float(numbers[0])
    if not (first >= 0 and first == int(first) and first + len(numbers) - 1 <= days):
        return f"begins at {first:g} and has {len(numbers) - 1} days, which the calendar's {days} do not hold"
    found = np.full(days, np.nan, dtype=np.float32)
    found[int(first) : int(first) + len(numbers) - 1] = numbers[1:]
    return found
