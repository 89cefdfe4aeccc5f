"""Functions that run on Dask workers. Importing this module loads neither torch nor FAISS; calling them does.

Arguments are keys, dates and bar ordinals; each worker process loads the data that they need once, and its threads
share it (`kline_core.factor.state`).
"""

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from kline_core._cache import loaded
from kline_core._clock import StageClock
from kline_core._cores import CORE_COUNT, computing
from kline_core._logging import logger, one_line
from kline_core._malloc import undo_trimming
from kline_core._processor import Processor, processor
from kline_core._threads import single_threaded
from kline_core.bars.bars_cache import BarsKey, table_replaced
from kline_core.encoder.encoder_cache import EncoderKey
from kline_core.errors import KlineError
from kline_core.factor.batch import Batch, PreparedBatch, Scored
from kline_core.factor.state_key import StateKey
from kline_core.patterns.recent import keep_recent
from kline_core.patterns.update import MAX_REMOVED_SHARE, ManyWindowsError, PatternsUpdate, update_patterns
from kline_core.search.recall import Recall
from kline_core.search.shards import AnsweredIndex, Question, Unanswered
from kline_core.settings import PatternSettings
from kline_core.store.home import Home
from kline_core.typing import Dates, Floats32, Int32s, Int64s

if TYPE_CHECKING:
    from kline_core.factor.state import LoadedState
    from kline_core.learning.folds import FoldAnswer
    from kline_core.learning.protocol import StudyKey
    from kline_core.learning.year_encoders import YearWeights

P = ParamSpec("P")
T = TypeVar("T")
_LOG = logger(__name__)


class BrokenBatchError(KlineError):
    """The computation of a batch broke; the message is the kind and the first line of the error."""


@dataclass(frozen=True, slots=True)
class Overview:
    """Overview of the state that a worker has loaded."""

    symbols: list[str]
    """Symbols with bars, sorted."""
    cores: int
    """Cores that the worker may use."""
    windows: list[int]
    """For each symbol, the number of windows that end on its bars up to the day asked about, holes ignored."""
    n_patterns: int
    seconds: dict[str, float]
    """Seconds that each part took to load."""
    recall: Recall | None
    """Measured recall of an approximate index; None for the exact one."""
    processor: Processor


