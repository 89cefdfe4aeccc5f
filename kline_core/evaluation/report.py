"""An evaluation as verdict, text, page and JSON. `kline_core.evaluation.evaluate` makes it."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from kline_core._text import markdown_table, table
from kline_core.evaluation.details import Details
from kline_core.evaluation.estimate import LEVEL, Estimate, normal_p, two_sided_p
from kline_core.evaluation.quantiles import QuantileReturns

SUSPICIOUS: Final = 0.2
"""Rank IC beyond which a leak is likelier than a signal: those of traded daily factors stay far below."""
SHOWN_REASONS: Final = 5
_IC_HEAD = ("horizon", "pairs", "rank IC across", "IC across", "sessions", "rank IC over time", "symbols")
_YEAR_HEAD = ("year", "samples", "values", "symbols", "dates")


@dataclass(frozen=True, slots=True)
class HorizonIC:
    """Coefficients of the values with the returns over one horizon."""

    horizon: int
    """Bars from the entry."""
    pairs: int
    """Values whose return is known."""
    rank_ic: Estimate
    """Spearman's coefficient across symbols."""
    ic: Estimate
    """Pearson's coefficient across symbols."""
    over_time: Estimate
    """Spearman's coefficient over time within each symbol."""

    @property
    def judged(self) -> Estimate:
        """Rank IC across symbols, or over time if that is undefined."""
        return self.rank_ic if self.rank_ic.known else self.over_time

    @property
    def p(self) -> float:
        """Two-sided p of `judged`: Student's t across symbols, the normal distribution over time; NaN if unknown."""
        return two_sided_p(self.rank_ic) if self.rank_ic.known else normal_p(self.over_time)

    @property
    def is_noise(self) -> bool:
        """Whether `judged` cannot be told from zero: `p` is not below `LEVEL`, or unknown."""
        return not self.p < LEVEL


