"""Tables of symbols: every one of a run by its value, and the highest and lowest."""

from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from kline_core.compute.run_report import RunReport, SymbolResult
from kline_core.evaluation.session_change import Change
from kline_core.factor.stored_values import ranking

_DIGITS = 4
MEAN: Final = "mean outcome"


class SymbolTables:
    """Symbols of a run with their newest values.

    Args:
        report: The run.
        latest: Newest sample of each symbol, as `latest_values` gives them.
        change: What came before; None if that is not known.
        weighted: Weighted mean outcome by symbol, as `weighted_outcomes` gives it.
    """

    def __init__(
        self, report: RunReport, latest: pd.DataFrame, change: Change | None, weighted: Mapping[str, float]
    ) -> None:
        self._report, self._latest, self._weighted = report, latest, weighted
        self._samples = {str(row["symbol"]): row for row in latest.to_dict("records")}
        self._session = latest["date"].max()
        there = latest[(latest["date"] == self._session) & latest["value"].notna()]
        self._now = {str(symbol): float(value) for symbol, value in zip(there["symbol"], there["value"], strict=True)}
        # Of another session than the newest one, where that has too few symbols.
        known = change is not None and change.day is not None and pd.Timestamp(change.day) == self._session
        self._before = change.earlier if change is not None and known else {}
        self._rank, self._rank_before = _ranks(self._now), _ranks(self._before)

    def all(self) -> list[dict[str, Any]]:
        """One row per symbol, the highest value first; then those whose value is older, then those without one."""
        return sorted(map(self._row, self._report.symbols), key=_place)

    def extremes(self) -> list[dict[str, Any]]:
        """The highest and the lowest values of the newest session, best first; none if no symbol has one."""
        rows = []
        for row in ranking(self._latest).to_dict("records"):
            symbol = str(row["symbol"])
            value = {"rank": row["rank"], "symbol": symbol, "value": _rounded(row["value"])}
            rows.append(value | self._changes(symbol) | {"matches": row["matches"]} | self._outcomes(symbol))
        return rows

    def _row(self, result: SymbolResult) -> dict[str, Any]:
        symbol = result.symbol
        sample = self._samples.get(symbol)
        newest = None if sample is None else str(sample["date"].date())
        counts = {"samples": result.samples, "done": result.done, "failed": result.failed, "re-used": result.reused}
        return (
            {
                "rank": self._rank.get(symbol),
                "symbol": symbol,
                "value": None if sample is None else _rounded(sample["value"]),
            }
            | self._changes(symbol)
            | {"problem": self._problem(result, sample)}
            | self._outcomes(symbol)
            | {"newest": newest}
            | counts
        )

    def _changes(self, symbol: str) -> dict[str, Any]:
        if symbol not in self._now or symbol not in self._before:
            return {"change": None, "rank change": None}
        moved = self._rank_before[symbol] - self._rank[symbol]
        return {"change": _rounded(self._now[symbol] - self._before[symbol]), "rank change": moved}

    def _outcomes(self, symbol: str) -> dict[str, Any]:
        mean = self._samples[symbol]["return_mean"] if symbol in self._now else None
        return {MEAN: _rounded(mean), f"weighted {MEAN}": _rounded(self._weighted.get(symbol))}

    def _problem(self, result: SymbolResult, sample: dict[Any, Any] | None) -> str | None:
        if result.problem is not None or sample is None:
            return result.problem
        if not pd.isna(sample["reason"]):
            return str(sample["reason"])
        return None if sample["date"] == self._session else f"no value of {self._session.date()}"


def _ranks(values: Mapping[str, float]) -> dict[str, int]:
    """Rank of each symbol from 1, in the order of `ranking`."""
    ordered = sorted(values, key=lambda symbol: (-values[symbol], symbol))
    return {symbol: rank for rank, symbol in enumerate(ordered, start=1)}


def _place(row: dict[str, Any]) -> tuple[bool, bool, float, str]:
    value = row["value"]
    return value is None, row["rank"] is None, row["rank"] or -(value or 0.0), row["symbol"]


def _rounded(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else round(float(value), _DIGITS)
