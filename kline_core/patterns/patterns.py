"""Patterns in memory: indexed windows with their outcomes, ordered by the date on which the outcomes became known.

The order is the point-in-time rule. Sorted by (known_on, symbol, end), the patterns that a sample on date t may see are
the first `n_known(t)`, so eligibility is a prefix that a search can be confined to, not a filter after it.

Every prefix has a hash. Two sets of patterns with the same hash at n agree in their first n patterns, which tells
whether a value computed from one of them would come out the same from the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from kline_core._growing import followed_by
from kline_core._hashing import mix64, text_hash
from kline_core.dates import as_days
from kline_core.errors import StaleError
from kline_core.patterns.mapped_vectors import MappedVectors, Vectors
from kline_core.store.remedies import REBUILD
from kline_core.typing import Dates, Flags, Floats32, Floats64, Hashes, Int8s, Int32s, Int64s, Objects

MAX_LENGTH = 1.001
"""Longest vector taken for L2-normalised; the search's rounding bound is derived from it."""
_SLICE = 65_536
"""Vectors that are checked at a time."""
_COLUMNS = ("end", "known_on", "bar", "returns", "barrier", "content")
GROWING = (*_COLUMNS, "code", "history")
"""Columns that the next day goes on with behind them (`kline_core._growing`), if it has no symbols beside these."""


