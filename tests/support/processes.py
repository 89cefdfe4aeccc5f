"""Other programs for the time of a test, on loopback, and waiting for them."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from distributed import Client


@contextmanager
def scheduler_process(folder, workers=1, threads=2, options=("--no-nanny",), **env):
    """A `dask scheduler` and `dask worker`s, processes on the loopback interface: the address, and the scheduler.

    `options` are those of the workers; `env` comes on top of the environment of all.
    """
    file = folder / "scheduler.json"
    common = ["--dashboard-address", "127.0.0.1:0", "--host", "127.0.0.1", "--scheduler-file", str(file)]
    dask = [sys.executable, "-m", "dask"]
    commands = [[*dask, "scheduler", "--port", "0", *common]]
    commands += [[*dask, "worker", "--nthreads", str(threads), *options, *common] for _ in range(workers)]
    processes = []
    with (folder / "log").open("w") as log:
        try:
            for command in commands:
                processes.append(  # noqa: PERF401  those started before one fails are ended too
                    subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env={**os.environ, **env})
                )
            # Waits for the file, and then for the workers.
            with Client(scheduler_file=str(file), timeout=30, set_as_default=False) as client:
                if workers:
                    client.wait_for_workers(workers, timeout=30)
                address = client.scheduler.address
            yield address, processes[0]
        finally:
            for process in reversed(processes):
                # A nanny that is killed would leave its worker behind.
                end(process)


@contextmanager
def worker_process(folder, threads=2, options=("--no-nanny",), **env):
    """One more `dask worker` of the `scheduler_process` in a folder."""
    command = [sys.executable, "-m", "dask", "worker", "--nthreads", str(threads), *options, "--host", "127.0.0.1"]
    command += ["--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(folder / "scheduler.json")]
    with (folder / "log-of-one-more").open("w") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env={**os.environ, **env})
        try:
            yield running
        finally:
            end(running)


def output_of(code: str, *arguments: str) -> str:
    """What a fresh interpreter prints that runs some code to its end."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def workers_of(scheduler: int) -> list[psutil.Process]:
    """The workers of a `scheduler_process` with that id, which name the same scheduler file."""
    file = psutil.Process(scheduler).cmdline()[-1]
    commands = [(child, child.cmdline()) for child in psutil.Process().children()]
    return [child for child, words in commands if "worker" in words and file in words]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


# Ordinary runs are done within seconds; a machine that is busy with something else may take this long.
PATIENCE = 90.0


def poll(ask: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """The first true answer.

    What takes long is asked for less and less often: asking takes the processor from what is waited for.
    """
    pause, deadline = 0.02, time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = ask()
        if answer:
            return answer
        time.sleep(pause)
        pause = min(1.3 * pause, 0.5)
    raise TimeoutError(f"no {what} within {seconds:g} s")


@contextmanager
def process(*command: str, log: Path, env: dict[str, str], cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program in the background, ended by its process id."""
    with log.open("wb") as out:
        running = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=env, cwd=cwd)
        try:
            yield running
        finally:
            end(running)


def end(running: subprocess.Popen[bytes]) -> None:
    """Ask a program to end, and kill it if it does not."""
    running.terminate()
    try:
        running.wait(15)
    except subprocess.TimeoutExpired:
        running.kill()
        running.wait(15)
