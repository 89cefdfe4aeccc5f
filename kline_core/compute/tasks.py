"""The functions that run on Dask workers. Importing this module loads neither torch nor FAISS; calling them does.

Work reaches them as keys, dates and ordinals of bars; the data they need is loaded once per worker process and shared
by its threads (`kline_core.factor.state`). A chunk of samples that breaks is done again sample by sample, so that one
sample's failure is that sample's alone.
"""

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from kline_core import _threads
from kline_core._cache import loaded
from kline_core._logging import logger
from kline_core.bars.bars_cache import BarsKey, table_replaced
from kline_core.encoder.encoder_cache import EncoderKey
from kline_core.errors import KlineError
from kline_core.factor.lineage import NEVER_REUSED
from kline_core.factor.results import Asked, Scored, ScoredTogether
from kline_core.factor.state import loaded_state
from kline_core.factor.state_key import StateKey
from kline_core.patterns.update import ManyWindowsError, PatternsUpdate, update_patterns
from kline_core.search.recall import Recall
from kline_core.settings import PatternSettings
from kline_core.store.home import Home
from kline_core.typing import Dates, Floats32, Int32s, Int64s

if TYPE_CHECKING:
    from kline_core.factor.state import LoadedState

_LOG = logger(__name__)


@dataclass(frozen=True, slots=True)
class Overview:
    """What a worker says of the state that it has loaded."""

    symbols: list[str]
    """Symbols with bars, sorted."""
    cores: int
    """That it may use."""
    windows: list[int]
    """Of each symbol, how many windows end on its bars up to the day that was asked about, holes not looked at."""
    n_patterns: int
    seconds: dict[str, float]
    """How long each part took to load, when it was loaded."""
    recall: Recall | None
    """Of an approximate index; None for the exact one."""