@dataclass(frozen=True, slots=True)
class YearCoverage:
    """Stored samples of one year."""

    year: int
    samples: int
    values: int
    symbols: int
    """Symbols with a value."""
    dates: int
    """Dates on which any symbol has a value."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Evaluation of the values stored under one fingerprint."""

    fingerprint: str
    samples: int
    values: int
    failed: dict[str, int]
    """Samples without a value by reason, most frequent first."""
    seen: int
    """Values on dates through which the encoder was trained."""
    without_bar: int
    """Values on days without a traded bar by now; left out of everything else."""
    across_jumps: int
    """Values whose return over `horizon` bars reaches across an unexplained jump; left out of everything else."""
    symbols: int
    """Symbols with a sample."""
    first: np.datetime64
    """datetime64[D]: first sample date."""
    last: np.datetime64
    """datetime64[D]: last sample date."""
    horizon: int
    """Return horizon of the values, in bars, which the verdict and the quantiles use."""
    horizons: list[HorizonIC]
    quantiles: QuantileReturns
    coverage: list[YearCoverage]
    universe: str | None = None
    """Index whose members alone were looked at, on the days on which they were; None for all symbols."""
    outside: int = 0
    """Samples that were left out, since their symbol was no member on their day, or nothing is known of that day."""
    of: str = "value"
    """What was judged: the value, or "many": the second one, from many, a mean rank from -0.5 to 0.5."""
    details: Details | None = None
    """What stands beside the verdict; None if it was not asked for."""

    @property
    def judged(self) -> Estimate:
        """The estimate that the verdict judges: rank IC across symbols, or over time if that is undefined."""
        return next(each for each in self.horizons if each.horizon == self.horizon).judged

    @property
    def verdict(self) -> str:
        """One sentence that judges the values by their numbers."""
        judged = self.judged
        if not judged.known:
            return f"Nothing can be said of these values yet: {judged.reason}."
        main = next(each for each in self.horizons if each.horizon == self.horizon)
        where = "across symbols" if judged is main.rank_ic else "over time"
        said = f"The rank IC {where} with the {self.horizon}-bar return is {judged}"
        if main.is_noise:
            said += ": not distinguishable from zero"
        elif abs(judged.value) > SUSPICIOUS:
            said += ", so far from zero that a leak is likelier than a signal: look for what the values could not know"
        else:
            # Equal coefficients have an error of zero, or of their last bits.
            whole = abs(judged.value) > 1e6 * judged.se
            far = "" if whole else f", {abs(judged.value) / judged.se:.1f} standard errors from zero"
            chance = f"{100 * main.p:.2g} %"
            said += f"{far}; values that say nothing get so far in {chance} of all cases, and costs are not deducted"
        if self.seen:
            said += f" ({self.seen} values are of dates that the encoder was trained on)"
        return said + "."

    @property
    def ic_by_horizon(self) -> pd.DataFrame:
        """One row per horizon (bars from the entry), NaN for undefined figures.

        Columns: pairs; rank_ic and ic across symbols, with their standard errors `_se` and the number of independent
        sessions that these count; rank_ic_over_time, with its `_se` and the number of symbols that it counts.
        """
        rows = {
            each.horizon: {
                "pairs": each.pairs,
                "rank_ic": each.rank_ic.value,
                "rank_ic_se": each.rank_ic.se,
                "ic": each.ic.value,
                "ic_se": each.ic.se,
                "sessions": each.rank_ic.n,
                "rank_ic_over_time": each.over_time.value,
                "rank_ic_over_time_se": each.over_time.se,
                "symbols": each.over_time.n,
            }
            for each in self.horizons
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("horizon")

    def tables(self) -> Iterator[tuple[str, tuple[str, ...], list[list[object]]]]:
        """Title, head and rows of each table but those of the details."""
        yield "By horizon", _IC_HEAD, self._ic_rows()
        yield self._quantile_line(), self._quantile_head(), self._quantile_rows()
        yield "Stored by year", _YEAR_HEAD, self._year_rows()

    def text(self) -> str:
        """The report as text for a terminal."""
        tables = [
            table(list(_IC_HEAD), self._ic_rows()),
            self._quantile_line(),
            table(list(self._quantile_head()), self._quantile_rows()),
            "Stored by year:",
            table(list(_YEAR_HEAD), self._year_rows()),
        ]
        beside = [] if self.details is None else [self.details.text()]
        parts = ["\n".join([self.verdict, "", *self.facts()]), *tables, *beside, "\n".join(self.notes())]
        return "\n\n".join(parts)

    def markdown(self) -> str:
        """The report as a Markdown page."""
        parts = [
            f"## {self.verdict}",
            "\n".join(f"- {line}" for line in self.facts()),
            "### By horizon",
            markdown_table(_IC_HEAD, self._ic_rows()),
            "### By value",
            self._quantile_line(),
            markdown_table(self._quantile_head(), self._quantile_rows()),
            "### By year",
            markdown_table(_YEAR_HEAD, self._year_rows()),
            *([] if self.details is None else [self.details.markdown()]),
            "\n".join(f"- {line}" for line in self.notes()),
        ]
        return "\n\n".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values; null for undefined figures."""
        found: dict[str, Any] = plain_json(asdict(self))
        return found | {"verdict": self.verdict}

    def facts(self) -> Iterator[str]:
        """Lines on the samples: counts, and failures by reason."""
        yield (
            f"{self.symbols} symbols, {self.samples} samples = {self.values} values + {self.samples - self.values} "
            f"failed, {self.first} to {self.last}, fingerprint {self.fingerprint}"
        )
        if self.of == "many":
            yield "judged is many_rank, the mean rank of many windows (-0.5 to 0.5), in the place of the value"
        shown = list(self.failed.items())[:SHOWN_REASONS]
        yield from (f"failed: {count} x {reason}" for reason, count in shown)
        if rest := sum(self.failed.values()) - sum(count for _, count in shown):
            yield f"failed: {rest} for {len(self.failed) - len(shown)} other reasons"
        if self.universe is not None:
            yield (
                f"members of {self.universe} alone, by the newest list not after each sample; {self.outside} samples "
                "of others were left out"
            )
        if self.without_bar:
            yield f"{self.without_bar} values are of days without a traded bar by now, and were left out"

        if self.across_jumps:
            yield (
                f"{self.across_jumps} values have a return across an unexplained jump of the price, and were left out; "
                "`kline check` shows the jumps"
            )

    def notes(self) -> Iterator[str]:
        """Lines on how to read the figures, and on why some are missing."""
        yield (
            "± is one standard error, which counts overlapping returns once. Across: correlation over the symbols of "
            "one session, then mean over sessions. Over time: within a symbol, then mean over symbols, with the error "
            "that it has if all symbols move together."
        )
        gaps: dict[tuple[str, str], list[str]] = {}
        for each in self.horizons:
            for where, estimate in (("across symbols", each.rank_ic), ("over time", each.over_time)):
                if estimate.reason is not None:
                    gaps.setdefault((where, estimate.reason), []).append(str(each.horizon))
        for (where, reason), horizons in gaps.items():
            yield f"No figure {where} over {', '.join(horizons)} bars: {reason}."

    def _ic_rows(self) -> list[list[object]]:
        return [
            [
                *(each.horizon, each.pairs, str(each.rank_ic), str(each.ic), each.rank_ic.n),
                *(str(each.over_time), each.over_time.n),
            ]
            for each in self.horizons
        ]

    def _quantile_line(self) -> str:
        found = self.quantiles
        how = (
            "ranked within each session and beyond its mean"
            if found.across
            else "ranked over all dates and beyond their mean, since too few symbols share sessions"
        )
        known = not math.isnan(found.spread_se)
        difference = f"{_percent(found.spread)} ± {_percent(found.spread_se, '.2f')}" if known else "-"
        return f"Mean {self.horizon}-bar return by value, {how}; highest less lowest: {difference}."

    def _quantile_head(self) -> tuple[str, ...]:
        return ("fifth", "mean value", "samples", "mean return", "standard error")

    def _quantile_rows(self) -> list[list[object]]:
        form = ".2f" if self.of == "value" else "+.4f"
        return [
            [
                *(group.quantile, f"{group.value:{form}}" if group.samples else "-", group.samples),
                *(_percent(group.mean), _percent(group.se, ".2f")),
            ]
            for group in self.quantiles.groups
        ]

    def _year_rows(self) -> list[list[object]]:
        return [[year.year, year.samples, year.values, year.symbols, year.dates] for year in self.coverage]


def _percent(value: float, form: str = "+.2f") -> str:
    return "-" if math.isnan(value) else f"{100 * value:{form}} %"


def plain_json(value: Any) -> Any:
    """JSON values: NaN as null, dates as text."""
    if isinstance(value, dict):
        return {name: plain_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(each) for each in value]
    if isinstance(value, np.datetime64):
        return str(value)
    return None if isinstance(value, float) and math.isnan(value) else value
