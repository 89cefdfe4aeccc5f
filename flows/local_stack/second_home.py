"""A home that is a copy of another one: its server's database has the other's schedules and messages.

So it is with a backup, and with a folder that was copied or moved by other means. Where the other home is still in its
place, both would work by the same schedules, and send the same messages: those of the copy are paused before its server
sends any. Else the copy stands in for the other one, and goes on; it says so, since that one may work elsewhere.
"""

from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events.schemas.automations import Automation

from flows.local_stack.abandoned import OF_A_DATABASE
from flows.local_stack.deployments import all_deployments
from flows.local_stack.notes import read_json, write_json
from kline_core._text import counted
from kline_core.maintenance.backup import PLACE_NOTE

DATABASE: Final = "prefect.db"
"""The server's database in the folder `prefect` of a home."""
SILENT: Final = {"PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false"}
"""Environment of a server that sends no messages."""
_PAGE = 200


@dataclass(frozen=True, slots=True)
class Original:
    """The home that another one is a copy of."""

    home: Path
    there: bool
    """Whether it is still in its place, with its server's database, or may be."""


def original_of(home: Path, folder: Path, env: Mapping[str, str], say: Callable[[str], None]) -> Original | None:
    """The home that this one is a copy of; None if it is none, or if that is not known.

    Args:
        home: Folder of the home, resolved.
        folder: Its folder `prefect`.
        env: Environment of its server. One that names a database elsewhere has nothing that came along.
        say: Called with a line if the home's note on that is damaged.
    """
    noted = read_json(folder / PLACE_NOTE)
    if noted is None or not env.keys().isdisjoint(OF_A_DATABASE):
        return None
    named, backup = noted.get("home"), noted.get("backup")
    if not isinstance(named, str) or "\0" in named or not isinstance(backup, bool):
        say(
            f"{folder / PLACE_NOTE} is damaged, and is made anew: whether this home is a copy is not known. If it is "
            "one, pause its schedules and messages, so that the two do not do and send the same"
        )
        return None
    other = Path(named)
    try:
        if other.resolve() == home:
            return Original(other, there=False) if backup else None
        database = other / "prefect" / DATABASE
        # The same folder may be seen under two names.
        own = database.is_file() and (folder / DATABASE).is_file() and database.samefile(folder / DATABASE)
        return None if own else Original(other, there=database.is_file())
    except OSError:
        # Of another user, who may be working with it.
        return Original(other, there=True)


def keep_place(home: Path, folder: Path, env: Mapping[str, str]) -> None:
    """Note that the home's server works in this place, with the database that lies there."""
    if env.keys().isdisjoint(OF_A_DATABASE):
        write_json(folder / PLACE_NOTE, {"home": str(home), "backup": False})


def pause_copied(client: SyncPrefectClient, original: Original, ui: str) -> list[str]:
    """Pause all schedules and automations that came along; one line says so, none if there was nothing to pause.

    The runs that the schedules have planned go: the server itself removes only those that are due later.
    """
    schedules, automations = _active(client)
    for deployment, schedule in schedules:
        client.update_deployment_schedule(deployment, schedule, active=False)
    for automation in automations:
        client.pause_automation(automation)
    for run in _planned(client):
        client.delete_flow_run(run)
    if not schedules and not automations:
        return []
    return [
        f"this home comes from {original.home}, which is still there: {_both(schedules, automations)} that came along "
        "are PAUSED, so that the two do not do and send the same. If this one is to work by schedule, resume them on "
        f"{ui}/deployments, and messages on {ui}/automations or by `kline notify` as before"
    ]


def came_along(client: SyncPrefectClient, original: Original, ui: str) -> list[str]:
    """One line that says which schedules and automations came along and go on, none if there are none."""
    schedules, automations = _active(client)
    if not schedules and not automations:
        return []
    return [
        f"this home comes from {original.home}: {_both(schedules, automations)} that came along are ACTIVE. If another "
        f"copy of it works somewhere, the two do and send the same: pause them there, or here on {ui}/deployments and "
        f"{ui}/automations"
    ]


def _active(client: SyncPrefectClient) -> tuple[list[tuple[UUID, UUID]], list[UUID]]:
    """Schedules, each with its deployment, and automations that are not paused."""
    deployments = [each for each in all_deployments(client) if not each.paused]
    schedules = [(each.id, schedule.id) for each in deployments for schedule in each.schedules if schedule.active]
    automations: list[Automation] = []
    while page := client.read_automations(limit=_PAGE, offset=len(automations)):
        automations += page
    return schedules, [each.id for each in automations if each.enabled]


def _planned(client: SyncPrefectClient) -> list[UUID]:
    """Runs that schedules have planned, and that never began."""
    waits = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])))
    found: list[FlowRun] = []
    while page := client.read_flow_runs(flow_run_filter=waits, limit=_PAGE, offset=len(found)):
        found += page
    return [each.id for each in found if each.auto_scheduled and not each.run_count]


def _both(schedules: Sized, automations: Sized) -> str:
    return f"{counted(len(schedules), 'schedule')} and {counted(len(automations), 'automation')} for messages"
