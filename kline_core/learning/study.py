"""A study: the protocol carried out on a loaded study, by figures alone; `kline_core.learning.report` shows them."""

import math
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from time import perf_counter
from typing import Final, TypeAlias

import numpy as np
import pandas as pd

from kline_core.baselines.compare import BASELINES, Method, mean_difference, rank_ic_by_session, without_library
from kline_core.errors import SettingError
from kline_core.evaluation.estimate import MIN_SYMBOLS, Estimate, across_sessions
from kline_core.evaluation.evaluate import as_rows, joined_panel
from kline_core.evaluation.information_coefficient import CrossSectionIC, cross_section_rank_ic
from kline_core.evaluation.panel import Panel
from kline_core.evaluation.persistence import autocorrelations
from kline_core.factor.kernel_means import FEWEST
from kline_core.learning import boosted
from kline_core.learning.alike import LOOKED, full_scores
from kline_core.learning.folds import LEAST, NEIGHBOURS, FoldAnswer
from kline_core.learning.inputs import Windows
from kline_core.learning.learners import LEARNERS
from kline_core.learning.protocol import LoadedStudy, chosen_by_year
from kline_core.learning.report import BOOSTED_RANKS, LEARNED, Newest, Row, Study
from kline_core.patterns.encode import encode_windows
from kline_core.search.candidates import Queries
from kline_core.settings import Settings
from kline_core.typing import Floats64

BESIDE: Final = ("encoder", "closes", "reversal_5", "momentum_20", "boosting")
"""Baselines that stand beside the learned factor; `encoder` gives the seed factor's values."""
SEED_FACTOR: Final = "seed factor"

Answers: TypeAlias = Callable[[list[tuple[str, int]]], Iterable[FoldAnswer]]
"""Answers of pairs of a learner and a year, in their order (`LoadedStudy.answer`)."""
Progress: TypeAlias = Callable[[str], None]
"""Called with what is done next."""


def study(
    loaded: LoadedStudy,
    answers: Answers,
    learners: Iterable[str] = tuple(LEARNERS),
    progress: Progress | None = None,
) -> Study:
    """Run the protocol (`kline_core.learning.protocol`).

    Args:
        loaded: The loaded study.
        answers: Computes the folds.
        learners: Names of learners, in the order of preference.
        progress: See `Progress`.

    Raises `SettingError` if a learner is not known, or too little was known before every year or on every date.
    """
    names = checked_learners(learners)
    told = progress or (lambda _: None)
    samples, frames, settings = loaded.samples, loaded.state.frames, loaded.state.key.settings
    loaded.check_long_enough()

    def panel_of(figures: Floats64) -> Panel:
        return joined_panel(as_rows(samples.values(figures)), frames, settings)

    walked: dict[str, Floats64] = {}
    ends: dict[str, tuple[Floats64, Floats64]] = {}
    alike: dict[str, Floats64] = {}
    seconds: dict[str, float] = {}
    years = sorted(loaded.folds)
    for name in names:
        began, (values, low, high, scores) = perf_counter(), np.full((4, len(samples.usable)), np.nan)
        found = iter(answers([(name, year) for year in years]))
        for year in years:
            told(f"{name} {year}")
            answer = next(found)
            mine = loaded.folds[year].samples
            values[mine], low[mine], high[mine] = answer.means.value, answer.means.low, answer.means.high
            scores[mine] = answer.alike
        walked[name], ends[name], alike[name], seconds[name] = values, (low, high), scores, perf_counter() - began
    panels = {name: panel_of(values) for name, values in walked.items()}
    chosen = chosen_by_year(panels, years, frames, settings)
    learned, low, high, looked = np.full((4, len(samples.usable)), np.nan)
    answered = np.zeros(len(samples.usable), dtype=bool)
    for year, name in chosen.items():
        mine = loaded.folds[year].samples
        answered[mine] = True
        learned[mine], looked[mine] = walked[name][mine], alike[name][mine]
        low[mine], high[mine] = (end[mine] for end in ends[name])
    judged = ~np.isnan(learned)
    if not judged.any():
        raise SettingError(
            f"no sample has {NEIGHBOURS} patterns that were known on its date, of {FEWEST:g} quarters of a year; "
            "ingest a longer history or more symbols, or name later dates",
            parameter="home",
            value=loaded.state.key.home,
        )
    panel = panel_of(learned)
    by_session = rank_ic_by_session(panel, settings)

    def row(name: str, figures: Floats64, scores: Floats64, took: float | None) -> Row:
        return _row(name, panel_of(np.where(judged, figures, np.nan)), settings, by_session, _mean(scores), took)

    rows = [_row(LEARNED, panel, settings, None, _mean(looked), None)]
    rows += [row(name, walked[name], alike[name], seconds[name]) for name in names]
    methods: dict[str, Method] = {name: BASELINES[name] for name in BESIDE}
    methods[BOOSTED_RANKS] = lambda *_: boosted.boosted_ranks(loaded)
    for name, method in methods.items():
        told(name)
        called = SEED_FACTOR if name == "encoder" else name
        began = perf_counter()
        try:
            figures = method(loaded.state, samples, settings)
        except ImportError as error:
            problem = without_library(error)
            none = _unknown(problem)
            rows.append(Row(called, 0, none, none, math.nan, math.nan, math.nan, {}, {}, math.nan, None, problem))
            continue
        took = perf_counter() - began
        rows.append(row(called, figures, _seed_scores(loaded) if called == SEED_FACTOR else np.zeros(0), took))
    dates = samples.dates[samples.usable]
    newest = np.flatnonzero(judged & (dates == dates[judged].max()))
    newest = newest[np.argsort(-learned[newest], kind="stable")]
    without = {
        "no usable window ends on their date": len(samples) - len(samples.usable),
        f"fewer than {LEAST} patterns were known before their year": int((~answered).sum()),
        f"fewer than {NEIGHBOURS} patterns were known on their date, or those of fewer than {FEWEST:g} quarters": int(
            (answered & ~judged).sum()
        ),
    }
    return Study(
        home=loaded.state.key.home,
        samples=int(judged.sum()),
        without={reason: count for reason, count in without.items() if count},
        symbols=len(np.unique(samples.code[judged])),
        first=dates[judged].min(),
        last=dates[judged].max(),
        horizon=settings.factor.return_horizon,
        rows=rows,
        chosen=chosen,
        tried=len(names),
        newest=[
            Newest(samples.names[samples.code[at]], *(float(each[at]) for each in (learned, low, high)))
            for at in newest.tolist()
        ],
    )


