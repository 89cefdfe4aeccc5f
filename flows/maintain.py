"""The maintenance flow: verify the tables, compact their files, remove what only old versions need, and old history."""

import logging
from typing import Any

from prefect import State, flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed

from flows.artifacts.advice import leave_advice, settled
from flows.artifacts.result_line import name_failure, say_result
from flows.common.artifact_keys import artifact_key
from flows.common.context import open_home
from flows.common.ending import answering, cancellable, carried_out
from flows.common.flow_names import FLOWS
from flows.common.parameters import HomePlace, KeepDays
from flows.common.session import run_name
from flows.steps.history import PrunedHistory, prune_history
from kline_core._logging import listening
from kline_core.api.data import verify
from kline_core.errors import RunFailedError
from kline_core.maintenance.findings import DAMAGED
from kline_core.maintenance.upkeep import Upkeep, compact, vacuum
from kline_core.maintenance.verify import VerifyReport
from kline_core.store.home import Home


@task(task_run_name="verify", cache_policy=NO_CACHE)
@cancellable
def verify_tables(home: Home) -> VerifyReport:
    """Check every table against the others."""
    report = verify(home)
    for finding in report.findings:
        # Work that is pending or was cut off is no reason to stop.
        get_run_logger().log(logging.ERROR if finding.state == DAMAGED else logging.INFO, "%s", finding)
    return report


@task(task_run_name="compact", retries=2, retry_delay_seconds=5, cache_policy=NO_CACHE)
@cancellable
def compact_tables(home: Home) -> Upkeep:
    """Join small files into large ones. Retried, since a run at the same time may win the race."""
    with listening(get_run_logger().log):
        return compact(home)


@task(task_run_name="vacuum", cache_policy=NO_CACHE)
@cancellable
def vacuum_tables(home: Home, values_keep_days: int, inputs_keep_days: int) -> Upkeep:
    """Remove the files that only old versions need."""
    return vacuum(home, values_keep_days, inputs_keep_days)


@flow(
    name="maintain",
    flow_run_name=run_name,
    on_failure=[leave_advice, name_failure],
    on_crashed=[leave_advice, name_failure],
)
@answering
def maintain(
    home: HomePlace = None,
    values_keep_days: KeepDays = 30,
    inputs_keep_days: KeepDays = 365,
    history_keep_days: KeepDays | None = 90,
) -> State[Any]:
    """Verify the tables, compact their files, and remove what only old versions need, and the history of old runs.

    Args:
        home: Folder or object-store URL with the tables. Empty: what KLINE_HOME says where the flow runs.
        values_keep_days: Days for which old versions of factors and matches stay readable.
        inputs_keep_days: Days for which old versions of bars and patterns, which runs name, stay readable.
        history_keep_days: Days for which the server keeps ended runs of these flows, with task runs, logs and
            artifacts; the newest artifact of each key stays in any case. Empty: for ever.
    """
    store = open_home(home)
    checked = carried_out(verify_tables, store)
    # Damaged tables stay as they are, as evidence, and so does what the server knows of their runs.
    done: list[Upkeep | PrunedHistory] = []
    if checked.ok:
        done += [
            carried_out(compact_tables, store),
            carried_out(vacuum_tables, store, values_keep_days, inputs_keep_days),
        ]
        if history_keep_days is not None:
            done.append(carried_out(prune_history, FLOWS, history_keep_days, store.folder))
    page = "\n\n".join(f"```\n{text}\n```" for text in [checked.text(), *(part.text() for part in done)])
    create_markdown_artifact(page, key=artifact_key("maintain", "report", None), description=checked.headline)
    if not checked.ok:
        failure = f"{checked.headline}; nothing was compacted or removed"
        return Failed(message=failure, data=RunFailedError(failure, report=checked))
    state = settled(Completed(message="; ".join([checked.headline, *(part.headline for part in done)])))
    say_result(checked.headline, state)
    return state
