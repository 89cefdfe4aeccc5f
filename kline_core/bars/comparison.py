"""What a delivery changes: the sound rows of all its files compared with one version of the `bars` table."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kline_core.bars.columns import PRICES
from kline_core.bars.increments import Rows, chain
from kline_core.bars.other_scale import ADJUSTED_ALONE, RESTATED_BARE, restated
from kline_core.bars.rebasing import chained_factors
from kline_core.bars.row_checks import ABSURD_ADJUSTMENT, absurd_adjustment, reject_duplicates
from kline_core.bars.row_errors import rejected_bars, rejected_frame
from kline_core.bars.sessions import skips_session
from kline_core.bars.symbol_bars import days_of, row_keys, symbol_day_keys
from kline_core.store.home import Home
from kline_core.store.table import since
from kline_core.typing import Flags, Floats64, Int64s, Objects

FEW_SYMBOLS = 500
"""Up to this many symbols a read skips the row groups of others; with more, reading the whole table is as quick."""
LATE_FACTORS = "adj_factor is given, but stored rows of the symbol have none; ingest all its rows with factors"
# Days before a delivery in which the last stored bar of most symbols lies.
_BACK = np.timedelta64(30, "D")


@dataclass(frozen=True, slots=True)
class Comparison:
    """The rows of all files compared with one version of the table."""

    bars: pd.DataFrame
    """The n rows that can be stored: `BAR_COLUMNS`, the number of their `file`, and the `code` of their symbol."""
    names: Objects
    """The symbols, by their code; there may be more than those of `bars`."""
    new: Flags
    """bool (n,): no row of the symbol and date is stored."""
    updated: Flags
    """bool (n,): the stored row of the symbol and date differs."""
    rejected: list[pd.DataFrame]
    restated: list[str]
    unadjusted: list[str]
    rebased: list[str]

    @property
    def changes(self) -> bool:
        """Whether a row is to be written."""
        return bool(self.new.any() or self.updated.any())


def compare(bars: pd.DataFrame, sources: Objects, adjusted: Flags, home: Home, version: int | None) -> Comparison:
    """Compare rows with those stored, and reject those that cannot stand beside them; steps 2 to 5 of an ingest.

    Args:
        bars: Sound rows: `BAR_COLUMNS`, and the number of their `file`; the index keeps the row numbers.
        sources: Name of each file.
        adjusted: bool (files,): whether the file's prices are adjusted by its vendor.
        home: Home that takes the bars.
        version: Version of its `bars`, None if there are none yet.
    """
    if len(bars) == 0:
        nothing = np.zeros(0, dtype=bool)
        return Comparison(
            bars.assign(code=nothing.astype(np.int64)), np.zeros(0, dtype=object), nothing, nothing, [], [], [], []
        )
    # Looked up once: a text takes longer to find than a number.
    codes, distinct = pd.factorize(bars["symbol"])
    names = np.array(distinct, dtype=object)
    among = list(names) if len(names) <= FEW_SYMBOLS else None
    read = partial(home.read, "bars", version=version, symbols=among)
    # Stored rows before the first new date are neither replaced nor later than a new row.
    first = bars["date"].to_numpy().min()
    bars = _provisional(bars).assign(code=codes)
    duplicates = rejected_frame([])
    if not _all_different(_keys(bars)):
        bars, duplicates = reject_duplicates(bars, sources[bars["file"].to_numpy()])
    bars, mixed = _reject_mixed_factors(bars, sources, read, names)
    bars, loose = _chain_changes(bars, sources, read, names)
    stored = read(where=since(first))
    key, last = _keys(bars), np.full(len(names), -1)
    stored_key = row_keys(stored, names)
    known, theirs = _on_common_dates(key, stored, stored_key)
    bars, keep, restated_bare = _reject_restated(bars, sources, adjusted, key, known, theirs, names, read)
    key, known, theirs = _kept(keep, key, known, theirs)
    bars, keep, unchained, rebased = _chain(bars, sources, key, known, theirs["adj_factor"].to_numpy(), names, read)
    key, known, theirs = _kept(keep, key, known, theirs)
    differs = np.zeros(len(bars), dtype=bool)
    # A mask that is true throughout would copy every column.
    common = slice(None) if known.all() else known
    for name in (*PRICES, "volume", "amount", "adj_factor"):
        mine, old = bars[name].to_numpy(), theirs[name].to_numpy()
        if name == "amount":
            mine = mine.copy()
            mine[common] = np.where(np.isnan(mine[common]), old, mine[common])
            bars = bars.assign(amount=mine)
        differs[common] |= (mine[common] != old) & ~(np.isnan(mine[common]) & np.isnan(old))
    np.maximum.at(last, stored_key[stored_key >= 0] >> 32, stored_key[stored_key >= 0])
    earlier = ~known & (key < last[key >> 32])
    code = bars["code"].to_numpy()
    unadjusted, restated = (
        sorted(names[np.unique(code[where])].tolist())
        for where in (bars["adj_factor"].isna().to_numpy(), differs | earlier)
    )
    rejected = [duplicates, mixed, loose, restated_bare, unchained]
    return Comparison(bars, names, ~known, differs, rejected, restated, unadjusted, rebased)


def _on_common_dates(key: Int64s, stored: pa.Table, stored_key: Int64s) -> tuple[Flags, pa.Table]:
    """Which rows have a stored one of their symbol and date, bool (n,), and these stored rows in the rows' order."""
    if len(stored) == 0:
        return np.zeros(len(key), dtype=bool), stored
    if np.array_equal(key, stored_key):
        return np.ones(len(key), dtype=bool), stored
    order = None if _ascends(stored_key) else np.argsort(stored_key)
    place = np.minimum(np.searchsorted(stored_key, key, sorter=order), len(stored) - 1)
    if order is not None:
        place = order[place]
    known = stored_key[place] == key
    return known, stored.take(pa.array(place[known]))


