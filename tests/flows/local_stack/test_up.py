"""`kline up` as a person runs it: real processes, started, watched, killed and stopped."""

import json
import os
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from flows.local_stack.certificates import made
from flows.local_stack.processes import marked
from kline_core.bars.ingest import ingest
from kline_core.cli.parser import main
from kline_core.store.home import Home
from tests.support.prefect_server import Server
from tests.support.processes import PATIENCE, free_port, poll

pytestmark = [pytest.mark.flows, pytest.mark.slow]

PASSWORD = "admin:hunter22"
KLINE = [sys.executable, "-m", "kline_core.cli"]
PARTS = ["server", "Dask scheduler", "Dask worker", "worker"]
LOST = "Its process is gone: the machine or kline was stopped while it worked. It does not go on by itself."
PROJECT = """
name: test
build: [{prefect.deployments.steps.run_shell_script: {id: here, script: pwd, stream_output: false}}]
pull: [{prefect.deployments.steps.set_working_directory: {directory: "{{ here.stdout }}"}}]
definitions:
  common: &common
    entrypoint: waits.py:waits
    work_pool: {name: kline}
    concurrency_limit: {limit: 1, collision_strategy: ENQUEUE}
deployments:
  - {<<: *common, name: manual, schedules: []}
  - {<<: *common, name: a-share, schedules: [{cron: "30 17 * * 1-5", timezone: Asia/Shanghai, active: true}],
     parameters: {calendar: XSHG}}
  - {<<: *common, name: weekly, schedules: [{cron: "0 6 * * 6", timezone: UTC, active: true}]}
  - {<<: *common, name: monthly, schedules: [{cron: "0 6 1 * *", timezone: UTC, active: true}]}
"""