@dataclass(frozen=True, slots=True, eq=False)
class Patterns:
    """P patterns with d-dimensional vectors and H forward returns each, sorted by (known_on, symbol, end).

    Made by `from_arrays`, which sorts and checks. All arrays are read-only.
    """

    symbols: list[str]
    """Symbols that have patterns, sorted; `code` indexes them."""
    code: Int32s
    """int32 (P,)"""
    end: Dates
    """datetime64[D] (P,): last bar of the window."""
    known_on: Dates
    """datetime64[D] (P,), ascending: first date on which every outcome is known."""
    bar: Int32s
    """int32 (P,): ordinal of `end` among the symbol's traded bars."""
    returns: Floats32
    """float32 (P, H): forward returns as fractions, finite."""
    barrier: Int8s
    """int8 (P,): +1 upper barrier first, -1 lower barrier first, 0 neither."""
    content: Hashes
    """uint64 (P,): hash of the bars from the window's first to its outcome's last."""
    vectors: Vectors
    """float32 (P, d), C-contiguous, L2-normalised; (0, d) where they lie elsewhere (`kline_core.search.shards`)."""
    history: Hashes
    """uint64 (P + 1,): `history[n]` identifies the first n patterns."""
    symbol_keys: Int64s
    """int64 (P,), ascending: (code, bar) as one number, see `rows_near`."""
    symbol_rows: Int64s
    """int64 (P,): the row of each of `symbol_keys`."""

    def __len__(self) -> int:
        """Number of patterns P."""
        return len(self.code)

    @property
    def dim(self) -> int:
        """Length d of a vector."""
        return int(self.vectors.shape[1])

    @classmethod
    def from_arrays(
        cls,
        symbol: Sequence[str] | Objects | npt.NDArray[np.str_],
        end: Dates,
        known_on: Dates,
        bar: npt.NDArray[np.integer],
        returns: Floats32,
        barrier: npt.NDArray[np.integer],
        content: Hashes,
        vectors: Floats32,
    ) -> Self:
        """Sort P patterns given in any order, and check them.

        Shapes as in the class; `symbol` is (P,), a name per pattern. Vectors already in order are not copied, and may
        be none at all.

        Raises as `from_codes`.
        """
        names, inverse = np.unique(np.asarray(symbol, dtype=object).astype(str), return_inverse=True)
        symbols, code = [str(name) for name in names], inverse.astype(np.int32)
        return cls.from_codes(symbols, code, end, known_on, bar, returns, barrier, content, np.asarray(vectors))

    @classmethod
    def from_codes(
        cls,
        symbols: list[str],
        code: Int32s,
        end: Dates,
        known_on: Dates,
        bar: npt.NDArray[np.integer],
        returns: Floats32,
        barrier: npt.NDArray[np.integer],
        content: Hashes,
        vectors: Vectors,
    ) -> Self:
        """As `from_arrays`, with the symbols, sorted, and the place of each pattern's among them, int32 (P,).

        Symbols without a pattern are left out. Mapped vectors have to be in order already.

        Raises:
            ValueError: arrays of different lengths or of a wrong type.
            StaleError: contents that no consistent table holds (a duplicate (symbol, end), outcomes known before the
                window's end, bars that contradict the dates, a value that is not finite, a vector not normalised).
        """
        end, known_on = as_days(end, "end"), as_days(known_on, "known_on")
        there = np.bincount(code, minlength=len(symbols)) > 0
        code = (np.cumsum(there) - 1).astype(np.int32)[code]
        symbols = [name for name, has in zip(symbols, there.tolist(), strict=True) if has]
        bars, count = np.asarray(bar).astype(np.int32), len(code)
        returns = np.asarray(returns)
        labels, content = np.asarray(barrier).astype(np.int8), np.asarray(content)
        _check_types(count, returns, vectors, content, end, known_on, bars, labels)

        order = np.lexsort((end, code, known_on))
        if not np.array_equal(order, np.arange(count)):
            code, end, known_on, bars = code[order], end[order], known_on[order], bars[order]
            returns, labels, content = returns[order], labels[order], content[order]
            vectors = vectors[order] if len(vectors) else vectors
        _check_values(symbols, code, end, known_on, returns, vectors)
        return cls._ordered(
            symbols=symbols,
            code=code,
            end=end,
            known_on=known_on,
            bar=bars,
            returns=np.ascontiguousarray(returns),
            barrier=labels,
            content=content,
            vectors=vectors if isinstance(vectors, MappedVectors) else np.ascontiguousarray(vectors),
            history=_history(symbols, code, end, known_on, bars, content),
        )

    def followed_by(self, later: "Patterns", vectors: Vectors) -> "Patterns":
        """These patterns and then `later` ones, checked as in `from_arrays`.

        `vectors`: float32 (P, d), C-contiguous: the vectors of both; (0, d) where they lie elsewhere.

        Raises:
            ValueError: a later pattern comes before one of these in the order of (known_on, symbol, end), or `vectors`
                has another shape.
            StaleError: as `from_arrays`.
        """
        if len(self) and len(later) and later._place(0) <= self._place(-1):
            raise ValueError(f"{later._place(0)} does not come after {self._place(-1)}")
        count = len(self) + len(later)
        if vectors.shape not in ((count, self.dim), (0, self.dim)):
            raise ValueError(f"vectors is {vectors.shape}; it must be {(count, self.dim)}")
        symbols = sorted({*self.symbols, *later.symbols})
        code = self.code
        if symbols != self.symbols:
            code = np.searchsorted(symbols, self.symbols).astype(np.int32)[code]
        codes_of_later = np.searchsorted(symbols, later.symbols).astype(np.int32)[later.code]
        columns = {name: followed_by(getattr(self, name), getattr(later, name)) for name in _COLUMNS}
        columns["code"] = followed_by(code, codes_of_later)
        columns["history"] = followed_by(self.history, self.history[-1] + later.history[1:])
        return self._ordered(symbols=symbols, vectors=vectors, **columns)

    def _place(self, row: int) -> tuple[str, str, str]:
        """Sort key of a pattern: known_on, symbol and end."""
        return str(self.known_on[row]), self.symbols[self.code[row]], str(self.end[row])

    @classmethod
    def _ordered(cls, *, symbols: list[str], code: Int32s, bar: Int32s, **columns: Any) -> Self:
        """Patterns from sorted and checked columns; checks each against the others of its symbol."""
        keys = _symbol_key(code, bar)
        by_key = np.argsort(keys, kind="stable").astype(np.int64)
        keys = keys[by_key]
        _check_neighbours(symbols, code, columns["end"], columns["known_on"], by_key, keys)
        patterns = cls(symbols=symbols, code=code, bar=bar, symbol_keys=keys, symbol_rows=by_key, **columns)
        for field in fields(patterns):
            if isinstance(column := getattr(patterns, field.name), np.ndarray):
                column.setflags(write=False)
        return patterns

    @classmethod
    def empty(cls, dim: int, horizons: int) -> Self:
        """No patterns, for vectors of length `dim` and `horizons` forward returns."""
        days = np.zeros(0, dtype="datetime64[D]")
        whole = np.zeros(0, dtype=np.int32)
        return cls.from_arrays(
            symbol=[],
            end=days,
            known_on=days,
            bar=whole,
            returns=np.zeros((0, horizons), dtype=np.float32),
            barrier=whole,
            content=np.zeros(0, dtype=np.uint64),
            vectors=np.zeros((0, dim), dtype=np.float32),
        )

    def check_vectors(self, vectors: Floats32, rows: Int64s) -> None:
        """Check vectors, float32 (n, d), of some of the patterns that came without theirs.

        Raises `StaleError` if one is not L2-normalised.
        """
        _check_lengths(vectors, rows, self.symbols, self.code, self.end)

    def n_known(self, dates: Dates) -> Int64s:
        """Number of patterns known at the close of each date: int64, shaped like `dates` (datetime64[D]).

        Raises:
            DateError: `dates` has another dtype or holds NaT.
        """
        return np.searchsorted(self.known_on, as_days(dates, "dates"), side="right").astype(np.int64)

    def codes_of(self, symbols: Sequence[str]) -> Int32s:
        """Code of each symbol, int32; -1 if the symbol has no patterns."""
        lookup = {name: code for code, name in enumerate(self.symbols)}
        return np.array([lookup.get(name, -1) for name in symbols], dtype=np.int32)

    def rows_of(self, codes: Int32s, bars: Int32s) -> Int64s:
        """Row of the pattern that ends on a bar of a symbol, for q such bars: int64 (q,), -1 where there is none.

        Args:
            codes: int32 (q,), -1 for a symbol without patterns.
            bars: int32 (q,), ordinal among the symbol's traded bars.
        """
        keys = _symbol_key(codes, bars)
        place = np.searchsorted(self.symbol_keys, keys)
        there = place < len(self)
        there[there] = self.symbol_keys[place[there]] == keys[there]
        rows = np.full(len(keys), -1, dtype=np.int64)
        rows[there] = self.symbol_rows[place[there]]
        return rows

    def rows_near(self, codes: Int32s, bars: Int32s, distance: int) -> tuple[Int64s, Int64s]:
        """Patterns of a symbol less than `distance` bars away from a bar of it, for q such bars at once.

        Args:
            codes: int32 (q,), -1 for a symbol without patterns.
            bars: int32 (q,), ordinal among the symbol's traded bars.
            distance: at least 1.

        Returns:
            Two int64 arrays of the same length: which of the q questions, and the row of the pattern.
        """
        middle = _symbol_key(codes, bars)
        first = np.searchsorted(self.symbol_keys, middle - (distance - 1), side="left")
        last = np.searchsorted(self.symbol_keys, middle + (distance - 1), side="right")
        count = last - first
        question = np.repeat(np.arange(len(codes), dtype=np.int64), count)
        within = np.arange(len(question), dtype=np.int64) - np.repeat(np.cumsum(count) - count, count)
        return question, self.symbol_rows[np.repeat(first, count) + within]


