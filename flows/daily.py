"""The daily flow: bars in, patterns up to date, factor values of every symbol, and a summary of it all.

1. Bars are refreshed from a folder, where one is given.
2. Patterns are extended by what has become known since.
3. Each symbol is a task run of its own, named by the symbol. They share one run on one cluster, so that the data is
   loaded once. A symbol that breaks is tried again, and does not stop the others.
4. The summary is published as artifacts. The final state is Failed where a symbol broke, or where more samples failed
   than `max_failed_share` allows; what could be computed is stored all the same.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import State, flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import wait
from prefect.states import Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.summary import Summary, latest_values
from kline_core.calendar import parse_date
from kline_core.cluster import checked_threads, open_cluster
from kline_core.encoder import Encoder
from kline_core.errors import HomeError, InputError, RunFailedError, SettingError
from kline_core.extend import ExtendReport, extend_patterns
from kline_core.ingest import ingest
from kline_core.ingest_report import IngestReport
from kline_core.keys import ResourceKey
from kline_core.run import Request, Run, check_symbols
from kline_core.run_report import SymbolResult
from kline_core.settings import PatternSettings, Settings
from kline_core.tables import Home

# Enough that a thread of the cluster never waits for the next symbol, and few enough for Prefect's server: thousands of
# task runs at once overflow its event queue, and their records are lost.
IN_FLIGHT = 2 * checked_threads(None)
# Prefect's own type of it does not fit what its decorator asks for.
_RUNNER: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=IN_FLIGHT)
_REASONS_SHOWN = 3


@task(task_run_name="refresh bars", cache_policy=NO_CACHE)
def refresh_bars(home: Home, source: str) -> IngestReport:
    """Bring the files of a folder into `bars`."""
    report = ingest([Path(source)], home)
    logger = get_run_logger()
    logger.info(
        "%d rows read from %s: %d new, %d updated, %d stored already, %d rejected",
        *(report.read, source, report.stored_new, report.updated, report.unchanged, report.rejected),
    )
    if report.rejected:
        counts = report.rejections["reason"].value_counts().head(_REASONS_SHOWN)
        logger.warning(
            "%d rows rejected, most often: %s",
            report.rejected,
            "; ".join(f"{reason} ({count})" for reason, count in counts.items()),
        )
    for line in report.errors:
        logger.warning("not used: %s", line)
    return report


@task(task_run_name="extend patterns", retries=2, retry_delay_seconds=1, cache_policy=NO_CACHE)
def extend(home: Home, settings: PatternSettings, threads: int) -> ExtendReport:
    """Bring `patterns` up to date with `bars`, as `kline index` does.

    Of two flow runs that do so at the same time the slower one gives up; tried again, it finds the work done.
    """
    report = extend_patterns(home, settings, Encoder.load(), threads=threads)
    get_run_logger().info("%d patterns added, %d removed, %d in all", report.added, report.removed, report.total)
    return report


@task(task_run_name="{symbol}", retries=2, retry_delay_seconds=1, cache_policy=NO_CACHE)
def score(run: Run, symbol: str, chunks: int) -> SymbolResult:
    """Factor values of one symbol."""
    result = run.score(symbol, chunks)
    # Dask's threads know nothing of Prefect: the log line is written here.
    get_run_logger().info(
        "%d samples: %d done, %d failed, %d re-used%s",
        *(result.samples, result.done, result.failed, result.reused),
        f" ({result.problem})" if result.problem else "",
    )
    return result


@task(task_run_name="publish summary", cache_policy=NO_CACHE)
def publish(summary: Summary, latest: list[dict[str, Any]]) -> None:
    """Show the summary and the newest value of each symbol among the flow run's artifacts."""
    create_markdown_artifact(summary.markdown(), key="daily-summary", description=summary.headline)
    create_table_artifact(latest, key="daily-latest", description="The newest sample of each symbol")


