"""`kline up`: server, work pool, deployments, worker and warm cluster of a home, together and until they are stopped.

1. Lock the home, and end what a killed predecessor left running.
2. Start server, scheduler and Dask worker at the same time; meanwhile the cluster loads the home's patterns.
3. Deploy what has changed, and recover the runs that the server has as under way without a process. Only then start the
   worker, so that no schedule that is about to be paused begins a run.
4. Watch everything, and restart what dies.
5. On a signal, end the server, then ask flow runs to end, and give them time to store what they have; then end the
   other parts in the opposite order of their start. A second signal ends everything at once. The next start finds the
   runs as after a power loss, and they go on.
"""

import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import dask
import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import PrefectException

from flows.common.server_words import PASSWORD
from flows.local_stack.abandoned import Reach
from flows.local_stack.certificates import certificates_of, encryption_is_required
from flows.local_stack.deployments import POOL, check_project, deploy, ensure_pool, project_file, project_line
from flows.local_stack.locking import locked, write_note
from flows.local_stack.processes import Part, end_all, marked
from flows.local_stack.ready import Ready, deployment_lines
from flows.local_stack.recovery import recover
from flows.local_stack.second_home import SILENT, Original, came_along, keep_place, original_of, pause_copied
from flows.local_stack.server import (
    HOST,
    Place,
    answers,
    check_port,
    checked_host,
    connect,
    prefect_environment,
    server_part,
    wait_until,
)
from flows.local_stack.signals import Signals, StoppedError
from flows.local_stack.source import checked_source, set_source
from flows.local_stack.stops import forget_stopped, note_stopped, stopped_before
from flows.local_stack.strangers import pause_strangers
from flows.local_stack.supervision import watch
from flows.local_stack.user_settings import check, inherited
from flows.local_stack.warm_cluster import Warming, cluster_address, cluster_parts
from kline_core.compute.opening import checked_threads
from kline_core.errors import HomeError, StartError
from kline_core.store.folder import home_uri
from kline_core.store.home import Home

LEFT_OVER_SECONDS = 5.0
SERVER_SECONDS, WORKER_SECONDS = 3.0, 1.0
FLOW_RUN_SECONDS = 15.0
PART_SECONDS = 8.0


def up(
    named: str,
    port: int,
    threads: int | None,
    announce: Callable[[Ready], None],
    host: str = HOST,
    tls: bool = False,
    source: str | None = None,
) -> None:
    """Run everything for a home until a signal comes.

    Args:
        named: Folder of the home, made if it is missing.
        port: Port of the server and its pages.
        threads: Threads of the cluster's worker; None for one per core, at most 16.
        announce: Called once everything is ready.
        host: Address on which server and cluster listen; others than loopback need `tls` and a password.
        tls: Whether they use TLS; they do in any case if Dask's configuration requires it.
        source: Live source or folder that the daily deployments of its market take bars from, `none` for neither; None
            for what was named last.

    Raises:
        HomeError: The home is no folder, cannot be used, or `kline up` runs for it already.
        SettingError: A parameter out of bounds, a variable that would open a door, certificates that cannot be used, or
            the port is in use.
        InputError: `prefect.yaml` or the folder `source` cannot be used.
        SourceError: The live source cannot be asked: its client or token is missing.
        StartError: A part did not start, or died again and again.
    """
    started = time.monotonic()
    if "://" in named:
        raise HomeError(
            f"home {named} is a URL; kline up keeps the server's database in the home, which must be a folder. "
            "For a home in an object store start server, worker and cluster one by one, see the README",
            home=named,
        )
    threads = checked_threads(threads)
    project = project_file()
    check_project(project)
    tls = tls or encryption_is_required()
    checked_host(host, tls, PASSWORD in inherited())
    check(host, port, tls)
    home = Home(Path(home_uri(named)).resolve(), create=True)
    path = Path(home.uri)
    with Signals() as signals, locked(path) as folder:
        source = checked_source(source, folder)
        left_over, runs = marked(path), marked(path, flow_runs_only=True)
        # At once, with the server: a run that is ended here has not crashed, but goes on.
        end_all([each for each in left_over if each not in runs], lambda: 0.0)
        end_all(runs, _Patience(LEFT_OVER_SECONDS, signals))
        check_port(port, host)
        certificates = certificates_of(host, folder / "tls") if tls else None
        place = Place(port, host, certificates)
        write_note(folder, {"ui": place.ui})
        scratch = folder / "tmp"
        shutil.rmtree(scratch, ignore_errors=True)
        # For its owner alone: Prefect hands each flow run its environment through a file there, passwords included.
        scratch.mkdir(mode=0o700)
        control = _Control(home, folder, place, threads, signals, project, source)
        if left_over:
            _say(f"{len(left_over)} programs of one that was killed were still running, and were ended")
        # For this process's own client of the cluster.
        with dask.config.set({} if certificates is None else certificates.dask):
            try:
                announce(control.start(started))
                control.watch()
            except StoppedError:
                _say("stopping; a second signal stops at once")
            finally:
                control.stop()
                shutil.rmtree(scratch, ignore_errors=True)


class _Patience:
    """Seconds left to wait; 0 after a second signal."""

    def __init__(self, seconds: float, signals: Signals) -> None:
        self._until, self._signals = time.monotonic() + seconds, signals

    def __call__(self) -> float:
        return 0.0 if self._signals.count > 1 else max(0.0, self._until - time.monotonic())


