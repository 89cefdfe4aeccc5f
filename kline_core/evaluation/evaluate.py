"""Evaluation of stored values: how well they ranked the forward returns, by horizon, quantile and year.

1. Values are read as they are stored; nothing is computed again.
2. Each is joined with the forward returns of its symbol over every horizon, measured from the entry as for patterns.
3. Across symbols: on each session with enough symbols, the correlation of values with returns; then its mean over
   sessions. This is the measure to trust, since symbols of one day share the market's move. Sessions are the days on
   which any of the symbols traded.
4. Over time: the rank correlation within each symbol; then its mean over symbols. Its standard error assumes that the
   symbols move together. It needs no shared dates, so a home with few symbols still has it.
5. Beside it stands what a sceptic asks for (`kline_core.evaluation.details`): other errors, a permutation test, decay,
   parts, calibration, portfolios, losses.
6. The verdict judges one figure that is chosen beforehand, rank IC with the return over the settings' `return_horizon`:
   of many figures one is always far from zero.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kline_core._setting_types import check
from kline_core.bars.jumps import released
from kline_core.bars.members import known_membership
from kline_core.bars.symbol_bars import BarsBySymbol, bars_by_symbol
from kline_core.by_year import Fingerprint, all_fingerprints
from kline_core.encoder.year_folder import stored_under
from kline_core.errors import DateError, InputError, SettingError
from kline_core.evaluation.details import details_of
from kline_core.evaluation.estimate import MIN_SYMBOLS, Estimate, across_sessions
from kline_core.evaluation.information_coefficient import (
    cross_section_ic,
    cross_section_rank_ic,
    pooled_rank_ic,
    time_series_rank_ic,
)
from kline_core.evaluation.panel import Panel
from kline_core.evaluation.portfolios import COST, check_cost
from kline_core.evaluation.quantiles import quantile_returns
from kline_core.evaluation.report import Evaluation, HorizonIC, YearCoverage
from kline_core.factor.export import symbols_with_values, tell_empty_years, why_no_values
from kline_core.settings import Settings
from kline_core.store.home import Home
from kline_core.store.schemas import FAILED, OK

OF: Final = ("value", "many")
"""Figures that can be judged."""
_SECOND: Final = ("many_rank", "many_reason")
MOST_VALUE: Final = 1e100
"""Largest size of a value of any origin, whose square is still a number."""


def evaluate_values(
    home: Home,
    settings: Settings = Settings(),  # noqa: B008  immutable
    encoder_path: str | Path | None = None,
    fingerprint: str | None = None,
    symbols: Sequence[str] | None = None,
    first: np.datetime64 | None = None,
    last: np.datetime64 | None = None,
    universe: str | None = None,
    details: bool = True,
    cost: float = COST,
    of: str = "value",
) -> Evaluation:
    """Evaluate stored values against the present bars of the home.

    Args:
        home: Home with the values.
        settings: Horizons and entry lag of the returns, and with the encoder the fingerprint if none is named.
        encoder_path: Weights of the encoder, or a folder with an encoder for each year; None for the default ones.
        fingerprint: Fingerprint of the values; None for that of `settings` and the encoder.
        symbols: Only these, as `resolve_symbols` takes them; None for all that have values.
        first: First sample date, datetime64[D]; None for the first that is stored.
        last: Last sample date, datetime64[D]; None for the last that is stored.
        universe: Only samples of days on which the symbol was a member of this index, by the newest list not after the
            day (`kline_core.bars.members`); None for all.
        details: Whether to work out what stands beside the verdict (`Evaluation.details`): most of the time.
        cost: Of what the portfolios buy and of what they sell, as a share of it, up to `MOST_COST`.
        of: Which figure, one of `OF`: the value, or the second one, from many (`kline_core.factor.many`).

    Raises:
        HomeError: The home holds no values.
        FingerprintError: No values are stored under this fingerprint.
        UnknownSymbolError: A symbol that is named has no values.
        AmbiguousSymbolError: Several symbols with values may be meant.
        DateError: No values are stored of these dates, or none of a member.
        SettingError: `symbols` is empty, `cost` is none, `of` is none of `OF` or the values have no second one, or the
            home keeps no members of the universe.
        EncoderError: The weights cannot be read.
    """
    check_cost(cost)
    check(of in OF, "of", of, f"one of {', '.join(map(repr, OF))}")
    wanted = fingerprint if fingerprint is not None else stored_under(settings, encoder_path)
    rows = stored_rows(home, wanted, symbols, first, last, _SECOND if of == "many" else ())
    if of == "many":
        rows = _second_values(rows, wanted)
    asked = rows.num_rows
    if universe is not None:
        rows = _of_members(home, rows, universe)
    names = rows["symbol"].unique().to_pylist()
    columns = ["symbol", "date", "open", "high", "low", "close", "volume", "adj_factor", "suspended"]
    version = home.version("bars")
    bars = home.read("bars", columns, version, symbols=names)
    frames = bars_by_symbol(bars, releases=released(home.notes(version)))
    tried = tried_settings(home, wanted) if details else 1
    found = evaluate_frame(rows, frames, settings, name=str(wanted), tried=tried, details=details, cost=cost)
    return replace(found, universe=universe, outside=asked - rows.num_rows, of=of)


def tried_settings(home: Home, judged: Fingerprint) -> int:
    """Settings of which the home holds values; those of each year's encoder that are judged together count once."""
    stored = set(home.read("factors", ["fingerprint"])["fingerprint"].unique().to_pylist())
    return 1 + len(stored - all_fingerprints(judged))


