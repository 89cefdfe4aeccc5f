"""The daily flow: ingest bars, update patterns, score every symbol, publish a summary.

1. If a calendar is named and the day is no session of it, the run ends at once, Completed, with the reason.
2. If a live source is named, bars are fetched from it, if a folder, its files are ingested; if a calendar is named,
   bars of the session must have arrived. A task that waits for them, and fails naming the missing symbols.
3. The cluster extends the patterns by the windows whose outcome has become known since.
4. Task runs (`flows.steps.scoring`) score the symbols. They share one run on one cluster, which loads the data once. A
   progress artifact is updated meanwhile.
5. Artifacts publish the summary. The final state is Failed if a symbol broke, or if more samples failed than
   `max_failed_share` allows; values that could be computed are stored all the same.

With a standing cluster this process holds no encoder and no index.
"""

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from prefect import State, flow, get_run_logger
from prefect.states import Completed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.utilities.annotations import quote

from flows.artifacts.advice import leave_advice, settled
from flows.artifacts.board_series import WORKS, board_begins, board_ends, board_follows
from flows.artifacts.progress import LiveProgress
from flows.artifacts.publish import Results, publish
from flows.artifacts.result_line import name_failure, say_result
from flows.artifacts.summary import Summary
from flows.common.artifact_keys import market_key
from flows.common.chosen_settings import ChosenSettings, settings_from
from flows.common.context import open_home, opened_cluster
from flows.common.ending import answering, carried_out
from flows.common.parameters import (
    Calendar,
    Date,
    HomePlace,
    Retries,
    Samples,
    Seconds,
    Share,
    Symbols,
    Threads,
    symbol_list,
)
from flows.common.session import asked_day, closed_session, run_name
from flows.steps.patterns import update
from flows.steps.refresh import BarsInfo, Patience, refresh_bars
from flows.steps.scoring import score_all
from kline_core.api.factor import FactorResult, compute_factor
from kline_core.bars.home_market import noted_market, of_another_market
from kline_core.bars.sessions import ending
from kline_core.compute import tasks
from kline_core.compute.cluster import Cluster
from kline_core.compute.opening import checked_threads
from kline_core.compute.request import known_symbols
from kline_core.evaluation.session_change import session_change
from kline_core.factor.stored_values import latest_values
from kline_core.factor.symbol_history import symbol_history
from kline_core.factor.weighted_outcomes import weighted_outcomes
from kline_core.plots.history_plot import history_png
from kline_core.sources.registry import is_live

# Enough that a thread of the cluster never waits for the next symbol, and few enough for Prefect's server: thousands of
# task runs at once overflow its event queue, and their records are lost.
IN_FLIGHT = 2 * checked_threads(None)
# Annotated, since Prefect's own type of it does not fit its decorator.
RUNNER: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=IN_FLIGHT)


