"""`kline up` for the time of a test."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.support.processes import free_port


@contextmanager
def kline_up(
    home: Path, clone: Path, *options: str, **more: str
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """`kline up` until the end of the block, where it is told to stop and must leave nothing behind.

    `more` goes into its environment.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "KLINE_", "DASK_"))}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    command = ["kline", "--home", str(home), "up", "--port", str(free_port()), "--json", *options]
    with (home.parent / "up.log").open("ab") as log:
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, cwd=clone, env=env | more, text=True)
        try:
            assert running.stdout is not None
            line = running.stdout.readline()
            assert line, (home.parent / "up.log").read_text()
            family = psutil.Process(running.pid).children(recursive=True)
            yield running, json.loads(line)
            family += psutil.Process(running.pid).children(recursive=True)
        finally:
            running.send_signal(signal.SIGTERM)
            code = running.wait(60)
            if running.stdout is not None:
                running.stdout.close()
        assert code == 0
        assert not [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
