"""The factor beside its baselines: the same samples, rules and errors for each.

1. The samples are those that are stored under one fingerprint, with a value or without.
2. Each method gives every sample a value, or none, and is evaluated by `evaluate_frame` (`kline_core.evaluation`).
3. The factor is compared with each baseline session by session: the mean difference of the two rank ICs, with the
   error of independent sessions, is less uncertain than the difference of the two means, as both saw one market.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd

from kline_core._text import markdown_table, table
from kline_core.baselines import likeness, trend
from kline_core.baselines.boosting import boosted_values
from kline_core.baselines.samples import Samples
from kline_core.errors import SettingError
from kline_core.evaluation.estimate import MIN_SYMBOLS, Estimate, across_sessions
from kline_core.evaluation.evaluate import as_rows, evaluate_panel, joined_panel
from kline_core.evaluation.information_coefficient import CrossSectionIC, cross_section_rank_ic, session_mean
from kline_core.evaluation.panel import Panel
from kline_core.evaluation.report import Evaluation, plain_json
from kline_core.factor.state import LoadedState
from kline_core.settings import Settings
from kline_core.typing import Floats64

Progress: TypeAlias = Callable[[str], None]
"""Called with the name of each method before it begins."""
Method: TypeAlias = Callable[[LoadedState, Samples, Settings], Floats64]
"""Values of the m usable samples: float64 (m,), NaN where there is none."""

FACTOR: Final = "factor"
_ENOUGH: Final = 2.0
"""Standard errors by which the factor has to lie above a baseline."""
_HEAD: Final = ("method", "values", "rank IC across", "factor less it", "sessions", "rank IC over time", "seconds")


def _of_vectors(vectors: Callable[[LoadedState], likeness.Vectors]) -> Method:
    return lambda state, samples, settings: likeness.likeness_values(state, samples, vectors(state), settings)


def _trailing(bars: int, sign: float) -> Method:
    return lambda state, samples, settings: sign * trend.trailing_returns(state.frames, samples, bars, settings)


BASELINES: Final[Mapping[str, Method]] = {
    "closes": _of_vectors(lambda _: likeness.closes),
    "ohlc": _of_vectors(lambda _: likeness.ohlc),
    "pixels": _of_vectors(lambda state: likeness.pixel_components(state.key.settings.patterns.window_bars)),
    "untrained": _of_vectors(lambda state: likeness.untrained(state.encoder)),
    "encoder": lambda state, samples, settings: likeness.likeness_values(state, samples, None, settings),
    "reversal_5": _trailing(5, -1.0),
    "momentum_20": _trailing(20, 1.0),
    "boosting": boosted_values,
}
"""Baselines by name: see `likeness`, `trend` and `boosting`."""


@dataclass(frozen=True, slots=True)
class Row:
    """One method and what its values were worth."""

    name: str
    values: int
    rank_ic: Estimate
    """Across symbols, with the return over the main horizon."""
    less: Estimate
    """The factor's rank IC less this one's, session by session; unknown for the factor itself."""
    over_time: Estimate
    seconds: float | None
    """Seconds that its values took, index included; None for the factor, whose values are stored."""
    problem: str | None = None
    """Why it gave no values at all."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The factor beside its baselines."""

    fingerprint: str
    samples: int
    horizon: int
    """Return horizon in bars."""
    rows: list[Row]
    """The factor first."""
    evaluations: dict[str, Evaluation]
    """Evaluation of each method, by name."""

    @property
    def verdict(self) -> str:
        """One sentence: whether the factor beats its baselines."""
        factor, others = self.rows[0], [row for row in self.rows[1:] if row.problem is None]
        if not others:
            return "The factor was compared with no baseline."
        unknown = [row for row in others if not row.less.known]
        if unknown or not factor.rank_ic.known:
            return (
                "Whether the factor beats its baselines cannot be said: too few sessions have enough symbols with "
                "values of both."
            )
        beaten = [row for row in others if row.less.value > _ENOUGH * row.less.se]
        if len(beaten) == len(others):
            return (
                f"The factor's rank IC with the {self.horizon}-bar return, {factor.rank_ic}, lies above that of each "
                f"of its {len(others)} baselines by more than two standard errors."
            )
        left = ", ".join(row.name for row in others if row not in beaten)
        said = f"The factor does not beat its baselines: its rank IC with the {self.horizon}-bar return is "
        return f"{said}{factor.rank_ic}, and not above that of {left} by two standard errors."

    def text(self) -> str:
        """The comparison as text for a terminal."""
        return "\n".join([self.verdict, "", table(list(self.table()[0]), self.table()[1]), "", *self.notes()])

    def markdown(self) -> str:
        """The comparison as a Markdown page."""
        notes = "\n".join(f"- {line}" for line in self.notes())
        return "\n\n".join([f"## {self.verdict}", markdown_table(*self.table()), notes])

    def to_frame(self) -> pd.DataFrame:
        """One row per method, by name: values, rank_ic, less, over_time with their errors `_se`, and seconds."""
        rows: dict[str, dict[str, float | None]] = {}
        for row in self.rows:
            rows[row.name] = {"values": row.values}
            for what, estimate in (("rank_ic", row.rank_ic), ("less", row.less), ("over_time", row.over_time)):
                rows[row.name] |= {what: estimate.value, f"{what}_se": estimate.se}
            rows[row.name]["seconds"] = row.seconds
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")

    def to_dict(self) -> dict[str, Any]:
        """The comparison as plain JSON values; null for undefined figures."""
        rows = [plain_json(asdict(row)) for row in self.rows]
        return {
            "verdict": self.verdict,
            "fingerprint": self.fingerprint,
            "samples": self.samples,
            "horizon": self.horizon,
            "methods": rows,
        }

    def table(self) -> tuple[tuple[str, ...], list[list[object]]]:
        """Names of the columns, and a row for each method."""
        rows: list[list[object]] = [
            [
                *(row.name, row.values, row.rank_ic, row.less, row.rank_ic.n, row.over_time),
                "-" if row.seconds is None else f"{row.seconds:.1f}",
            ]
            for row in self.rows
        ]
        return _HEAD, rows

    def notes(self) -> list[str]:
        """Lines on how to read the table, and on what is missing."""
        notes = [
            f"{self.samples} samples under fingerprint {self.fingerprint}, the same for all; ± is one standard error "
            "of independent sessions. Seconds are of this process, the index included; the factor's values are stored."
        ]
        return notes + [f"{row.name}: {row.problem}" for row in self.rows if row.problem is not None]


