"""A study: the learned factor beside the seed factor and simple methods, as figures, text, page and JSON."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd

from kline_core._text import markdown_table, table
from kline_core.baselines.compare import BASELINES, Method
from kline_core.errors import SettingError
from kline_core.evaluation.estimate import MIN_SYMBOLS, Estimate, across_sessions, two_sided_p
from kline_core.evaluation.evaluate import as_rows, joined_panel
from kline_core.evaluation.information_coefficient import CrossSectionIC, cross_section_rank_ic
from kline_core.evaluation.multiple_testing import expected_best
from kline_core.evaluation.panel import Panel
from kline_core.evaluation.persistence import autocorrelations
from kline_core.evaluation.report import plain_json
from kline_core.learning import boosted
from kline_core.learning.alike import LOOKED, full_scores
from kline_core.learning.folds import FoldAnswer
from kline_core.learning.inputs import Windows
from kline_core.learning.learners import LEARNERS
from kline_core.learning.protocol import LEARNED, LoadedStudy, chosen_by_year
from kline_core.patterns.encode import encode_windows
from kline_core.search.candidates import Queries
from kline_core.typing import Floats64

BESIDE: Final = ("encoder", "closes", "reversal_5", "momentum_20", "boosting")
"""Baselines that stand beside the learned factor; `encoder` gives the seed factor's values."""
SEED_FACTOR: Final = "seed factor"

Answers: TypeAlias = Callable[[list[tuple[str, int]]], Iterable[FoldAnswer]]
"""Answers of pairs of a learner and a year, in their order (`LoadedStudy.answer`)."""
Progress: TypeAlias = Callable[[str], None]
"""Called with what is done next."""


@dataclass(frozen=True, slots=True)
class Row:
    """One method and what its values were worth, by the return over the main horizon where nothing else is said."""

    name: str
    values: int
    rank_ic: Estimate
    """Across symbols."""
    t: float
    """Rank IC by its standard error; NaN if it is not known."""
    icir: float
    """Mean of the rank IC by session over its standard deviation, per session; NaN if undefined."""
    turnover: float
    """1 less the rank autocorrelation of values from one session to the next; NaN if unknown."""
    decay: dict[int, Estimate]
    """Rank IC by horizon in bars."""
    by_year: dict[int, float]
    """Mean rank IC by year of the sample."""
    alike: float
    """Mean full-mode score of samples with their five best matches (`kline_core.learning.alike`); NaN for a method that
    has no matches."""
    seconds: float | None
    """Of this process and its cluster; of a learner those of all its folds added up; None for the learned factor."""
    problem: str | None = None
    """Why it gave no values at all."""


