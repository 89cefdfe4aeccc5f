"""What a study does to a home, fixed before any result is looked at.

1. Samples: every symbol on every `every`-th session, from the first to the last that are asked for.
2. Each learner answers them walk-forward, year by year (`kline_core.learning.folds`).
3. The *learned factor* takes, for each year, the learner that ranked best before it: by the mean rank IC across symbols
   of its own walk-forward values, over sessions whose returns were known when the year began. In its first year, the
   first of the learners.
4. Beside it stand the seed factor, similar closes, reversal, momentum and the boosted model (`kline_core.baselines`),
   and one that is taught what the learners are (`kline_core.learning.boosted`): on the same samples, by the same rules
   and with the same errors.

Nothing is chosen by what the whole period shows. What is shown of single learners beside it was tried, and is counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kline_core._cache import loaded
from kline_core.bars.symbol_bars import BarsBySymbol, SymbolBars
from kline_core.baselines.samples import Samples
from kline_core.errors import DateError, InputError, SettingError
from kline_core.evaluation.estimate import MIN_SYMBOLS
from kline_core.evaluation.forward_returns import ForwardReturns
from kline_core.evaluation.information_coefficient import cross_section_rank_ic
from kline_core.evaluation.panel import Panel
from kline_core.factor.state import LoadedState
from kline_core.factor.state_key import StateKey
from kline_core.learning.folds import LEAST, Fold, FoldAnswer, Taught, answer_fold, folds_of
from kline_core.learning.learners import LEARNERS
from kline_core.settings import Settings
from kline_core.typing import Floats64


@dataclass(frozen=True, slots=True)
class StudyKey:
    """What a study is of: a state of a home, and its samples."""

    state: StateKey
    every: int = 1
    """Sessions from one sample of a symbol to the next."""
    first: np.datetime64 | None = None
    last: np.datetime64 | None = None

    def load(self) -> "LoadedStudy":
        """Load the state and find the samples. Raises as `load_state`."""
        state = loaded(self.state)
        settings = self.state.settings
        samples = samples_of(state.frames, settings, self.every, self.first, self.last)
        taught = Taught.of(state, settings)
        folds = {fold.year: fold for fold in folds_of(taught, samples.dates[samples.usable])}
        return LoadedStudy(state, samples, taught, folds)

    def advance(self, earlier: "StudyKey", value: "LoadedStudy") -> None:
        """A study is of one state: none goes on with another."""


@dataclass(frozen=True, slots=True, eq=False)
class LoadedStudy:
    """A loaded study; read-only."""

    state: LoadedState
    samples: Samples
    taught: Taught
    folds: dict[int, Fold]
    """By year."""

    def check_long_enough(self) -> None:
        """Raise `SettingError` if too little was known before every year."""
        if self.folds:
            return
        dates = self.samples.dates
        year = dates.max().astype("datetime64[Y]").astype("datetime64[D]")
        known = int(np.searchsorted(self.taught.patterns.known_on, year, side="left"))
        raise SettingError(
            f"{known} patterns were known before {year}, when the last year of the samples ({dates.min()} to "
            f"{dates.max()}) began; {LEAST} with others of their days are needed: ingest a longer history or more "
            "symbols, or name later dates",
            parameter="home",
            value=self.state.key.home,
        )

    def answer(self, learner: str, year: int) -> FoldAnswer:
        """What a learner says of the samples of a year; see `kline_core.learning.folds.answer_fold`."""
        return answer_fold(self.state, self.taught, self.samples, self.folds[year], LEARNERS[learner])


def samples_of(
    frames: BarsBySymbol,
    settings: Settings,
    every: int,
    first: np.datetime64 | None,
    last: np.datetime64 | None,
) -> Samples:
    """All symbols on every `every`-th session; sessions are the days on which any of the symbols traded.

    Raises `InputError` without any bar, and `DateError` without a session from first to last.
    """
    sessions = np.unique(np.concatenate([np.zeros(0, "datetime64[D]"), *(bars.dates for bars in frames.values())]))
    days = sessions[::every]
    for bound, beyond in ((first, np.less), (last, np.greater)):
        if bound is not None:
            days = days[~beyond(days, bound)]
    if len(sessions) == 0:
        raise InputError("the home holds no traded bar; ingest some", source="bars")
    if len(days) == 0:
        raise DateError(
            f"no sample lies from {first or 'the first session'} to {last or 'the last'}; the home's sessions are "
            f"{sessions[0]} to {sessions[-1]}",
            value=(first, last),
        )
    symbols, dates = [], []
    for symbol, bars in frames.items():
        mine = bars.dates[np.isin(bars.dates, days)]
        symbols.append(np.full(len(mine), symbol, dtype=object))
        dates.append(mine)
    return Samples.of(np.concatenate(symbols), np.concatenate(dates), frames, settings)


def chosen_by_year(
    panels: Mapping[str, Panel], years: Sequence[int], frames: BarsBySymbol, settings: Settings
) -> dict[int, str]:
    """Name of the learner that answers the samples of each year (step 3 of the protocol).

    Args:
        panels: Walk-forward values of each learner beside the returns that followed, in the order of preference.
        years: Years of samples, ascending.
        frames: Bars of the symbols.
        settings: Horizon and entry lag of the returns.
    """
    return {year: max(panels, key=lambda name: _rank_before(panels[name], year, frames, settings)) for year in years}


def _rank_before(panel: Panel, year: int, frames: BarsBySymbol, settings: Settings) -> float:
    """Mean rank IC of what was known before a year; below all others if nothing was."""
    steps, horizon = settings.patterns, settings.factor.return_horizon
    held = steps.entry_lag_bars + horizon

    def known_on(part: ForwardReturns, bars: SymbolBars) -> Floats64:
        end = np.minimum(part.bars + held, len(bars) - 1)
        return bars.dates[end].astype(np.float64)

    begin = np.datetime64(f"{year:04d}-01-01", "D").astype(np.float64)
    use = panel.each(frames, known_on) < begin
    main = steps.horizons.index(horizon)
    found = cross_section_rank_ic(panel.sessions[use], panel.values[use], panel.forward[use, main], held, MIN_SYMBOLS)
    return -2.0 if np.isnan(found.value) else found.value
