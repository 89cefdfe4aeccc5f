"""Batches of samples and their results. All travel between processes, so this imports neither torch nor FAISS."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kline_core.errors import KlineError
from kline_core.factor.lineage import NEVER_REUSED
from kline_core.factor.rows import failed_rows, no_matches
from kline_core.search.candidates import Queries
from kline_core.typing import Dates, Flags, Int64s

BROKE = "error: "
"""How the reason of a sample begins whose computation broke."""
MOST_COMPUTED = 10_000
"""Samples that a batch of several symbols may compute, so that they fit into memory and progress shows."""


class LargeBatchError(KlineError):
    """More samples of a batch are to be computed than `MOST_COMPUTED`; the caller cuts it (`Batch.cut`)."""


@dataclass(frozen=True, slots=True, eq=False)
class SymbolSamples:
    """Sample dates of one symbol."""

    symbol: str
    dates: Dates
    """datetime64[D] (n,), increasing."""
    stored: Int64s
    """int64 (n,): lineage under which the value of each date is stored, `NEVER_REUSED` if none is."""

    def at(self, part: slice) -> "SymbolSamples":
        """The samples at a slice of the dates."""
        return SymbolSamples(self.symbol, self.dates[part], self.stored[part])

    def with_dates(self, dates: Dates) -> "SymbolSamples":
        """These samples and those on other dates, datetime64[D], increasing."""
        if len(self.dates) and len(dates) and self.dates[-1] < dates[0]:
            every = np.concatenate([self.dates, dates])
        else:
            every = np.union1d(self.dates, dates) if len(self.dates) else dates
        stored = np.full(len(every), NEVER_REUSED, dtype=np.int64)
        stored[np.searchsorted(every, self.dates)] = self.stored
        return SymbolSamples(self.symbol, every, stored)


@dataclass(frozen=True, slots=True)
class Choice:
    """Sample dates that are chosen where a batch is scored, since the way there and back takes longer than to choose.

    They are those of `kline_core.factor.scoring.plan_dates`.
    """

    samples: int
    """Dates of each symbol."""
    as_of: np.datetime64 | None
    """Last day, datetime64[D]; None for the last of the bars."""
    chunk: int = 0
    chunks: int = 1
    """Of a symbol's dates, chosen or stored, every `chunks`-th from number `chunk` on."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Samples that are scored together, of one symbol or of several.

    A value does not depend on the rest of its batch.
    """

    parts: tuple[SymbolSamples, ...]
    choice: Choice | None = None
    """What is to be scored beside the dates of the parts; None for nothing. Only `chunks` and `with_dates` do not take
    the dates of the parts for all that there are."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Thousands of small arrays take longer to send than to search.
        dates, stored = (_joined([getattr(part, name) for part in self.parts]) for name in ("dates", "stored"))
        return _batch, (self.symbols, [len(part.dates) for part in self.parts], dates, stored, self.choice)

    @property
    def symbols(self) -> list[str]:
        """Symbols of the batch, in order."""
        return [part.symbol for part in self.parts]

    def __len__(self) -> int:
        """Number of samples."""
        return sum(len(part.dates) for part in self.parts)

    def __str__(self) -> str:
        """The batch in a log line: its symbols, or its symbol with the number of samples."""
        if len(self.parts) > 1:
            return f"{len(self.parts)} symbols from {self.parts[0].symbol} on"
        (part,) = self.parts
        if self.choice is not None or len(part.dates) == 0:
            return part.symbol
        return f"{part.symbol}: a chunk of {len(part.dates)} samples from {part.dates[0]} on"

    def chunks(self, count: int) -> list["Batch"]:
        """At most `count` chunks of about the same cost, to score in parallel; a batch of several symbols stays whole.

        No sample is in none of them. Raises ValueError if `count` is below 1.

        Dates are interleaved: later dates see more patterns, so chunks of neighbouring dates would differ in cost.
        """
        if count < 1:
            raise ValueError(f"{count} chunks hold no samples")
        if len(self.parts) > 1:
            return [self]
        (part,) = self.parts
        if self.choice is not None:
            count = max(1, min(count, len(part.dates) + self.choice.samples))
            return [Batch(self.parts, replace(self.choice, chunk=chunk, chunks=count)) for chunk in range(count)]
        return [Batch((part.at(slice(first, None, count)),)) for first in range(min(count, len(part.dates)))]

    def with_dates(self, dates: Sequence[Dates]) -> "Batch":
        """The samples of this batch and those on other dates of each symbol, which take the place of a choice."""
        parts = tuple(part.with_dates(more) for part, more in zip(self.parts, dates, strict=True))
        if self.choice is not None:
            chunk = slice(self.choice.chunk, None, self.choice.chunks)
            parts = tuple(part.at(chunk) for part in parts)
        return Batch(parts)

    def cut(self, at_most: int) -> list["Batch"]:
        """Batches of neighbouring symbols with at most so many samples each; a symbol with more is alone."""
        batches: list[list[SymbolSamples]] = [[]]
        count = 0
        for part in self.parts:
            count += len(part.dates)
            if batches[-1] and count > at_most:
                batches.append([])
                count = len(part.dates)
            batches[-1].append(part)
        return [Batch(tuple(parts)) for parts in batches]

    def samples(self) -> list["Batch"]:
        """One batch per sample."""
        return [Batch((part.at(slice(at, at + 1)),)) for part in self.parts for at in range(len(part.dates))]

    def failed(self, reason: str, horizons: tuple[int, ...]) -> "Scored":
        """The result if no sample of the batch could be scored: failed rows with `reason`, never re-used."""
        rows = [
            failed_rows(
                part.symbol,
                part.dates,
                np.full(len(part.dates), reason, dtype=object),
                np.full(len(part.dates), NEVER_REUSED, dtype=np.int64),
            )
            for part in self.parts
        ]
        return Scored(pa.concat_tables(rows), no_matches(horizons), [part.dates[:0] for part in self.parts], {})


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A scored batch."""

    factors: pa.Table
    """Rows of the `factors` table for the computed samples, without fingerprint and run_id."""
    matches: pa.Table
    """Rows of the `matches` table for the same samples, without fingerprint and run_id."""
    reused: list[Dates]
    """datetime64[D], one array per part of the batch: samples whose stored values still hold."""
    seconds: dict[str, float]
    """Seconds by stage, all threads together: plan, render, encode, search, factor."""
    chosen: list[Dates] | None = None
    """datetime64[D], one array per part of the batch: dates that were chosen, of all chunks; None without a choice."""

    def __reduce__(self) -> tuple[Any, ...]:
        dates = [*self.reused, *(self.chosen or ())]
        lengths = [len(each) for each in dates]
        chosen = self.chosen is not None
        return _scored, (self.factors, self.matches, lengths, _joined(dates), self.seconds, chosen)


@dataclass(frozen=True, slots=True, eq=False)
class PreparedBatch:
    """A batch whose samples were checked and encoded, and are to be matched; it travels between processes."""

    symbols: list[str]
    which: Int64s
    """int64 (q,): position of each sample's symbol in `symbols`."""
    queries: Queries
    history: Int64s
    """int64 (q,): lineage of each sample."""
    seen: Flags
    """bool (q,): whether the encoder was trained through the sample's date."""
    failed: list[pa.Table]
    """Rows of the samples without a value."""
    reused: list[Dates]
    """As `Scored.reused`."""
    seconds: dict[str, float]
    chosen: list[Dates] | None = None
    """As `Scored.chosen`."""

    def __len__(self) -> int:
        """Number of samples to be matched."""
        return len(self.queries)


def chunks_of_each(workers: int, symbols: int) -> int:
    """Chunks of each of some symbols, so that every worker has one; 1 where no worker is there at the moment."""
    return max(1, -(-workers // max(1, symbols)))


def _joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any] | None:
    return np.concatenate(arrays) if arrays else None


def _parts(array: NDArray[Any] | None, lengths: list[int]) -> list[NDArray[Any]]:
    ends = list(accumulate(lengths))
    return [] if array is None else [array[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def _batch(
    symbols: list[str], lengths: list[int], dates: Dates | None, stored: Int64s | None, choice: Choice | None
) -> Batch:
    each = zip(symbols, _parts(dates, lengths), _parts(stored, lengths), strict=True)
    return Batch(tuple(SymbolSamples(*part) for part in each), choice)


def _scored(
    factors: pa.Table,
    matches: pa.Table,
    lengths: list[int],
    dates: Dates | None,
    seconds: dict[str, float],
    with_chosen: bool,
) -> Scored:
    parts = _parts(dates, lengths)
    half = len(parts) // 2 if with_chosen else len(parts)
    return Scored(factors, matches, parts[:half], seconds, parts[half:] if with_chosen else None)