def compare(
    state: LoadedState,
    stored: pd.DataFrame,
    settings: Settings,
    fingerprint: str,
    methods: Mapping[str, Method] = BASELINES,
    progress: Progress | None = None,
) -> Comparison:
    """Compare stored values with baselines on the same samples.

    Args:
        state: State of the home, whose bars and patterns the baselines use.
        stored: Rows of the `factors` table: symbol, date, value, status and reason.
        settings: Settings of the values.
        fingerprint: Fingerprint of the values.
        methods: Baselines by name.
        progress: See `Progress`.
    """
    symbols = stored["symbol"].to_numpy(dtype=object)
    dates = stored["date"].to_numpy().astype("datetime64[D]")
    samples = Samples.of(symbols, dates, state.frames, settings)
    evaluations: dict[str, Evaluation] = {}

    def judged(name: str, values: pd.DataFrame, called: str) -> "pd.Series[float]":
        table = as_rows(values[["symbol", "date", "value", "status", "reason"]])
        panel = joined_panel(table, state.frames, settings)
        evaluations[name] = evaluate_panel(table, panel, state.frames, settings, called, details=False)
        return rank_ic_by_session(panel, settings)

    factor = judged(FACTOR, stored, fingerprint)
    rows = [_row(FACTOR, evaluations[FACTOR], None, None)]
    for name, method in methods.items():
        if progress is not None:
            progress(name)
        began = perf_counter()
        try:
            figures = method(state, samples, settings)
        except ImportError as error:
            rows.append(_row(name, None, None, None, without_library(error)))
            continue
        seconds = perf_counter() - began
        less = mean_difference(factor, judged(name, samples.values(figures), name), settings)
        rows.append(_row(name, evaluations[name], less, seconds))
    return Comparison(fingerprint, len(samples), settings.factor.return_horizon, rows, evaluations)


def chosen(names: list[str] | None) -> Mapping[str, Method]:
    """The baselines of these names; all for None. Raises `SettingError` for a name that is none."""
    if names is None:
        return BASELINES
    for name in names:
        if name not in BASELINES:
            raise SettingError(
                f"baseline {name!r} is not known; there are {', '.join(BASELINES)}",
                parameter="baselines",
                value=name,
                bound=f"one of {', '.join(BASELINES)}",
            )
    return {name: BASELINES[name] for name in names}


def without_library(error: ImportError) -> str:
    """Why a method gave no values, whose library cannot be imported."""
    return f"{error}; pip install 'kline-factor[baselines]' brings it"


def rank_ic_by_session(panel: Panel, settings: Settings) -> "pd.Series[float]":
    """Rank IC across symbols with the return over the main horizon, by the session's ordinal."""
    main = settings.patterns.horizons.index(settings.factor.return_horizon)
    found = cross_section_rank_ic(panel.sessions, panel.values, panel.forward[:, main], _apart(settings), MIN_SYMBOLS)
    return pd.Series(found.by_session, index=found.sessions)


def mean_difference(factor: "pd.Series[float]", other: "pd.Series[float]", settings: Settings) -> Estimate:
    """Mean difference of two series of rank ICs over their common sessions."""
    both = pd.concat([factor, other], axis=1, join="inner").sort_index()
    difference = (both.iloc[:, 0] - both.iloc[:, 1]).to_numpy(dtype=np.float64)
    sessions = both.index.to_numpy(dtype=np.int64)
    value, se, independent = session_mean(sessions, difference, _apart(settings))
    return across_sessions(CrossSectionIC(value, se, independent, 0, 0, sessions, difference))


def _apart(settings: Settings) -> int:
    return settings.factor.return_horizon + settings.patterns.entry_lag_bars


def _row(
    name: str, found: Evaluation | None, less: Estimate | None, seconds: float | None, problem: str | None = None
) -> Row:
    nothing = Estimate(float("nan"), float("nan"), 0, problem or "compared with itself")
    if found is None:
        return Row(name, 0, nothing, nothing, nothing, seconds, problem)
    main = next(each for each in found.horizons if each.horizon == found.horizon)
    return Row(name, found.values, main.rank_ic, less or nothing, main.over_time, seconds, problem)
