"""Portfolios by quantile of the value: what holding them would have brought, with turnover, costs and drawdown.

1. On each session with at least `MIN_RANKED` values they are ranked, and each fifth becomes a *cohort* of equal
   weights. Only the values decide: who is ranked does not depend on what followed.
2. A cohort enters at the close `entry_lag_bars` sessions later and is held for `return_horizon` sessions. A portfolio
   holds the cohorts of that many sessions side by side, each with an equal share of the money (N. Jegadeesh and S.
   Titman, Returns to Buying Winners and Selling Losers, Journal of Finance 48, 1993). The share of a session without a
   cohort stays in cash, which earns nothing.
3. At each close the weights are set anew. *Traded* is the sum of |new weight - weight as prices left it|, bought and
   sold, as a share of the portfolio; costs are a share of it, `COST` unless another is asked for.
4. Holding is counted in sessions, so that portfolios share their days. A suspended share keeps its price until it
   trades again, and one that is gone keeps its last one. The change of an unexplained jump counts as no change.
5. *Highest less lowest* holds the highest fifth and owes the lowest. Borrowing is free and always possible in it, which
   it is not on a market; limits of the day's price are not looked at either. What remains is an upper bound.

A home's samples are spread over each symbol's own dates. Where fewer than half of the sessions have enough values, from
the first such session to the last, or fewer than `MIN_RANKED_SESSIONS` have, there are no portfolios, and a reason.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from kline_core._text import quoted
from kline_core.bars.symbol_bars import BarsBySymbol
from kline_core.dates import month_ends
from kline_core.errors import SettingError
from kline_core.evaluation.mean_errors import MeanError, newey_west
from kline_core.evaluation.panel import Panel
from kline_core.evaluation.quantiles import GROUPS, group_of
from kline_core.settings import Settings
from kline_core.typing import Dates, Floats64, Int64s

COST: Final = 0.001
"""Cost of what is bought, and of what is sold, as a share of it: ten basis points."""
MOST_COST: Final = 0.1
"""Beyond it a cost is likelier meant in percent or basis points."""
SPREAD: Final = "highest less lowest"
MIN_RANKED: Final = 2 * GROUPS
MIN_RANKED_SESSIONS: Final = 60


@dataclass(frozen=True, slots=True)
class Portfolio:
    """One portfolio over all sessions. Shares of its worth, not percent."""

    name: str
    gross: float
    """Mean return per session before costs."""
    net: float
    """After costs."""
    gross_year: float
    """Mean return before costs times the sessions of a year."""
    net_year: float
    volatility_year: float
    """Standard deviation of net returns times the root of the sessions of a year."""
    traded: float
    """Mean share bought and sold per session."""
    drawdown: float
    """Largest fall of the net worth from its highest until then; 0 to 1, and above 1 for a worth below nothing."""


@dataclass(frozen=True, slots=True)
class Worth:
    """Net worth of all portfolios at the end of a month, from 1."""

    date: np.datetime64
    """datetime64[D]"""
    worth: list[float]
    """In the order of the portfolios."""


@dataclass(frozen=True, slots=True)
class Portfolios:
    """Portfolios by quantile: fifths from the lowest, highest less lowest, and all that were ranked."""

    cost: float
    """Of what is bought or sold, as a share of it."""
    sessions: int
    """Sessions on which something was held."""
    invested: float
    """Mean share of the money that was not in cash."""
    portfolios: list[Portfolio]
    spread_error: MeanError
    """Of the mean gross return per session of highest less lowest."""
    worth: list[Worth]
    reason: str | None
    """Why there are no portfolios; None if there are."""


def check_cost(cost: float) -> None:
    """Raise `SettingError` unless a cost is a share from 0 to `MOST_COST`."""
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 <= cost <= MOST_COST:
        raise SettingError(
            f"cost is {quoted(cost)}; it must be a share of what is bought or sold from 0 to {MOST_COST}, such as "
            "0.001 for ten basis points",
            parameter="cost",
            value=cost,
            bound=f"0 to {MOST_COST}",
        )


def portfolios_of(panel: Panel, frames: BarsBySymbol, settings: Settings, cost: float = COST) -> Portfolios:
    """The portfolios of a panel's values; `cost` as a share of what is bought or sold."""
    cohorts = cohorts_of(panel.sessions, panel.symbol, panel.values)
    ranked = sorted(cohorts)
    span = ranked[-1] - ranked[0] + 1 if ranked else 0
    if len(ranked) < MIN_RANKED_SESSIONS or 2 * len(ranked) < span:
        reason = (
            f"{len(ranked)} of {span} sessions have {MIN_RANKED} or more values; at least {MIN_RANKED_SESSIONS}, and "
            "half of those from the first to the last, are needed"
        )
        nan = float("nan")
        return Portfolios(cost, 0, nan, [], MeanError(nan, nan, nan), [], reason)
    lag, held = settings.patterns.entry_lag_bars, settings.factor.return_horizon
    # One session more than the last cohort is held for, in which it is sold.
    first, last = ranked[0] + lag + 1, min(ranked[-1] + lag + held + 1, len(panel.days) - 1)
    days = np.arange(first, last + 1)
    returns = session_returns(panel, frames)
    sides = [
        _held({at: groups[group] for at, groups in cohorts.items()}, returns, days, lag, held)
        for group in range(GROUPS)
    ]
    everything = _held({at: np.concatenate(groups) for at, groups in cohorts.items()}, returns, days, lag, held)
    low, high = sides[0], sides[-1]
    spread = high.gross - low.gross, high.traded + low.traded
    named = [(f"fifth {at + 1}", side.gross, side.traded) for at, side in enumerate(sides)]
    named += [(SPREAD, *spread), ("all ranked", everything.gross, everything.traded)]
    calendar = panel.days[days]
    curves = np.column_stack([np.cumprod(1 + gross - cost * traded) for _, gross, traded in named])
    return Portfolios(
        cost=cost,
        sessions=len(days),
        invested=float(everything.invested.mean()),
        portfolios=[_portfolio(name, gross, traded, cost, calendar) for name, gross, traded in named],
        spread_error=newey_west(spread[0], 2),
        worth=_by_month(calendar, curves),
        reason=None,
    )