@flow(name="daily", task_runner=_RUNNER)
def daily(
    home: str | None = None,
    source: str | None = None,
    symbols: str | int | list[str | int] | None = None,
    samples: int = 600,
    as_of: str | int | None = None,
    scheduler: str | None = None,
    threads: int | None = None,
    max_failed_share: float = 0.2,
) -> State[Any]:
    """Refresh bars, extend patterns, score symbols, publish a summary.

    Args:
        home: Folder or object-store URL with the tables; by default what KLINE_HOME says where the flow runs.
        source: Folder of bar files to bring in first; none by default.
        symbols: A list, or one text with commas: `AAPL,MSFT`. All symbols with bars by default.
        samples: Sample dates per symbol.
        as_of: Newest day that may be a sample, YYYY-MM-DD; the newest bar by default.
        scheduler: Address of a standing Dask cluster, such as tcp://127.0.0.1:8786; by default the flow starts one
            inside its own process.
        threads: Threads of that cluster, and of the extension of the patterns; the number of cores by default.
        max_failed_share: Share of samples that may fail, 0 to 1.
    """
    asked = symbol_list(symbols)
    newest = None if as_of is None else parse_date(as_of, "as_of")
    request = Request(asked, samples, newest, max_failed_share=max_failed_share)
    settings = Settings()
    store = _open_home(home, source)
    # Before anything else, so that a cluster that is not there is found out within seconds.
    with open_cluster(scheduler, threads) as cluster:
        refreshed = None if source is None else refresh_bars(store, source)
        if asked is not None:
            check_symbols(store, asked)
        extended = extend(store, settings.patterns, checked_threads(threads))
        run = Run(store, cluster, ResourceKey.newest(store, settings), request)
        # All threads of the cluster have work, however few symbols there are.
        chunks = max(1, cluster.threads // max(1, min(len(run.symbols), IN_FLIGHT)))
        futures = {symbol: score.submit(run, symbol, chunks) for symbol in run.symbols}
        wait(list(futures.values()))
        report = run.finish()
    broken = {
        symbol: _one_line(future.result(raise_on_failure=False))
        for symbol, future in futures.items()
        if not future.state.is_completed()
    }
    summary = Summary(report, broken, refreshed, extended)
    failure = summary.failure(max_failed_share)
    publish(summary, latest_values(store, run.symbols, report.fingerprint, newest))
    if failure is not None:
        return Failed(message=failure, data=RunFailedError(failure))
    return Completed(message=summary.headline, data=report.to_dict())


def symbol_list(symbols: str | int | Sequence[str | int] | None) -> list[str] | None:
    """Symbols as they are typed, as a list; None for all.

    `prefect deployment run` reads `-p symbols=VALUE` as JSON, and as text where it is none. So `AAPL,MSFT` is a text,
    `600519` a number, `'["AAPL", "MSFT"]'` a list, and the same without the outer quotes, of which a shell leaves
    `[AAPL,MSFT]`, a text again. All of them name symbols. Raises `SettingError` where none is named.
    """
    if symbols is None:
        return None
    given = symbols.strip().removeprefix("[").removesuffix("]").split(",") if isinstance(symbols, str) else symbols
    names = [str(name).strip() for name in ([given] if isinstance(given, int) else given)]
    names = [name for name in names if name]
    if not names:
        raise SettingError(f"symbols is {symbols!r}; name at least one, such as AAPL,MSFT, or leave it out for all")
    return names


def _open_home(home: str | None, source: str | None) -> Home:
    named = home or os.environ.get("KLINE_HOME")
    if not named:
        raise HomeError("no home is named; set the parameter home, or KLINE_HOME where the worker runs")
    if source is not None and not Path(source).exists():
        raise InputError(f"source is {source!r}, which does not exist; name a folder of bar files")
    return Home(named, create=source is not None)


def _one_line(error: object) -> str:
    text = str(error).splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}"


if __name__ == "__main__":
    sys.exit(0 if daily(return_state=True).is_completed() else 1)
