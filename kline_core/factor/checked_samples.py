"""The samples of a batch before anything is computed: which have a usable window, and which are stored already.

Whole arrays over all symbols, since of thousands of symbols with a sample each the calls cost more than the work.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from kline_core._hashing import text_hash
from kline_core.bars.stretches import bars_around
from kline_core.bars.symbol_bars import SymbolBars
from kline_core.errors import UnknownSymbolError
from kline_core.factor.batch import Batch
from kline_core.factor.lineage import NEVER_REUSED, NO_BAR, SEEN, sample_history
from kline_core.factor.rows import failed_rows
from kline_core.factor.state import LoadedState
from kline_core.settings import PatternSettings
from kline_core.symbol_lookup import did_you_mean
from kline_core.typing import Dates, Flags, Hashes, Int8s, Int64s
from kline_core.windows.windows import HOLE, JUMP, TOO_FEW_BARS, USABLE, window_codes, window_content


@dataclass(frozen=True, slots=True, eq=False)
class CheckedSamples:
    """Samples of a batch; q of them are still to be computed, in the batch's order."""

    which: Int64s
    """int64 (q,): the part of the batch that each is of."""
    dates: Dates
    ends: Int64s
    """int64 (q,): ordinal of the window's last bar among the symbol's."""
    content: Hashes
    """uint64 (q,): hash of the bars that the window spans."""
    history: Int64s
    """int64 (q,): lineage."""
    seen: Flags
    reused: list[Dates]
    """Of each part, the dates whose stored values still hold."""
    failed: list[pa.Table]
    """Rows of the samples without a value that are not stored already."""


def symbol_bars(state: LoadedState, symbol: str) -> SymbolBars:
    """Bars of a symbol. Raises `UnknownSymbolError` if there are none."""
    bars = state.frames.get(symbol)
    if bars is None:
        raise UnknownSymbolError(
            f"symbol {symbol!r} has no bars in {state.key.home}; "
            f"it holds {len(state.frames)} symbols, ingest this one or check its name"
            f"{did_you_mean([symbol], state.frames)}",
            symbols=[symbol],
            home=state.key.home,
        )
    return bars


def check_samples(state: LoadedState, batch: Batch) -> CheckedSamples:
    """Steps 1 and 2 of `kline_core.factor.scoring`. Raises `UnknownSymbolError`."""
    frames, settings = [symbol_bars(state, symbol) for symbol in batch.symbols], state.key.settings
    which = np.repeat(np.arange(len(frames)), [len(part.dates) for part in batch.parts])
    dates = np.concatenate([part.dates for part in batch.parts])
    stored = np.concatenate([part.stored for part in batch.parts])
    ends = np.concatenate([bars.find(part.dates) for bars, part in zip(frames, batch.parts, strict=True)])
    codes, content = _windows(state, batch.symbols, which, ends)
    through = state.encoder.trained_through
    if through is not None:
        codes[(codes == USABLE) & (dates <= through)] = SEEN
    scorable = (codes == USABLE) | (codes == SEEN) & settings.factor.allow_seen
    refused = np.flatnonzero(~scorable)
    reasons = np.array(
        [_reason(state, frames[which[at]], dates[at], codes[at], ends[at]) for at in refused], dtype=object
    )
    hashes = np.zeros(len(dates), dtype=np.uint64)
    visible = state.patterns.history[state.patterns.n_known(dates[scorable])]
    hashes[scorable] = sample_history(codes[scorable], content[scorable], visible)
    # By the reason, so that a changed one is stored again, as when a holiday no longer lies after the last bar.
    hashes[refused] = [text_hash(reason) for reason in reasons]
    history = hashes.view(np.int64)
    reused = (stored == history) & (stored != NEVER_REUSED)
    fresh = ~reused[refused]
    failed = []
    for part in np.unique(which[refused[fresh]]).tolist():
        own = fresh & (which[refused] == part)
        rest = refused[own]
        failed.append(failed_rows(batch.symbols[part], dates[rest], reasons[own], history[rest]))
    new = np.flatnonzero(scorable & ~reused)
    bounds = np.searchsorted(which, np.arange(len(frames) + 1))
    held = [
        dates[first:last][reused[first:last]]
        for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    ]
    return CheckedSamples(
        *(which[new], dates[new], ends[new], content[new], history[new], codes[new] == SEEN, held, failed),
    )


def _windows(state: LoadedState, symbols: Sequence[str], which: Int64s, ends: Int64s) -> tuple[Int8s, Hashes]:
    """Code and content of the window that ends on each of n bars.

    int8 (n,): `USABLE`, `TOO_FEW_BARS`, `HOLE`, `JUMP` or, if there is no such bar (-1), `NO_BAR`. uint64 (n,): hash of
    the bars that it spans; 0 if they are too few.
    """
    settings = state.key.settings.patterns
    codes = np.where(ends < 0, NO_BAR, TOO_FEW_BARS).astype(np.int8)
    content = np.zeros(len(ends), dtype=np.uint64)
    # Only the bars that the windows span, since a history is long.
    whole = np.flatnonzero(ends >= settings.span_bars - 1)
    asked = which[whole].astype(np.int32), ends[whole], settings.span_bars - 1, 0
    for part in bars_around(state.frames, symbols, *asked, ("dates", "jumps", "content")):
        at, columns = whole[part.windows], part.columns
        codes[at] = window_codes(columns["dates"], columns["jumps"], settings)[part.ends]
        content[at] = window_content(columns["content"], part.ends, 1 - settings.span_bars, 0)
    return codes, content


def _reason(state: LoadedState, bars: SymbolBars, date: np.datetime64, code: np.int8, end: np.int64) -> str:
    settings: PatternSettings = state.key.settings.patterns
    if code == TOO_FEW_BARS:
        return too_few_bars(int(end) + 1, settings)
    if code == HOLE:
        return f"a hole of more than {settings.max_gap_days} days inside the window"
    if code == JUMP:
        return "an unexplained jump of the price inside the window"
    if code == SEEN:
        return f"the encoder was trained through {state.encoder.trained_through}"
    return no_bar_reason(bars, date)


def too_few_bars(bars: int, settings: PatternSettings) -> str:
    """The reason for which a date with so many bars up to it has no window."""
    largest = max(settings.scales)
    return f"too few bars: {bars} of {settings.span_bars}" + (f" (scale {largest})" if largest > 1 else "")


def no_bar_reason(bars: SymbolBars, date: np.datetime64) -> str:
    """The reason for which a symbol has no bar on a date."""
    if len(bars) == 0:
        return f"{bars.symbol} never traded"
    if date < bars.dates[0]:
        return f"before the first bar ({bars.dates[0]})"
    if date > bars.dates[-1]:
        return f"after the last bar ({bars.dates[-1]})"
    before = bars.dates[bars.count_until(date) - 1]
    return f"no trading day of {bars.symbol} (the one before is {before})"
