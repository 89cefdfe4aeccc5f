"""Deployments of prefect.yaml on a home's own server, made once and again only after a change.

A deployment that was paused by hand stays paused. On its first deployment a schedule stays active only if it has
something to do: if the home is empty, or its bars are recent and of the exchange that the deployment names.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

import numpy as np
import prefect
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectAlreadyExists

import flows
from flows.local_stack.processes import Part
from kline_core import __version__
from kline_core._text import refusal
from kline_core.bars.arrivals import arrivals
from kline_core.bars.home_market import noted_market, of_another_market
from kline_core.bars.sessions import last_known_day, sessions_until
from kline_core.errors import InputError, SettingError, StartError
from kline_core.store.home import Home

POOL = "kline"
DEPLOY_SECONDS = 600.0
OLD = timedelta(days=31)
_PACKAGED = Path(flows.__file__).parent
_NOTE = "deployed.json"
_PAGE = 200
# What PyYAML raises for values that their tag does not fit, such as `!!bool x`, `!!int ''` and `!!timestamp x`.
_OF_TAGS = (LookupError, AttributeError, TypeError, OverflowError)
_UNREADABLE = (OSError, ValueError, RecursionError, yaml.YAMLError, *_OF_TAGS)


def project_file() -> Path:
    """`prefect.yaml` of the current folder if it is meant for `kline up`, else the one that is packaged with the flows.

    Meant for it is one with a deployment to the work pool `POOL`, and one that cannot be read, which `check_project`
    refuses. All others belong to somebody's other project.
    """
    own, packaged = Path.cwd() / "prefect.yaml", _PACKAGED / "prefect.yaml"
    if not own.is_file():
        return packaged
    try:
        deployments = _deployments(_content(own))
    except _UNREADABLE:
        return own
    return own if any(_pool(each) == POOL for each in deployments) else packaged


def project_line(file: Path) -> str:
    """Which file is deployed, in one line; and which one that lies in the current folder is not."""
    other = Path.cwd() / "prefect.yaml"
    if file == other or not other.is_file():
        return str(file)
    return f"{file}, not {other}, which has no deployment to the work pool {POOL}"


def project_folder(file: Path) -> Path:
    """Folder to which the entry points of a `prefect.yaml` are relative.

    Its own; that of the flows that come along for one that is packaged with them, and for one that names only these and
    lies without them.
    """
    if file.parent == _PACKAGED:
        return _PACKAGED.parent
    sources = [_entrypoint(each)[0] for each in _deployments(_content(file))]
    alone = not any(_is_file(file.parent / source) for source in sources)
    along = all(source.startswith(f"{_PACKAGED.name}/") and _is_file(_PACKAGED.parent / source) for source in sources)
    return _PACKAGED.parent if alone and along else file.parent


def check_project(file: Path) -> None:
    """Check what `prefect deploy` would pass over with a line in its log, and then deploy nothing or something else.

    Raises `InputError` for a file that cannot be read or is no YAML, naming the line, and for a deployment without a
    name, a work pool, or an entry point that is there.
    """

    def refuse(why: str, row: int | None = None) -> NoReturn:
        place = file if row is None else f"{file}, line {row}"
        raise InputError(f"{place}: {why}; mend it, or start in a folder without one", source=str(file), row=row)

    try:
        content = _content(file)
    except OSError as error:
        refuse(f"it cannot be read ({refusal(error)})")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        refuse(f"it is no YAML ({error.problem or error.context})", None if mark is None else mark.line + 1)
    except (yaml.YAMLError, ValueError, RecursionError, *_OF_TAGS) as error:
        refuse(f"it is no YAML ({' '.join(str(error).split()) or type(error).__name__})")
    deployments = _deployments(content)
    if not deployments:
        refuse("it has no list of deployments")
    folder = project_folder(file)
    for number, deployment in enumerate(deployments, start=1):
        given = deployment if isinstance(deployment, dict) else {}
        for key in ("name", "entrypoint"):
            if not isinstance(given.get(key), str):
                refuse(f"deployment {number} of {len(deployments)} has no {key}, or none that is text")
        source, function = _entrypoint(given)
        if not function or not _is_file(folder / source):
            refuse(
                f"entrypoint of deployment {given['name']} is {given['entrypoint']!r}, no FILE:FUNCTION that is there"
            )
        if _pool(given) is None:
            refuse(f"deployment {given['name']} names no work pool, such as {POOL}, whose runs kline up starts")


def _content(file: Path) -> Any:
    return yaml.safe_load(file.read_bytes())


def _deployments(content: Any) -> list[Any]:
    """What a `prefect.yaml` lists as deployments; empty if it has no such list."""
    found = content.get("deployments") if isinstance(content, dict) else None
    return found if isinstance(found, list) else []


def _entrypoint(deployment: Any) -> tuple[str, str]:
    """File and function of a deployment's entry point, as they are written; empty without one."""
    named = deployment.get("entrypoint") if isinstance(deployment, dict) else None
    source, _, function = named.rpartition(":") if isinstance(named, str) else ("", "", "")
    return source, function


