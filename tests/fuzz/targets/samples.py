"""Files of sample dates, as `--dates` names them."""

import gzip
import random
from pathlib import Path

import numpy as np

from kline_core.factor.dates_file import read_dates
from kline_core.symbols import canonical_symbol, is_symbol
from tests.fuzz.mutation import mutate_bytes
from tests.fuzz.target import Taken, Target, check

_TEXT = b"symbol,date\nAAPL,2020-01-02\nAAPL,20200103\nBRK.B,2020/1/2\n"
_PACKED = b"\x1f\x8b"


def seeds(_folder: Path) -> list[bytes]:
    quoted = '\ufeffDate,"SYMBOL",note\r\n2020-01-02,"A","x, y"\r\n\r\n'.encode()
    return [_TEXT, quoted, gzip.compress(_TEXT, mtime=0), b"PK\x03\x04" + _TEXT]


def mutate(draw: random.Random, data: bytes, kept: list[bytes]) -> bytes:
    found = mutate_bytes(draw, data, kept)
    return gzip.compress(found, mtime=0) if draw.random() < 0.1 else found


def take(case: bytes, work: Path) -> Taken:
    file = work / ("dates.csv.gz" if case.startswith(_PACKED) else "dates.csv")
    file.write_bytes(case)
    found = read_dates(file, 2**20)
    check(bool(found), "no sample")
    for symbol, days in found.items():
        check(is_symbol(canonical_symbol(symbol)), f"no symbol: {symbol!r}")
        check(days.dtype == np.dtype("datetime64[D]") and len(days) > 0, "no days")
        check(bool((np.diff(days).astype(int) > 0).all()), "days out of order")
        check(days[0].item().year >= 1800 and days[-1].item().year <= 2199, "days out of bounds")
    return Taken()


DATES = Target(("/readers/", "/dates_file.py", "kline_core/dates.py", "kline_core/symbols.py"), seeds, take, mutate)
