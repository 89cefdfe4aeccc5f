"""Values and bars as a binary folder of Qlib: `calendars/day.txt`, `instruments/all.txt`, `features/SYMBOL/*.day.bin`.

A feature is an array of little-endian float32: the position in the calendar of its first day, and then a number a day,
NaN where there is none. As Qlib has it, prices are those of the exchange times `$factor`, and volume is divided by it.
`$kline_factor` of a day is known at the close of that day.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

import numpy as np
import pandas as pd

from kline_core._text import refusal
from kline_core.bars.bars_cache import COLUMNS
from kline_core.bars.symbol_bars import BarsBySymbol, SymbolBars, bars_by_symbol
from kline_core.by_year import Fingerprint
from kline_core.errors import InputError
from kline_core.factor.export import only_fingerprint, stored_values
from kline_core.factor.frame_files import check_around, check_replaceable
from kline_core.store.home import Home
from kline_core.symbols import canonical_symbol
from kline_core.typing import Dates, Floats64

VALUE: Final = "kline_factor"
MARK: Final = "made-by-kline.txt"
"""File in the folder that tells an earlier export, which is replaced, from a folder of somebody else."""
_TAKEN: Final = frozenset(
    {"CON", "PRN", "AUX", "NUL", *(f"{name}{digit}" for name in ("COM", "LPT") for digit in range(10))}
)
"""Names that Windows has taken; Qlib puts `_qlib_` before those of such instruments' folders."""
_CHINESE: Final = ("SH", "SZ", "BJ")


@dataclass(frozen=True, slots=True)
class QlibExport:
    """What was written into a folder."""

    rows: int
    """Values, those of failed samples (NaN) included; without those in `left_out`."""
    instruments: int
    days: int
    """Days of the calendar."""
    left_out: list[str]
    """Symbols with values that Qlib has no place for, each with the reason."""


def write_qlib(home: Home, folder: Path, fingerprint: Fingerprint | None = None) -> QlibExport:
    """Write stored values, and the traded bars of their symbols, as a folder of Qlib.

    The folder appears once it is complete, in the place of an earlier export.

    Raises as `only_fingerprint`, and `InputError` if the folder holds other things or cannot be written.
    """
    folder = folder.absolute()
    check_around(folder)
    check_replaceable(folder, lambda place: (place / MARK).is_file())
    wanted = only_fingerprint(home, fingerprint)
    values = stored_values(home, wanted)
    bars = bars_by_symbol(home.read("bars", COLUMNS, symbols=sorted(set(values["symbol"]))))
    names, left_out = _instruments(sorted(set(values["symbol"])), bars)
    kept = values[values["symbol"].isin(list(names))]
    days = np.unique(np.concatenate([bars[symbol].dates for symbol in names] or [np.array([], "datetime64[D]")]))
    waiting = folder.with_name(f".{folder.name}.{uuid4().hex}")
    earlier = waiting.with_name(f"{waiting.name}.old")
    without_bar = 0
    try:
        waiting.mkdir()
        (waiting / MARK).write_text(f"values of {wanted}\n")
        _write_lines(waiting / "calendars" / "day.txt", days.astype(str).tolist())
        _write_lines(waiting / "instruments" / "all.txt", _spans(names, bars))
        for symbol, rows in kept.groupby("symbol", sort=True):
            place = waiting / "features" / _folder_name(names[str(symbol)])
            if missed := _write_features(place, bars[str(symbol)], rows, days):
                left_out.append(f"{symbol}: {missed} values of days that have no bar any more")
                without_bar += missed
        if folder.exists():
            folder.replace(earlier)
        waiting.replace(folder)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written ({refusal(error)}); name a folder that can", source=str(folder)
        ) from error
    finally:
        for place in (waiting, earlier):
            shutil.rmtree(place, ignore_errors=True)
    return QlibExport(len(kept) - without_bar, len(names), len(days), left_out)


def qlib_name(symbol: str) -> str:
    """Name of an instrument as Qlib writes it: SH600519 for 600519.SH, others as they are."""
    code, _, exchange = canonical_symbol(symbol).rpartition(".")
    return f"{exchange}{code}" if exchange in _CHINESE and code else symbol


def _instruments(symbols: list[str], bars: BarsBySymbol) -> tuple[dict[str, str], list[str]]:
    """Names in Qlib by symbol, and why others have none."""
    names: dict[str, str] = {}
    left_out, holders = [], dict[str, str]()
    for symbol in symbols:
        name = qlib_name(symbol)
        holder = holders.setdefault(name.lower(), symbol)
        if symbol not in bars or not len(bars[symbol]):
            left_out.append(f"{symbol}: the home has no bars of it any more")
        elif "/" in name:
            left_out.append(f"{symbol}: its name cannot be that of a folder")
        elif holder != symbol:
            left_out.append(f"{symbol}: Qlib, which ignores letter case, takes it for {holder}")
        else:
            names[symbol] = name
    return names, left_out


def _spans(names: dict[str, str], bars: BarsBySymbol) -> Iterator[str]:
    for symbol, name in names.items():
        dates = bars[symbol].dates
        yield f"{name}\t{dates[0]}\t{dates[-1]}"


def _write_features(folder: Path, bars: SymbolBars, values: pd.DataFrame, days: Dates) -> int:
    """Write the files of one instrument; returns the number of values of days without a bar, which have no place.

    `values`: its rows of `stored_values`; `days`: the calendar.
    """
    at = np.searchsorted(days, bars.dates)
    sampled = bars.find(values["date"].to_numpy().astype("datetime64[D]"))
    factor_values = np.full(len(bars), np.nan)
    factor_values[sampled[sampled >= 0]] = values["value"].to_numpy(dtype=np.float64)[sampled >= 0]
    features: dict[str, Floats64] = {
        "open": bars.open,
        "high": bars.high,
        "low": bars.low,
        "close": bars.close,
        "volume": bars.volume / bars.adj_factor,
        "factor": bars.adj_factor,
        VALUE: factor_values,
    }
    folder.mkdir(parents=True)
    for name, numbers in features.items():
        cells = np.full(at[-1] - at[0] + 2, np.nan, dtype="<f4")
        cells[0] = at[0]
        cells[at - at[0] + 1] = numbers
        cells.tofile(folder / f"{name}.day.bin")
    return int((sampled < 0).sum())


def _write_lines(file: Path, lines: Iterator[str] | list[str]) -> None:
    file.parent.mkdir()
    file.write_text("".join(f"{line}\n" for line in lines))


def _folder_name(name: str) -> str:
    return f"_qlib_{name}".lower() if name.upper() in _TAKEN else name.lower()