def evaluate_frame(
    values: pa.Table | pd.DataFrame,
    frames: BarsBySymbol,
    settings: Settings = Settings(),  # noqa: B008  immutable
    *,
    name: str = "values",
    tried: int = 1,
    details: bool = True,
    cost: float = COST,
) -> Evaluation:
    """Evaluate values of any origin against bars: the same rules and the same errors for all.

    Args:
        values: At least one row per sample, columns symbol, date and value (float, NaN or null if it failed); perhaps
            status and reason as in the `factors` table, else all without a value failed for one reason.
        frames: Bars of the symbols.
        settings: Horizons and entry lag of the returns, barriers and weights of the realised win.
        name: Stands as the fingerprint of the result.
        tried: Settings that were tried, this one included, for the warning.
        details: Whether to work out what stands beside the verdict.
        cost: Of what the portfolios buy and of what they sell, as a share of it, up to `MOST_COST`.

    Raises:
        InputError: There is no row, or a value is infinite or beyond `MOST_VALUE`.
        SettingError: `cost` is none.
    """
    check_cost(cost)
    rows = as_rows(values)
    return evaluate_panel(rows, joined_panel(rows, frames, settings), frames, settings, name, tried, details, cost)


def joined_panel(rows: pa.Table, frames: BarsBySymbol, settings: Settings) -> Panel:
    """Rows as `as_rows` gives them beside the returns that followed. Raises as `evaluate_frame`."""
    _check_rows(rows)
    return Panel.of(rows, frames, settings)


