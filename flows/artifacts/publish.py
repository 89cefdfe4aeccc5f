"""Artifacts of a daily run, and pictures of all flows."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import numpy as np
import pandas as pd
from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext

from flows.artifacts.board import with_values
from flows.artifacts.board_series import scope_of, show_values
from flows.artifacts.coverage import coverage
from flows.artifacts.links import artifact_links, run_link, series_link
from flows.artifacts.summary import Summary
from flows.artifacts.symbols import MEAN, SymbolTables
from flows.common.artifact_keys import artifact_key, market_key, symbol_key
from flows.common.ending import cancellable
from kline_core._text import counted
from kline_core.bars.sessions import ending, trading_day
from kline_core.errors import KlineError
from kline_core.plots.factor_plots import values_picture

Draw = Callable[[str, np.datetime64], bytes]
CHOSEN_DRAWN: Final = 5
"""Most chosen symbols whose history is drawn, one picture each."""


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """What a daily run found, and how to draw it."""

    summary: Summary
    latest: pd.DataFrame
    """Newest sample of each symbol, as `latest_values` gives them."""
    weighted: Mapping[str, float]
    """Weighted mean outcome by symbol, as `weighted_outcomes` gives it."""
    horizon: int
    """Of the returns that enter the values, in bars."""
    failure: str | None
    """Why the run fails; None if it does not."""
    pictures: Mapping[str, Draw]
    """By the key of their artifact, how to draw one of a symbol on a day; among them its `history`."""
    chosen: Sequence[str] = ()
    """Symbols that somebody asked for; few have their history drawn."""

    @property
    def newest(self) -> np.datetime64 | None:
        """Newest date that any symbol has a sample of; None if there is none."""
        return None if self.latest.empty else np.datetime64(self.latest["date"].max().date(), "D")


def show_picture(png: bytes, key: str, description: str) -> UUID:
    """Publish a picture inside a Markdown artifact, so that the page needs no network; returns its id."""
    # No image artifact, since it shows its URL beneath the picture: here the picture again, as text.
    made: UUID = create_markdown_artifact(_inline(png, description), key=key, description=description)  # type: ignore[assignment]
    return made


@task(task_run_name="publish summary", cache_policy=NO_CACHE)
@cancellable
def publish(results: Results, calendar: str | None) -> str:
    """Publish quality of the bars, all symbols, ranking, pictures, summary and board; returns the result in one line.

    The summary and the board link to the others. Chosen symbols of a market have series of their own, and no board.
    """
    summary, latest = results.summary, results.latest
    made: dict[str, UUID] = {}

    def key(what: str) -> str:
        return market_key("daily", what, calendar, bool(results.chosen))

    def table(what: str, name: str, rows: list[dict[str, Any]], description: str) -> None:
        made[name] = create_table_artifact(rows, key=key(what), description=description)  # type: ignore[assignment]

    outcomes = f"{MEAN}: mean {results.horizon}-bar return of the matches; weighted: by their weights in the value"
    tables = SymbolTables(summary.report, latest, summary.change, results.weighted)
    table("symbols", "all symbols", tables.all(), f"Every symbol of the run, the highest value first; {outcomes}")
    distribution = ""
    if extremes := tables.extremes():
        newest, there = results.newest, latest[latest["date"] == latest["date"].max()]
        table("ranking", "highest and lowest", extremes, f"Highest and lowest values of {newest}; {outcomes}")
        png = values_picture(there["value"].to_numpy(dtype=np.float64), f"Factor values of {newest}")
        said = f"Distribution of the values of {newest}"
        made["distribution"], distribution = show_picture(png, key("values"), said), _inline(png, said)
        made |= _pictures(results, str(extremes[0]["symbol"]), key)
    else:
        get_run_logger().warning("no symbol has a value on the newest day, so nothing is ranked or drawn")
    if (quality := summary.bars.quality) is not None:
        made["quality of the bars"] = create_markdown_artifact(  # type: ignore[assignment]
            quality.markdown(), key=key("quality"), description=quality.headline
        )
    links = artifact_links(made)
    to_board = [] if calendar is None else [series_link("board", artifact_key("board", None, calendar))]
    page = summary.markdown(" · ".join([*links, *to_board]))
    summed: UUID = create_markdown_artifact(page, key=key("summary"), description=summary.headline)  # type: ignore[assignment]
    return _show_board(results, {"summary": summed} | made, distribution)


def _show_board(results: Results, made: Mapping[str, UUID], distribution: str) -> str:
    """Publish the board of the market, if the run is of all its symbols; returns its result in one line."""
    context = FlowRunContext.get()
    assert context is not None, "it is published by a flow"
    run = context.flow_run
    assert run is not None, "it runs"
    summary, scope = results.summary, scope_of(run)
    if scope is None:
        return coverage(summary.report, results.latest, results.newest).line
    found = coverage(summary.report, results.latest, scope.session)
    soon = ending(scope.calendar, scope.session)
    alarms = [*([results.failure] if results.failure else []), *summary.warnings, *([soon] if soon else [])]
    line = "; ".join([found.line, *([counted(len(alarms), "alarm")] if alarms else [])])
    if results.chosen:
        return line
    links = [run_link("run", run.id), *artifact_links(made)]
    following = trading_day(scope.session, scope.calendar).next
    page = with_values(scope, found, summary, alarms, links, distribution, following)
    show_values(scope, run.id, page, line, found.scored, results.failure is not None)
    return line


def _pictures(results: Results, first: str, key: Callable[[str], str]) -> dict[str, UUID]:
    """Draw and publish the pictures of the highest value, and the history of each symbol if a few were chosen."""
    newest = results.newest
    assert newest is not None, "there is a value"
    highest = f"{first} on {newest}, the highest value, with its"
    wanted = {what: (first, what, f"{highest} {what}") for what in results.pictures}
    if len(results.chosen) <= CHOSEN_DRAWN:
        wanted |= {
            f"history-{symbol_key(symbol)}": (symbol, "history", f"{symbol}, its values up to {newest}")
            for symbol in results.chosen
        }
    made: dict[str, UUID] = {}
    drawn: dict[tuple[str, str], bytes] = {}
    for name, (symbol, what, description) in wanted.items():
        try:
            png = drawn[symbol, what] = drawn.get((symbol, what)) or results.pictures[what](symbol, newest)
        except KlineError as error:
            get_run_logger().warning("the %s of %s could not be drawn: %s", what, symbol, error)
        else:
            made[f"{what} of {symbol}"] = show_picture(png, key(name), description)
    return made


def _inline(png: bytes, description: str) -> str:
    return f"![{description}](data:image/png;base64,{base64.b64encode(png).decode('ascii')})"