class _Control:
    """The parts of one home."""

    def __init__(
        self, home: Home, folder: Path, place: Place, threads: int, signals: Signals, project: Path, source: str | None
    ) -> None:
        self._home, self._folder, self._place, self._threads = home, folder, place, threads
        self._signals, self._project, self._source = signals, project, source
        self._address = cluster_address(place)
        env = prefect_environment(Path(home.uri), folder, place)
        self._env = env | {"KLINE_SCHEDULER": self._address}
        self._server = server_part(env, folder, place)
        self._cluster = cluster_parts(env, folder, self._address, threads)
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
        self._reach = Reach.of(folder, place.host, env)
        self._worker = Part("worker", [*command, "--name", self._reach.worker], self._env, folder)
        self._parts = [self._server, *self._cluster, self._worker]
        self._warming = Warming(self._address, home)

    def start(self, began: float) -> Ready:
        """Start everything, and wait until it is ready. Raises `StoppedError` and `StartError`."""
        pause = self._signals.pause

        def stage(what: str) -> None:
            _say(f"{time.monotonic() - began:.0f} s: {what}")

        first = (
            "" if (self._folder / "prefect.db").exists() else "; the first start makes its database, and takes longer"
        )
        original = original_of(Path(self._home.uri), self._folder, self._env, _say)
        paused: list[str] = []
        if original is not None and original.there:
            stage(f"this home comes from {original.home}, which is still there: what came along is paused first")
            paused = self._paused(original)
        stage(f"server and cluster start{first}")
        for part in (self._server, *self._cluster):
            part.start()
        self._warming.start()
        wait_until(lambda: answers(self._place), self._server, pause)
        stage(f"the server answers; deployments of {project_line(self._project)}")
        with connect(self._place, self._env.get(PASSWORD)) as client:
            ensure_pool(client)
            notes = paused + deploy(client, self._home, self._project, self._env, self._folder, pause)
            if original is not None and not original.there:
                notes = came_along(client, original, self._place.ui) + notes
            notes += set_source(client, self._home, self._folder, self._source)
            notes += pause_strangers(client, self._home, self._source)
            # Only now: a schedule that is paused takes the runs along that wait to begin.
            notes += recover(client, self._home.uri, self._reach, stopped_before(self._folder))
            forget_stopped(self._folder)
            asked = datetime.now(UTC)
            stage("the worker starts")
            self._worker.start()
            wait_until(lambda: _reported(client, self._reach.worker, asked), self._worker, pause)
            if self._warming.loaded is None:
                stage("the cluster loads the patterns")
            wait_until(lambda: self._warming.loaded is not None, self._cluster[-1], pause)
            deployments = deployment_lines(client)
        keep_place(Path(self._home.uri), self._folder, self._env)
        return Ready(
            home=self._home.uri,
            ui=self._place.ui,
            api=self._place.api,
            scheduler=self._address,
            password=PASSWORD in self._env,
            certificates=self._place.certificates,
            threads=self._threads,
            processes={part.name: part.pid for part in self._parts},
            loaded=self._warming.loaded,
            deployments=deployments,
            notes=notes,
            logs=str(self._folder / "logs"),
            seconds=time.monotonic() - began,
        )

    def _paused(self, original: Original) -> list[str]:
        """Pause what came along from another home, by a server that sends none of its messages.

        Raises `StoppedError` and `StartError`.
        """
        server = server_part(self._env | SILENT, self._folder, self._place)
        server.start()
        try:
            wait_until(lambda: answers(self._place), server, self._signals.pause)
            with connect(self._place, self._env.get(PASSWORD)) as client:
                return pause_copied(client, original, self._place.ui)
        finally:
            server.end(PART_SECONDS)

    def watch(self) -> None:
        """Restart what dies. Raises `StoppedError` and `StartError`."""
        watch(self._parts, self._signals.pause, _say, self._restart)

    def stop(self) -> None:
        """End everything that was started, descendants included."""
        self._warming.cancel()
        path = Path(self._home.uri)
        # First: while the server listens, a run that is told to end has crashed, for good, and messages go out.
        self._server.end(_Patience(SERVER_SECONDS, self._signals)())
        runs = marked(path, flow_runs_only=True)
        note_stopped(self._folder, runs)
        end_all(runs, _Patience(FLOW_RUN_SECONDS, self._signals))
        # A worker tries in vain to tell the server.
        self._worker.end(_Patience(WORKER_SECONDS, self._signals)())
        for part in reversed(self._parts):
            part.end(_Patience(PART_SECONDS, self._signals)())
        end_all(marked(path), _Patience(PART_SECONDS, self._signals))

    def _restart(self, part: Part) -> None:
        """Start a part again, and what goes with it. Raises `StoppedError` and `StartError`."""
        if part is self._worker:
            # Before it starts, since it would leave alone what the one before had taken up and not begun.
            self._recover()
        part.start()
        if part is self._cluster[-1]:
            self._warming.cancel()
            self._warming = Warming(self._address, self._home)
            self._warming.start()

    def _recover(self) -> None:
        """Recover the runs that went with the worker. Those that outlived it are left alone, and those of others."""
        with suppress(StartError, httpx.HTTPError, PrefectException):
            wait_until(lambda: answers(self._place), self._server, self._signals.pause)
            with connect(self._place, self._env.get(PASSWORD)) as client:
                for line in recover(client, self._home.uri, replace(self._reach, alone=False)):
                    _say(line)


def _reported(client: SyncPrefectClient, worker: str, since: datetime) -> bool:
    """Whether a worker has reported to the server since a moment."""
    with suppress(httpx.HTTPError, PrefectException):
        workers = client.read_workers_for_work_pool(POOL)
        return any(each.name == worker and (each.last_heartbeat_time or since) > since for each in workers)
    return False


def _say(line: str) -> None:
    print(f"kline up: {line}", file=sys.stderr, flush=True)
