"""The program behind `kline demo`: the daily flow on bundled real bars, recorded by the demo home's own Prefect server.

The server is that of `kline up`: same folder, same database. It runs only during the demo, and `kline up` shows the run
afterwards.
"""

import logging
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from prefect import State
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_KEY, PREFECT_API_URL, PREFECT_HOME, temporary_settings

from flows.artifacts.summary import Summary
from flows.common.server_words import PASSWORD
from flows.daily import daily
from flows.local_stack.abandoned import Reach
from flows.local_stack.locking import locked
from flows.local_stack.processes import end_all, marked
from flows.local_stack.recovery import recover
from flows.local_stack.server import Place, answers, connect, free_port, prefect_environment, server_part, wait_until
from kline_core._clock import StageClock
from kline_core.compute.opening import checked_threads
from kline_core.compute.progress_bar import bar
from kline_core.compute.request import Request
from kline_core.demo.demo import CALENDAR, LAST_DAY, PICTURE, DemoReport, draw, evaluate, write_bars
from kline_core.demo.stocks import SYMBOLS
from kline_core.errors import StartError
from kline_core.store.folder import home_uri

RECORD_SECONDS = 15.0
STOP_SECONDS = 8.0
_LAST_TASK = "publish summary"


def demo(path: Path, *, threads: int | None = None, samples: int = 600) -> DemoReport:
    """Ingest the bars, make patterns, score every symbol, and draw one query with its matches.

    Shows progress on standard error.

    Args:
        path: A folder that is missing, empty, or the home of an earlier demo, whose stored values are re-used.
        threads: Threads to compute with; None for one per core, at most 16.
        samples: Sample dates per symbol; all usable ones if a symbol has fewer.

    Raises:
        SettingError: `samples` or `threads` out of bounds, or a variable that would open a door.
        InputError: bokeh_sampledata is not installed.
        HomeError: The folder holds other things, cannot be written, or `kline up` runs for it.
        StartError: The server does not start.
        RunFailedError: Too many samples failed.
    """
    path = Path(home_uri(path)).resolve()
    Request(symbols=SYMBOLS, samples=samples)
    threads = checked_threads(threads)
    clock = StageClock()
    with clock.stage("bars"):
        home, source = write_bars(path)
    with _terminated_as_interrupted(), locked(path) as folder, _server(path, folder, clock) as client:
        with clock.stage("run"):
            state = daily(
                home=str(path),
                source=str(source),
                calendar=CALENDAR,
                as_of=LAST_DAY,
                samples=samples,
                arrival_retries=0,
                threads=threads,
                return_state=True,
            )
        with clock.stage("record"):
            _await_records(client, state)
    summary = _summary_of(state)
    with clock.stage("evaluate"):
        symbols = evaluate(home, summary.report, samples)
    with clock.stage("picture"), bar("picture", " pictures") as progress:
        picture = draw(home, path / PICTURE)
        progress(1, 1)
    ingested = summary.bars.ingested
    assert ingested is not None, "a source was named"
    return DemoReport(path, samples, ingested, summary.patterns, summary.report, symbols, clock.finish(), picture)


@contextmanager
def _server(path: Path, folder: Path, clock: StageClock) -> Iterator[SyncPrefectClient]:
    """The home's server, to which the flows of this process report."""
    end_all(marked(path), _patience(STOP_SECONDS))
    (folder / "tmp").mkdir(mode=0o700, exist_ok=True)
    place = Place(free_port())
    env = prefect_environment(path, folder, place)
    part = server_part(env, folder, place)
    password = env.get(PASSWORD)
    settings: dict[Any, Any] = {PREFECT_API_URL: place.api, PREFECT_HOME: folder}
    if password is not None:
        settings[PREFECT_API_AUTH_STRING] = password
    # Dask's warnings belong in a worker's log, which this process lacks: they would interrupt the demo's output.
    logging.getLogger("distributed").setLevel(logging.ERROR)
    try:
        with clock.stage("server"):
            print("starting the demo's own Prefect server ...", file=sys.stderr, flush=True)
            part.start()
            # The server takes a while to start, on one core; imports that the run needs fill the time.
            import kline_core.encoder.encoder
            import kline_core.search.flat_index  # noqa: F401

            wait_until(lambda: answers(place), part, time.sleep)
        with (
            temporary_settings(settings, restore_defaults={PREFECT_API_KEY, PREFECT_API_AUTH_STRING} - settings.keys()),
            connect(place, password) as client,
        ):
            recover(client, str(path), Reach.of(folder, place.host, env))
            yield client
    finally:
        part.end(STOP_SECONDS)
        end_all(marked(path), _patience(STOP_SECONDS))
        shutil.rmtree(folder / "tmp", ignore_errors=True)


def _await_records(client: SyncPrefectClient, state: State[Any]) -> None:
    """Wait until the server has recorded the whole run, which Prefect sends in the background.

    Raises `StartError` if it has not within `RECORD_SECONDS`.
    """
    APILogWorker.instance().drain()
    EventsWorker.drain_all()
    run = state.state_details.flow_run_id
    assert run is not None, "a flow that has ended has run"
    only = FlowRunFilter(id=FlowRunFilterId(any_=[run]))
    deadline = time.monotonic() + RECORD_SECONDS
    while True:
        flow_run = client.read_flow_run(run)
        tasks = client.read_task_runs(flow_run_filter=only)
        ended = {each.name for each in tasks if each.state is not None and each.state.is_final()}
        # A failed run may have begun none of its tasks.
        expected = {*SYMBOLS, _LAST_TASK} if state.is_completed() else set()
        if flow_run.state is not None and flow_run.state.is_final() and expected <= ended:
            return
        if time.monotonic() > deadline:
            raise StartError(
                f"the server has not recorded the whole run after {RECORD_SECONDS:.0f} s; run it again", part="server"
            )
        time.sleep(0.1)


def _summary_of(state: State[Any]) -> Summary:
    """The summary that the run returned. Raises the error that it failed with."""
    summary: Any = state.result()
    assert isinstance(summary, Summary), "the day is a session"
    return summary


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C, so that the server ends before this process does."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  the signature of handlers
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _patience(seconds: float) -> Callable[[], float]:
    until = time.monotonic() + seconds
    return lambda: until - time.monotonic()
