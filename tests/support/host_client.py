"""A client on a host of its own, which does what it is asked, line by line: a test cannot leave its own host.

    python -m tests.support.host_client ADDRESS SHARDS SOURCE URI WEIGHTS

It opens the cluster, and scores symbol after symbol on a copy at URI of the home in the folder SOURCE. Each line of its
standard input is a JSON list, a method of `Asked` and its arguments; each line that it prints is the answer as JSON.
"""

import json
import os
import pickle
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any
from urllib.parse import urlsplit

from kline_core.compute.opening import open_cluster
from kline_core.compute.run import Run
from kline_core.store.home import Home
from tests.support.bench import Bench
from tests.support.hosts import Host
from tests.support.object_store import ObjectStore
from tests.support.processes import end

SAMPLES, CHUNKS = 40, 12
"""Samples of a symbol, and chunks that they are scored in, so that no worker is left without one."""


class Asked:
    """What a test may ask for."""

    def __init__(self, run: Run, pool: ThreadPoolExecutor, said: list[str]) -> None:
        self._run, self._cluster, self._pool, self._said = run, run.cluster, pool, said
        self._scoring: Future[Any] | None = None

    def symbols(self) -> list[str]:
        return self._run.symbols

    def begin(self, symbol: str) -> None:
        """Begin to score a symbol."""
        self._scoring = self._pool.submit(self._run.score, [symbol], CHUNKS)

    def done(self) -> bool:
        """Whether what was begun is done. Raises what it raised."""
        assert self._scoring is not None
        if not self._scoring.done():
            return False
        assert not self._scoring.result()[1], self._scoring.result()[1]
        return True

    def workers(self) -> list[str]:
        return sorted(self._cluster.workers)

    def busy(self) -> dict[str, int]:
        """Calls that wait for each worker, by its address, as the scheduler knows them."""
        return {worker: len(calls) for worker, calls in self._cluster.client.processing().items()}

    def executed(self) -> dict[str, int]:
        """Calls that each worker has begun."""
        return self._cluster.client.run(lambda dask_worker: dask_worker.state.executed_count)

    def held(self) -> dict[str, list[int]]:
        """Shards that each worker holds."""

        def numbers() -> list[int]:
            from kline_core import _cache
            from kline_core.factor.shard import ShardKey

            kinds = [kind for kind in _cache._caches if isinstance(kind, tuple) and kind[0] is ShardKey]
            return sorted(kind[1].number for kind in kinds)

        return self._cluster.client.run(numbers)

    def look(self) -> None:
        """Look at once whether workers came or left, as a run does every second."""
        self._cluster.shards_of(self._run.key)._look(at_once=True)

    def said(self) -> list[str]:
        """What was said of the run so far."""
        return self._said

    def finish(self, file: str) -> None:
        """Store the rest, and write the rows into a file."""
        self._run.finish().check(1.0)
        bench = Bench(self._run.home)
        Path(file).write_bytes(pickle.dumps([bench.rows(table) for table in ("factors", "matches")]))


def main() -> None:
    address, shards, source, uri, weights = sys.argv[1:]
    bench = Bench(_copied(Path(source), uri), weights=weights)
    said: list[str] = []
    with (
        open_cluster(address, log=lambda _, message: said.append(message), shards=int(shards)) as cluster,
        ThreadPoolExecutor(1) as pool,
    ):
        asked = Asked(bench.start(cluster, samples=SAMPLES), pool, said)
        print(json.dumps("ready"), flush=True)
        for line in sys.stdin:
            method, *arguments = json.loads(line)
            print(json.dumps(getattr(asked, method)(*arguments)), flush=True)


def _copied(source: Path, uri: str) -> Home:
    """A copy of a home without values, in a folder or in the object store that the environment names."""
    if not uri.startswith("s3://"):
        return Bench(Home(source)).copy(Path(uri)).home
    place = urlsplit(os.environ["AWS_ENDPOINT_URL"])
    store = ObjectStore(place.port, place.hostname)
    for table in ("bars", "patterns"):
        for file in sorted((source / table).rglob("*")):
            if file.is_file():
                store.put(f"{uri.removeprefix('s3://')}/{file.relative_to(source)}", file.read_bytes())
    return Home(uri)


class HostClient:
    """The program as a test sees it."""

    def __init__(self, process: "Popen[str]") -> None:
        self._process = process

    def ask(self, method: str, *arguments: Any) -> Any:
        """The answer of a method of `Asked`. Raises if the program broke, whose log says why."""
        print(json.dumps([method, *arguments]), file=self._process.stdin, flush=True)
        return self.answer()

    def answer(self) -> Any:
        """The next answer."""
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the client ended with code {self._process.wait(15)}")
        return json.loads(line)


@contextmanager
def host_client(host: Host, *arguments: str, log: Path, env: dict[str, str]) -> Iterator[HostClient]:
    """The program on a host, ready, for the time of the block."""
    command = host.command(sys.executable, "-m", __spec__.name, *arguments)
    with log.open("w") as err, Popen(command, stdin=PIPE, stdout=PIPE, stderr=err, text=True, env=env) as running:
        try:
            client = HostClient(running)
            assert client.answer() == "ready"
            yield client
        except RuntimeError as error:
            error.add_note(log.read_text()[-3000:])
            raise
        finally:
            end(running)


if __name__ == "__main__":
    main()