def _unknown(reason: str) -> Estimate:
    return Estimate(math.nan, math.nan, 0, reason)


def checked_learners(names: Iterable[str]) -> list[str]:
    """The names, each once.

    Raises `SettingError` for one that is no learner, for one whose library is not installed, or for none at all.
    """
    found = list(dict.fromkeys(names))
    for name in found or [""]:
        if name not in LEARNERS:
            bound = f"one of {', '.join(LEARNERS)}"
            raise SettingError(
                f"learner {name!r} is not known; name {bound}", parameter="learners", value=name, bound=bound
            )
    if "leaves" in found and find_spec("sklearn") is None:
        others = " ".join(f"--learner {name}" for name in LEARNERS if name != "leaves")
        raise SettingError(
            f"the learner leaves grows its trees by scikit-learn: pip install '.[baselines]', or take others: {others}",
            parameter="learners",
            value="leaves",
        )
    return found


def _row(
    name: str,
    panel: Panel,
    settings: Settings,
    learned: "pd.Series[float] | None",
    alike: float,
    seconds: float | None,
) -> Row:
    """`learned`: rank IC of the learned factor by the session's ordinal; None for its own row."""
    steps, horizon = settings.patterns, settings.factor.return_horizon
    found: dict[int, CrossSectionIC] = {
        bars: cross_section_rank_ic(
            panel.sessions, panel.values, panel.forward[:, column], bars + steps.entry_lag_bars, MIN_SYMBOLS
        )
        for column, bars in enumerate(steps.horizons)
    }
    main, rank_ic = found[horizon], across_sessions(found[horizon])
    by_session = pd.Series(main.by_session, index=main.sessions)
    less = _unknown("compared with itself") if learned is None else mean_difference(learned, by_session, settings)
    years = panel.days[main.sessions].astype("datetime64[Y]").astype(int) + 1970
    spread = float(by_session.std()) if len(by_session) > 1 else math.nan
    return Row(
        name=name,
        values=panel.n_values,
        rank_ic=rank_ic,
        less=less,
        t=rank_ic.value / rank_ic.se if rank_ic.known and rank_ic.se > 0 else math.nan,
        icir=main.value / spread if spread > 0 else math.nan,
        turnover=1.0 - _kept(panel),
        decay={bars: across_sessions(each) for bars, each in found.items()},
        by_year={int(str(year)): float(mean) for year, mean in by_session.groupby(years).mean().items()},
        alike=alike,
        seconds=seconds,
    )


def _seed_scores(loaded: LoadedStudy) -> Floats64:
    """How alike the matches of the encoder look, of samples that the learners are looked at by: float64 (q,)."""
    state, samples = loaded.state, loaded.samples
    at = np.concatenate([fold.samples[::LOOKED] for fold in loaded.folds.values()])
    asked = Windows.of_samples(state.frames, samples, loaded.taught.windows.window_bars).part(at)
    vectors = encode_windows(
        state.frames, samples.names, asked.code, asked.bar, state.encoder, state.key.settings.patterns
    )
    codes = state.patterns.codes_of(samples.names)[asked.code]
    queries = Queries(vectors, samples.dates[samples.usable][at], codes, asked.bar.astype(np.int32))
    return full_scores(state.index, state.patterns, queries, asked, loaded.taught.windows)


def _mean(figures: Floats64) -> float:
    """Mean of what is known, NaN for nothing."""
    known = figures[~np.isnan(figures)]
    return float(known.mean()) if len(known) else math.nan


def _kept(panel: Panel) -> float:
    """Rank autocorrelation from one session with samples to the next."""
    ordinal = np.unique(panel.sessions, return_inverse=True)[1].astype(np.int64)
    return autocorrelations(panel.symbol, ordinal, panel.values)[0].value