def _pool(deployment: Any) -> str | None:
    pool = deployment.get("work_pool") if isinstance(deployment, dict) else None
    name = pool.get("name") if isinstance(pool, dict) else None
    return name if isinstance(name, str) else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as a name that is too long
        return False


def ensure_pool(client: SyncPrefectClient) -> None:
    """Make the work pool; the worker gives it the defaults of its type."""
    with suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template={}))


def deploy(
    client: SyncPrefectClient,
    home: Home,
    file: Path,
    env: dict[str, str],
    folder: Path,
    pause: Callable[[float], None],
) -> list[str]:
    """Deploy a `prefect.yaml` if it, the flows or their versions have changed since the last time.

    Args:
        client: Client of the home's server.
        home: Home whose bars tell which schedules are of use.
        file: The `prefect.yaml`.
        env: Environment of the programs of the home's server.
        folder: Prefect's folder in the home.
        pause: Waits for some seconds, and raises to give up the wait.

    Returns:
        One line for each schedule that was paused, with the reason.

    Raises:
        StartError: `prefect deploy` failed, or took longer than `DEPLOY_SECONDS`.
    """
    state = _state_of(file)
    note = folder / _NOTE
    before = {each.id: each for each in all_deployments(client)}
    if before and note.is_file() and note.read_text() == state:
        return []
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
    _run(Part("deploy", command, env, folder, cwd=project_folder(file)), pause)
    lines = list(_settle(client, home, before))
    note.write_text(state)
    return lines


def all_deployments(client: SyncPrefectClient) -> list[DeploymentResponse]:
    """Every deployment of the server, over all pages."""
    found: list[DeploymentResponse] = []
    while len(page := client.read_deployments(limit=_PAGE, offset=len(found))) == _PAGE:
        found += page
    return found + page


def _state_of(file: Path) -> str:
    """All that a deployment depends on, as one text."""
    folder = project_folder(file)
    sources = [file, *sorted((folder / "flows").rglob("*.py"))]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    versions = {"kline": __version__, "prefect": prefect.__version__}
    return json.dumps({"file": str(file), "folder": str(folder), "content": digest} | versions) + "\n"


def _run(part: Part, pause: Callable[[float], None]) -> None:
    part.start()
    waited = 0.0
    while part.alive:
        if waited > DEPLOY_SECONDS:
            part.end(1.0)
            raise StartError(
                f"the deployments are not made after {DEPLOY_SECONDS:.0f} s; see {part.log}",
                part=part.name,
                log=part.log,
            )
        pause(0.1)
        waited += 0.1
    if part.code != 0:
        raise StartError(
            f"the deployments cannot be made ({part.last_words()}); see {part.log}",
            part=part.name,
            code=part.code,
            log=part.log,
        )


def _settle(client: SyncPrefectClient, home: Home, before: dict[UUID, DeploymentResponse]) -> Iterator[str]:
    for deployment in all_deployments(client):
        known = before.get(deployment.id)
        if known is not None and known.paused and not deployment.paused:
            client.pause_deployment(deployment.id)
        paused = {_timing(each) for each in known.schedules if not each.active} if known is not None else set()
        reason = None if known is not None else _of_no_use(home, deployment.parameters.get("calendar"))
        for schedule in deployment.schedules:
            if schedule.active and (_timing(schedule) in paused or reason is not None):
                client.update_deployment_schedule(deployment.id, schedule.id, active=False)
                if reason is not None:
                    yield f"the schedule of {deployment.name} is paused, since {reason}; its page resumes it"


def _timing(schedule: Any) -> str:
    return json.dumps(schedule.schedule.model_dump(mode="json", exclude={"anchor_date"}), sort_keys=True)


def _today() -> np.datetime64:
    return np.datetime64("today", "D")


def _of_no_use(home: Home, calendar: str | None) -> str | None:
    """Why a schedule with that calendar has nothing to do for this home; None if it may have something."""
    if calendar is None:
        return None
    if stranger := of_another_market(noted_market(home.notes()), calendar):
        return stranger
    today = _today()
    try:
        # A calendar that has ended still tells whether the bars are of its exchange.
        known = min(today, last_known_day(calendar))
        found = arrivals(home, calendar, sessions_until(known, 1, calendar)[-1])
        found.check_calendar()
    except SettingError as error:
        return str(error).split(";")[0]
    if known == today and found.newest is not None and (today - found.newest).astype(timedelta) > OLD:
        return f"the newest bar is of {found.newest}"
    return None