def evaluate_panel(
    rows: pa.Table,
    joined: Panel,
    frames: BarsBySymbol,
    settings: Settings,
    name: str,
    tried: int = 1,
    details: bool = True,
    cost: float = COST,
) -> Evaluation:
    """`evaluate_frame` of rows that are joined already, see `joined_panel`."""
    ok = pc.equal(rows["status"], OK)
    scored, failed = rows.filter(ok), Counter(rows.filter(pc.invert(ok))["reason"].to_pylist())
    dates = rows["date"].to_numpy().astype("datetime64[D]")
    if joined.n_values + joined.without_bar != scored.num_rows:
        raise AssertionError(f"{scored.num_rows} values, {joined.n_values} joined, {joined.without_bar} without a bar")
    steps, horizon = settings.patterns, settings.factor.return_horizon
    horizons = [_horizon(joined, at, bars, bars + steps.entry_lag_bars) for at, bars in enumerate(steps.horizons)]
    main = steps.horizons.index(horizon)
    beside = None
    if details:
        lost = rows.num_rows - scored.num_rows
        beside = details_of(joined, frames, settings, horizons[main].p, tried, rows.num_rows, lost, cost)
    return Evaluation(
        fingerprint=name,
        samples=rows.num_rows,
        values=scored.num_rows,
        failed=dict(failed.most_common()),
        seen=scored.num_rows - scored["reason"].null_count,
        without_bar=joined.without_bar,
        across_jumps=sum(part.across_jumps for part in joined.symbols),
        symbols=len(rows["symbol"].unique()),
        first=dates.min(),
        last=dates.max(),
        horizon=horizon,
        horizons=horizons,
        quantiles=quantile_returns(
            joined.sessions,
            joined.values,
            joined.forward[:, main],
            horizon + steps.entry_lag_bars,
            MIN_SYMBOLS if horizons[main].rank_ic.known else None,
        ),
        coverage=_coverage(rows),
        details=beside,
    )


def _check_rows(rows: pa.Table) -> None:
    if rows.num_rows == 0:
        raise InputError("there is no row to evaluate; give at least one per sample", source="values")
    value = rows["value"].to_numpy().astype(np.float64)
    with np.errstate(invalid="ignore"):
        beyond = np.flatnonzero(np.abs(value) > MOST_VALUE)
    if len(beyond):
        row = int(beyond[0])
        symbol, date = rows["symbol"][row], rows["date"][row]
        raise InputError(
            f"the value of {symbol} on {date} is {value[row]:g}; values must lie between -{MOST_VALUE:g} and "
            f"{MOST_VALUE:g}, and NaN where there is none",
            source="values",
            column="value",
            row=row,
            value=float(value[row]),
        )


def as_rows(values: pa.Table | pd.DataFrame) -> pa.Table:
    """Rows with status and reason, as the `factors` table has them."""
    rows = pa.Table.from_pandas(values, preserve_index=False) if isinstance(values, pd.DataFrame) else values
    if "status" in rows.column_names:
        return rows
    value = rows["value"].to_numpy().astype(np.float64)
    columns = {
        "symbol": rows["symbol"].cast(pa.string()),
        "date": pa.array(rows["date"].to_numpy().astype("datetime64[D]")),
        "value": pa.array(value, from_pandas=True),
        "status": pa.array(np.where(np.isnan(value), FAILED, OK)),
        "reason": pa.array(["no value" if missing else None for missing in np.isnan(value)], pa.string()),
    }
    return pa.table(columns)


def stored_rows(
    home: Home,
    fingerprint: Fingerprint,
    symbols: Sequence[str] | None,
    first: np.datetime64 | None,
    last: np.datetime64 | None,
    beside: Sequence[str] = (),
) -> pa.Table:
    """The rows that are asked for, at least one, with columns `beside` those of a value."""
    if symbols is not None and len(symbols) == 0:
        raise SettingError(
            "symbols is empty; name at least one, or leave it out for all",
            parameter="symbols",
            value=symbols,
            bound="at least one",
        )
    names = None if symbols is None else symbols_with_values(home, fingerprint, symbols)
    columns = ["symbol", "date", "value", "status", "reason", *beside]
    rows = home.read("factors", columns, symbols=names, fingerprint=fingerprint)
    if rows.num_rows == 0:
        raise why_no_values(home, fingerprint)
    tell_empty_years(home, fingerprint)
    dates = rows["date"].to_numpy().astype("datetime64[D]")
    chosen = np.ones(len(dates), dtype=bool)
    for bound, inside in ((first, np.greater_equal), (last, np.less_equal)):
        if bound is not None:
            chosen &= inside(dates, bound)
    if not chosen.any():
        raise DateError(
            f"no values are stored from {first or 'the first'} to {last or 'the last'}; they are of {dates.min()} to "
            f"{dates.max()}",
            value=(first, last),
        )
    return rows.filter(pa.array(chosen))


