"""The Prefect server of all tests of the flows, and the bars that they start from."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kline_core.encoder.synthetic import random_walk
from tests.support.prefect_server import Server, empty_tables, prefect_server, reporting_to


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SQLite file that a new Prefect server would make, for those whose start is not what is tested."""
    base = tmp_path_factory.getbasetemp()
    # Each process of pytest-xdist has a folder of its own in that of the whole run.
    return empty_tables(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)


# Not for the session: while other tests run, a server costs a twentieth of a core.
@pytest.fixture(scope="package")
def server(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with prefect_server(tmp_path_factory.mktemp("prefect"), tables=tables) as running:
        yield running


@pytest.fixture(scope="module")
def reporting(server: Server) -> Iterator[Server]:
    """The server, to which flows of this process report."""
    with reporting_to(server):
        yield server


@pytest.fixture(scope="session")
def bar_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three symbols with 400 bars each."""
    folder = tmp_path_factory.mktemp("bars")
    frame = random_walk(3, 400, seed=1).to_frame(prefix="S")
    for symbol, bars in frame.groupby("symbol"):
        bars.to_csv(folder / f"{symbol}.csv", index=False)
    return folder
