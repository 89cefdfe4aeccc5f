"""Bars of symbols from a live source into a home: what is asked for, in which batches, and what is tried once more.

Each symbol is asked for from `OVERLAP` stored bars before its end on, so that increments chain by the days that both
have. Batches are ingested while the next one is being fetched. Where the last days of a symbol do not go on from what
is stored, its whole history is fetched once more.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd

from kline_core._logging import one_line
from kline_core.bars.comparison import LATE_FACTORS
from kline_core.bars.expected_rows import Expected
from kline_core.bars.increments import NO_JOINT, NO_OVERLAP, RESTATED, TORN
from kline_core.bars.ingest import ingest
from kline_core.bars.ingest_report import IngestReport, NothingUsableError
from kline_core.bars.other_scale import RESTATED_BARE
from kline_core.bars.rebasing import DIFFERENT, TOO_FEW
from kline_core.errors import SourceError
from kline_core.markets import Market
from kline_core.sources.fetch_report import frame_name, joined, symbol_of, without
from kline_core.sources.line import ExhaustedError, Line
from kline_core.sources.source import Source
from kline_core.store.home import Home
from kline_core.store.table import since as from_day
from kline_core.symbols import canonical_symbol
from kline_core.typing import Dates

Progress = Callable[[int, int], None]
"""Called with the numbers of symbols that are done and in all."""

OVERLAP: Final = 10
"""Stored bars that are asked for again: enough that a split or a correction among them is told from the rest."""
BATCH: Final = 100
"""Symbols of one commit."""
GIVE_UP: Final = 10
"""Symbols in a row that the vendor did not answer, after which the rest is not asked."""
_RECENT: Final = np.timedelta64(400, "D")
_WHOLE: Final = frozenset((NO_OVERLAP, RESTATED, RESTATED_BARE, NO_JOINT, TORN, DIFFERENT, TOO_FEW, LATE_FACTORS))
"""Reasons of an ingest that a symbol's whole history answers."""


