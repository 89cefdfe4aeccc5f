"""Announcement of `kline up` once everything is ready."""

import shlex
import shutil
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort

from flows.common.server_words import PASSWORD, server_words
from flows.local_stack.certificates import Certificates
from flows.local_stack.deployments import all_deployments
from flows.local_stack.warm_cluster import Loaded
from kline_core._text import table


@dataclass(frozen=True, slots=True)
class DeploymentState:
    """One row of the table of deployments."""

    name: str
    """Flow and deployment, as `prefect deployment run` takes them: flow/deployment."""
    schedule: str
    """Cron and time zone; `by hand` without a schedule."""
    next: str | None
    """Due time of the next run, in the schedule's time zone; None without one."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The running parts, their addresses, and the commands to use them."""

    home: str
    ui: str
    api: str
    scheduler: str
    password: bool
    """Whether the server asks for one."""
    certificates: Certificates | None
    threads: int
    processes: dict[str, int | None]
    """Process id of each part."""
    loaded: Loaded | None
    deployments: list[DeploymentState]
    notes: list[str]
    """Problems that were found and mended at the start."""
    logs: str
    seconds: float

    @property
    def commands(self) -> dict[str, str]:
        """Shell commands for another terminal."""
        prefect = shutil.which("prefect") or str(Path(sys.executable).parent / "prefect")
        authority = None if self.certificates is None else self.certificates.files["ca-file"]
        words = server_words(self.api, self.password, authority)
        run = " ".join([*words, shlex.quote(_short(prefect))])
        return {
            "run": f"{run} deployment run daily/manual",
            # Not the newest, which are those that the schedules have planned; and wide enough for whole ids.
            "watch": f"COLUMNS=120 {run} flow-run ls --state-type RUNNING --state-type PENDING",
            "stop": f"{run} flow-run cancel ID",
        }

    def to_dict(self) -> dict[str, Any]:
        """The announcement as plain JSON values."""
        ca = None if self.certificates is None else self.certificates.files["ca-file"]
        document = asdict(replace(self, certificates=None)) | {"certificates": ca}
        document |= {"commands": self.commands, "seconds": round(self.seconds, 2)}
        return document | {"deployments_page": f"{self.ui}/deployments"}

    def text(self) -> str:
        """The announcement as text for a terminal."""
        rows = [[each.name, each.schedule, each.next or "-"] for each in self.deployments]
        loaded = self.loaded.line() if self.loaded is not None else "still loading"
        process = self.processes
        return "\n".join(
            [
                f"home         {self.home}",
                f"server       {self.ui} (process {process['server']}){self._doors()}",
                f"worker       waits for runs of the pool kline (process {process['worker']})",
                f"cluster      {self.threads} threads at {self.scheduler} (process {process['Dask worker']}); {loaded}",
                f"logs         {self.logs}",
                *(f"note         {note}" for note in self.notes),
                "",
                table(["deployment", "schedule", "next run"], rows),
                "",
                f"All pages:   {self.ui}",
                f"Deployments: {self.ui}/deployments",
                "",
                "In another terminal:",
                f"  run now:   {self.commands['run']}",
                f"  watch:     {self.commands['watch']}",
                f"  stop one:  {self.commands['stop']}",
                *self._own_run(),
                "",
                f"Ready after {self.seconds:.1f} s. Ctrl-C stops everything; runs, schedules and tables are kept.",
            ]
        )

    def _own_run(self) -> list[str]:
        """How to compute on a cluster with new certificates, without Prefect."""
        if self.certificates is None or self.certificates.configuration is None:
            return []
        name = shlex.quote(str(self.certificates.configuration))
        return [
            f"  no flow:   DASK_CONFIG={name} kline --home {shlex.quote(self.home)} run --scheduler {self.scheduler}"
        ]

    def _doors(self) -> str:
        """How the server lets others in, where that needs to be said."""
        said = [f"asks for the password in {PASSWORD}"] if self.password else []
        if self.certificates is not None:
            said += [f"shows a certificate of {self.certificates.files['ca-file']}"]
        return f"; {', '.join(said)}" if said else ""


def deployment_lines(client: SyncPrefectClient) -> list[DeploymentState]:
    """Deployments of the server, by name."""
    flows = {flow.id: flow.name for flow in client.read_flows()}
    found = all_deployments(client)
    lines = [
        DeploymentState(f"{flows.get(each.flow_id, '?')}/{each.name}", _schedule(each), _next(client, each))
        for each in found
    ]
    return sorted(lines, key=lambda line: line.name)


def _schedule(deployment: DeploymentResponse) -> str:
    parts = []
    for each in deployment.schedules:
        timing = each.schedule
        what = (
            getattr(timing, "cron", None)
            or getattr(timing, "rrule", None)
            or f"every {getattr(timing, 'interval', '?')}"
        )
        off = "" if each.active and not deployment.paused else ", paused"
        parts.append(f"{what} {getattr(timing, 'timezone', None) or 'UTC'}{off}")
    return "; ".join(parts) or "by hand"


def _next(client: SyncPrefectClient, deployment: DeploymentResponse) -> str | None:
    """Due time of the next run; None if the server has not planned it yet, which takes it some seconds."""
    runs = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
        ),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=1,
    )
    if not runs or runs[0].expected_start_time is None:
        return None
    zones = [getattr(each.schedule, "timezone", None) for each in deployment.schedules]
    zone = next((zone for zone in zones if zone), "UTC")
    return f"{runs[0].expected_start_time.astimezone(ZoneInfo(zone)):%a %Y-%m-%d %H:%M %Z}"


def _short(program: str) -> str:
    """The bare name if the shell finds the same program by it, else the path."""
    return "prefect" if shutil.which("prefect") == program else program