def _kept(keep: Flags, key: Int64s, known: Flags, theirs: pa.Table) -> tuple[Int64s, Flags, pa.Table]:
    """What belongs to the rows that are left: their keys, which of them are known, and the stored rows of these."""
    if keep.all():
        return key, known, theirs
    return key[keep], known[keep], theirs.filter(pa.array(keep[known]))


def _ascends(key: Int64s) -> bool:
    return bool((key[1:] > key[:-1]).all())


def _all_different(key: Int64s) -> bool:
    # As most files have their rows.
    return _ascends(key) or _ascends(np.sort(key))


def _reject_mixed_factors(
    bars: pd.DataFrame, sources: Objects, read: Callable[..., pa.Table], names: Objects
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows that leave each symbol with factors throughout or not at all, and the rejected rows; step 3 of an ingest.

    `read` returns stored rows of these symbols, of all dates. It is called only if its rows can matter.
    """
    given, code = bars["adj_factor"].notna().to_numpy(), bars["code"].to_numpy()
    late = np.zeros(len(bars), dtype=bool)
    if given.any():
        bare = read(["symbol", "date"], where=pc.field("adj_factor").is_null())
        replaced = np.isin(row_keys(bare, names), _keys(bars[given]))
        kept_bare = bare["symbol"].filter(pa.array(~replaced)).unique().to_pylist()
        late = given & pd.Index(names).isin(kept_bare)[code]
    factored = set(names[np.unique(code[given & ~late])])
    if not given.all():
        factored |= set(read(["symbol"], where=pc.field("adj_factor").is_valid())["symbol"].unique().to_pylist())
    lacking = ~given & pd.Index(names).isin(factored)[code]
    rows = []
    for refused, reason in (
        (late, LATE_FACTORS),
        (lacking, "adj_factor is missing, but the symbol is known to have factors; ingest a file that has the column"),
    ):
        hit = bars[refused]
        rows.append(rejected_bars(hit, sources, reason, hit["adj_factor"]))
    refused = late | lacking
    return (bars[~refused] if refused.any() else bars), rejected_frame(rows)


def _provisional(bars: pd.DataFrame) -> pd.DataFrame:
    """Rows whose factor is still to be chained with the factor 1, so that they count as rows with a factor."""
    incremental = bars["incremental"].to_numpy(dtype=bool)
    if not incremental.any():
        return bars.assign(incremental=incremental)
    return bars.assign(incremental=incremental, adj_factor=bars["adj_factor"].mask(incremental, 1.0))


def _chain_changes(
    bars: pd.DataFrame, sources: Objects, read: Callable[..., pa.Table], names: Objects
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows with the factors that follow from their changes and the stored ones, and the rejected rows.

    `read` returns stored rows of these symbols. It is called only if there are changes.
    """
    incremental = bars["incremental"].to_numpy()
    if not incremental.any():
        return bars, rejected_frame([])
    some = bars[incremental]
    key = _keys(some)
    rows = Rows(key, *(some[name].to_numpy() for name in ("close", "change", "prev_close")))
    columns = ["symbol", "date", "close", "adj_factor"]
    first = some["date"].to_numpy().min()
    stored = read(columns, where=since(first - _BACK))
    stored_key = row_keys(stored, names)
    codes = np.unique(key >> 32)
    early = days_of(stored_key) < first.astype("datetime64[D]").astype(np.int64)
    if not np.isin(codes, stored_key[early] >> 32).all():
        stored = read(columns)
        stored_key = row_keys(stored, names)
    theirs = Rows(stored_key, stored["close"].to_numpy(), *np.full((2, len(stored)), np.nan))
    factor, refused = chain(rows, theirs, stored["adj_factor"].to_numpy(), partial(_is_next_session, names))
    fault = [refused.get(code) for code in (key >> 32).tolist()]
    reason, where = (
        np.array([getattr(each, name, "") for each in fault], dtype=object) for name in ("reason", "where")
    )
    hit = reason != ""
    lost = some[hit]
    days = lost["date"].dt.strftime("%Y-%m-%d").where(where[hit] == "", where[hit])
    rejected = rejected_bars(lost, sources, reason[hit], days)
    factors = bars["adj_factor"].to_numpy(copy=True)
    factors[incremental] = factor
    kept = np.ones(len(bars), dtype=bool)
    kept[incremental] = ~hit
    return bars.assign(adj_factor=factors)[kept], rejected_frame([rejected])


def _is_next_session(names: Objects, code: int, first: int, last: int) -> bool:
    """Whether no session of a symbol's exchange lies between two days, days since 1970."""
    return skips_session(names[code], np.datetime64(first, "D"), np.datetime64(last, "D")) is False


def _reject_restated(
    bars: pd.DataFrame,
    sources: Objects,
    adjusted: Flags,
    key: Int64s,
    known: Flags,
    stored: pa.Table,
    names: Objects,
    read: Callable[..., pa.Table],
) -> tuple[pd.DataFrame, Flags, pd.DataFrame]:
    """Rows that go on from the stored ones, a mask of these, and the rejected rows.

    Without factors nothing tells why a vendor gives other prices than before, and stored bars that are not delivered
    again would stay on the old scale.
    """
    bare = bars["adj_factor"].isna().to_numpy()
    mine = slice(None) if known.all() else np.flatnonzero(known)
    here = slice(None) if bare.all() else np.flatnonzero(bare[mine])
    prices = [bars[name].to_numpy()[mine][here] for name in PRICES]
    codes = restated(key[mine][here], prices, [stored[name].to_numpy()[here] for name in PRICES])
    # What is adjusted says nothing of its scale but by a common date.
    alone = np.setdiff1d(key[bare & adjusted[bars["file"].to_numpy()]] >> 32, key[known] >> 32)
    if not codes and not len(alone):
        return bars, np.ones(len(bars), dtype=bool), rejected_frame([])
    old = row_keys(read(["symbol", "date"]), names)
    left = np.unique(old[~np.isin(old, key)] >> 32)
    rows = []
    keep = np.ones(len(bars), dtype=bool)
    for which, reason in ((codes, RESTATED_BARE), (alone, ADJUSTED_ALONE)):
        refused = bare & np.isin(key >> 32, np.intersect1d(which, left))
        keep &= ~refused
        hit = bars[refused]
        begin = hit.groupby("symbol")["date"].transform("min").dt.strftime("%Y-%m-%d")
        rows.append(rejected_bars(hit, sources, reason, "first on " + begin))
    return bars[keep], keep, rejected_frame(rows)


def _chain(
    bars: pd.DataFrame,
    sources: Objects,
    key: Int64s,
    known: Flags,
    stored: Floats64,
    names: Objects,
    read: Callable[..., pa.Table],
) -> tuple[pd.DataFrame, Flags, pd.DataFrame, list[str]]:
    """Rows on the base of the stored ones; step 4 of an ingest.

    Returns:
        The rows left, a mask of these among the given ones, the rejected rows, and the symbols that were chained.
    """
    # What was chained by its changes is on the base of the stored ones, even if the vendor restated its closes.
    given = known & ~bars["incremental"].to_numpy(dtype=bool)
    factors, rebased, refused = chained_factors(
        key, bars["adj_factor"].to_numpy(), given, stored[given[known]], names, read
    )
    if not refused and not rebased:
        return bars.assign(adj_factor=factors), np.ones(len(bars), dtype=bool), rejected_frame([]), rebased
    reason = np.array([refused.get(name, "") for name in names], dtype=object)[key >> 32]
    absurd = (reason == "") & absurd_adjustment(bars, factors) & np.isin(names, rebased)[key >> 32]
    reason[absurd] = f"{ABSURD_ADJUSTMENT} where it is chained to the stored bars; ingest the symbol's whole history"
    hit = reason != ""
    rows = bars[hit]
    rejected = rejected_bars(rows, sources, reason[hit], rows["adj_factor"])
    return bars.assign(adj_factor=factors)[~hit], ~hit, rejected, rebased


def _keys(bars: pd.DataFrame) -> Int64s:
    """Code of the symbol and date of each row as one number, int64 (n,)."""
    return symbol_day_keys(bars["code"].to_numpy(), bars["date"].to_numpy().astype("datetime64[D]").astype(np.int64))