def wrong_lengths(vectors: Floats32 | Floats64) -> Flags:
    """Whether each of n vectors is not finite or not L2-normalised: bool (n,)."""
    length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    # As a negated comparison, so that NaN counts too.
    wrong: Flags = np.logical_not((length <= MAX_LENGTH) & (length >= 2 - MAX_LENGTH))
    return wrong


def _symbol_key(code: Int32s, bar: Int32s) -> Int64s:
    # Bars stay far below 2^31, so a distance in bars never reaches into the next symbol's numbers; code -1 meets none.
    return code.astype(np.int64) * (1 << 33) + bar.astype(np.int64)


def _history(symbols: list[str], code: Int32s, end: Dates, known_on: Dates, bar: Int32s, content: Hashes) -> Hashes:
    value = np.array([text_hash(name) for name in symbols], dtype=np.uint64)[code]
    for part in (end.astype(np.int64).view(np.uint64), known_on.astype(np.int64).view(np.uint64), bar, content):
        value = mix64(value ^ part.astype(np.uint64))
    history = np.zeros(len(code) + 1, dtype=np.uint64)
    np.cumsum(value, out=history[1:])
    return history


def _check_types(
    count: int, returns: Floats32, vectors: Vectors, content: Hashes, *columns: npt.NDArray[np.generic]
) -> None:
    for name, table in (("returns", returns), ("vectors", vectors)):
        if len(table.shape) != 2 or table.dtype != np.float32:
            raise ValueError(f"{name} is {table.dtype} {table.shape}; it must be float32 with two axes")
    if content.dtype != np.uint64:
        raise ValueError(f"content is {content.dtype}; it must be uint64")
    lengths = [count, len(returns), len(vectors) or count, len(content), *(len(column) for column in columns)]
    if len(set(lengths)) != 1:
        raise ValueError(f"the arrays of the patterns have different lengths: {lengths}")


def _check_values(
    symbols: list[str], code: Int32s, end: Dates, known_on: Dates, returns: Floats32, vectors: Vectors
) -> None:
    def refuse(bad: Flags, what: str) -> None:
        _refuse(bad, np.arange(len(code)), symbols, code, end, what)

    refuse(known_on <= end, "its outcome is known no later than its window")
    refuse(np.logical_not(np.isfinite(returns).all(axis=1)), "a forward return is not finite")
    _check_lengths(vectors, np.arange(len(code)), symbols, code, end)


def _check_lengths(vectors: Vectors, rows: Int64s, symbols: list[str], code: Int32s, end: Dates) -> None:
    length = np.empty(len(vectors), dtype=np.float32)
    for start in range(0, len(vectors), _SLICE):
        part = vectors[start : start + _SLICE]
        np.einsum("ij,ij->i", part, part, out=length[start : start + _SLICE])
    # As a negated comparison, so that NaN is refused too.
    _refuse(~(length <= MAX_LENGTH**2), rows, symbols, code, end, "its vector is not L2-normalised")


def _check_neighbours(
    symbols: list[str], code: Int32s, end: Dates, known_on: Dates, by_key: Int64s, keys: Int64s
) -> None:
    """In the order of (symbol, bar) every neighbour of the same symbol must be later in time as well."""
    same = np.diff(code[by_key]) == 0
    for bad, what in (
        (np.diff(keys) == 0, "another pattern of the symbol has the same bar"),
        (np.diff(end[by_key]) <= np.timedelta64(0), "its date and its bar contradict another's"),
        (np.diff(known_on[by_key]) <= np.timedelta64(0), "known before an earlier window"),
    ):
        _refuse(same & bad, by_key[1:], symbols, code, end, what)


def _refuse(bad: Flags, rows: Int64s, symbols: list[str], code: Int32s, end: Dates, what: str) -> None:
    if bad.any():
        row = rows[int(bad.argmax())]
        what = f"pattern {symbols[code[row]]} {end[row]}: {what}"
        raise StaleError(f"{what}; {REBUILD}", invalid=int(bad.sum()))
