"""A symbol's stored values beside its price."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from kline_core.bars.symbol_bars import bars_by_symbol
from kline_core.by_year import Fingerprint
from kline_core.errors import DateError
from kline_core.factor.export import stored_values, symbols_with_values, tell_empty_years
from kline_core.store.home import Home
from kline_core.store.schemas import FAILED, OK
from kline_core.typing import Dates, Flags, Floats64

SHOWN: Final = 20
"""Rows that `SymbolHistory.text` shows, the newest ones."""
_PRICES: Final = ("open", "high", "low", "close")
_FIGURES: Final = ("value", "status", "reason", "matches", "barrier_win_rate", "return_win_rate", "return_mean")


@dataclass(frozen=True, slots=True, eq=False)
class SymbolHistory:
    """Stored values of one symbol, and its closes over the same time."""

    symbol: str
    fingerprint: str
    """Fingerprint of the values."""
    rows: pd.DataFrame
    """One row per sample, by date: `date` (datetime64[s]), `close` (adjusted; NaN if there is no bar by now), and the
    columns value, status, reason, matches, barrier_win_rate, return_win_rate and return_mean of `factors`."""
    dates: Dates
    """datetime64[D] (n,): traded days from the first sample to the last."""
    close: Floats64
    """float64 (n,): adjusted closes of these days."""

    @property
    def has_value(self) -> Flags:
        """Which samples have a value: bool (samples,)."""
        return (self.rows["status"] == OK).to_numpy(dtype=np.bool_)

    @property
    def values(self) -> int:
        """Number of samples with a value."""
        return int(self.has_value.sum())

    @property
    def headline(self) -> str:
        """What there is, in one line."""
        failed = len(self.rows) - self.values
        first, last = (np.datetime64(day, "D") for day in (self.rows["date"].min(), self.rows["date"].max()))
        return f"{self.symbol}: {len(self.rows)} samples = {self.values} values + {failed} failed, {first} to {last}"

    def to_frame(self) -> pd.DataFrame:
        """`rows`, as a copy."""
        return self.rows.copy()

    def text(self) -> str:
        """The newest rows as text for a terminal, and what there is in all."""
        shown = self.rows.tail(SHOWN).assign(
            date=lambda rows: rows["date"].dt.strftime("%Y-%m-%d"),
            reason=lambda rows: rows["reason"].fillna(""),
        )
        formats = dict.fromkeys(("value", "barrier_win_rate", "return_win_rate"), "{:.3f}".format)
        formats |= {"close": "{:.4g}".format, "return_mean": "{:+.3f}".format}
        lines = [self.headline, "", shown.to_string(index=False, formatters=formats, na_rep="-")]
        if len(self.rows) > SHOWN:
            lines.append(f"and {len(self.rows) - SHOWN} earlier ones, which --json and --png have")
        reasons = self.rows.loc[self.rows["status"] == FAILED, "reason"].value_counts()
        return "\n".join([*lines, *(f"failed: {count} x {reason}" for reason, count in reasons.items())])

    def to_dict(self) -> dict[str, Any]:
        """All rows as plain JSON values."""
        rows = self.rows.assign(date=self.rows["date"].dt.strftime("%Y-%m-%d")).astype(object)
        return {
            "symbol": self.symbol,
            "fingerprint": self.fingerprint,
            "samples": len(self.rows),
            "values": self.values,
            "rows": rows.where(rows.notna(), None).to_dict("records"),
        }


def symbol_history(
    home: Home,
    symbol: str,
    fingerprint: Fingerprint,
    first: np.datetime64 | None = None,
    last: np.datetime64 | None = None,
    bars_version: int | None = None,
) -> SymbolHistory:
    """Stored values of a symbol beside its price; nothing is computed.

    Args:
        home: Home with the values.
        symbol: As `resolve_symbols` takes it.
        fingerprint: Fingerprint of the values, or of each year's.
        first: First sample date, datetime64[D]; None for the first that is stored.
        last: Last sample date, datetime64[D]; None for the last that is stored.
        bars_version: Version of `bars` of the price; None for the newest.

    Raises:
        UnknownSymbolError, AmbiguousSymbolError: No values are stored of the symbol, or it may mean several.
        FingerprintError, HomeError: No values are stored under this fingerprint, or none at all.
        DateError: No values are stored of these dates.
    """
    (name,) = symbols_with_values(home, fingerprint, [symbol])
    tell_empty_years(home, fingerprint)
    rows = stored_values(home, fingerprint, [name])
    days = rows["date"].to_numpy().astype("datetime64[D]")
    inside = np.ones(len(rows), dtype=bool)
    if first is not None:
        inside &= days >= first
    if last is not None:
        inside &= days <= last
    if not inside.any():
        raise DateError(
            f"no values of {name} are stored from {first or 'the first'} to {last or 'the last'}; they are of "
            f"{days.min()} to {days.max()}",
            value=(first, last),
            symbol=name,
        )
    rows, days = rows[inside].reset_index(drop=True), days[inside]
    dates, close = _closes(home, name, days[[0, -1]], bars_version)
    beside = pd.Series(close, index=dates.astype("datetime64[s]")).reindex(rows["date"]).to_numpy()
    table = pd.DataFrame({"date": rows["date"], "close": beside} | {each: rows[each] for each in _FIGURES})
    return SymbolHistory(name, str(fingerprint), table, dates, close)


def _closes(home: Home, symbol: str, between: Dates, version: int | None) -> tuple[Dates, Floats64]:
    """Traded days between two, these included, and their adjusted closes."""
    columns: Sequence[str] = ["symbol", "date", *_PRICES, "volume", "adj_factor", "suspended"]
    frames = bars_by_symbol(home.read("bars", columns, version, symbols=[symbol]))
    if symbol not in frames:
        return np.zeros(0, "datetime64[D]"), np.zeros(0)
    bars = frames[symbol]
    part = bars.part(bars.count_until(between[0] - 1), bars.count_until(between[1]))
    return part.dates, part.close