def answered(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a function of this module, or the `KlineError` that it raises, as a value.

    An error that is an answer (no such symbol, patterns to be made first) is no failure of the cluster: raised on a
    worker, it would appear in Dask's log with a traceback.
    """
    try:
        return function(*arguments)
    except KlineError as error:
        return error


def overview(key: StateKey, as_of: np.datetime64 | None = None) -> Overview:
    """Load the state unless it is loaded, and describe it. Raises as `load_state` and `check_as_of`."""
    from kline_core.factor.scoring import check_as_of
    from kline_core.search.disk_index import DiskIndex
    from kline_core.search.flat_index import FlatIndex

    loaded = _loaded(key)
    if as_of is not None:
        check_as_of(loaded, as_of)
    if isinstance(loaded.index, FlatIndex | DiskIndex):
        loaded.index.prepare()
    symbols, least = sorted(loaded.frames), loaded.key.settings.patterns.span_bars - 1
    frames = (loaded.frames[symbol] for symbol in symbols)
    bars = (len(frame) if as_of is None else frame.count_until(as_of) for frame in frames)
    windows = [max(0, count - least) for count in bars]
    return Overview(symbols, CORE_COUNT, windows, len(loaded.patterns), loaded.seconds, loaded.recall, processor())


def plan(key: StateKey, symbols: Sequence[str], samples: int, as_of: np.datetime64 | None) -> list[Dates]:
    """Sample dates of some symbols, in their order: datetime64[D]; see `kline_core.factor.scoring.plan_dates`."""
    from kline_core.factor.scoring import plan_dates

    state = _loaded(key)
    return [plan_dates(state, symbol, samples, as_of) for symbol in symbols]


def score(key: StateKey, batch: Batch) -> Scored:
    """Score a batch; see `kline_core.factor.scoring.score_batch`.

    Raises `BrokenBatchError` if the computation broke, so that the caller can retry in smaller batches.
    """
    from kline_core.factor.scoring import score_batch

    return _computed(score_batch, _loaded(key), batch)


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What a step on a worker cannot go on without: the answer of all shards to a question."""

    question: Question


@dataclass(frozen=True, slots=True, eq=False)
class ShardAnswer:
    """Answer of one shard."""

    answer: Any
    """As `put_to` of the question."""
    seconds: float
    """Seconds that it took, all threads together, without loading."""


def hold(key: StateKey, numbers: Sequence[int]) -> None:
    """Load these shards of a state unless they are loaded, and let go of all others. Raises as `load_state`."""
    from kline_core.factor.shard import load_shards

    load_shards(key, numbers)


def ask_shard(key: StateKey, number: int, question: Question) -> ShardAnswer:
    """Answer a question out of one shard, which is loaded unless it is. Raises as `load_state`."""
    from kline_core.factor.shard import ShardKey

    shard_key = ShardKey.of(key, number)
    shard = loaded(shard_key)
    single_threaded()
    clock = StageClock()
    with clock.stage("answer"):
        answer = _computed(question.put_to, shard.index, shard_key.share)
    return ShardAnswer(answer, clock.seconds["answer"])


def prepare(key: StateKey, batch: Batch, answers: Sequence[Any]) -> PreparedBatch | Asked:
    """Prepare a batch of a state in shards; see `kline_core.factor.scoring.prepare_batch`.

    `answers`: those to the questions that it asked before. Raises as `score`.
    """
    from kline_core.factor.scoring import prepare_batch

    return _step(key, answers, lambda state: _computed(prepare_batch, state, batch))


def finish(key: StateKey, batch: PreparedBatch, answers: Sequence[Any]) -> Scored | Asked:
    """Finish a prepared batch of a state in shards; see `kline_core.factor.scoring.finish_batch`.

    `answers`: as for `prepare`. Raises as `score`.
    """
    from kline_core.factor.scoring import finish_batch

    return _step(key, answers, lambda state: _computed(finish_batch, state, batch))


def _step(key: StateKey, answers: Sequence[Any], step: Callable[["LoadedState"], T]) -> T | Asked:
    """A step that asks no shard itself: it would hold a core, and a thread of Dask's, that the shard may need."""
    state = _loaded(key)
    if key.shards > 1:
        state = replace(state, index=AnsweredIndex(len(state.patterns), answers))
    try:
        return step(state)
    except Unanswered as unanswered:
        return Asked(unanswered.question)


def _computed(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """What a function computes on a core of its own.

    Raises `BrokenBatchError` for what is no error of the package, and no question.
    """
    try:
        with computing():
            return function(*arguments, **named)
    except (KlineError, Unanswered):
        raise
    except Exception as error:
        raise BrokenBatchError(one_line(error)) from error


def encode(
    bars: BarsKey,
    encoder: EncoderKey,
    settings: PatternSettings,
    symbols: Sequence[str],
    code: Int32s,
    bar: Int64s,
) -> Floats32:
    """Vectors of windows, float32 (n, dim * scales); see `kline_core.patterns.encode.encode_windows`."""

    from kline_core.patterns.encode import encode_windows

    network, frames = loaded(encoder), bars.frames()
    undo_trimming()
    single_threaded()
    with computing():
        return encode_windows(frames, symbols, code, bar, network, settings)


def update(
    bars: BarsKey,
    settings: PatternSettings,
    encoder: EncoderKey,
    at_most: int,
    limit: int,
    max_removed_share: float = MAX_REMOVED_SHARE,
) -> PatternsUpdate | None:
    """Bring `patterns` up to date, with at most `limit` threads; see `kline_core.patterns.update.update_patterns`.

    The only function here that writes a table. Returns None, and writes nothing, if more than `at_most` windows are
    missing. Raises `StaleError` if the home is no longer the one that the caller saw.
    """

    from kline_core.factor.index_cache import hold_bars
    from kline_core.patterns.encode import LocalWindowEncoder

    home = Home(bars.home)
    if home.identity("bars") != bars.identity:
        raise table_replaced(bars.home)
    undo_trimming()
    encoding = LocalWindowEncoder(loaded(encoder), min(limit, CORE_COUNT))
    hold_bars(home, bars, settings, encoder)
    try:
        return update_patterns(home, settings, encoding, at_most=at_most, max_removed_share=max_removed_share)
    except ManyWindowsError:
        return None


def recent(bars: BarsKey, settings: PatternSettings, encoder: EncoderKey, limit: int) -> None:
    """Keep the vectors of the recent windows, made with at most `limit` threads.

    See `kline_core.patterns.recent.keep_recent`.
    """
    from kline_core.patterns.encode import LocalWindowEncoder

    undo_trimming()
    keep_recent(Home(bars.home), bars, settings, LocalWindowEncoder(loaded(encoder), min(limit, CORE_COUNT)))


def picture(
    key: StateKey, symbol: str, date: str | datetime.date | np.datetime64 | None, answers: Sequence[Any] = ()
) -> bytes | Asked:
    """PNG of a query with its matches.

    See `kline_core.factor.explain.explain_loaded` and `kline_core.plots.match_plot.match_png`. `answers`: as for
    `prepare`.
    """
    from kline_core.factor.explain import explain_loaded
    from kline_core.plots.match_plot import match_png

    return _step(key, answers, lambda state: match_png(explain_loaded(state, symbol, date)))


def study_fold(key: "StudyKey", learner: str, year: int) -> "FoldAnswer":
    """What a learner says of the samples of a year of a study; see `kline_core.learning.folds.answer_fold`."""
    study = loaded(key)
    undo_trimming()
    single_threaded()
    return study.answer(learner, year)


def teach_year(key: "StudyKey", year: int) -> "YearWeights":
    """Weights of the encoder of a year; see `kline_core.learning.year_encoders.teach_year`."""
    from kline_core.learning.year_encoders import teach_year as teach

    study = loaded(key)
    undo_trimming()
    single_threaded()
    return teach(study, year)


def _loaded(key: StateKey) -> "LoadedState":
    from kline_core.factor.state import loaded_state

    state = loaded_state(key)
    undo_trimming()
    # After loading, which imports libraries, so that these are limited too.
    single_threaded()
    return state
