"""Schedules of other markets than the home's, on a real server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule

from flows.local_stack.strangers import pause_strangers
from kline_core.api.data import ingest
from kline_core.encoder.synthetic import random_walk
from kline_core.store.home import Home
from tests.support.prefect_server import Server

pytestmark = [pytest.mark.flows, pytest.mark.slow]

CALENDARS = {"a-share": "XSHG", "us": "XNYS", "weekly": None}
WHY = "since this home is of the market CN (XSHG) and holds no bars of XNYS"


@pytest.fixture
def client(reporting: Server) -> Iterator[SyncPrefectClient]:
    """A server with a scheduled deployment for each of two markets, and for none."""
    with get_client(sync_client=True) as asked:
        flow = asked.create_flow_from_name("strangers")
        schedule = DeploymentScheduleCreate(schedule=CronSchedule(cron="30 17 * * 1-5"), active=True)
        made = [
            asked.create_deployment(flow, name, schedules=[schedule], parameters={"calendar": calendar})
            for name, calendar in CALENDARS.items()
        ]
        yield asked
        for each in made:
            reporting.delete(f"deployments/{each}")


def active(client: SyncPrefectClient) -> set[str]:
    found = [client.read_deployment_by_name(f"strangers/{name}") for name in CALENDARS]
    return {each.name for each in found if all(schedule.active for schedule in each.schedules)}


def filled(folder: Path, *symbols: str) -> Home:
    home = Home(folder, create=True)
    frame = random_walk(len(symbols), 30, seed=1).to_frame(prefix="S")
    named = dict(zip(sorted(frame["symbol"].unique()), symbols, strict=True))
    ingest(home, frame.assign(symbol=frame["symbol"].map(named)))
    return home


@pytest.mark.long
def test_a_home_that_was_empty_when_its_schedules_were_deployed(client: SyncPrefectClient, tmp_path: Path) -> None:
    assert pause_strangers(client, Home(tmp_path / "home", create=True), None) == []
    assert active(client) == set(CALENDARS)
    home = filled(tmp_path / "home", "600519.SH", "000001.SZ")
    # Other tests deploy to the same server.
    assert set(pause_strangers(client, home, None)) == {f"the schedule of us is paused, {WHY}"}
    assert active(client) == {"a-share", "weekly"}
    assert pause_strangers(client, home, None) == []


def test_a_home_of_several_markets_or_of_none_keeps_all(client: SyncPrefectClient, tmp_path: Path) -> None:
    for name, symbols in {"both": ("600519.SH", "AAPL"), "none": ("S00000",)}.items():
        assert pause_strangers(client, filled(tmp_path / name, *symbols), None) == []
    assert active(client) == set(CALENDARS)


def test_an_empty_home_has_the_market_of_its_source(client: SyncPrefectClient, tmp_path: Path) -> None:
    home = Home(tmp_path / "home", create=True)
    assert pause_strangers(client, home, str(tmp_path)) == []
    assert pause_strangers(client, home, "akshare:csi300") == [f"the schedule of us is paused, {WHY}"]
