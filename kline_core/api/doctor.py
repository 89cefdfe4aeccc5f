"""Checkup of machine, packages, home and servers. Changes nothing, waits for nothing, and needs no home."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from kline_core.errors import SchedulerError
from kline_core.maintenance.checkup import Check, Checkup, looked_at
from kline_core.maintenance.home_checks import check_home
from kline_core.maintenance.machine_checks import check_calendars, check_clock, check_machine, check_packages
from kline_core.store.folder import home_uri
from kline_core.store.home import Home

ANSWER_SECONDS = 2.0
"""Seconds for a server to answer."""
HOME_SECONDS = 10.0
"""Seconds for a disk or an object store, of which thousands of commits are asked."""
WORK_SECONDS = 30.0
"""Seconds for what only this machine's processor does."""
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def checkup(home: str | Path | None = None, environment: "os._Environ[str] | dict[str, str] | None" = None) -> Checkup:
    """Look at machine, packages, clock, calendars, servers and, if one is named, a home.

    `environment`: where PREFECT_API_URL and KLINE_SCHEDULER are looked up; None for that of the process. Raises
    `HomeError` for a name that no home can have.
    """
    env = os.environ if environment is None else environment
    folder = None if home is None or "://" in str(home) else Path(home_uri(home))
    place = Path.cwd() if home is None else folder
    looks = [
        looked_at("machine", lambda: check_machine(place), HOME_SECONDS),
        looked_at("packages", check_packages, WORK_SECONDS),
        looked_at("clock", check_clock, WORK_SECONDS),
        looked_at("calendars", check_calendars, WORK_SECONDS),
    ]
    if home is None:
        text = "none is named; --home FOLDER or KLINE_HOME names one to be looked at"
        looks.append([Check("home", "note", text)])
    else:
        looks.append(looked_at("home", lambda: check_home(Home(home)), HOME_SECONDS))
    looks.append(looked_at("Prefect", lambda: check_prefect(env.get("PREFECT_API_URL"), folder), 3 * ANSWER_SECONDS))
    looks.append(looked_at("Dask", lambda: check_dask(env.get("KLINE_SCHEDULER")), 5 * ANSWER_SECONDS))
    return Checkup([check for found in looks for check in found])


def check_prefect(named: str | None, folder: Path | None) -> Iterator[Check]:
    """The Prefect server that PREFECT_API_URL names, or else that of the `kline up` that runs for the home."""
    url = named or _of_kline_up(folder)
    if not url:
        text = "no server is named; `kline up` starts one, PREFECT_API_URL names another"
        yield Check("Prefect", "note", text)
        return
    shown = _without_secrets(url)
    try:
        # A proxy is for other machines.
        away = urlsplit(url).hostname not in _LOOPBACK
        with httpx.Client(timeout=ANSWER_SECONDS, trust_env=away) as client:
            answer = client.get(f"{url.rstrip('/')}/admin/version")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        text = (
            f"no server answers at {shown} ({type(error).__name__}); start it, or set PREFECT_API_URL to one that runs"
        )
        yield Check("Prefect", "problem", text)
        return
    if answer.status_code in (401, 403):
        yield Check("Prefect", "ok", f"a server answers at {shown}, and asks who calls")
        return
    if answer.status_code != 200:
        text = f"{shown} answers {answer.status_code}, as no Prefect server does; PREFECT_API_URL ends in /api"
        yield Check("Prefect", "problem", text)
        return
    version, here = answer.text.strip('" \n')[:40], metadata.version("prefect")
    if version == here:
        yield Check("Prefect", "ok", f"server {version} at {shown}")
    else:
        text = f"server {version} at {shown}, but {here} here; install the same version on both"
        yield Check("Prefect", "note", text)


def check_dask(address: str | None) -> Iterator[Check]:
    """The Dask scheduler that KLINE_SCHEDULER names."""
    if not address:
        yield Check("Dask", "ok", "KLINE_SCHEDULER is not set; each run starts a cluster inside its own process")
        return
    from kline_core.compute.standing import scheduler_threads

    try:
        threads = scheduler_threads(address, ANSWER_SECONDS)
    except SchedulerError as error:
        yield Check("Dask", "problem", f"KLINE_SCHEDULER: {error}")
        return
    if not threads:
        text = f"the scheduler at {address} has no workers; start one with `dask worker {address} --nthreads N`"
        yield Check("Dask", "problem", text)
    else:
        yield Check("Dask", "ok", f"{len(threads)} workers with {sum(threads)} threads at {address}")


def _of_kline_up(folder: Path | None) -> str | None:
    """API of the server of a `kline up` that runs for a home, from the note that it leaves there."""
    if folder is None:
        return None
    with suppress(OSError, ValueError, KeyError, TypeError):
        return f"{json.loads((folder / 'prefect' / 'up.json').read_text())['ui']}/api"
    return None


def _without_secrets(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that is none"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