@dataclass(frozen=True, slots=True)
class Study:
    """The learned factor, its learners, and what stands beside them, on the same samples."""

    home: str
    samples: int
    """Samples that are judged: those of the years that the learners answer."""
    symbols: int
    first: np.datetime64
    last: np.datetime64
    horizon: int
    rows: list[Row]
    """The learned factor first, then the single learners, then the others."""
    chosen: dict[int, str]
    """Learner of each year."""
    tried: int
    """Learners that were tried."""

    def row(self, name: str) -> Row:
        """The row of a method."""
        return next(row for row in self.rows if row.name == name)

    @property
    def verdict(self) -> str:
        """One sentence: what the learned factor is worth, beside the boosted model."""
        learned = self.row(LEARNED)
        if not learned.rank_ic.known:
            return f"What the learned factor is worth cannot be said: {learned.rank_ic.reason}."
        p = two_sided_p(learned.rank_ic)
        far = "distinguishable from noise" if p < 0.05 else "not distinguishable from noise"
        said = (
            f"The learned factor's rank IC with the {self.horizon}-bar return is {learned.rank_ic} "
            f"(t {learned.t:+.1f}), {far}"
        )
        models = [row for row in self.rows if row.name in ("boosting", boosted.NAME) and row.rank_ic.known]
        if not models:
            return f"{said}."
        best = max(models, key=lambda row: row.rank_ic.value)
        less = learned.rank_ic.value - best.rank_ic.value
        return (
            f"{said}; that of the better of {len(models)} boosted models is {best.rank_ic}, {abs(less):.3f} "
            f"{'less' if less > 0 else 'more'}."
        )

    def notes(self) -> Iterator[str]:
        """Lines on how to read the tables."""
        yield (
            f"{self.samples} samples of {self.symbols} symbols, {self.first} to {self.last}, the same for all; ± is "
            "one standard error of sessions whose returns do not overlap."
        )
        yield (
            "Turnover: 1 less the rank autocorrelation of values from one session to the next. Alike: mean full-mode "
            "score of a sample with its five best matches, 0 to 1, which no metric is taught."
        )
        chosen = ", ".join(f"{year} {name}" for year, name in self.chosen.items())
        yield f"Learner of each year, chosen by the years before it: {chosen or 'none'}."
        if self.tried > 1:
            yield (
                f"{self.tried} learners were tried; the best of {self.tried} that say nothing is expected "
                f"{expected_best(self.tried):.1f} standard errors above zero. The learned factor needs no such "
                "allowance, since each of its years was chosen before it."
            )
        for row in self.rows:
            if row.problem is not None:
                yield f"{row.name}: {row.problem}"

    def text(self) -> str:
        """The study as text for a terminal."""
        parts = [table(list(head), rows) for _, (head, rows) in self.tables()]
        return "\n\n".join([self.verdict, *parts, "\n".join(self.notes())])

    def markdown(self) -> str:
        """The study as a Markdown page."""
        parts = [f"### {title}\n\n{markdown_table(*found)}" for title, found in self.tables()]
        notes = "\n".join(f"- {line}" for line in self.notes())
        return "\n\n".join([f"## {self.verdict}", *parts, notes])

    def to_dict(self) -> dict[str, Any]:
        """The study as plain JSON values; null for undefined figures."""
        return {"verdict": self.verdict} | dict(plain_json(asdict(self)))

    def tables(self) -> list[tuple[str, tuple[tuple[str, ...], list[list[object]]]]]:
        """Titles and tables: what each method is worth, its decay, and by year."""
        horizons = sorted({bars for row in self.rows for bars in row.decay})
        years = sorted({year for row in self.rows for year in row.by_year})
        worth: list[list[object]] = [
            [
                *(row.name, row.values, row.rank_ic, _number(row.t, "+.1f"), row.rank_ic.n, _number(row.icir, "+.3f")),
                *(
                    _number(row.turnover, ".2f"),
                    _number(row.alike, ".3f"),
                    "-" if row.seconds is None else f"{row.seconds:.1f}",
                ),
            ]
            for row in self.rows
        ]
        main = f"rank IC, {self.horizon} bars"
        head = ("method", "values", main, "t", "sessions", "ICIR", "turnover", "alike", "seconds")
        decay: list[list[object]] = [[row.name, *(row.decay.get(bars, "-") for bars in horizons)] for row in self.rows]
        by_year: list[list[object]] = [
            [row.name, *(_number(row.by_year.get(year, math.nan), "+.3f") for year in years)] for row in self.rows
        ]
        return [
            ("What each method is worth", (head, worth)),
            ("Decay: rank IC by horizon", (("method", *(f"{bars} bars" for bars in horizons)), decay)),
            (f"Rank IC with the {self.horizon}-bar return by year", (("method", *map(str, years)), by_year)),
        ]


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

    Raises `SettingError` if a learner is not known, or too little was known before every year.
    """
    names = checked_learners(learners)
    told = progress or (lambda _: None)
    samples, frames, settings = loaded.samples, loaded.state.frames, loaded.state.key.settings
    loaded.check_long_enough()

    def panel_of(figures: Floats64) -> Panel:
        values = samples.values(figures)
        return joined_panel(as_rows(values[["symbol", "date", "value", "status", "reason"]]), frames, settings)

    # Nothing is judged by years that the learners do not answer.
    judged = np.zeros(len(samples.usable), dtype=bool)
    judged[np.concatenate([fold.samples for fold in loaded.folds.values()])] = True
    walked: dict[str, Floats64] = {}
    alike: dict[str, Floats64] = {}
    seconds: dict[str, float] = {}
    years = sorted(loaded.folds)
    for name in names:
        told(name)
        began, (values, scores) = perf_counter(), np.full((2, len(samples.usable)), np.nan)
        for year, answer in zip(years, answers([(name, year) for year in years]), strict=True):
            values[loaded.folds[year].samples] = answer.means.value
            scores[loaded.folds[year].samples] = answer.alike
        walked[name], alike[name], seconds[name] = values, scores, perf_counter() - began
    panels = {name: panel_of(values) for name, values in walked.items()}
    chosen = chosen_by_year(panels, years, frames, settings)
    learned, looked = np.full((2, len(samples.usable)), np.nan)
    for year, name in chosen.items():
        mine = loaded.folds[year].samples
        learned[mine], looked[mine] = walked[name][mine], alike[name][mine]
    rows = [_row(LEARNED, panel_of(learned), loaded, _mean(looked), None)]
    rows += [_row(name, panels[name], loaded, _mean(alike[name]), seconds[name]) for name in names]
    methods: dict[str, Method] = {name: BASELINES[name] for name in BESIDE}
    methods[boosted.NAME] = lambda *_: boosted.boosted_ranks(loaded)
    for name, method in methods.items():
        told(name)
        called = SEED_FACTOR if name == "encoder" else name
        began = perf_counter()
        try:
            figures = method(loaded.state, samples, settings)
        except ImportError as error:
            problem = f"{error}; pip install 'kline-factor[baselines]' brings it"
            none = Estimate(math.nan, math.nan, 0, problem)
            rows.append(Row(called, 0, none, math.nan, math.nan, math.nan, {}, {}, math.nan, None, problem))
            continue
        took = perf_counter() - began
        figures = np.where(judged, figures, np.nan)
        scored = _mean(_seed_scores(loaded)) if called == SEED_FACTOR else math.nan
        rows.append(_row(called, panel_of(figures), loaded, scored, took))
    return Study(
        home=loaded.state.key.home,
        samples=int(judged.sum()),
        symbols=len(np.unique(samples.code[judged])),
        first=samples.dates[samples.usable][judged].min(),
        last=samples.dates[samples.usable][judged].max(),
        horizon=settings.factor.return_horizon,
        rows=rows,
        chosen=chosen,
        tried=len(names),
    )


def checked_learners(names: Iterable[str]) -> list[str]:
    """The names, each once. Raises `SettingError` for one that is no learner, or for none at all."""
    found = list(dict.fromkeys(names))
    for name in found or [""]:
        if name not in LEARNERS:
            bound = f"one of {', '.join(LEARNERS)}"
            raise SettingError(
                f"learner {name!r} is not known; name {bound}", parameter="learners", value=name, bound=bound
            )
    return found


def _row(name: str, panel: Panel, loaded: LoadedStudy, alike: float, seconds: float | None) -> Row:
    settings = loaded.state.key.settings
    steps, horizon = settings.patterns, settings.factor.return_horizon
    found: dict[int, CrossSectionIC] = {
        bars: cross_section_rank_ic(
            panel.sessions, panel.values, panel.forward[:, column], bars + steps.entry_lag_bars, MIN_SYMBOLS
        )
        for column, bars in enumerate(steps.horizons)
    }
    main, rank_ic = found[horizon], across_sessions(found[horizon])
    by_session = pd.Series(main.by_session, index=panel.days[main.sessions].astype("datetime64[Y]").astype(int) + 1970)
    spread = float(by_session.std()) if len(by_session) > 1 else math.nan
    return Row(
        name=name,
        values=panel.n_values,
        rank_ic=rank_ic,
        t=rank_ic.value / rank_ic.se if rank_ic.known and rank_ic.se > 0 else math.nan,
        icir=main.value / spread if spread > 0 else math.nan,
        turnover=1.0 - _kept(panel),
        decay={bars: across_sessions(each) for bars, each in found.items()},
        by_year={int(str(year)): float(mean) for year, mean in by_session.groupby(level=0).mean().items()},
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


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else f"{value:{form}}"