@dataclass(slots=True)
class BySymbol:
    """One fetch of symbols from one source."""

    home: Home
    source: Source
    line: Line
    market: Market | None
    until: np.datetime64
    first: np.datetime64
    up_to_date: int = 0
    fetched: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)
    _stored: dict[str, Dates] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _silent: int = 0
    """Symbols in a row that the vendor did not answer."""
    _closed: str | None = None
    """Why nothing more is asked."""

    def run(self, symbols: Sequence[str], strange: Sequence[str], progress: Progress | None) -> IngestReport | None:
        """Fetch and ingest all symbols that are not up to date."""
        for name in strange:
            self.failed[name] = f"{name} is no symbol of the market {self.source.market}"
        self._stored = stored_days(self.home, symbols, self.until)
        wanted = []
        for symbol in symbols:
            days = self._stored.get(symbol)
            if days is None:
                wanted.append((symbol, self.first))
            elif days[-1] < self.until:
                wanted.append((symbol, days[-OVERLAP:][0]))
        self.up_to_date = len(symbols) - len(wanted)
        told: IngestReport | None = None
        done = self.up_to_date + len(strange)
        with ThreadPoolExecutor(self.source.limits.at_once, "fetch") as pool:
            try:
                for frames in self._batches(pool, wanted):
                    told = joined(told, self._take_in(pool, frames))
                    done += len(frames)
                    if progress is not None:
                        progress(done, len(symbols) + len(strange))
            except BaseException:
                self.line.stop()
                pool.shutdown(cancel_futures=True)
                raise
        return told

    def _batches(
        self, pool: ThreadPoolExecutor, wanted: Sequence[tuple[str, np.datetime64]]
    ) -> Iterator[dict[str, dict[str, pd.DataFrame]]]:
        """Frames by symbol, batch by batch; while one is taken in, the next one is fetched."""
        ahead: dict[str, Future[dict[str, pd.DataFrame]]] = {}
        for begin in range(0, len(wanted), BATCH):
            coming = {symbol: pool.submit(self._ask, symbol, first) for symbol, first in wanted[begin : begin + BATCH]}
            if ahead:
                yield self._arrived(ahead)
            ahead = coming
        if ahead:
            yield self._arrived(ahead)

    def _arrived(self, asked: dict[str, Future[dict[str, pd.DataFrame]]]) -> dict[str, dict[str, pd.DataFrame]]:
        """Frames of those that came, none of those that failed, which are noted."""
        found = {}
        for symbol, future in asked.items():
            try:
                found[symbol] = future.result()
            except SourceError as error:
                self.failed[symbol] = str(error)
                found[symbol] = {}
        return found

    def _ask(self, symbol: str, first: np.datetime64) -> dict[str, pd.DataFrame]:
        with self._lock:
            if self._closed is not None:
                raise SourceError(f"not asked, since {self._closed}", source=self.source.name)
        try:
            frames = self.source.bars(symbol, first, self.until, self.line)
            if not frames:
                raise self._nothing(symbol, first)
        except Exception as error:
            self._note(error)
            if isinstance(error, SourceError):
                raise
            # What a source gives is foreign; one symbol's surprise is that symbol's alone.
            raise SourceError(f"{self.source.name}: {one_line(error)}", source=self.source.name) from error
        self._note(None)
        return frames

    def _note(self, error: Exception | None) -> None:
        with self._lock:
            self._silent = self._silent + 1 if isinstance(error, ExhaustedError) else 0
            if isinstance(error, SourceError) and error.remedy is not None:
                self._closed = str(error)
            elif self._silent >= GIVE_UP:
                self._closed = f"{GIVE_UP} symbols in a row were not answered ({error})"

    def _nothing(self, symbol: str, first: np.datetime64) -> SourceError:
        name = self.source.name
        if symbol in self._stored:
            text = f"{name} gives no bars of {symbol} any more, not even stored ones; try again later"
        else:
            text = f"{name} has no bars of {symbol} from {first} to {self.until}; check the symbol and the first day"
        return SourceError(text, source=name, symbol=symbol)

    def _take_in(self, pool: ThreadPoolExecutor, frames: dict[str, dict[str, pd.DataFrame]]) -> IngestReport | None:
        told = self._ingest(frames)
        if told is None:
            return None
        refused = told.rejections.loc[told.rejections["reason"].isin(_WHOLE), "symbol"]
        again = sorted({name for name in map(canonical_symbol, refused.unique()) if name in self._stored} - self.whole)
        if again:
            self.whole.update(again)
            begun = {name: stored_days(self.home, [name])[name][0] for name in again}
            more = self._arrived({name: pool.submit(self._ask, name, first) for name, first in begun.items()})
            told = joined(without(told, again), self._ingest(more))
        for file in told.files if told is not None else []:
            symbol = symbol_of(file.path)
            # Of what lies beside the bars, rows may be left over that no bar needs.
            if file.error is not None and file.path == symbol:
                self.failed.setdefault(symbol, file.error.removeprefix(f"{file.path}: "))
        self.fetched.update(symbol for symbol, parts in frames.items() if parts)
        self.fetched.difference_update(self.failed)
        return told

    def _ingest(self, frames: dict[str, dict[str, pd.DataFrame]]) -> IngestReport | None:
        named = {frame_name(symbol, kind): frame for symbol, parts in frames.items() for kind, frame in parts.items()}
        if not named:
            return None
        try:
            return ingest(
                list(named.values()),
                self.home,
                market=self.market,
                frame_names=list(named),
                expected=Expected({name: symbol_of(name) for name in named}, self.until),
            )
        except NothingUsableError as error:
            return error.report


def stored_days(home: Home, symbols: Sequence[str], until: np.datetime64 | None = None) -> dict[str, Dates]:
    """Days of the stored bars of each symbol that has some, sorted; where `until` is given, the last ones may do.

    Symbols are canonical here and as the home has them there.
    """
    asked = set(symbols)

    def read(names: list[str] | None, first: np.datetime64 | None) -> dict[str, Dates]:
        rows = home.read("bars", ["symbol", "date"], symbols=names, where=None if first is None else from_day(first))
        codes = rows["symbol"].combine_chunks().dictionary_encode()
        form = np.array([canonical_symbol(name) for name in codes.dictionary.to_pylist()], dtype=object)
        frame = pd.DataFrame({"code": codes.indices.to_numpy(), "day": rows["date"].to_numpy().astype("datetime64[D]")})
        found = {}
        for code, days in frame.groupby("code")["day"]:
            if form[int(str(code))] in asked:
                found[form[int(str(code))]] = np.unique(days.to_numpy().astype("datetime64[D]"))
        return found

    recent = {} if until is None else read(None, until - _RECENT)
    few = {symbol for symbol in asked if len(recent.get(symbol, ())) < OVERLAP}
    return recent | (read(sorted(few), None) if few else {})