def cohorts_of(sessions: Int64s, symbol: Int64s, values: Floats64) -> dict[int, list[Int64s]]:
    """Symbols of each group by session, for sessions with at least `MIN_RANKED` values; a group may be empty."""
    use = ~np.isnan(values)
    order = np.argsort(sessions[use], kind="stable")
    days, symbol, values = sessions[use][order], symbol[use][order], values[use][order]
    grouped = pd.Series(values).groupby(days)
    rank = np.asarray(grouped.rank(), dtype=np.float64)
    group = group_of(rank, grouped.transform("size").to_numpy(np.int64))
    names, first, size = np.unique(days, return_index=True, return_counts=True)
    found = {}
    for day, start, count in zip(names.tolist(), first.tolist(), size.tolist(), strict=True):
        if count >= MIN_RANKED:
            mine = slice(start, start + count)
            found[day] = [symbol[mine][group[mine] == at] for at in range(GROUPS)]
    return found


def session_returns(panel: Panel, frames: BarsBySymbol) -> Floats64:
    """Return of each symbol on each session, float64 (days, symbols): 0 where it does not trade, and for a jump."""
    found = np.zeros((len(panel.days), len(panel.symbols)))
    for column, part in enumerate(panel.symbols):
        bars = frames[part.symbol]
        change = np.where(bars.jumps[1:], 0.0, bars.close[1:] / bars.close[:-1] - 1.0)
        found[np.searchsorted(panel.days, bars.dates[1:]), column] = change
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """One portfolio by session, float64 (s,) each."""

    gross: Floats64
    traded: Floats64
    invested: Floats64


def _held(cohorts: dict[int, Int64s], returns: Floats64, days: Int64s, lag: int, held: int) -> _Held:
    weights = np.zeros(returns.shape[1])
    rows = []
    for day in days.tolist():
        target = np.zeros(returns.shape[1])
        for formed in range(day - lag - held, day - lag):
            members = cohorts.get(formed)
            if members is not None and len(members):
                target[members] += 1.0 / (held * len(members))
        traded = float(np.abs(target - weights).sum())
        gross = float(target @ returns[day])
        rows.append((gross, traded, float(target.sum())))
        weights = target * (1.0 + returns[day]) / (1.0 + gross)
    return _Held(*np.array(rows).T)


def _portfolio(name: str, gross: Floats64, traded: Floats64, cost: float, days: Dates) -> Portfolio:
    net = gross - cost * traded
    years = (days[-1] - days[0]).astype(np.int64) / 365.25
    per_year = (len(days) - 1) / years
    worth = np.concatenate([[1.0], np.cumprod(1.0 + net)])
    return Portfolio(
        name=name,
        gross=float(gross.mean()),
        net=float(net.mean()),
        gross_year=float(gross.mean() * per_year),
        net_year=float(net.mean() * per_year),
        volatility_year=float(net.std(ddof=1) * math.sqrt(per_year)),
        traded=float(traded.mean()),
        drawdown=float((1.0 - worth / np.maximum.accumulate(worth)).max()),
    )


def _by_month(days: Dates, curves: Floats64) -> list[Worth]:
    last = month_ends(days)
    return [Worth(day, row.tolist()) for day, row in zip(days[last], curves[last], strict=True)]
