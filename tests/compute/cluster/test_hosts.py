"""Scheduler, workers and client on hosts of their own, which are killed, cut off or late: the same values, bit for bit.

Dask speaks TLS by certificates of each host; the home lies in a folder that all see, or in an object store on the
scheduler's host.
"""

import os
import pickle
import signal
import sys
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from kline_core.compute.run import run_symbols
from tests.support.authority import Authority
from tests.support.bench import Bench
from tests.support.homes import market
from tests.support.host_client import SAMPLES, host_client
from tests.support.hosts import network, why_none
from tests.support.object_store import ObjectStore
from tests.support.processes import poll

pytestmark = [pytest.mark.cluster, pytest.mark.long]

ROOT = Path(__file__).parents[3]
WORKERS = ("one", "two", "three")
PORT, WORKER_PORT = 8786, 8787
TCP_SECONDS = 11
"""Seconds after which Dask gives a silent line up; the fewest that it takes."""
PATIENCE = 180.0
"""Seconds of a wait: a worker may have to be started, and imports what it needs."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory, small_weights):
    return Bench.of(tmp_path_factory.mktemp("hosts") / "home", market(6, 300), weights=small_weights)


@pytest.fixture(scope="module")
def whole(bench, in_process, tmp_path_factory):
    """Rows of a run in one process."""
    copy = bench.copy(tmp_path_factory.mktemp("whole") / "copy")
    run_symbols(copy.start(in_process, samples=SAMPLES)).check(1.0)
    return [copy.rows(table) for table in ("factors", "matches")]


@pytest.fixture(scope="module")
def hosts():
    if (why := why_none()) is not None:
        pytest.skip(why)
    with network("scheduler", *WORKERS, "client") as found:
        yield found


@pytest.fixture(scope="module", params=["folder", "object store"])
def home(request, hosts, tmp_path_factory):
    """Where homes lie, and what finds them there: a URI that ends in a slash, and variables."""
    folder = tmp_path_factory.mktemp("place")
    if request.param == "folder":
        yield f"{folder}/", {}
        return
    host, log = hosts["scheduler"], folder / "store.log"
    command = [sys.executable, "-m", "tests.support.object_store", host.address]
    with host.program(*command, log=log, env=environment()):
        port = int(poll(lambda: log.read_text().strip(), "port of the object store"))
        yield "s3://bucket/", ObjectStore(port, host.address).environment


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def site(hosts, home, authority, bench, tmp_path_factory):
    """The scheduler, and workers that tests start and end."""
    with Site(hosts, *home, authority, bench, tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture(params=[1, 4], ids=["plain", "shards"])
def shards(request):
    return request.param


def environment(**more):
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, **more}


class Site:
    """The programs of a cluster, each on its host."""

    def __init__(self, hosts, uri, variables, authority, bench, folder):
        self.hosts, self._uri, self._variables = hosts, uri, variables
        self._authority, self._bench, self._folder = authority, bench, folder
        self._stack, self._runs = ExitStack(), count()
        self._workers = {}
        """Running programs and what ends them, by the name of their host."""

    def __enter__(self):
        self.address = f"tls://{self.hosts['scheduler'].address}:{PORT}"
        self._start(self._stack, "scheduler", "scheduler", "--port", str(PORT))
        return self

    def __exit__(self, *_):
        self.have()
        self._stack.close()

    def _env(self, name):
        timeout = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": f"{TCP_SECONDS}s"}
        own = self._authority.environment(name, self.hosts[name].address)
        return environment(**self._variables, **own, **timeout)

    def _start(self, stack, name, *command):
        common = ["--protocol", "tls", "--host", self.hosts[name].address, "--dashboard-address", "127.0.0.1:0"]
        program = self.hosts[name].program(
            *(sys.executable, "-m", "dask", *command, *common), log=self._folder / f"{name}.log", env=self._env(name)
        )
        return stack.enter_context(program)

    def have(self, *names):
        """Have workers on these hosts and no others, and wait for them."""
        for name, (program, stack) in list(self._workers.items()):
            if name not in names or program.poll() is not None:
                del self._workers[name]
                stack.close()
        said, new = self._folder / "scheduler.log", {}
        for name in set(names) - self._workers.keys():
            line = f"Register worker addr: {self.of(name)}"
            new[line] = said.read_text().count(line)
            options = ("--no-nanny", "--nthreads", "2", "--worker-port", str(WORKER_PORT))
            stack = ExitStack()
            self._workers[name] = self._start(stack, name, "worker", self.address, *options), stack
        for line, before in new.items():
            poll(lambda line=line, before=before: said.read_text().count(line) > before, line, PATIENCE)

    def program(self, name):
        """Program of the worker on a host."""
        return self._workers[name][0]

    def of(self, name):
        """Address of the worker on a host."""
        return f"tls://{self.hosts[name].address}:{WORKER_PORT}"

    def values(self, shards, disturb):
        """Rows of a run that is disturbed with its third symbol.

        `disturb` is called with the client and the symbol, and begins this itself.
        """
        run = f"run-{next(self._runs)}"
        arguments = [self.address, str(shards), self._bench.home.uri, f"{self._uri}{run}", self._bench.weights]
        log, rows = self._folder / f"{run}.log", self._folder / f"{run}.rows"
        with host_client(self.hosts["client"], *arguments, log=log, env=self._env("client")) as client:
            for at, symbol in enumerate(client.ask("symbols")):
                if at == 2:
                    disturb(client, symbol)
                else:
                    client.ask("begin", symbol)
                done(client)
            client.ask("finish", str(rows))
        return pickle.loads(rows.read_bytes())


def done(client):
    """Wait until the symbol that was begun is done."""
    poll(lambda: client.ask("done"), "values of a symbol", PATIENCE)


def waits_for(client, worker):
    """Wait until there is work that waits for the worker at an address."""
    poll(lambda: client.ask("busy").get(worker), f"work for {worker}", PATIENCE)


def left(client, worker):
    """Wait until the scheduler knows of no worker at an address."""
    poll(lambda: worker not in client.ask("workers"), f"end of {worker}", PATIENCE)


def test_undisturbed(site, shards, whole):
    site.have(*WORKERS)

    def look(client, symbol):
        client.ask("begin", symbol)
        if shards > 1:
            assert sorted(client.ask("held").values()) == [[0, 3], [1], [2]]

    assert site.values(shards, look) == whole


def test_a_worker_killed_in_the_middle(site, shards, whole):
    site.have(*WORKERS)

    def kill(client, symbol):
        # Stopped first, so that work surely waits for it when it dies.
        site.program("two").send_signal(signal.SIGSTOP)
        client.ask("begin", symbol)
        waits_for(client, site.of("two"))
        site.program("two").kill()
        left(client, site.of("two"))

    assert site.values(shards, kill) == whole


def test_a_line_cut_in_the_middle_and_back(site, shards, whole):
    site.have(*WORKERS)

    def cut(client, symbol):
        site.hosts["two"].cut()
        client.ask("begin", symbol)
        waits_for(client, site.of("two"))
        site.hosts["two"].mend()
        done(client)
        # Nobody has left for it.
        assert client.ask("workers") == sorted(map(site.of, WORKERS))

    assert site.values(shards, cut) == whole


def test_a_line_cut_for_so_long_that_the_worker_leaves(site, shards, whole):
    """It ends, and does the work of a worker again once something starts it."""
    site.have(*WORKERS)

    def cut(client, symbol):
        site.hosts["two"].cut()
        client.ask("begin", symbol)
        left(client, site.of("two"))
        done(client)
        site.hosts["two"].mend()
        poll(lambda: site.program("two").poll() is not None, "end of the worker's process", PATIENCE)
        site.have(*WORKERS)
        works(site, shards, client, "two")

    assert site.values(shards, cut) == whole


def test_a_late_worker_takes_shards_over_and_gets_work(site, shards, whole):
    site.have("one", "two")

    def start(client, symbol):
        client.ask("begin", symbol)
        done(client)
        site.have(*WORKERS)
        works(site, shards, client, "three")

    assert site.values(shards, start) == whole


def works(site, shards, client, name):
    """Wait until a worker that came late holds shards, if there are any, and does work."""
    worker = site.of(name)
    poll(lambda: worker in client.ask("workers"), "late worker", PATIENCE)
    if shards > 1:
        poll(lambda: client.ask("look") or client.ask("held")[worker], "shard of the late worker", PATIENCE)
    begun = client.ask("executed")[worker]

    def more():
        client.ask("begin", client.ask("symbols")[2])
        done(client)
        # The first call has it load its shards; it is asked for them afterwards.
        return client.ask("executed")[worker] > begun + 1

    poll(more, "work of the late worker", PATIENCE)
