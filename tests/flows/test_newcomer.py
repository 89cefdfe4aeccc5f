"""From nothing to a scheduled run that alarms a webhook: the README's commands, typed as they stand there.

Dependencies are those of this environment, which a newcomer's `pip install` would fetch. The port is a free one, and
the schedule comes in some minutes instead of in the evening.
"""

import os
import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kline_core.bars.sessions import sessions_until
from kline_core.encoder.synthetic import random_walk
from tests.support.prefect_server import ROOT, Server
from tests.support.processes import PATIENCE, free_port, poll
from tests.support.receivers import webhook_receiver

pytestmark = [pytest.mark.long, pytest.mark.flows, pytest.mark.slow]

PIP = """#!/bin/sh
exec "{python}" -m pip "$@"
"""


def commands() -> list[str]:
    """The first block of the section, without its comments."""
    section = (ROOT / "README.md").read_text().partition("\n## Daily, with Prefect\n")[2]
    lines = section.split("```")[1].strip().splitlines()
    return [re.sub(r"\s+# .*", "", line) for line in lines]


def environment(folder: Path) -> dict[str, str]:
    """That of a shell of a person with a new virtual environment, whose home is a folder."""
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    site = venv / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    (site / "installed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (venv / "bin" / "pip").write_text(PIP.format(python=venv / "bin" / "python"))
    (venv / "bin" / "pip").chmod(0o700)
    left_out = ("PREFECT_", "KLINE_", "DASK_", "PYTHONPATH")
    env = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    if int(version("setuptools").partition(".")[0]) >= 77:
        # What builds the package is there too; else it is fetched.
        env["PIP_NO_BUILD_ISOLATION"] = "false"
    return env | {"HOME": str(folder), "PATH": f"{venv / 'bin'}{os.pathsep}{env['PATH']}", "DO_NOT_TRACK": "1"}


def deliver(folder: Path, last: np.datetime64, missing: int) -> None:
    """Bars of two stocks up to a session, the last one's left out where they are `missing`."""
    days = sessions_until(last, 150, "XNYS")
    frame = random_walk(2, len(days), seed=3).to_frame(prefix="S").assign(date=list(days) * 2)
    folder.mkdir(exist_ok=True)
    for name, (_, rows) in zip(("AAPL", "MSFT"), frame.groupby("symbol"), strict=True):
        rows.iloc[: len(rows) - missing].assign(symbol=name).to_csv(folder / f"{name}.csv", index=False)


@contextmanager
def started(command: str, env: dict[str, str], folder: Path) -> Iterator[Path]:
    """A program of another terminal; the file of what it says."""
    said = folder / "up.txt"
    with said.open("w") as out:
        running = subprocess.Popen(["bash", "-c", f"exec {command}"], env=env, cwd=folder, stdout=out, stderr=out)
        try:
            poll(lambda: running.poll() is not None or "Ready after" in said.read_text(), "kline up", 10 * PATIENCE)
            assert running.poll() is None, said.read_text()
            yield said
        finally:
            running.send_signal(signal.SIGTERM)
            assert running.wait(PATIENCE) == 0


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="it is no clone that could be cloned")
def test_five_commands_lead_to_a_scheduled_run_that_alarms(tmp_path: Path) -> None:
    typed = commands()
    assert len(typed) <= 5
    env = environment(tmp_path)
    last = sessions_until(np.datetime64("today", "D") - 1, 1, "XNYS")[-1]
    deliver(tmp_path / "bars", last, missing=1)

    def enter(command: str) -> str:
        done = subprocess.run(["bash", "-c", command], env=env, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    with webhook_receiver() as hook:
        clone, install, ingest, up, notify = typed
        enter(clone.replace(" URL ", f" {ROOT} "))
        enter(install)
        assert str(tmp_path / "venv") in enter('cd / && python -c "import kline_core; print(kline_core.__file__)"')
        assert "298 rows" in enter(ingest)
        with started(f"{up} --port {free_port()}", env, tmp_path) as said:
            assert "the schedule of a-share is paused, since this home is of the market US (XNYS)" in said.read_text()
            enter(re.sub(r"https://\S+", hook.url, notify))
            url = re.findall(r"http://127\.0\.0\.1:\d+", said.read_text())[0]
            run, message = scheduled_run_fails(Server(f"{url}/api", env, tmp_path), hook.messages, last)
            deliver(tmp_path / "bars", last, missing=0)
            enter(ingest)
            enter(message["todo"].partition(": ")[2])
            server = Server(f"{url}/api", env, tmp_path)

            def again() -> dict[str, Any] | None:
                found: dict[str, Any] = server.get(f"flow_runs/{run}")
                return found if found["state_type"] in ("COMPLETED", "FAILED", "CRASHED") else None

            ended = poll(again, "end of the run that was tried again", 4 * PATIENCE)
            assert ended["state"]["name"] == "Completed", ended["state"]["message"]
            assert len(hook.messages) == 1


def scheduled_run_fails(server: Server, messages: list[Any], last: np.datetime64) -> tuple[str, dict[str, Any]]:
    """A run that the schedule makes, for a session whose bars are missing: its id, and the only message."""
    us = server.get("deployments/name/daily/us")
    assert us["schedules"][0]["active"]
    # Now, and not in the evening; it does not wait for bars, and values of so few charts may fail.
    asked = {"as_of": str(last), "arrival_retries": 0, "samples": 5, "max_failed_share": 1.0, "threads": 1}
    server.patch(f"deployments/{us['id']}", parameters=us["parameters"] | asked)
    # Of a run that was planned less than five minutes before, Prefect holds the events back for fifteen: each waits for
    # the one before it, and the scheduler sends none of the plan.
    due = datetime.now(UTC) + timedelta(minutes=7)
    soon = {"schedule": {"cron": f"{due.minute} {due.hour} * * *", "timezone": "UTC"}, "active": True}
    server.patch(f"deployments/{us['id']}/schedules/{us['schedules'][0]['id']}", **soon)
    poll(lambda: messages, "message", 420 + 4 * PATIENCE)
    (message,) = messages
    run = message["link"].rpartition("/")[2]
    assert server.get(f"flow_runs/{run}")["auto_scheduled"]
    assert (message["flow"], message["run"], message["state"]) == ("daily", f"XNYS {last}", "Failed")
    assert f"2 of 2 symbols have no bar of the session of {last} on XNYS: AAPL, MSFT" in message["reason"]
    assert message["todo"].endswith(f"prefect flow-run retry {run}")
    return run, message
