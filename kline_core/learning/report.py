"""A study as verdict, tables, text, Markdown and JSON. `kline_core.learning.study` makes it."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from kline_core._text import markdown_table, table
from kline_core.evaluation.estimate import LEVEL, Estimate, two_sided_p
from kline_core.evaluation.multiple_testing import expected_best
from kline_core.evaluation.report import plain_json
from kline_core.factor.kernel_means import LEVEL as LEVEL_OF_INTERVAL

LEARNED: Final = "learned"
"""Name of the learned factor."""
BOOSTED_RANKS: Final = "boosting_ranks"
"""Name of the boosted model that is taught what the learners are."""
BOOSTED: Final = ("boosting", BOOSTED_RANKS)
_SHOWN: Final = 5
"""Symbols of each end in the table of the newest session."""


@dataclass(frozen=True, slots=True)
class Row:
    """One method and what its values were worth, by the return over the main horizon where nothing else is said."""

    name: str
    values: int
    rank_ic: Estimate
    """Across symbols."""
    less: Estimate
    """The learned factor's rank IC less this one's, session by session; unknown for the learned factor itself."""
    t: float
    """Rank IC by its standard error; NaN if it is not known."""
    icir: float
    """Mean of the rank IC by session over its standard deviation, per session; NaN if undefined."""
    turnover: float
    """1 less the rank autocorrelation of values from one session with samples to the next; NaN if unknown."""
    decay: dict[int, Estimate]
    """Rank IC by horizon in bars."""
    by_year: dict[int, float]
    """Mean rank IC by year of the sample."""
    alike: float
    """Mean full-mode score of samples with their five best matches (`kline_core.learning.alike`); NaN for a method that
    has no matches."""
    seconds: float | None
    """By the clock; a fold that was kept takes none. None for the learned factor."""
    problem: str | None = None
    """Why it gave no values at all."""


@dataclass(frozen=True, slots=True)
class Newest:
    """The learned factor of a symbol on the newest session."""

    symbol: str
    value: float
    """Mean rank of what followed the nearest, -1/2 to 1/2."""
    low: float
    high: float
    """Ends of the interval (`kline_core.factor.kernel_means.LEVEL`)."""


@dataclass(frozen=True, slots=True)
class Study:
    """The learned factor, its learners, and what stands beside them, on the same samples."""

    home: str
    samples: int
    """Samples that are judged: those with a value of the learned factor."""
    without: dict[str, int]
    """Samples without one, by reason."""
    symbols: int
    first: np.datetime64
    last: np.datetime64
    """First and last date of those that are judged."""
    horizon: int
    rows: list[Row]
    """The learned factor first, then the single learners, then the others."""
    chosen: dict[int, str]
    """Learner of each year."""
    tried: int
    """Learners that were tried."""
    newest: list[Newest]
    """The learned factor on the newest session that is judged, highest first."""

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
        far = "distinguishable from noise" if p < LEVEL else "not distinguishable from noise"
        said = (
            f"The learned factor's rank IC with the {self.horizon}-bar return is {learned.rank_ic} "
            f"(t {_number(learned.t, '+.1f')}), {far}"
        )
        models = [row for row in self.rows if row.name in BOOSTED and row.less.known]
        if not models:
            return f"{said}."
        best = max(models, key=lambda row: row.rank_ic.value)
        return f"{said}; less that of the better of {len(models)} boosted models, {best.rank_ic}, it is {best.less}."

    def notes(self) -> Iterator[str]:
        """Lines on how to read the tables."""
        yield (
            f"{self.samples} samples of {self.symbols} symbols, {self.first} to {self.last}, the same for all: those "
            "with a value of the learned factor. ± is one standard error of sessions whose returns do not overlap."
        )
        for reason, count in self.without.items():
            yield f"{count} samples without a value: {reason}."
        yield (
            "Turnover: 1 less the rank autocorrelation of values from one session with samples to the next. Alike: "
            "mean full-mode score of a sample with its five best matches, 0 to 1, which no metric is taught."
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
                *(row.name, row.values, row.rank_ic, _number(row.t, "+.1f"), row.less, row.rank_ic.n),
                _number(row.icir, "+.3f"),
                *(
                    _number(row.turnover, ".2f"),
                    _number(row.alike, ".3f"),
                    "-" if row.seconds is None else f"{row.seconds:.1f}",
                ),
            ]
            for row in self.rows
        ]
        main = f"rank IC, {self.horizon} bars"
        head = ("method", "values", main, "t", "learned less it", "sessions", "ICIR", "turnover", "alike", "seconds")
        decay: list[list[object]] = [[row.name, *(row.decay.get(bars, "-") for bars in horizons)] for row in self.rows]
        by_year: list[list[object]] = [
            [row.name, *(_number(row.by_year.get(year, math.nan), "+.3f") for year in years)] for row in self.rows
        ]
        shown = self.newest if len(self.newest) <= 2 * _SHOWN else [*self.newest[:_SHOWN], *self.newest[-_SHOWN:]]
        newest: list[list[object]] = [
            [each.symbol, f"{each.value:+.4f}", f"{each.low:+.4f} to {each.high:+.4f}"] for each in shown
        ]
        value = ("symbol", "mean rank of what followed", f"{LEVEL_OF_INTERVAL:.0%} interval")
        return [
            ("What each method is worth", (head, worth)),
            ("Decay: rank IC by horizon", (("method", *(f"{bars} bars" for bars in horizons)), decay)),
            (f"Rank IC with the {self.horizon}-bar return by year", (("method", *map(str, years)), by_year)),
            (f"The learned factor on {self.last}: highest and lowest", (value, newest)),
        ]


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else f"{value:{form}}"
