"""The backfill flow: values for every trading day of a range, or of chosen symbols, beside the samples of daily runs.

It may be stopped and started again at any time: stored values that still hold are not computed again.
"""

from functools import partial
from typing import Any

from prefect import State, flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from flows.artifacts.advice import leave_advice, settled
from flows.artifacts.progress import LiveProgress
from flows.artifacts.result_line import name_failure, say_result
from flows.artifacts.summary import Summary
from flows.common.artifact_keys import artifact_key
from flows.common.chosen_settings import ChosenSettings, settings_from
from flows.common.context import open_home, opened_cluster
from flows.common.ending import answering, carried_out
from flows.common.parameters import (
    Date,
    HomePlace,
    Share,
    Symbols,
    Threads,
    as_day,
    symbol_list,
)
from flows.common.session import run_name
from flows.daily import IN_FLIGHT, RUNNER
from flows.steps.patterns import update
from flows.steps.refresh import BarsInfo
from flows.steps.scoring import score_all
from kline_core.api.factor import compute_factor
from kline_core.compute.request import known_symbols
from kline_core.errors import SettingError
from kline_core.factor.sample_dates import usable_dates


@flow(
    name="backfill",
    flow_run_name=run_name,
    task_runner=RUNNER,
    on_failure=[leave_advice, name_failure],
    on_crashed=[leave_advice, name_failure],
)
@answering
def backfill(
    home: HomePlace = None,
    symbols: Symbols = None,
    first: Date = None,
    last: Date = None,
    max_failed_share: Share = 0.2,
    scheduler: str | None = None,
    threads: Threads = None,
    settings: ChosenSettings | None = None,
    encoder: str | None = None,
) -> State[Any]:
    """Values for every trading day of a range of dates, of chosen symbols or of all.

    Args:
        home: Folder or object-store URL with the tables. Empty: what KLINE_HOME says where the flow runs.
        symbols: Symbols as a list, or one text with commas: AAPL,MSFT or 600519,sz000001. Empty: all symbols
            with bars; then name a first day.
        first: First day, YYYY-MM-DD. Empty: the first day on which a symbol can have a value.
        last: Last day, YYYY-MM-DD. Empty: the newest bar.
        max_failed_share: Share of samples that may be without a value, 0 to 1; above it the run fails.
        scheduler: Address of a standing Dask cluster, such as tcp://127.0.0.1:8786. Empty: what KLINE_SCHEDULER says
            where the flow runs, or else a cluster inside the flow's own process.
        threads: Threads of a cluster inside the flow's own process. Empty: one a core.
        settings: Which values, by a preset and what differs from it: {"preset": "broad", "half_life_days": 720}. Values
            of different settings stand beside each other. Empty: the default ones.
        encoder: File of weights from `kline train`, or a folder from `kline train --market`, whose encoders each serve
            the samples of their year, where the flow and the workers run. Empty: the weights that come along.
    """
    asked = symbol_list(symbols)
    if asked is None and first is None:
        raise SettingError(
            "neither symbols nor first is given; name symbols, or the first day of a range", parameter="symbols"
        )
    if first is not None and last is not None and first > last:
        raise SettingError(
            f"first is {first}, after last, {last}; swap them",
            parameter="first",
            value=first,
            bound=f"not after last ({last})",
        )
    store = open_home(home)
    with opened_cluster(scheduler, threads) as cluster:
        if asked is not None:
            asked = known_symbols(store, asked)
        chosen = settings_from(settings)
        updated = carried_out(update, store, cluster, chosen.patterns, encoder)
        dates = usable_dates(store, chosen.patterns, asked, as_day(first), as_day(last), updated.bars.version)
        get_run_logger().info("%d days of %d symbols", sum(map(len, dates.values())), len(dates))
        result = compute_factor(
            store,
            dates=dates,
            settings=chosen,
            encoder=encoder,
            cluster=cluster,
            patterns=updated,
            max_failed_share=max_failed_share,
            check=False,
            progress=partial(LiveProgress, artifact_key("backfill", "progress", None)),
            execute=partial(score_all, in_flight=IN_FLIGHT),
        )
    report = result.report
    assert report is not None, "it was computed"
    summary = Summary(report, BarsInfo(None, None), updated, None)
    create_markdown_artifact(
        summary.markdown(), key=artifact_key("backfill", "summary", None), description=summary.headline
    )
    state = settled(summary.state(max_failed_share, report.to_dict()))
    say_result(summary.headline, state)
    return state