@flow(
    name="daily",
    flow_run_name=run_name,
    task_runner=RUNNER,
    on_running=[board_begins],
    on_completion=[board_ends],
    on_failure=[leave_advice, name_failure, board_ends],
    on_crashed=[leave_advice, name_failure, board_ends],
    on_cancellation=[board_ends],
)
@answering
def daily(
    home: HomePlace = None,
    source: str | None = None,
    calendar: Calendar = None,
    symbols: Symbols = None,
    samples: Samples = 600,
    as_of: Date = None,
    max_failed_share: Share = 0.2,
    max_missing_share: Share = 0.05,
    arrival_retries: Retries = 12,
    arrival_retry_seconds: Seconds = 600.0,
    scheduler: str | None = None,
    threads: Threads = None,
    settings: ChosenSettings | None = None,
    encoder: str | None = None,
) -> State[Any]:
    """Refresh bars, extend patterns, score symbols, publish a summary.

    Args:
        home: Folder or object-store URL with the tables. Empty: what KLINE_HOME says where the flow runs.
        source: Where to bring bars in from first: a live source such as akshare:csi300, baostock:600519,000001,
            tushare:all or yfinance:AAPL,MSFT, or a folder of files. Empty: bars are ingested by other means.
        calendar: Exchange whose sessions decide whether there is anything to do, such as XSHG or XNYS. Empty: no
            calendar is asked, and the newest bars are taken as they are.
        symbols: Symbols as a list, or one text with commas: AAPL,MSFT or 600519,sz000001. Their bars alone are waited
            for, and the market's board stays as it is. Empty: all symbols with bars.
        samples: Sample dates per symbol.
        as_of: The day that the run is for, YYYY-MM-DD; no later bar is used. Empty: with a calendar the scheduled day
            where the exchange is, without one the day of the newest bar.
        max_failed_share: Share of samples that may be without a value, 0 to 1; above it the run fails.
        max_missing_share: Share of symbols whose bar of the session may be missing, 0 to 1; above it the run waits.
        arrival_retries: How many times to look again for bars of the session that have not arrived.
        arrival_retry_seconds: Seconds between two looks.
        scheduler: Address of a standing Dask cluster, such as tcp://127.0.0.1:8786. Empty: what KLINE_SCHEDULER says
            where the flow runs, or else a cluster inside the flow's own process.
        threads: Threads of a cluster inside the flow's own process. Empty: one a core.
        settings: Which values, by a preset and what differs from it: {"preset": "broad", "half_life_days": 720}. Values
            of different settings stand beside each other. Empty: the default ones.
        encoder: File of weights from `kline train`, or a folder from `kline train --market`, whose encoders each serve
            the samples of their year, where the flow and the workers run. Empty: the weights that come along.
    """
    day = asked_day(calendar, as_of)
    session = None
    if calendar is not None and day is not None:
        session = closed_session(calendar, day)
        if (soon := ending(calendar, day)) is not None:
            # Weeks before the first run that is refused.
            get_run_logger().warning("calendar %s", soon)
        if not session.is_session:
            idle: State[Any] = Completed(message=f"nothing to do: {session.reason}")
            say_result("no session", idle)
            return idle
    store = open_home(home, source, awaited=session is not None)
    # A live source is told by the fetch that its market is not the home's.
    if source is None or not is_live(source):
        stranger = of_another_market(noted_market(store.notes()), calendar)
        if stranger is not None:
            return Completed(message=f"nothing to do: {stranger}; `kline up` pauses its schedule at the next start")
    asked = symbol_list(symbols)

    def key_of(what: str) -> str:
        return market_key("daily", what, calendar, asked is not None)

    # Before anything else, so that a missing cluster shows within seconds.
    with opened_cluster(scheduler, threads) as cluster:
        info = BarsInfo(None, None)
        if source is not None or session is not None:
            follow = partial(board_follows, "what it waits for")
            patience = Patience(arrival_retries, arrival_retry_seconds, key_of("waiting"), follow)
            info = carried_out(refresh_bars, store, source, session, max_missing_share, patience, asked)
        if asked is not None:
            asked = known_symbols(store, asked)
        chosen = settings_from(settings)
        updated = carried_out(update, store, cluster, chosen.patterns, encoder)
        result = compute_factor(
            store,
            asked,
            samples=samples,
            as_of=day,
            settings=chosen,
            encoder=encoder,
            cluster=cluster,
            patterns=updated,
            max_failed_share=max_failed_share,
            check=False,
            progress=partial(_followed_progress, key_of("progress")),
            execute=partial(score_all, in_flight=IN_FLIGHT),
        )
        report = result.report
        assert report is not None, "it was computed"
        scored = [each.symbol for each in report.symbols]
        latest = latest_values(store, scored, result.fingerprint, day)
        change = session_change(store, result.fingerprint, scored, _newest(latest, day))
        summary = Summary(report, info, updated, change)
        pictures = {"matches": _picture_of(cluster, result), "history": _history_of(result)}
        horizon = chosen.factor.return_horizon
        weighted = weighted_outcomes(store, latest, result.fingerprint, horizon)
        failure = summary.failure(max_failed_share)
        results = Results(summary, latest, weighted, horizon, failure, pictures, [] if asked is None else scored)
        # Quoted, since Prefect would search it, symbol by symbol, for results of other task runs.
        line = carried_out(publish, quote(results), calendar)  # type: ignore[arg-type]
    state = settled(summary.state(max_failed_share, summary))
    say_result(line, state)
    return state


def _followed_progress(key: str, expected: Mapping[str, int]) -> LiveProgress:
    """Progress of the run, to which the board links from now on."""
    progress = LiveProgress(key, expected)
    board_follows("its progress", WORKS, progress.artifact)
    return progress


def _newest(latest: Any, day: np.datetime64 | None) -> np.datetime64 | None:
    if latest.empty:
        return day
    return np.datetime64(latest["date"].max().date(), "D")


def _picture_of(cluster: Cluster, result: FactorResult) -> Callable[[str, np.datetime64], bytes]:
    """A function that draws a symbol's query with its matches on a worker, which holds them."""

    def draw(symbol: str, date: np.datetime64) -> bytes:
        return cluster.computed(tasks.picture, cluster.sharded(result.key_on(date)), symbol, date)

    return draw


def _history_of(result: FactorResult) -> Callable[[str, np.datetime64], bytes]:
    """A function that draws the values of a symbol up to a day beside its price."""

    def draw(symbol: str, date: np.datetime64) -> bytes:
        version = result.versions["bars"]
        return history_png(symbol_history(result.home, symbol, result.fingerprint, last=date, bars_version=version))

    return draw


if __name__ == "__main__":
    sys.exit(0 if daily(return_state=True).is_completed() else 1)