def _second_values(rows: pa.Table, fingerprint: Fingerprint) -> pa.Table:
    """Rows with the second value, from many, in the place of the value; one without it has failed, with its reason."""
    rank, why_none = (rows[name] for name in _SECOND)
    if rank.null_count == why_none.null_count == len(rows):
        raise SettingError(
            f"of is 'many', and the values under fingerprint {fingerprint} have no second one; compute it with "
            "`kline run --many N`, and name the same N here",
            parameter="of",
            value="many",
            bound="'value'",
        )
    there, ok = rank.is_valid(), pc.equal(rows["status"].cast(pa.string()), OK)
    # Of a value that failed, the reason is its own.
    mark = pc.if_else(ok, rows["reason"].cast(pa.string()), None)
    reason = pc.if_else(there, mark, pc.coalesce(why_none.cast(pa.string()), rows["reason"].cast(pa.string())))
    columns = {"value": rank, "status": pc.if_else(there, OK, FAILED), "reason": reason}
    return pa.table({name: columns.get(name, rows[name]) for name in ("symbol", "date", "value", "status", "reason")})


def _of_members(home: Home, rows: pa.Table, universe: str) -> pa.Table:
    """Rows of days on which their symbol was a member, at least one."""
    kept = known_membership(home, universe)
    dates = rows["date"].to_numpy().astype("datetime64[D]")
    inside = kept.holds(np.array(rows["symbol"].to_pylist(), dtype=object), dates)
    if not inside.any():
        raise DateError(
            f"no value is of a day on which its symbol was a member of {universe}: members are known from "
            f"{kept.dates[0]} on, and values are stored of {dates.min()} to {dates.max()}; fetch earlier members with "
            "--members-since where the source can tell them",
            parameter="universe",
            value=universe,
        )
    return rows.filter(pa.array(inside))


def _horizon(joined: Panel, at: int, horizon: int, apart: int) -> HorizonIC:
    returns = joined.forward[:, at]
    over_time = pooled_rank_ic(
        (time_series_rank_ic(one.bars, one.values, one.forward[:, at], apart) for one in joined.symbols), together=True
    )
    pairs = int((~np.isnan(joined.values) & ~np.isnan(returns)).sum())
    missing = None
    if pairs == 0:
        missing = "no value has a known return yet" if joined.n_values else "there is no value"
    alone = missing or "no symbol has three values whose returns do not overlap"
    return HorizonIC(
        horizon=horizon,
        pairs=pairs,
        rank_ic=across_sessions(
            cross_section_rank_ic(joined.sessions, joined.values, returns, apart, MIN_SYMBOLS), missing
        ),
        ic=across_sessions(cross_section_ic(joined.sessions, joined.values, returns, apart, MIN_SYMBOLS), missing),
        over_time=Estimate(
            over_time.value, over_time.se, over_time.symbols, alone if np.isnan(over_time.value) else None
        ),
    )


def _coverage(rows: pa.Table) -> list[YearCoverage]:
    frame = pd.DataFrame(
        {
            "symbol": rows["symbol"].to_numpy(zero_copy_only=False),
            "date": rows["date"].to_numpy().astype("datetime64[s]"),
            "ok": pc.equal(rows["status"], OK).to_numpy(zero_copy_only=False),
        }
    )
    found = []
    for year, part in frame.groupby(frame["date"].dt.year):
        values = part[part["ok"]]
        counts = len(part), len(values), values["symbol"].nunique(), values["date"].nunique()
        found.append(YearCoverage(int(str(year)), *counts))
    return found
