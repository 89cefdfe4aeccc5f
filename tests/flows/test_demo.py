"""The demo on its real bars, with fewer samples than it takes by default, and with its own server."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from flows.demo import demo
from flows.local_stack.locking import locked
from flows.local_stack.processes import marked
from flows.local_stack.server import Place, answers, prefect_environment, server_part
from kline_core.cli.parser import main
from kline_core.demo.demo import DemoReport
from kline_core.demo.stocks import SYMBOLS
from kline_core.errors import HomeError, SettingError
from kline_core.store.home import Home
from tests.support.prefect_server import Server
from tests.support.processes import free_port, poll

pytestmark = [pytest.mark.flows, pytest.mark.slow]

SAMPLES = 40
TASKS = {"refresh bars", "extend patterns", "publish summary", *SYMBOLS}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo").resolve() / "home"


@pytest.fixture(scope="module", autouse=True)
def loudness() -> Iterator[None]:
    """The demo turns Dask's logs down, as a command may that ends afterwards."""
    before = logging.getLogger("distributed").level
    yield
    logging.getLogger("distributed").setLevel(before)


@pytest.fixture(scope="module")
def first(place: Path) -> DemoReport:
    before = dict(os.environ), PREFECT_API_URL.value()
    report = demo(place, threads=2, samples=SAMPLES)
    assert (dict(os.environ), PREFECT_API_URL.value()) == before
    return report


@pytest.mark.long
def test_every_bar_and_sample_is_accounted_for(first: DemoReport) -> None:
    assert first.ingested.read == first.ingested.stored_new == 12_154
    assert first.patterns.added == first.patterns.total > 11_000
    assert tuple(line.result.symbol for line in first.symbols) == SYMBOLS
    for line in first.symbols:
        result = line.result
        assert result.samples == SAMPLES == result.done + result.failed
        assert str(line.latest) == "2013-03-01"
        assert 0 <= line.value <= 1
        assert abs(line.ic.value) < 4 * line.ic.se
    assert set(first.seconds) == {"bars", "server", "run", "record", "evaluate", "picture", "total"}
    assert first.picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.long
def test_what_it_says(first: DemoReport) -> None:
    text = first.text()
    for symbol in SYMBOLS:
        assert f"\n{symbol} " in text
    assert str(first.picture) in text
    assert f"kline --home {first.home} match AAPL" in text
    assert f"kline --home {first.home} up" in text
    document = json.loads(json.dumps(first.to_dict(), allow_nan=False))
    assert [line["symbol"] for line in document["symbols"]] == list(SYMBOLS)


@pytest.mark.long
def test_nothing_of_it_keeps_running(first: DemoReport) -> None:
    assert marked(first.home) == []
    assert {path.name for path in (first.home / "prefect").iterdir()}.isdisjoint({"up.json", "tmp"})


@pytest.mark.long
def test_a_second_time_everything_is_used_again(first: DemoReport, place: Path) -> None:
    again = demo(place, threads=1, samples=SAMPLES)
    assert (again.ingested.stored_new, again.ingested.unchanged, again.ingested.updated) == (0, 12_154, 0)
    assert (again.patterns.added, again.patterns.total) == (0, first.patterns.total)
    assert again.run.count("done") == 0
    assert [line.value for line in again.symbols] == [line.value for line in first.symbols]
    assert [line.ic for line in again.symbols] == [line.ic for line in first.symbols]
    assert again.picture.read_bytes() == first.picture.read_bytes()
    home = Home(place)
    assert home.read("factors").num_rows == SAMPLES * len(SYMBOLS)
    pairs = home.read("matches", ["symbol", "date", "rank"]).to_pandas()
    assert not pairs.duplicated().any()


@pytest.mark.long
def test_its_server_knows_the_whole_run_afterwards(first: DemoReport) -> None:
    where, folder = Place(free_port()), first.home / "prefect"
    with locked(first.home):
        (folder / "tmp").mkdir()
        part = server_part(prefect_environment(first.home, folder, where), folder, where)
        part.start()
        try:
            poll(lambda: answers(where), "Prefect server")
            server = Server(where.api, {}, first.home)
            run = server.post("flow_runs/filter", sort="START_TIME_ASC")[0]
            assert run["name"] == "XNYS 2013-03-01: 5 of 5 scored"
            assert run["state"]["name"] == "Completed"
            assert run["state"]["message"].startswith(f"5 symbols, {5 * SAMPLES} samples = ")
            tasks = server.post("task_runs/filter", flow_runs={"id": {"any_": [run["id"]]}})
            assert {(task["name"], task["state_type"]) for task in tasks} == {(name, "COMPLETED") for name in TASKS}
            kinds = server.artifacts(run["id"])
            assert {"daily-xnys-summary", "daily-xnys-progress", "daily-xnys-ranking", "board-xnys"} <= set(kinds)
            logs = server.post("logs/filter", logs={"flow_run_id": {"any_": [run["id"]]}})
            assert any(log["message"].startswith("Finished in state Completed('5 symbols") for log in logs)
        finally:
            part.end(10)


@pytest.mark.long
def test_commands_that_it_names_work(first: DemoReport, capsys: pytest.CaptureFixture[str]) -> None:
    command = next(line for line in first.commands if " match " in line)
    words = command.split()[1 : command.split().index("--png")]
    assert main(words) == 0
    assert "AAPL 2008-10-10: value" in capsys.readouterr().out


@pytest.mark.long
def test_it_waits_for_no_one_who_runs_for_its_home(first: DemoReport) -> None:
    with locked(first.home), pytest.raises(HomeError, match=rf"already \(process {os.getpid()}\).*kill {os.getpid()}"):
        demo(first.home)


def test_the_environment_does_not_name_its_home(
    first: DemoReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []
    monkeypatch.setattr("flows.demo.demo", lambda path, **options: asked.append((path, options)) or first)
    monkeypatch.setenv("KLINE_HOME", str(tmp_path / "own"))
    assert main(["demo", "--samples", "1", "--json"]) == 0
    assert asked == [(Path("kline-demo"), {"threads": None, "samples": 1})]
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(first.to_dict()))


@pytest.mark.parametrize("named", ["s3://bucket/home", ""])
def test_only_a_folder_can_be_its_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--home", named]) == 1
    assert capsys.readouterr().err == f"kline: --home is {named!r}; the demo needs a folder of its own, no URL\n"
    assert not any(tmp_path.iterdir())


def test_numbers_out_of_bounds(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="samples is 0"):
        demo(tmp_path / "home", samples=0)
    with pytest.raises(SettingError, match="threads is 0"):
        demo(tmp_path / "home", threads=0)
    assert not (tmp_path / "home").exists()
