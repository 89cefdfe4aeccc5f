"""`kline up` as a service: the unit and the containers' files, checked as far as their programs are at hand."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from distributed.cli.dask_scheduler import main as dask_scheduler
from distributed.cli.dask_worker import main as dask_worker

from flows.local_stack.certificates import variable
from flows.local_stack.up import FLOW_RUN_SECONDS, PART_SECONDS
from kline_core.cli.parser import build_parser
from tests.support.authority import Authority
from tests.support.desk import kline_up
from tests.support.homes import make_home, market
from tests.support.postgres import binaries, postgres
from tests.support.prefect_server import ROOT

PLACE = ROOT / "flows" / "service"
# Flow runs, the four programs one after the other, and what they have left behind.
STOP_SECONDS = FLOW_RUN_SECONDS + 5 * PART_SECONDS


def unit() -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read(PLACE / "kline.service")
    return found


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((PLACE / "compose.yaml").read_text())["services"]
    return found


def manifest() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((PLACE / "dask.yaml").read_text()))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_the_unit_is_one_for_systemd(tmp_path: Path) -> None:
    kline = Path(sys.executable).with_name("kline")
    text = (PLACE / "kline.service").read_text()
    assert text.count("ExecStart=/opt/kline/bin/kline up\n") == 1
    (tmp_path / "kline.service").write_text(text.replace("/opt/kline/bin/kline up", f"{kline} up"))
    done = subprocess.run(["systemd-analyze", "verify", tmp_path / "kline.service"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_restarts_after_failures_and_leaves_time_to_stop() -> None:
    service = unit()["Service"]
    assert service["User"] == "kline"
    assert service["Restart"] == "on-failure"
    assert int(service["TimeoutStopSec"]) > 60 > STOP_SECONDS, "the comments say a minute at the most"
    assert service["KillMode"] == "mixed", "`kline up` ends its programs itself, and in order"
    # Five starts within ten seconds would be the last ones.
    assert int(service["RestartSec"]) > 10
    assert service["Environment"] == "KLINE_HOME=/var/lib/kline/home"
    assert Path("/var/lib", service["StateDirectory"]) == Path(service["WorkingDirectory"])


def test_the_image_has_the_torch_that_is_pinned() -> None:
    pinned = re.search(r'"(torch==[^"]+)"', (ROOT / "pyproject.toml").read_text())
    assert pinned is not None
    assert f" {pinned[1]}\n" in (PLACE / "Dockerfile").read_text()


def test_the_containers_fit_each_other() -> None:
    database, kline = services()["database"], services()["kline"]
    build = kline["build"]
    assert (PLACE / build["context"]).resolve() == ROOT
    assert ROOT / build["dockerfile"] == PLACE / "Dockerfile"
    assert int(kline["stop_grace_period"].removesuffix("s")) > STOP_SECONDS
    # What `kline up` and PostgreSQL listen on is this machine's loopback, and nothing else.
    assert kline["network_mode"] == "host"
    (port,) = database["ports"]
    assert port == "127.0.0.1:5433:5432"
    url = kline["environment"]["PREFECT_API_DATABASE_CONNECTION_URL"]
    account, name = (database["environment"][key] for key in ("POSTGRES_USER", "POSTGRES_DB"))
    assert url == f"postgresql+asyncpg://{account}:${{POSTGRES_PASSWORD}}@127.0.0.1:5433/{name}"
    # Without a password there is no start.
    assert ":?" in database["environment"]["POSTGRES_PASSWORD"]
    assert ":?" in kline["environment"]["PREFECT_SERVER_API_AUTH_STRING"]
    (mount,) = kline["volumes"]
    assert f"ENV KLINE_HOME={mount.partition(':')[2]}\n" in (PLACE / "Dockerfile").read_text()
    # Secrets stand in a file that neither a commit nor an image takes in.
    for name, line in ((".gitignore", ".env"), (".dockerignore", "**/.env")):
        assert line in (ROOT / name).read_text().splitlines()


def test_what_is_on_kubernetes_fits_each_other() -> None:
    found = {(each["kind"], each["metadata"]["name"]): each for each in manifest()}
    assert len(found) == len(manifest())
    pods = {name: found[kind, name]["spec"]["template"] for kind, name in found if kind in ("Deployment", "Job")}
    assert set(pods) == {"kline-scheduler", "kline-worker", "kline-run"}
    data = found["ConfigMap", "kline-cluster"]["data"]
    user = re.search(r"useradd --uid (\d+) ", (PLACE / "Dockerfile").read_text())
    assert user is not None
    uid = int(user[1])
    for name, pod in pods.items():
        assert pod["metadata"]["labels"] == {"app": name}
        (container,) = pod["spec"]["containers"]
        assert container["image"] == "registry.example.com/kline"
        assert container["envFrom"] == [{"configMapRef": {"name": "kline-cluster"}}]
        assert pod["spec"]["securityContext"] == {"runAsNonRoot": True} | dict.fromkeys(("runAsUser", "fsGroup"), uid)
        mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
        assert mounts == {"tls": "/tls"} | ({} if name == "kline-scheduler" else {"home": data["KLINE_HOME"]})
        volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
        assert volumes.keys() == mounts.keys()
        assert volumes["tls"]["secret"] == {"secretName": "kline-tls"}
        if "home" in volumes:
            assert ("PersistentVolumeClaim", volumes["home"]["persistentVolumeClaim"]["claimName"]) in found
    for name in ("kline-scheduler", "kline-worker"):
        assert found["Deployment", name]["spec"]["selector"]["matchLabels"] == {"app": name}
    # Clients and workers find the scheduler by the name and port of its service.
    service = found["Service", "kline-scheduler"]["spec"]
    assert service["selector"] == {"app": "kline-scheduler"}
    (port,) = service["ports"]
    (own,) = pods["kline-scheduler"]["spec"]["containers"][0]["ports"]
    assert port["targetPort"] == own["name"]
    assert port["port"] == own["containerPort"]
    address = f"tls://kline-scheduler:{port['port']}"

    scheduler, worker, run = (pods[name]["spec"]["containers"][0] for name in pods)
    assert scheduler["args"][:2] == ["dask", "scheduler"]
    assert dask_scheduler.make_context("scheduler", scheduler["args"][2:]).params["port"] == str(own["containerPort"])
    assert worker["args"][:2] == ["dask", "worker"]
    asked = dask_worker.make_context("worker", worker["args"][2:]).params
    assert asked["scheduler"] == address
    # One process for all processors of its node, or each would load bars and index.
    assert int(asked["n_workers"]) == 1
    assert asked["nthreads"] == int(worker["resources"]["limits"]["cpu"])
    assert run["args"][0] == "kline"
    assert build_parser().parse_args(run["args"][1:]).scheduler == address


def test_on_kubernetes_nothing_goes_without_tls(tmp_path: Path) -> None:
    (data,) = (each["data"] for each in manifest() if each["kind"] == "ConfigMap")
    own = Authority(tmp_path).environment("host", "127.0.0.1")
    assert data.keys() == own.keys() | {"KLINE_HOME"}
    assert data[variable("distributed.comm.require-encryption")] == "true"
    # The files of the secret that the first lines have made.
    made = set(re.findall(r"--from-file=(\S+)", (PLACE / "dask.yaml").read_text()))
    assert {value for value in data.values() if value.startswith("/tls/")} == {f"/tls/{name}" for name in made}


@pytest.mark.long
@pytest.mark.flows
@pytest.mark.skipif(binaries() is None, reason="PostgreSQL is not installed")
def test_kline_up_runs_with_the_environment_of_its_container(tmp_path: Path) -> None:
    make_home(tmp_path / "home", market(1, 10))
    named = services()["kline"]["environment"]
    assert set(named) == {"PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_API_AUTH_STRING"}
    with postgres() as database:
        more = dict(zip(named, (database, "USER:PASSWORD"), strict=True))
        with kline_up(tmp_path / "home", tmp_path, **more) as (_, said):
            ask = f"{said['api']}/deployments/filter"
            assert httpx.post(ask, json={}, trust_env=False).status_code == 401
            found = httpx.post(ask, json={}, auth=("USER", "PASSWORD"), trust_env=False)
            assert {"a-share", "us", "manual", "weekly"} & {each["name"] for each in found.json()}
    assert not list((tmp_path / "home" / "prefect").glob("*.db"))
