"""`kline up` for the time of a test."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from flows.local_stack.processes import marked
from tests.support.processes import free_port


def start_up(home: Path, clone: Path, *options: str, **more: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """`kline up`, once it is ready, and what it said then; `more` goes into its environment."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "KLINE_", "DASK_"))}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    command = ["kline", "--home", str(home), "up", "--port", str(free_port()), "--json", *options]
    with (home.parent / "up.log").open("ab") as log:
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, cwd=clone, env=env | more, text=True)
    assert running.stdout is not None
    line = running.stdout.readline()
    if not line:
        stop(running)
    assert line, (home.parent / "up.log").read_text()
    return running, json.loads(line)


def stop(running: subprocess.Popen[str]) -> int:
    """Ask `kline up` to end; its exit code."""
    running.send_signal(signal.SIGTERM)
    code = running.wait(60)
    if running.stdout is not None:
        running.stdout.close()
    return code


def power_loss(running: subprocess.Popen[str], home: Path) -> None:
    """End `kline up` and all that it has started, so that none of them has time to say a word."""
    family = [psutil.Process(running.pid), *marked(home)]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.send_signal(number)
    running.wait(60)
    if running.stdout is not None:
        running.stdout.close()
    psutil.wait_procs(family, 60)
    assert marked(home) == []


@contextmanager
def kline_up(
    home: Path, clone: Path, *options: str, **more: str
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """`kline up` until the end of the block, where it is told to stop and must leave nothing behind."""
    running, said = start_up(home, clone, *options, **more)
    try:
        family = psutil.Process(running.pid).children(recursive=True)
        yield running, said
        family += psutil.Process(running.pid).children(recursive=True)
    finally:
        code = stop(running)
    assert code == 0
    assert not [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