def answered(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of this module returns, or the `KlineError` that it raises, as a value.

    An error that is an answer (no such symbol, patterns to be made first) is no failure of the cluster: raised on a
    worker, it would stand in Dask's log with a traceback.
    """
    try:
        return function(*arguments)
    except KlineError as error:
        return error


def overview(key: StateKey, as_of: np.datetime64 | None = None) -> Overview:
    """Load the state where it is not yet loaded, and describe it. Raises as `load_state` and `check_as_of`."""
    from kline_core.factor.scoring import check_as_of

    loaded = _loaded(key)
    if as_of is not None:
        check_as_of(loaded, as_of)
    symbols, least = sorted(loaded.frames), loaded.key.settings.patterns.window_bars - 1
    dates = (loaded.frames[symbol].dates for symbol in symbols)
    bars = (len(days) if as_of is None else int(np.searchsorted(days, as_of, side="right")) for days in dates)
    windows = [max(0, count - least) for count in bars]
    return Overview(symbols, _threads.CORE_COUNT, windows, len(loaded.patterns), loaded.seconds, loaded.recall)


def plan(key: StateKey, symbol: str, samples: int, as_of: np.datetime64 | None) -> Dates:
    """Sample dates of a symbol; see `kline_core.factor.scoring.plan_dates`."""
    from kline_core.factor.scoring import plan_dates

    return plan_dates(_loaded(key), symbol, samples, as_of)


def score(key: StateKey, symbol: str, dates: Dates, stored: Int64s) -> Scored:
    """Samples of one symbol; see `kline_core.factor.scoring.score_samples`."""
    from kline_core.factor.scoring import score_samples

    loaded = _loaded(key)
    try:
        with _threads.CORES:
            return score_samples(loaded, symbol, dates, stored)
    except KlineError:
        raise
    except Exception as error:  # noqa: BLE001  whatever broke the chunk is found again, and reported, sample by sample
        _LOG.warning(
            "%s: a chunk of %d samples from %s on broke (%s), so it is done sample by sample",
            *(symbol, len(dates), dates[0], _one_line(error)),
        )
        return _one_by_one(loaded, symbol, dates, stored)


def plan_together(key: StateKey, symbols: Sequence[str], samples: int, as_of: np.datetime64 | None) -> list[Dates]:
    """Sample dates of several symbols; see `kline_core.factor.scoring.plan_dates`."""
    from kline_core.factor.scoring import plan_dates

    loaded = _loaded(key)
    return [plan_dates(loaded, symbol, samples, as_of) for symbol in symbols]


def score_together(key: StateKey, asked: Sequence[Asked]) -> ScoredTogether | None:
    """Samples of several symbols; see `kline_core.factor.scoring.score_symbols`. None where it broke: ask for each alone."""
    from kline_core.factor.scoring import score_symbols

    loaded = _loaded(key)
    try:
        with _threads.CORES:
            return score_symbols(loaded, asked)
    except KlineError:
        raise
    except Exception as error:  # noqa: BLE001  whose it is comes out when each symbol is done by itself
        _LOG.warning(
            "%d symbols from %s on broke together (%s), so each is done by itself",
            *(len(asked), asked[0][0], _one_line(error)),
        )
        return None


def encode(
    bars: BarsKey,
    encoder: EncoderKey,
    symbols: Sequence[str],
    code: Int32s,
    bar: Int64s,
) -> Floats32:
    """Vectors of windows; see `kline_core.patterns.encode.encode_windows`."""

    from kline_core.patterns.encode import encode_windows

    network, frames = loaded(encoder), bars.frames()
    _threads.single_threaded()
    with _threads.CORES:
        return encode_windows(frames, symbols, code, bar, network)


def extend(
    bars: BarsKey, settings: PatternSettings, encoder: EncoderKey, at_most: int, limit: int
) -> PatternsUpdate | None:
    """Bring `patterns` up to date, with at most `limit` threads; see `kline_core.patterns.update.update_patterns`.

    The one function here that writes. None where more than `at_most` windows are missing, and nothing was written.
    Raises `StaleError` where the home is another one than that of whoever asks.
    """

    from kline_core.patterns.encode import LocalWindowEncoder

    home = Home(bars.home)
    if home.identity("bars") != bars.identity:
        raise table_replaced(bars.home)
    encoding = LocalWindowEncoder(loaded(encoder), min(limit, _threads.CORE_COUNT))
    try:
        return update_patterns(home, settings, encoding, at_most=at_most)
    except ManyWindowsError:
        return None


def picture(key: StateKey, symbol: str, date: str | datetime.date | np.datetime64 | None) -> bytes:
    """A query with its matches as a PNG; see `kline_core.factor.explain.explain_loaded` and `kline_core.plots.match_plot.match_png`."""
    from kline_core.factor.explain import explain_loaded
    from kline_core.plots.match_plot import match_png

    return match_png(explain_loaded(_loaded(key), symbol, date))


def _one_by_one(loaded: "LoadedState", symbol: str, dates: Dates, stored: Int64s) -> Scored:
    from kline_core.factor.scoring import failed_table, score_samples

    parts: list[Scored] = []
    for at in range(len(dates)):
        one = slice(at, at + 1)
        try:
            parts.append(score_samples(loaded, symbol, dates[one], stored[one]))
        except Exception as error:  # noqa: BLE001  the sample's reason says what it was, and the run counts it
            reason = f"error: {_one_line(error)}"
            rows = failed_table(symbol, dates[one], np.array([reason], dtype=object), np.array([NEVER_REUSED]))
            parts.append(Scored(rows, _no_matches(loaded), dates[:0], {}))
    names = {name for part in parts for name in part.seconds}
    return Scored(
        pa.concat_tables([part.factors for part in parts]),
        pa.concat_tables([part.matches for part in parts]),
        np.concatenate([part.reused for part in parts]),
        {name: sum(part.seconds.get(name, 0.0) for part in parts) for name in names},
    )


def _one_line(error: Exception) -> str:
    """The kind of an error and the first line of what it says."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _no_matches(loaded: "LoadedState") -> pa.Table:
    from kline_core.store.schemas import table_schema

    table = table_schema("matches", loaded.key.settings.patterns.horizons).empty_table()
    return table.drop_columns(["fingerprint", "run_id"])


def _loaded(key: StateKey) -> "LoadedState":

    loaded: Any = loaded_state(key)
    # After loading, so that the libraries it imported are limited too.
    _threads.single_threaded()
    return loaded  # type: ignore[no-any-return]