@dataclass
class Desk:
    """A home, a project with a prefect.yaml, and a port."""

    home: Path
    project: Path
    port: int
    door: str = "http://"
    """How its server is reached: scheme, and who asks."""

    @property
    def server(self) -> Server:
        return Server(f"{self.door}127.0.0.1:{self.port}/api", {}, self.home)

    def command(self, *options: str) -> list[str]:
        return [*KLINE, "--home", str(self.home), "up", "--port", str(self.port), "--threads", "2", *options]

    def again(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(), cwd=self.project, capture_output=True, text=True, timeout=60)

    def deployment(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.server.get(f"deployments/name/waits/{name}")
        return found

    def begin(self) -> str:
        """Start a run by hand, and wait until it works; its id."""
        shutil.rmtree(self.home / "seen", ignore_errors=True)
        run = self.server.post(f"deployments/{self.deployment('manual')['id']}/create_flow_run")
        poll((self.home / "seen" / "begun").exists, "flow at work")
        return str(run["id"])

    def state(self, run: str) -> tuple[str, str]:
        state = self.server.get(f"flow_runs/{run}")["state"]
        return state["name"], state["message"] or ""

    def left(self) -> list[psutil.Process]:
        return marked(self.home)


@dataclass
class Up:
    """A `kline up` that is running."""

    process: subprocess.Popen[bytes]
    ready: dict[str, Any]
    errors: Path

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture(scope="module")
def desk(bar_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    home, project = (tmp_path_factory.mktemp(name).resolve() for name in ("home", "project"))
    ingest([bar_files], Home(home, create=True))
    assert main(["--home", str(home), "index"]) == 0
    (project / "prefect.yaml").write_text(PROJECT)
    shutil.copy(Path(__file__).with_name("waits.py"), project)
    desk = Desk(home, project, free_port())
    yield desk
    # Whatever a test that failed left behind.
    for process in desk.left():
        process.kill()


@contextmanager
def running(desk: Desk, *options: str, **variables: str) -> Iterator[Up]:
    out, errors = desk.project / "out", desk.project / "errors"
    # As at a terminal that belongs to somebody who set up Prefect for other things.
    env = os.environ | {"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_API_KEY": "secret", "DO_NOT_TRACK": "1"}
    env |= variables
    with out.open("wb") as output, errors.open("wb") as log:
        process = subprocess.Popen(
            desk.command("--json", *options), cwd=desk.project, env=env, stdout=output, stderr=log
        )
        try:

            def ready() -> str:
                assert process.poll() is None, errors.read_text()
                return out.read_text()

            yield Up(process, json.loads(poll(ready, "kline up", 4 * PATIENCE)), errors)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(10)


@pytest.mark.long
def test_a_day_at_the_desk(desk: Desk) -> None:
    with running(desk) as up:
        says_what_there_is(desk, up)
        is_the_only_one(desk)
        starts_again_what_dies(desk, up)
        ends_runs_when_it_is_stopped(desk, up)
    behind = replace(desk, door=f"https://{PASSWORD}@")
    with running(behind, "--tls", PREFECT_SERVER_API_AUTH_STRING=PASSWORD, PREFECT_LOGGING_LEVEL="DEBUG") as up:
        remembers(behind, up)
        abandoned = behind.begin()
        lets_nobody_else_in(behind, up)
        tells_no_secret(behind, up)
        up.process.kill()
        up.process.wait(10)
        assert {process.pid for process in desk.left()} >= set(up.ready["processes"].values())
    with running(desk) as up:
        recovers(desk, up, abandoned)
        assert up.stop(signal.SIGINT) == 0
    assert desk.left() == []


def says_what_there_is(desk: Desk, up: Up) -> None:
    ready = up.ready
    assert ready["home"] == str(desk.home)
    assert ready["ui"] == f"http://127.0.0.1:{desk.port}"
    assert list(ready["processes"]) == PARTS
    assert ready["loaded"] == {"symbols": 3, "patterns": Home(desk.home).read("patterns").num_rows, "why": None}
    assert [each["name"] for each in ready["deployments"]] == [
        f"waits/{name}" for name in ("a-share", "manual", "monthly", "weekly")
    ]
    assert {each["name"] for each in ready["deployments"] if "paused" in each["schedule"]} == {"waits/a-share"}
    # The bars are years old.
    assert len(ready["notes"]) == 1
    assert ready["notes"][0].startswith("the schedule of a-share is paused, since the newest bar is of 20")
    listens_on_loopback_only(up)
    # A page of another site in a browser here may not read.
    origins = [f"http://127.0.0.1:{desk.port}", f"http://localhost:{desk.port}", "https://example.org"]
    answers = [httpx.get(f"{desk.server.url}/health", headers={"Origin": origin}) for origin in origins]
    allowed = [answer.headers.get("access-control-allow-origin") for answer in answers]
    assert allowed == [*origins[:2], None]


def listens_on_loopback_only(up: Up) -> None:
    """Every program, also those that only a program of ours has started: no address but 127.0.0.1."""
    parent = psutil.Process(up.process.pid)
    found = [
        (each.laddr, process.cmdline())
        for process in [parent, *parent.children(recursive=True)]
        for each in process.net_connections("inet")
        if each.status == psutil.CONN_LISTEN or each.type == socket.SOCK_DGRAM
    ]
    assert {laddr[0] for laddr, _ in found} == {"127.0.0.1"}, found
    # Server, scheduler, worker, and the status pages of the last two.
    assert len(found) >= 5, found


def lets_nobody_else_in(desk: Desk, up: Up) -> None:
    listens_on_loopback_only(up)
    url = f"https://127.0.0.1:{desk.port}/api"
    assert up.ready["api"] == url
    assert up.ready["scheduler"].startswith("tls://127.0.0.1:")
    trust = ssl.create_default_context(cafile=up.ready["certificates"])
    asked = {
        password: httpx.post(f"{url}/flow_runs/filter", json={}, verify=trust, auth=password).status_code
        for password in (None, ("admin", "wrong"), tuple(PASSWORD.split(":")))
    }
    assert list(asked.values()) == [401, 401, 200]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{url}/health".replace("https", "http"))
    # The cluster: with the certificates that a flow run has, with none, and with others.
    (flow_run,) = marked(desk.home, flow_runs_only=True)[:1]
    told = {name: value for name, value in flow_run.environ().items() if name.startswith("DASK_")}
    code = "import sys; from distributed import Client; print(Client(sys.argv[1], timeout=5).submit(abs, -3).result())"
    command = [sys.executable, "-c", code, up.ready["scheduler"]]
    others = made(desk.project / "tls", "127.0.0.1").environment
    for variables, gets_in in ((told, True), ({}, False), (others, False)):
        done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True)
        assert (done.returncode == 0) == gets_in, done.stderr
        assert done.stdout == ("3\n" if gets_in else "")


def tells_no_secret(desk: Desk, up: Up) -> None:
    secret = PASSWORD.split(":")[1]
    processes = [psutil.Process(up.process.pid), *desk.left()]
    assert not [process.pid for process in processes if secret in " ".join(process.cmdline())]
    assert secret not in json.dumps(up.ready)
    assert 'PREFECT_API_AUTH_STRING="$PREFECT_SERVER_API_AUTH_STRING"' in up.ready["commands"]["run"]
    state = desk.home / "prefect"
    # Temporary files aside: what Prefect hands a flow run on its way is the owner's alone, and goes with the stop.
    assert stat.S_IMODE((state / "tmp").stat().st_mode) == 0o700
    found = [path for folder in (state, desk.project) for path in folder.rglob("*") if path.is_file()]
    files = [path for path in found if state / "tmp" not in path.parents]
    assert not [path for path in files if secret.encode() in path.read_bytes()]
    logs = list((state / "logs").iterdir())
    assert {stat.S_IMODE(path.stat().st_mode) for path in logs} == {0o600}
    # What the user had set for the log counts.
    assert "DEBUG" in (state / "logs" / "worker.log").read_text()


def is_the_only_one(desk: Desk) -> None:
    second = desk.again()
    assert second.returncode == 1
    pid = json.loads((desk.home / "prefect" / "up.json").read_text())["pid"]
    assert f"already (process {pid}) at http://127.0.0.1:{desk.port}; stop it" in second.stderr
    assert second.stdout == ""
    other = Desk(desk.project / "other", desk.project, desk.port).again()
    assert other.returncode == 1
    assert f"port {desk.port} is in use by process" in other.stderr
    assert "such as --port" in other.stderr


def starts_again_what_dies(desk: Desk, up: Up) -> None:
    leases = f"{desk.server.url}/v2/concurrency_limits"
    desk.server.post("v2/concurrency_limits/", name="slots", limit=1)
    held = desk.server.post("v2/concurrency_limits/increment-with-lease", names=["slots"], slots=1, mode="concurrency")
    before = up.ready["processes"]
    for pid in before.values():
        psutil.Process(pid).kill()

    def alive() -> bool:
        names = []
        for process in desk.left():
            # One that was just killed may end while it is looked at.
            with suppress(psutil.Error):
                names.append(" ".join(process.cmdline()))
        wanted = ("prefect server", "dask scheduler", "dask worker", "prefect worker")
        return all(any(each in name for name in names) for each in wanted)

    # A process that was killed may look alive for a moment.
    for part in PARTS:
        ended = f"the {part} ended with code -9 and is started again"
        poll(lambda ended=ended: ended in up.errors.read_text(), ended)
    poll(alive, "parts again")
    # And they work together again. A run at work could keep the slot that it holds.
    poll(lambda: answers(desk), "server again")
    renewed = httpx.post(f"{leases}/leases/{held['lease_id']}/renew", json={"lease_duration": 300})
    assert renewed.status_code == 204, renewed.text
    run = desk.begin()
    (desk.home / "seen" / "go").touch()
    poll(lambda: desk.state(run)[0] == "Completed", "run on the parts that were started again")
    assert (desk.home / "seen" / "ended").read_text() == up.ready["scheduler"]


def answers(desk: Desk) -> bool:
    try:
        return bool(desk.server.get("health"))
    except Exception:  # noqa: BLE001  it is being started
        return False


def ends_runs_when_it_is_stopped(desk: Desk, up: Up) -> None:
    weekly = desk.deployment("weekly")
    schedule = weekly["schedules"][0]["id"]
    desk.server.patch(f"deployments/{weekly['id']}/schedules/{schedule}", active=False)
    run = desk.begin()
    (desk.home / "run").write_text(run)
    assert up.stop() == 0
    assert (desk.home / "seen" / "ended").exists()
    assert desk.left() == []
    names = {path.name for path in (desk.home / "prefect").iterdir()}
    assert not names & {"up.json", "up.json.new", "tmp"}


def remembers(desk: Desk, up: Up) -> None:
    run = (desk.home / "run").read_text()
    # A flow of others, which may be no good to begin twice.
    stopped = "kline up was stopped while it worked. It does not go on by itself."
    assert desk.state(run) == ("Crashed", stopped)
    paused = {each["name"] for each in up.ready["deployments"] if "paused" in each["schedule"]}
    assert paused == {"waits/a-share", "waits/weekly"}
    assert len(up.ready["notes"]) == 1
    assert up.ready["notes"][0].startswith("waits ")
    assert up.ready["notes"][0].endswith(stopped)
    assert next(each for each in up.ready["deployments"] if each["name"] == "waits/monthly")["next"] is not None
    # Next time prefect.yaml has changed.
    with (desk.project / "prefect.yaml").open("a") as file:
        file.write("  - {<<: *common, name: more, schedules: []}\n")


def recovers(desk: Desk, up: Up, abandoned: str) -> None:
    assert desk.state(abandoned) == ("Crashed", LOST)
    assert any(note.startswith("waits ") and note.endswith(LOST) for note in up.ready["notes"])
    assert "programs of one that was killed were still running, and were ended" in up.errors.read_text()
    # What was paused by hand or for a reason stays so, though all was deployed again.
    assert "waits/more" in {each["name"] for each in up.ready["deployments"]}
    paused = {each["name"] for each in up.ready["deployments"] if "paused" in each["schedule"]}
    assert paused == {"waits/a-share", "waits/weekly"}
    # The slot of the run that was lost is free again.
    run = desk.begin()
    (desk.home / "seen" / "go").touch()
    poll(lambda: desk.state(run)[0] == "Completed", "run after the one that was lost")


@pytest.mark.long
def test_what_the_user_has_set_for_prefect_and_dask_counts(desk: Desk) -> None:
    """Password, log, results and encryption, all by variables."""
    results = desk.project / "results"
    given = {
        "PREFECT_SERVER_API_AUTH_STRING": PASSWORD,
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true",
        "PREFECT_LOCAL_STORAGE_PATH": str(results),
        "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true",
    }
    log = desk.home / "prefect" / "logs" / "worker.log"
    before = len(log.read_text()) if log.exists() else 0
    with running(replace(desk, door=f"https://{PASSWORD}@"), **given) as up:
        behind = replace(desk, door=f"https://{PASSWORD}@")
        assert up.ready["api"].startswith("https://")
        assert up.ready["scheduler"].startswith("tls://")
        trust = ssl.create_default_context(cafile=up.ready["certificates"])
        assert httpx.post(f"{up.ready['api']}/flow_runs/filter", json={}, verify=trust).status_code == 401
        run = behind.begin()
        (desk.home / "seen" / "go").touch()
        poll(lambda: behind.state(run)[0] == "Completed", "run with what the user has set")
        # On the encrypted cluster.
        assert (desk.home / "seen" / "ended").read_text().startswith("tls://")
        assert [path for path in results.iterdir() if path.is_file()]
        assert up.stop() == 0
    assert "| INFO " not in log.read_text()[before:]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--home", "s3://bucket/home"], "home s3://bucket/home is a URL"),
        (["--home", "HERE", "--port", "0"], "--port is 0; it must be between 1 and 65535"),
        (["--home", "HERE", "--threads", "0"], "threads is 0"),
        (["--home", "HERE", "--host", "0.0.0.0"], "--host is 0.0.0.0; it must be one IPv4 address"),
        (["--home", "HERE", "--host", "192.0.2.5"], "--host is 192.0.2.5, where others could have their own code run"),
    ],
)
def test_what_cannot_be_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["up", *(word.replace("HERE", str(tmp_path / "home")) for word in options)]) == 1
    assert message in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
