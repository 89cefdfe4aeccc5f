"""Checks of `bars` by themselves, and of `patterns` against the bars.

Bars pass the same checks as on ingest (`kline_core.bars.row_checks.check_rows`). Sound bars determine the windows that
are patterns, and their outcomes: what is stored must equal these bit for bit. Only the vectors cannot be made again
without the encoder; their length is checked, in bytes and as a norm.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kline_core.bars.columns import BAR_COLUMNS
from kline_core.bars.jumps import Releases
from kline_core.bars.row_checks import check_rows, is_suspended
from kline_core.bars.symbol_bars import BarsBySymbol, bars_by_symbol
from kline_core.maintenance.findings import CUT_OFF, DAMAGED, PENDING, Ledger
from kline_core.patterns.catalogue import Catalogue, build_catalogue, window_outcomes
from kline_core.patterns.patterns import wrong_lengths
from kline_core.patterns.verified import compare_patterns
from kline_core.settings import PatternSettings
from kline_core.store.remedies import INDEX, NEW_BARS, REBUILD, with_options
from kline_core.typing import Flags, Floats32, Int8s


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """Windows and outcomes that follow from sound bars."""

    frames: BarsBySymbol
    settings: PatternSettings
    windows: Catalogue
    returns: Floats32
    """float32 (windows, horizons)"""
    barrier: Int8s
    """int8 (windows,)"""

    @classmethod
    def of(cls, bars: pa.Table, settings: PatternSettings, releases: Releases) -> "Expected":
        """The windows of sound bars, with their outcomes."""
        frames = bars_by_symbol(bars, releases=releases)
        windows = build_catalogue(frames, settings)
        return cls(frames, settings, windows, *window_outcomes(frames, windows, settings))


def check_bars(table: pa.Table, ledger: Ledger) -> list[str]:
    """Check all rows of `bars`; returns the symbols with damaged rows, sorted."""
    frame = pd.DataFrame({"symbol": table["symbol"].cast(pa.string()).to_pandas()})
    frame["date"] = table["date"].cast(pa.timestamp("s")).to_pandas()
    for name in BAR_COLUMNS[2:]:
        frame[name] = table[name].to_numpy()
    given = table["adj_factor"].is_valid().to_numpy()
    damaged = np.zeros(len(frame), dtype=bool)

    def row_name(row: int) -> str:
        return f"{frame['symbol'].iloc[row]} {frame['date'].iloc[row]:%Y-%m-%d}"

    # A null adj_factor was never given and is no fault; NaN is one.
    without = frame[~given].drop(columns="adj_factor")
    rejected = pd.concat([check_rows(part, "bars").rejected for part in (frame[given], without)])
    for reason, rows in rejected.groupby("reason"):
        bad = np.zeros(len(frame), dtype=bool)
        bad[rows["row"].to_numpy(dtype=np.int64)] = True
        damaged |= bad
        values = dict(zip(rows["row"], rows["value"], strict=True))
        ledger.add("bars", f"rows whose {reason}", bad, partial(_with_value, row_name, values), NEW_BARS)
    codes = pd.factorize(frame["symbol"])[0]
    twice = pd.Series(codes).groupby([codes, frame["date"].to_numpy()]).transform("size").to_numpy() > 1
    mixed = (np.bincount(codes, given) > 0) & (np.bincount(codes, ~given) > 0)
    for bad, kind in (
        (twice, "rows that share symbol and date"),
        ((is_suspended(frame) != frame["suspended"]).to_numpy(), "rows marked wrongly as suspended or as traded"),
        (mixed[codes] & ~given, "rows without adj_factor of symbols that have factors"),
    ):
        ledger.add("bars", kind, bad, row_name, NEW_BARS)
        damaged |= bad
    return sorted(set(frame.loc[damaged, "symbol"]))


def _with_value(row_name: Callable[[int], str], values: dict[int, str], row: int) -> str:
    return f"{row_name(row)} ({values[row]})"


def compare_with_bars(
    table: pa.Table, expected: Expected, dim: int | None, ledger: Ledger, left: int = 0, name: str = "patterns"
) -> None:
    """Compare all rows of a table of patterns with what the bars give.

    `name`: the table's. `dim` is None if the encoder is not known. `left`: windows that the last update had still to
    add when it was cut off.
    """
    windows = expected.windows
    place = windows.find(table["symbol"], table["end"])
    inside = place >= 0
    times = np.bincount(place[inside], minlength=len(windows))
    at = place[inside]
    row_name, window_name = partial(_row_name, table), partial(_window_name, windows)

    def add(kind: str, differs: Flags, remedy: str) -> None:
        bad = np.zeros(len(table), dtype=bool)
        bad[inside] = differs
        ledger.add(name, kind, bad, row_name, remedy)

    state = CUT_OFF if left and int((times == 0).sum()) == left else DAMAGED
    if len(table) == 0 and not left:
        # It was made, and nothing was ever added.
        state = PENDING
    index, rebuild = (with_options(remedy, expected.settings.options) for remedy in (INDEX, REBUILD))
    ledger.add(name, "windows missing", times == 0, window_name, index, state)
    ledger.add(name, "rows that are of no window with a known outcome", ~inside, row_name, index)
    add("rows stored more than once", times[at] > 1, index)
    same = table["content"].to_numpy().view(np.uint64)[inside] == windows.content[at]
    add("rows made from other bars than there are", ~same, index)
    known_on = table["known_on"].to_numpy().astype("datetime64[D]")[inside]
    add("rows with a wrong known_on", same & (known_on != windows.known_on[at]), rebuild)
    wrong = table["barrier"].to_numpy()[inside] != expected.barrier[at]
    for column, horizon in enumerate(expected.settings.horizons):
        wrong |= table[f"r{horizon}"].to_numpy()[inside] != expected.returns[at, column]
    add("rows with an outcome that the bars do not give", same & wrong, rebuild)
    _check_vectors(table["vector"], dim, row_name, partial(ledger.add, name), rebuild)


def note_pending(table: pa.Table, expected: Expected, ledger: Ledger, name: str = "patterns") -> None:
    """Record the windows of the newest bars that a table of patterns does not hold yet, or holds of older bars."""
    windows = expected.windows
    waiting = np.zeros(len(windows), dtype=bool)
    found = compare_patterns(table, windows)
    waiting[found.missing] = True
    kind = "windows of newer bars that wait for their patterns"
    index = with_options(INDEX, expected.settings.options)
    ledger.add(name, kind, waiting, partial(_window_name, windows), index, PENDING)
    kind = "rows of windows that newer bars no longer give"
    ledger.add(name, kind, found.place < 0, partial(_row_name, table), index, PENDING)


def _row_name(table: pa.Table, row: int) -> str:
    return f"{table['symbol'][row]} {table['end'][row]}"


def _window_name(windows: Catalogue, window: int) -> str:
    return f"{windows.symbols[windows.code[window]]} {windows.end[window]}"


def _check_vectors(
    column: pa.ChunkedArray, dim: int | None, row_name: Callable[[int], str], add: Callable[..., None], remedy: str
) -> None:
    if len(column) == 0:
        # Nothing tells how long they are to be.
        return
    length = pc.binary_length(column).to_numpy()
    if dim is None:
        dim = int(np.bincount(length).argmax()) // 4
    fits = length == 4 * dim
    add(f"vectors that are not {dim} numbers long", ~fits, row_name, remedy)
    wrong = np.zeros(len(length), dtype=bool)
    start = 0
    for chunk in column.chunks:
        part = slice(start, start + len(chunk))
        start = part.stop
        raw = b"".join(chunk.filter(pa.array(fits[part])).to_pylist())
        vectors = np.frombuffer(raw, "<f4").reshape(-1, dim).astype(np.float64)
        wrong[part][fits[part]] = wrong_lengths(vectors)
    add("vectors whose length is not 1", wrong, row_name, remedy)
