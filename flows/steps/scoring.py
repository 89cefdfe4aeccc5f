"""Scoring of symbols as Prefect task runs, on one run of one cluster.

Up to `NAMED` symbols have a task run each, named by the symbol. More symbols share task runs, since a task run costs
Prefect some 25 ms of a core however little it computes, and a trading day of one symbol takes far less. There is then a
task run for every `TASK_SAMPLES` new samples, but at least `FEWEST`, so that progress shows and all cores have work,
and at most `TASK_RUNS`. The log and the table of symbols still hold the result of each symbol.
"""

import threading
from itertools import chain, pairwise
from math import ceil
from typing import Any

from prefect import State, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import TerminationSignal
from prefect.futures import wait
from prefect.utilities.annotations import quote

from flows.common.ending import stopped as stopped_early
from kline_core.compute.run import Run
from kline_core.compute.run_report import RunReport, SymbolResult
from kline_core.errors import RunFailedError

NAMED = 50
FEWEST = 8
TASK_RUNS = 100
TASK_SAMPLES = 512
"""New samples of a task run, unless there would be more than `TASK_RUNS`: of symbols with 600, each has its own."""


@task(task_run_name="{name}", retries=2, retry_delay_seconds=1, cache_policy=NO_CACHE)
def score(
    run: Run,
    name: str,  # noqa: ARG001  the task run's
    symbols: list[str],
    chunks: int,
    stopped: threading.Event,
) -> list[SymbolResult] | State[Any]:
    """Factor values of some symbols. A retry takes up only the symbols that broke.

    Ends as Cancelled once `stopped` is set.
    """
    logger = get_run_logger()
    results = []
    broke: dict[str, Exception] = {}
    for group in run.workload.groups([symbol for symbol in symbols if not run.has(symbol)], len(symbols)):
        if stopped.is_set():
            return stopped_early()
        try:
            done, broken = run.score(group, chunks)
        except Exception:
            if stopped.is_set():
                # The run took its cluster along.
                return stopped_early()
            raise
        results += done
        broke |= broken
        if broken and stopped.is_set():
            return stopped_early()
        if done:
            # One record, with a line per symbol, since Prefect's server stores a row per record.
            logger.info("\n".join(map(_line, done)))
    if len(symbols) == 1 and broke:
        raise broke[symbols[0]]
    if broke:
        named = "; ".join(f"{symbol}: {error}" for symbol, error in list(broke.items())[:5])
        raise RunFailedError(f"{len(broke)} of {len(symbols)} symbols broke: {named}", symbols=sorted(broke))
    return results


def score_all(run: Run, in_flight: int) -> RunReport:
    """Score all symbols of a run, `in_flight` task runs at a time, and finish it.

    A symbol that breaks does not stop the others; the report names it. If the flow run is stopped, finished symbols are
    stored, no others begin, and the signal carries a note of what is stored. Raises `SchedulerError` if the cluster is
    lost or a worker runs other code, and what storing raises.
    """
    get_run_logger().info("%d symbols, %d patterns, run %s", len(run.symbols), run.overview.n_patterns, run.run_id)
    batches = _batches(run)
    chunks = run.chunks(min(len(batches), in_flight))
    stopped = threading.Event()
    signal: TerminationSignal | None = None
    try:
        futures = [
            score.submit(run, _name(batch), quote(batch), chunks, stopped)  # type: ignore[call-overload]
            for batch in batches
        ]
        wait(futures)
        if run.ended is not None:
            raise run.ended
        for result in run.score_suspects():
            get_run_logger().info(_line(result))
        # A task run that failed outside of `Run.score` leaves its symbols without a result.
        for symbol in run.unreported():
            what = "its task run failed before it was computed; its log says why"
            run.mark_broken(symbol, RunFailedError(what, symbols=[symbol]))
    except TerminationSignal as error:
        signal = error
        raise
    finally:
        stopped.set()
        report = run.finish()
        if signal is not None:
            signal.add_note(f"{report.count('done')} values that it computed are stored")
    if run.cluster.lost:
        for future in futures:
            future.result()
    return report


def _batches(run: Run) -> list[list[str]]:
    """Symbols of each task run."""
    if len(run.symbols) <= NAMED:
        return [[symbol] for symbol in run.symbols]
    task_runs = min(TASK_RUNS, max(FEWEST, run.parallel, run.workload.new_samples // TASK_SAMPLES))
    groups = run.workload.groups(run.symbols, ceil(len(run.symbols) / task_runs))
    count = min(len(groups), task_runs)
    cuts = [len(groups) * number // count for number in range(count + 1)]
    return [list(chain(*groups[start:stop])) for start, stop in pairwise(cuts)]


def _line(result: SymbolResult) -> str:
    counts = f"{result.samples} samples: {result.done} done, {result.failed} failed, {result.reused} re-used"
    return f"{result.symbol}: {counts}" + (f" ({result.problem})" if result.problem else "")


def _name(symbols: list[str]) -> str:
    return symbols[0] if len(symbols) == 1 else f"{symbols[0]} to {symbols[-1]} ({len(symbols)} symbols)"
