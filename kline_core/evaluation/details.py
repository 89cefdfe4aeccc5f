"""All that stands beside the verdict: errors, tests, decay, parts, calibration, portfolios, losses."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kline_core._text import markdown_table, table
from kline_core.bars.symbol_bars import BarsBySymbol
from kline_core.evaluation.breakdowns import Breakdown, breakdowns_of
from kline_core.evaluation.calibration import Calibration, calibration_of, realised_wins
from kline_core.evaluation.change_points import ChangePoint, RollingIC, change_points, rolling_ic
from kline_core.evaluation.decay import Decay, decay_of
from kline_core.evaluation.estimate import MIN_SYMBOLS, across_sessions
from kline_core.evaluation.information_coefficient import CrossSectionIC, cross_section_rank_ic
from kline_core.evaluation.mean_errors import MeanError, newey_west, overlapping_blocks
from kline_core.evaluation.multiple_testing import Tries, tries_of
from kline_core.evaluation.panel import Panel
from kline_core.evaluation.permutation import permutation_p
from kline_core.evaluation.persistence import Autocorrelation, autocorrelations
from kline_core.evaluation.portfolios import SPREAD, Portfolios, portfolios_of
from kline_core.settings import Settings
from kline_core.typing import Floats64

_PART_HEAD = ("part", "rank IC across", "sessions", "p", "p of all parts")
_PORTFOLIO_HEAD = ("portfolio", "gross a year", "net a year", "volatility", "traded a session", "drawdown")
_BIN_HEAD = ("values", "samples", "mean value", "realised win")


@dataclass(frozen=True, slots=True)
class Losses:
    """Where samples are lost on the way to the rank IC across symbols: the steps add up to the samples."""

    samples: int
    failed: int
    """Without a value."""
    without_bar: int
    """Values on days without a traded bar by now."""
    across_jumps: int
    """Values whose return lies across an unexplained jump."""
    not_known_yet: int
    """Values whose return is not known yet."""
    thin: int
    """Pairs on sessions with fewer than five of them, or whose values or returns are all equal."""
    used: int


@dataclass(frozen=True, slots=True)
class Details:
    """What stands beside the verdict. Everything is of the return over the horizon that the verdict judges."""

    icir: float
    """Mean of the rank IC by session over its standard deviation, per session and not per year; NaN if undefined."""
    newey_west: MeanError
    """Of the mean rank IC across symbols."""
    overlapping_blocks: MeanError
    permutation_p: float
    """NaN for too few sessions."""
    tries: Tries
    decay: Decay
    rolling: list[RollingIC]
    changes: list[ChangePoint]
    breakdowns: list[Breakdown]
    calibration: Calibration
    portfolios: Portfolios
    autocorrelation: list[Autocorrelation]
    losses: Losses

    def lines(self) -> Iterator[str]:
        """The findings, one a line."""
        yield f"Warning: {self.tries.warning}"
        if not math.isnan(self.icir):
            yield (
                f"Rank IC across: ICIR {self.icir:+.3f} a session; {_error('Newey-West', self.newey_west)}; "
                f"{_error('overlapping blocks', self.overlapping_blocks)}; permutation p {_number(self.permutation_p)} "
                "(sessions whose returns do not overlap alone)."
            )
        decay = self.decay
        if not math.isnan(decay.horizon_p):
            where = "none" if decay.horizon is None else f"{decay.horizon} bars"
            fades = f"half-life {decay.half_life:.1f} ± {decay.half_life_se:.1f} bars"
            yield (
                f"Horizon of the largest IC beyond noise: {where} (p {decay.horizon_p:.2g}); "
                f"{fades if decay.reason is None else f'no half-life: {decay.reason}'}."
            )
        if self.rolling:
            changed = ", ".join(f"{c.date} ({c.before:+.3f} to {c.after:+.3f}, p {c.p:.2g})" for c in self.changes)
            yield f"Changes of the level of the IC: {changed or 'none found'}."
        yield self._calibration_line()
        kept = ", ".join(
            f"{each.value:+.2f} over {each.lag}" for each in self.autocorrelation if not math.isnan(each.value)
        )
        yield f"Rank autocorrelation of values, by sessions: {kept or 'too few symbols share sessions'}."
        yield self._portfolio_line()
        lost = self.losses
        yield (
            f"Samples: {lost.samples} = {lost.used} used across symbols + {lost.failed} failed + {lost.without_bar} "
            f"without a bar + {lost.across_jumps} across jumps + {lost.not_known_yet} not known yet + {lost.thin} on "
            "thin sessions."
        )

    def tables(self) -> Iterator[tuple[str, tuple[str, ...], list[list[object]]]]:
        """Title, head and rows of each table."""
        for each in self.breakdowns:
            yield f"Rank IC by {each.by}", _PART_HEAD, part_rows(each)
        if self.calibration.bins:
            yield "Calibration: realised win by value", _BIN_HEAD, bin_rows(self.calibration)
        if self.portfolios.portfolios:
            found = self.portfolios
            title = (
                f"Portfolios, {found.sessions} sessions, {100 * found.invested:.0f} % invested, costs of "
                f"{10_000 * found.cost:.0f} basis points a side; drawdown after costs"
            )
            yield title, _PORTFOLIO_HEAD, portfolio_rows(found)

    def text(self) -> str:
        """For a terminal."""
        tables = [f"{title}:\n{table(list(head), rows)}" for title, head, rows in self.tables()]
        return "\n\n".join(["\n".join(self.lines()), *tables])

    def markdown(self) -> str:
        """For a page."""
        tables = [f"### {title}\n\n{markdown_table(head, rows)}" for title, head, rows in self.tables()]
        return "\n\n".join(["### Beside the verdict", "\n".join(f"- {line}" for line in self.lines()), *tables])

    def _portfolio_line(self) -> str:
        found = self.portfolios
        if found.reason is not None:
            return f"No portfolios: {found.reason}."
        spread = next(each for each in found.portfolios if each.name == SPREAD)
        far = "" if math.isnan(found.spread_error.se) else f", {_far(found.spread_error)}"
        return (
            f"Highest less lowest fifth: {100 * spread.gross_year:+.1f} % a year before costs{far}; "
            f"{100 * spread.net_year:+.1f} % after costs of {10_000 * found.cost:.0f} basis points a side."
        )

    def _calibration_line(self) -> str:
        found = self.calibration
        if found.reason is not None and math.isnan(found.brier):
            return f"No calibration: {found.reason}."
        slope = f"no slope: {found.reason}"
        if found.reason is None:
            far = found.critical * found.slope_se
            slope = f"slope {found.slope:+.3f} ± {found.slope_se:.3f}, 95 % from {found.slope - far:+.3f} to "
            slope += f"{found.slope + far:+.3f}; 1 if values were probabilities, 0 if they say nothing"
        return f"Calibration: {slope}; Brier {found.brier:.3f}, best constant {found.brier_constant:.3f}."


def details_of(
    panel: Panel, frames: BarsBySymbol, settings: Settings, p: float, tried: int, samples: int, failed: int, cost: float
) -> Details:
    """The details of a panel.

    `p`: of the figure that the verdict judges. `tried`: settings with values. `samples`, `failed`: all samples, and
    those without a value. `cost`: of the portfolios, see `portfolios_of`.
    """
    steps, horizon = settings.patterns, settings.factor.return_horizon
    returns, apart = panel.forward[:, steps.horizons.index(horizon)], horizon + steps.entry_lag_bars
    ic = cross_section_rank_ic(panel.sessions, panel.values, returns, apart, MIN_SYMBOLS)
    spread = float(ic.by_session.std(ddof=1)) if len(ic.by_session) > 1 else 0.0
    barrier_apart = steps.entry_lag_bars + max(horizon, steps.barrier_bars)
    wins = realised_wins(panel, frames, settings)
    return Details(
        icir=ic.value / spread if spread > 0 and across_sessions(ic).known else float("nan"),
        newey_west=newey_west(ic.by_session, apart),
        overlapping_blocks=overlapping_blocks(ic.by_session, apart),
        permutation_p=permutation_p(panel.sessions, panel.values, returns, apart),
        tries=tries_of(p, tried),
        decay=decay_of(panel, frames, steps),
        rolling=rolling_ic(ic, panel.days),
        changes=change_points(ic, panel.days, apart),
        breakdowns=breakdowns_of(panel, frames, returns, apart),
        calibration=calibration_of(panel.sessions, panel.values, wins, barrier_apart),
        portfolios=portfolios_of(panel, frames, settings, cost),
        autocorrelation=autocorrelations(panel.symbol, panel.sessions, panel.values),
        losses=_losses(panel, returns, ic, samples, failed),
    )


def part_rows(found: Breakdown) -> list[list[object]]:
    """Rows of the table of a breakdown."""
    return [
        [part.name, str(part.rank_ic), part.rank_ic.n, _number(part.p), _number(part.p_holm)] for part in found.parts
    ]


def bin_rows(found: Calibration) -> list[list[object]]:
    """Rows of the table of the calibration."""
    width = 1 / len(found.bins)
    return [
        [
            f"{each.lowest:.1f} to {each.lowest + width:.1f}",
            each.samples,
            f"{each.value:.3f}" if each.samples else "-",
            f"{each.win:.3f}{'' if math.isnan(each.se) else f' ± {each.se:.3f}'}" if each.samples else "-",
        ]
        for each in found.bins
    ]


def portfolio_rows(found: Portfolios) -> list[list[object]]:
    """Rows of the table of the portfolios."""
    return [
        [
            each.name,
            *(f"{100 * share:+.1f} %" for share in (each.gross_year, each.net_year)),
            *(f"{100 * share:.1f} %" for share in (each.volatility_year, each.traded, each.drawdown)),
        ]
        for each in found.portfolios
    ]


def _losses(panel: Panel, returns: Floats64, ic: CrossSectionIC, samples: int, failed: int) -> Losses:
    there = ~np.isnan(panel.values)
    pairs = there & ~np.isnan(returns)
    used = int(np.isin(panel.sessions[pairs], ic.sessions).sum())
    across = sum(part.across_jumps for part in panel.symbols)
    return Losses(
        samples=samples,
        failed=failed,
        without_bar=panel.without_bar,
        across_jumps=across,
        not_known_yet=int(there.sum()) - int(pairs.sum()) - across,
        thin=int(pairs.sum()) - used,
        used=used,
    )


def _error(name: str, found: MeanError) -> str:
    if math.isnan(found.se):
        return f"{name} -"
    return f"{name} ± {found.se:.3f} ({_far(found)})"


def _far(found: MeanError) -> str:
    return f"{found.distance:.1f} of {found.critical:.1f} errors that 5 % ask for"


def _number(p: float) -> str:
    return "-" if math.isnan(p) else f"{p:.2g}"
