"""Prefect's server and worker, Dask's scheduler and workers, each on a host of its own: the values of one process."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import kline_core as kl
from kline_core.bars.ingest import ingest
from kline_core.store.home import Home
from tests.support.authority import Authority
from tests.support.bench import Bench
from tests.support.hosts import Host, network, why_none
from tests.support.prefect_server import ROOT, environment
from tests.support.processes import poll

pytestmark = pytest.mark.long

HELD = """
import json, os
from distributed import Client

def numbers():
    from kline_core import _cache
    from kline_core.factor.shard import ShardKey

    return [kind[1].number for kind in _cache._caches if isinstance(kind, tuple) and kind[0] is ShardKey]

with Client(os.environ["KLINE_SCHEDULER"]) as client:
    print(json.dumps(sorted(client.run(numbers).values())))
"""
"""Prints the shards that each of Dask's workers holds."""
SERVER, DESK, SCHEDULER, WORKERS = "server", "desk", "scheduler", ("one", "two")
PATIENCE = 120
SAMPLES = 20


@dataclass(frozen=True)
class Site:
    """All that runs, and a copy of what a clone holds."""

    hosts: dict[str, Host]
    env: dict[str, str]
    """Of programs of the desk."""
    folder: Path
    clone: Path

    def typed(self, *words: str) -> str:
        """A command typed at the desk; what it printed. Raises if it failed."""
        command = self.hosts[DESK].command(*words)
        done = subprocess.run(command, cwd=self.clone, env=self.env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr + self.logs()
        return done.stdout

    def answered(self) -> bool:
        """Whether the desk reaches the server."""
        ask = f"from urllib.request import urlopen; urlopen({self.env['PREFECT_API_URL'] + '/health'!r})"
        return subprocess.run(self.hosts[DESK].command(sys.executable, "-c", ask), capture_output=True).returncode == 0

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def logs(self) -> str:
        """The ends of all logs, for what fails."""
        return "\n".join(f"{file}: {file.read_text()[-2000:]}" for file in self.folder.glob("*.log"))


def on_kubernetes(role: str) -> list[str]:
    """The command of a container in the manifest."""
    for each in yaml.safe_load_all((ROOT / "flows" / "service" / "dask.yaml").read_text()):
        containers = each["spec"]["template"]["spec"]["containers"] if each["kind"] == "Deployment" else []
        for container in containers:
            if container["name"] == role:
                return list(container["args"])
    raise AssertionError(f"no {role} in the manifest")


@pytest.fixture(scope="module")
def site(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if (why := why_none()) is not None:
        pytest.skip(why)
    folder, clone, state = (tmp_path_factory.mktemp(name) for name in ("site", "clone", "state"))
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    shutil.copytree(ROOT / "flows", clone / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "prefect.yaml", clone)
    shutil.copy(tables, state)
    with ExitStack() as stack:
        hosts = stack.enter_context(network(SERVER, DESK, SCHEDULER, *WORKERS))
        common = environment(state) | {
            "PYTHONPATH": str(ROOT),
            "PREFECT_API_URL": f"http://{hosts[SERVER].address}:4200/api",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
        }
        envs = {name: common | authority.environment(name, host.address) for name, host in hosts.items()}
        address = f"tls://{hosts[SCHEDULER].address}:8786"
        # The worker's own state lies elsewhere than the server's.
        desk = envs[DESK] | {"KLINE_SCHEDULER": address, "PREFECT_HOME": str(folder)}
        site = Site(hosts, desk, folder, clone)

        def start(host: str, *command: str, log: str = "", env: dict[str, str] | None = None) -> None:
            program = hosts[host].program(*command, log=folder / f"{log or host}.log", env=env or envs[host])
            stack.enter_context(program)

        start(SERVER, "prefect", "server", "start", "--host", hosts[SERVER].address, "--port", "4200")
        for name, role in {SCHEDULER: "scheduler", **dict.fromkeys(WORKERS, "worker")}.items():
            # Found by name on Kubernetes; here hosts have addresses alone.
            words = [word.replace("kline-scheduler", hosts[SCHEDULER].address) for word in on_kubernetes(role)]
            start(name, *words, "--host", hosts[name].address)
        poll(site.answered, "Prefect's server", PATIENCE)
        site.typed("prefect", "work-pool", "create", "kline", "--type", "process")
        site.typed("prefect", "--no-prompt", "deploy", "--all")
        start(DESK, "prefect", "worker", "start", "--pool", "kline", log="worker", env=desk)
        poll(lambda: site.log(SCHEDULER).count("Register worker addr") == len(WORKERS), "Dask's workers", PATIENCE)
        yield site


@pytest.fixture(scope="module")
def whole(bar_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A run in one process."""
    home = Home(tmp_path_factory.mktemp("whole"), create=True)
    ingest([bar_files], home)
    kl.update_patterns(home)
    kl.compute_factor(home, samples=SAMPLES)
    return Bench(home)


@pytest.mark.parametrize("shards", ["", "3"], ids=["plain", "shards"])
def test_a_flow_on_one_host_computes_on_others(
    site: Site, whole: Bench, shards: str, bar_files: Path, tmp_path: Path
) -> None:
    home = Home(tmp_path / "home", create=True)
    ingest([bar_files], home)
    said = site.log(SCHEDULER)
    # Where the flow runs is one place for all deployments; this run alone has shards, or none.
    variables = f"env={json.dumps({'KLINE_SHARDS': shards})}"
    parameters = ("-p", f"home={home.uri}", "-p", f"samples={SAMPLES}")
    run = ("prefect", "deployment", "run", "daily/manual", *parameters, "--job-variable", variables, "--watch")
    assert "finished successfully in 'Completed'" in site.typed(*run)
    assert "Receive client connection" in site.log(SCHEDULER).removeprefix(said)
    if shards:
        assert json.loads(site.typed(sys.executable, "-c", HELD)) in ([[0, 2], [1]], [[0], [1, 2]], [[0, 1], [2]])
    for table in ("factors", "matches"):
        found = Bench(home).rows(table)
        assert found == whole.rows(table)
        assert found
